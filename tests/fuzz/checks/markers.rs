//! The marker parser finds in chunks of any size what one look at the whole log finds.

use protocol::log_markers::{MEDIA_TYPE_LIMIT, MEDIA_TYPE_MARKER, MarkerParser, RESULT_MARKER, is_media_type};

/// The first byte is the size of a chunk, the rest is the log.
pub(crate) fn check(data: &[u8]) {
    let Some((size, log)) = data.split_first() else { return };
    let mut parser = MarkerParser::new();
    let mut result = Vec::new();
    for chunk in log.chunks(usize::from(*size).max(1)) {
        result.extend_from_slice(parser.feed(chunk));
    }
    let after = find(log, RESULT_MARKER);
    assert_eq!(parser.has_result(), after.is_some());
    assert_eq!(result, after.map_or(&b""[..], |rest| rest.split_at(line_end(rest)).1));
    assert_eq!(parser.into_media_type(), find(log, MEDIA_TYPE_MARKER).and_then(media_type));
}

/// What follows the first occurrence of a marker.
fn find<'a>(log: &'a [u8], marker: &str) -> Option<&'a [u8]> {
    let at = log.windows(marker.len()).position(|window| window == marker.as_bytes())?;
    Some(&log[at + marker.len()..])
}

/// Where the next line begins.
fn line_end(rest: &[u8]) -> usize {
    rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1)
}

fn media_type(rest: &[u8]) -> Option<String> {
    let line = rest.split(|byte| *byte == b'\n').next()?;
    let text = std::str::from_utf8(line).ok().filter(|line| line.len() <= MEDIA_TYPE_LIMIT)?.trim();
    is_media_type(text).then(|| text.to_owned())
}
