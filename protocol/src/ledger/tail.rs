//! What a follower answers while it follows: the end of each log that is not in parts yet.
//!
//! Questions go as plain NATS requests to [`subjects::log_tail`](crate::names::subjects::log_tail), as JSON. Nobody answers
//! where nobody follows. An answer is an [`Answer`] as JSON, a line end, then bytes of a log ([`super::framed`]).
//! So a log is served from 0 on: parts as long as there are some, then the tail until it has ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::LogOf;
use crate::{Unknown, job_id::Epoch};

/// An answer has no more bytes of a log.
pub const MOST_BYTES: u32 = 256 * 1024;
/// An answer waits for new bytes no longer, in milliseconds.
pub const LONGEST_WAIT: u32 = 10_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "camelCase")]
pub enum Question {
    /// Which logs are followed, and how far they are.
    Logs,
    /// Look whether more containers have started: answered as [`Self::Logs`]. Asked of followers by finalizers.
    Look,
    /// Bytes of one log.
    #[serde(rename_all = "camelCase")]
    Bytes {
        /// Pod.
        pod: String,
        /// Container.
        container: String,
        /// Place of the first byte that is wanted.
        from: u64,
        /// So many bytes at most; never more than [`MOST_BYTES`] are sent.
        max: u32,
        /// Wait so long, in milliseconds, where there is no such byte yet; never longer than [`LONGEST_WAIT`].
        #[serde(default)]
        wait: u32,
    },
    /// Where in one log the first line begins that was written at a time or later, of the lines that are not in parts. Answered
    /// with its place as [`Answer::from`], or with [`Followed::read`] where there is none yet, and without bytes.
    Since {
        /// Pod.
        pod: String,
        /// Container.
        container: String,
        /// The time.
        time: Timestamp,
    },
    /// Put everything that was read into parts, and stop: whoever asks stores the job. It asks again until nobody answers any
    /// more. Asked of followers by finalizers.
    Finish,
    /// A question of a newer version: answered as [`Self::Logs`].
    #[serde(other)]
    Other,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The epoch under which the follower writes parts.
    pub epoch: Epoch,
    /// The logs that are followed.
    pub logs: Vec<Followed>,
    /// Place of the first byte that follows, of the log that was asked for. Larger than what was asked for where those
    /// bytes are in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How far the log of one container is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Followed {
    /// Whose log it is.
    pub of: LogOf,
    /// Bytes before this place are in parts.
    pub stored: u64,
    /// Bytes from this place on are here. Larger than `stored` only where no bucket is configured: what is between is not to be
    /// had before the log is archived.
    pub held: u64,
    /// Place of the byte after the last that was read.
    pub read: u64,
    /// Gaps that were met by this follower.
    #[serde(default)]
    pub gaps: u64,
    /// True once the container has ended and its log was read to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_as_they_were_asked_and_unknown_ones_are_questions_too() {
        let bytes = Question::Bytes { pod: "p".into(), container: "c".into(), from: 7, max: 1, wait: 2 };
        let since = Question::Since { pod: "p".into(), container: "c".into(), time: Timestamp::UNIX_EPOCH };
        for question in [Question::Logs, bytes, since, Question::Finish] {
            let json = serde_json::to_string(&question).unwrap();
            assert_eq!(serde_json::from_str::<Question>(&json).unwrap(), question, "{json}");
        }
        assert_eq!(serde_json::from_str::<Question>(r#"{"ask":"later"}"#).unwrap(), Question::Other);
    }
}
