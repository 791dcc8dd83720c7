//! The markers by which a container tells its result in its log, found in a stream of chunks of any size.
//!
//! - The first line containing `PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE:` gives the media type after the colon.
//! - Everything after the first line containing `PYGEOAPI_K8S_MANAGER_RESULT_START`, to the log's end, is the result.
//!
//! Memory is bounded whatever the log holds: a line may have any length and any bytes.

use memchr::{memchr, memmem};

/// Starts the media type.
pub const MEDIA_TYPE_MARKER: &str = "PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE:";
/// Starts the result, on the next line.
pub const RESULT_MARKER: &str = "PYGEOAPI_K8S_MANAGER_RESULT_START";
/// A media type longer than this many bytes is none.
pub const MEDIA_TYPE_LIMIT: usize = 255;

/// Finds the markers in a log that is fed chunk by chunk.
#[derive(Debug, Default)]
pub struct MarkerParser {
    media_type: MediaType,
    result: ResultState,
    carry: Vec<u8>,
}

#[derive(Debug, Default)]
enum MediaType {
    #[default]
    Searching,
    Reading(Vec<u8>),
    Found(Option<String>),
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ResultState {
    #[default]
    Searching,
    /// The marker was seen; the rest of its line is skipped.
    SkippingLine,
    Inside,
}

impl MarkerParser {
    /// A parser at the start of a log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the log and returns those of them that belong to the result.
    pub fn feed<'chunk>(&mut self, chunk: &'chunk [u8]) -> &'chunk [u8] {
        let result = self.feed_result(chunk);
        self.feed_media_type(chunk);
        self.keep_carry(chunk);
        result
    }

    /// True once the line with the result marker has ended, or the log ended with it.
    pub fn has_result(&self) -> bool {
        self.result != ResultState::Searching
    }

    /// At the log's end: the media type of the marker; `None` without marker, or when it holds no media type.
    pub fn into_media_type(self) -> Option<String> {
        match self.media_type {
            MediaType::Searching => None,
            MediaType::Reading(bytes) => media_type(&bytes),
            MediaType::Found(found) => found,
        }
    }

    fn feed_result<'chunk>(&mut self, chunk: &'chunk [u8]) -> &'chunk [u8] {
        let mut rest = chunk;
        if self.result == ResultState::Searching {
            let Some(after) = self.find(RESULT_MARKER, chunk) else { return &[] };
            self.result = ResultState::SkippingLine;
            rest = &chunk[after..];
        }
        if self.result == ResultState::SkippingLine {
            let Some(end) = memchr(b'\n', rest) else { return &[] };
            self.result = ResultState::Inside;
            rest = &rest[end + 1..];
        }
        rest
    }

    fn feed_media_type(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        if matches!(self.media_type, MediaType::Searching) {
            let Some(after) = self.find(MEDIA_TYPE_MARKER, chunk) else { return };
            self.media_type = MediaType::Reading(Vec::new());
            rest = &chunk[after..];
        }
        if let MediaType::Reading(bytes) = &mut self.media_type {
            let end = memchr(b'\n', rest);
            let room = (MEDIA_TYPE_LIMIT + 1).saturating_sub(bytes.len());
            bytes.extend(rest[..end.unwrap_or(rest.len())].iter().take(room));
            if end.is_some() {
                self.media_type = MediaType::Found(media_type(bytes));
            }
        }
    }

    /// Where in `chunk` the first occurrence of `marker` ends, one that began in earlier chunks included.
    fn find(&self, marker: &str, chunk: &[u8]) -> Option<usize> {
        let marker = marker.as_bytes();
        let head = &chunk[..chunk.len().min(marker.len() - 1)];
        let carry = &self.carry[self.carry.len().saturating_sub(marker.len() - 1)..];
        let seam: Vec<u8> = [carry, head].concat();
        if let Some(at) = memmem::find(&seam, marker) {
            return Some((at + marker.len()).saturating_sub(carry.len()));
        }
        memmem::find(chunk, marker).map(|at| at + marker.len())
    }

    fn keep_carry(&mut self, chunk: &[u8]) {
        let keep = MEDIA_TYPE_MARKER.len().max(RESULT_MARKER.len()) - 1;
        if chunk.len() >= keep {
            self.carry.clear();
            self.carry.extend_from_slice(&chunk[chunk.len() - keep..]);
        } else {
            self.carry.extend_from_slice(chunk);
            let surplus = self.carry.len().saturating_sub(keep);
            self.carry.drain(..surplus);
        }
    }
}

fn media_type(bytes: &[u8]) -> Option<String> {
    if bytes.len() > MEDIA_TYPE_LIMIT {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?.trim();
    is_media_type(text).then(|| text.to_owned())
}

/// True of `type/subtype` with optional parameters: what may stand in a Content-Type header (RFC 9110, 8.3.1).
pub fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    printable && is_token(kind) && is_token(subtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "...finalizer.py:97 | 14] DEBUG - Event 'ADDED' received\n\
        ...finalizer.py:97 | 14] INFO - PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE:application/json\n\
        ...finalizer.py:97 | 14] INFO - PYGEOAPI_K8S_MANAGER_RESULT_START\n\
        {\n    \"id\": \"pygeoapi-process-id\",\n    \"value\": \"result-value\"\n}\n";

    fn parse(log: &[u8], chunk: usize) -> (bool, Option<String>, Vec<u8>) {
        let mut parser = MarkerParser::new();
        let mut result = Vec::new();
        for piece in log.chunks(chunk) {
            result.extend_from_slice(parser.feed(piece));
        }
        (parser.has_result(), parser.into_media_type(), result)
    }

    #[test]
    fn the_readmes_snippet_is_parsed_byte_for_byte_in_chunks_of_any_size() {
        let expected = "{\n    \"id\": \"pygeoapi-process-id\",\n    \"value\": \"result-value\"\n}\n";
        for chunk in 1..=README.len() {
            let (found, media_type, result) = parse(README.as_bytes(), chunk);
            assert!(found);
            assert_eq!(media_type.as_deref(), Some("application/json"), "chunk {chunk}");
            assert_eq!(String::from_utf8_lossy(&result), expected, "chunk {chunk}");
        }
    }

    #[test]
    fn a_log_without_markers_has_no_result() {
        for chunk in [1, 7, 1000] {
            assert_eq!(parse(b"RESULT_START\nPYGEOAPI_K8S_MANAGER_RESULT_STAR\nT\n", chunk), (false, None, vec![]));
        }
    }

    #[test]
    fn bytes_that_are_no_text_and_line_ends_are_kept() {
        let log = b"\xff\xfe PYGEOAPI_K8S_MANAGER_RESULT_START trailing\r\n\xff\0\r\n\n\xc3";
        for chunk in 1..log.len() {
            assert_eq!(parse(log, chunk).2, b"\xff\0\r\n\n\xc3");
        }
    }

    #[test]
    fn only_the_first_marker_of_each_kind_counts() {
        let log = b"PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: text/plain \nPYGEOAPI_K8S_MANAGER_RESULT_START\na\n\
            PYGEOAPI_K8S_MANAGER_RESULT_START\nPYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: text/html\n";
        for chunk in [1, 3, 50, 400] {
            let (_, media_type, result) = parse(log, chunk);
            assert_eq!(media_type.as_deref(), Some("text/plain"));
            assert!(result.starts_with(b"a\nPYGEOAPI_K8S_MANAGER_RESULT_START\n"));
        }
    }

    #[test]
    fn a_media_type_that_is_none_is_left_out() {
        for bad in ["", "json", "a/b\u{1}", "a b/c", "/", &"x/y".repeat(200)] {
            let log = format!("PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: {bad}\n");
            for chunk in [1, 1000] {
                assert_eq!(parse(log.as_bytes(), chunk).1, None, "{bad}");
            }
        }
        assert_eq!(
            parse(b"PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE:text/csv; charset=utf-8", 5).1.as_deref(),
            Some("text/csv; charset=utf-8")
        );
    }

    #[test]
    fn memory_stays_bounded_on_an_endless_line() {
        let mut parser = MarkerParser::new();
        parser.feed(MEDIA_TYPE_MARKER.as_bytes());
        for _ in 0..1000 {
            parser.feed(&[b'x'; 4096]);
        }
        assert!(parser.carry.len() < 64);
        assert!(matches!(&parser.media_type, MediaType::Reading(bytes) if bytes.len() <= MEDIA_TYPE_LIMIT + 1));
    }
}
