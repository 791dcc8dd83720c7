//! Media types in headers.

use actix_web::http::header::HeaderValue;
use protocol::media_type::essence;

/// The media type as a header has it. It comes out of a log: what can't stand in a header becomes a stream of bytes.
pub(crate) fn header_value(media_type: &str) -> HeaderValue {
    let has_form = essence(media_type).split_once('/').is_some_and(|(kind, subtype)| {
        [kind, subtype].iter().all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        })
    });
    let value = if has_form { HeaderValue::from_str(media_type.trim()).ok() } else { None };
    // A value may hold bytes that are no ASCII; parts of an answer and links may not.
    value.filter(|value| value.to_str().is_ok()).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_never_reaches_a_header() {
        assert_eq!(header_value("image/tiff; application=geotiff"), "image/tiff; application=geotiff");
        for nonsense in ["", "text", "text/", "a b/c", "text/plain\r\nX: y", "text/pläin", "text/plain; x=ä"] {
            assert_eq!(header_value(nonsense), "application/octet-stream", "{nonsense:?}");
        }
    }
}
