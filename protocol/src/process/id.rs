use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Name of a process, the key of its entry in `resources`.
///
/// It is a path segment of URLs and, encoded, a token of subjects: 1 to 128 bytes, without `/`, control characters and
/// outer white space, and not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProcessId(String);

/// Why a text is no process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProcessId {
    /// It has no characters.
    #[error("a process id can't be empty")]
    Empty,
    /// It is longer than [`ProcessId::MAX_BYTES`].
    #[error("a process id has at most {max} bytes, this one has {bytes}", max = ProcessId::MAX_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It holds a character that can't be part of a path segment.
    #[error("a process id can't contain {character:?}")]
    Character {
        /// The first such character.
        character: char,
    },
    /// It begins or ends with white space.
    #[error("a process id can't begin or end with white space")]
    OuterSpace,
    /// It is `.` or `..`, which URLs resolve away.
    #[error("a process id can't be . or ..")]
    Dots,
}

impl ProcessId {
    /// The longest id, in bytes: encoded at three characters a byte it still fits a NATS subject with room.
    pub const MAX_BYTES: usize = 128;

    /// The id as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ProcessId {
    type Error = InvalidProcessId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() {
            return Err(InvalidProcessId::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidProcessId::TooLong { bytes: text.len() });
        }
        if let Some(character) = text.chars().find(|c| c.is_control() || matches!(c, '/' | '\\')) {
            return Err(InvalidProcessId::Character { character });
        }
        if text.trim().len() != text.len() {
            return Err(InvalidProcessId::OuterSpace);
        }
        if text == "." || text == ".." {
            return Err(InvalidProcessId::Dots);
        }
        Ok(Self(text))
    }
}

impl FromStr for ProcessId {
    type Err = InvalidProcessId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl From<ProcessId> for String {
    fn from(id: ProcessId) -> Self {
        id.0
    }
}

impl AsRef<str> for ProcessId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ProcessId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
