//! A piece of a container's log, and when the lines that begin in it were written.

use bytes::Bytes;
use jiff::Timestamp;

/// Some bytes of a log, one or more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// The bytes as the container wrote them.
    pub bytes: Bytes,
    /// Where in them lines begin, in order, and when each was written. The first chunk of a log begins with a line.
    pub lines: Vec<(usize, Timestamp)>,
}

impl Chunk {
    /// Bytes of the log in it.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True of a chunk without bytes, which no log yields.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of memory that it takes, about.
    pub fn weight(&self) -> usize {
        self.bytes.len() + self.lines.len() * size_of::<(usize, Timestamp)>()
    }

    /// Its bytes from `at` on.
    #[must_use]
    pub fn after(mut self, at: usize) -> Self {
        let lines = self.lines.split_off(self.lines.partition_point(|(place, _)| *place < at));
        Self {
            bytes: self.bytes.split_off(at.min(self.bytes.len())),
            lines: lines.into_iter().map(|(place, time)| (place - at, time)).collect(),
        }
    }

    /// It after a line end.
    #[must_use]
    pub fn on_a_new_line(self) -> Self {
        Self {
            bytes: [b"\n", &self.bytes[..]].concat().into(),
            lines: self.lines.into_iter().map(|(place, time)| (place + 1, time)).collect(),
        }
    }
}
