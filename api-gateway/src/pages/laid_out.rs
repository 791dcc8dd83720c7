//! JSON that others made, for people. Its indentation is theirs to choose: a short text of deep lists becomes a very long one.

use std::io::{self, Write};

use serde_json::Value;

/// Times its bytes that a text may grow to, beside the bytes that are never too many.
pub(crate) const GROWTH: usize = 4;
const NEVER_TOO_MANY: usize = 1024;

/// The text laid out; as it was where it is no JSON, or would grow too much.
pub(crate) fn laid_out(text: String) -> String {
    let Ok(value) = serde_json::from_str::<Value>(&text) else { return text };
    let limit = text.len().saturating_mul(GROWTH).saturating_add(NEVER_TOO_MANY);
    let mut out = Limited { bytes: Vec::new(), limit };
    match serde_json::to_writer_pretty(&mut out, &value) {
        Ok(()) => String::from_utf8(out.bytes).unwrap_or(text),
        Err(_) => text,
    }
}

/// Takes bytes until they are too many.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_grow_by_its_indentation_stays_as_it_was() {
        assert_eq!(laid_out("[1]".to_owned()), "[\n  1\n]");
        assert_eq!(laid_out("no JSON".to_owned()), "no JSON");
        let deep = format!("{}{}1{}", "[".repeat(120), "1,".repeat(30_000), "]".repeat(120));
        assert_eq!(laid_out(deep.clone()), deep);
    }
}
