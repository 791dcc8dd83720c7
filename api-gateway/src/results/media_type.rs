//! What a media type says about the bytes that have it.

use actix_web::http::header::HeaderValue;

/// The type and subtype, in lower case, without parameters.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// Whether values of this media type are JSON.
pub(super) fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// Whether values of this media type are strings without a form of their own.
pub(super) fn is_plain_text(media_type: &str) -> bool {
    essence(media_type) == "text/plain"
}

/// The media type as a header has it. It comes out of a log: what can't stand in a header becomes a stream of bytes.
pub(super) fn header_value(media_type: &str) -> HeaderValue {
    let has_form = essence(media_type).split_once('/').is_some_and(|(kind, subtype)| {
        [kind, subtype].iter().all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        })
    });
    let value = if has_form { HeaderValue::from_str(media_type.trim()).ok() } else { None };
    value.unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_plain_text_are_told_apart() {
        assert!(is_json("application/json; charset=utf-8") && is_json("application/Geo+JSON"));
        assert!(!is_json("text/plain") && !is_json("application/jsonl"));
        assert!(is_plain_text("text/plain;charset=utf-8") && !is_plain_text("text/html"));
    }

    #[test]
    fn nonsense_never_reaches_a_header() {
        assert_eq!(header_value("image/tiff; application=geotiff"), "image/tiff; application=geotiff");
        for nonsense in ["", "text", "text/", "a b/c", "text/plain\r\nX: y", "text/pläin"] {
            assert_eq!(header_value(nonsense), "application/octet-stream", "{nonsense:?}");
        }
    }
}
