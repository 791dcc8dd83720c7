//! How messages grow: two versions live side by side during an upgrade, so each reads what the next one writes, and
//! gives back what it did not understand.
//!
//! A new member needs no care. A new word of an open enum (one with `Other`) needs none either. A closed enum grows in
//! two versions: the first reads the new word, the second writes it. What can't be read that way raises [`SCHEMA`].

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value};

/// Version of every message and stored document. Readers accept this one, those before, and the one after.
pub const SCHEMA: u32 = 1;

/// What the error of a message that is too new starts with; its number follows. It quotes nothing else of the message.
pub const SCHEMA_TOO_NEW: &str = "the schema is too new:";

/// Members that a newer version wrote: carried along, so that an older one which writes the next record loses nothing.
pub type Unknown = Map<String, Value>;

/// For serde: the number of a schema that this version can read.
pub(crate) fn understood<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let schema = u32::deserialize(deserializer)?;
    if schema > SCHEMA + 1 {
        let last = SCHEMA + 1;
        return Err(D::Error::custom(format!("{SCHEMA_TOO_NEW} {schema}, this version reads up to {last}")));
    }
    Ok(schema)
}

/// A word that a newer version wrote, as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Word {
    bytes: [u8; Word::LONGEST],
    length: u8,
}

impl Word {
    /// No word of any version is longer, in bytes: so words stay as cheap to copy as the enums that hold them.
    pub const LONGEST: usize = 47;

    /// The word.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

/// A text that is too long for a [`Word`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a word has at most {} bytes", Word::LONGEST)]
pub struct WordTooLong;

impl TryFrom<String> for Word {
    type Error = WordTooLong;

    fn try_from(text: String) -> Result<Self, WordTooLong> {
        let mut bytes = [0; Self::LONGEST];
        bytes.get_mut(..text.len()).ok_or(WordTooLong)?.copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: u8::try_from(text.len()).map_err(|_| WordTooLong)? })
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.as_str().to_owned()
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_comes_back_as_it_was_up_to_its_limit() {
        for text in ["", "FromTheFuture", "größer", &"x".repeat(Word::LONGEST)] {
            let word: Word = text.to_owned().try_into().unwrap();
            assert_eq!((word.as_str(), String::from(word)), (text, text.to_owned()));
        }
        assert_eq!(Word::try_from("x".repeat(Word::LONGEST + 1)), Err(WordTooLong));
    }
}
