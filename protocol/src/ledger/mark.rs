//! Where a log is to be gone on with.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Unknown;

/// The last line that was begun to be read. Who reads the log again, from a while before `time` on, drops everything until
/// it has met this line, and so much of it as was read; what follows was not read yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// When the line began, as the runtime wrote it.
    pub time: Timestamp,
    /// The latest time of any line up to this one: the times of two outputs may cross. A line with a later one comes after it.
    pub latest: Timestamp,
    /// Lines of the same time right before it.
    pub ordinal: u64,
    /// Bytes of the line that were read, its line end included.
    pub length: u64,
    /// SHA-256 of these bytes, in hexadecimal.
    pub sha256: String,
    /// Its line end was not read. What comes after a gap then begins on a line of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}
