//! What a media type says about the bytes that have it.

/// The type and subtype, in lower case, without parameters.
pub fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// Whether values of this media type are JSON.
pub fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// Whether values of this media type are strings without a form of their own.
pub fn is_plain_text(media_type: &str) -> bool {
    essence(media_type) == "text/plain"
}

/// Whether values of this media type are text, JSON not counted: a JSON string can hold them as they are.
pub fn is_text(media_type: &str) -> bool {
    const TEXTS: [&str; 8] = [
        "application/xml",
        "application/yaml",
        "application/x-yaml",
        "application/jsonl",
        "application/x-ndjson",
        "application/javascript",
        "application/sql",
        "application/toml",
    ];
    let essence = essence(media_type);
    !is_json(&essence)
        && (essence.starts_with("text/")
            || essence.ends_with("+xml")
            || essence.ends_with("+yaml")
            || TEXTS.contains(&essence.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_text_and_bytes_are_told_apart() {
        assert!(is_json("application/json; charset=utf-8") && is_json("application/Geo+JSON"));
        assert!(!is_json("text/plain") && !is_json("application/jsonl"));
        assert!(is_plain_text("text/plain;charset=utf-8") && !is_plain_text("text/html"));
        for text in ["Text/CSV; header=present", "application/gml+xml", "application/xml", "application/x-ndjson"] {
            assert!(is_text(text), "{text}");
        }
        for other in ["image/tiff", "application/octet-stream", "application/json", "text/json", ""] {
            assert!(!is_text(other), "{other}");
        }
    }
}
