//! What a JSON text takes of memory while it is looked at, told before it is parsed.

/// Parts of a text that is parsed at most: each takes many times the bytes in memory that it has in JSON.
pub const MOST_PARTS: usize = 250_000;

/// Bytes that a part may take: the worst is a list of one, which has room for four.
const PART: usize = 320;
/// The text itself, the strings in it, and it being written again, at most twice at one time.
const COPIES: usize = 4;

/// How many values and names of members there are in a JSON text at most. Of another text it says nothing.
pub fn parts(text: &[u8]) -> usize {
    let (mut parts, mut quoted, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' | b':' if !quoted => parts += 1,
            _ => {}
        }
    }
    parts
}

/// Bytes that it takes at most to hold, check and pass on a JSON text of so many bytes and parts.
pub fn memory_of(bytes: usize, parts: usize) -> usize {
    bytes.saturating_mul(COPIES).saturating_add(parts.saturating_mul(PART))
}

/// As [`memory_of`], of the largest text of so many bytes.
pub fn most_memory_of(bytes: usize) -> usize {
    memory_of(bytes, MOST_PARTS.min(bytes.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_outside_of_strings_only() {
        for (text, expected) in
            [("1", 1), ("[1,2]", 3), (r#"{"a": [1, {"b": 2}]}"#, 7), (r#""[,]\"[""#, 1), (r#"["\\", 1]"#, 3)]
        {
            assert_eq!(parts(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn no_text_takes_more_than_the_most() {
        assert_eq!(most_memory_of(1), 4 + 2 * PART);
        assert_eq!(most_memory_of(1 << 20), (4 << 20) + MOST_PARTS * PART);
        assert_eq!(most_memory_of(usize::MAX), usize::MAX);
    }
}
