//! Events of a job: CloudEvents 1.0 in structured JSON mode, each with the whole record after the step.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::{JobRecord, job_id::WriteId, job_record::Status};

/// Content type of an event message.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// The steps of a job that are told to the public; the last token of an event's subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The job was taken.
    Accepted,
    /// A launch attempt was won; told again once the Job's UID is known.
    Launching,
    /// The main container started.
    Running,
    /// Something changed while the job runs or is being stored.
    Progress,
    /// The execution ended; log and result are being stored.
    Ended,
    /// Ended well, everything stored.
    Successful,
    /// Ended badly, everything stored.
    Failed,
    /// Cancelled.
    Dismissed,
    /// The archive of a terminal job was stored later.
    Archived,
    /// The job was removed; the data names it, nothing else.
    Removed,
}

impl Event {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Launching,
        Self::Running,
        Self::Progress,
        Self::Ended,
        Self::Successful,
        Self::Failed,
        Self::Dismissed,
        Self::Archived,
        Self::Removed,
    ];

    /// The word used in subjects and types.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Launching => "launching",
            Self::Running => "running",
            Self::Progress => "progress",
            Self::Ended => "ended",
            Self::Successful => "successful",
            Self::Failed => "failed",
            Self::Dismissed => "dismissed",
            Self::Archived => "archived",
            Self::Removed => "removed",
        }
    }

    /// The event that tells of a terminal status; `None` for the others.
    pub fn of_terminal(status: Status) -> Option<Self> {
        match status {
            Status::Successful => Some(Self::Successful),
            Status::Failed => Some(Self::Failed),
            Status::Dismissed => Some(Self::Dismissed),
            Status::Accepted | Status::Running => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A word that names no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an event of a job")]
pub struct UnknownEvent;

impl FromStr for Event {
    type Err = UnknownEvent;

    fn from_str(word: &str) -> Result<Self, UnknownEvent> {
        Self::ALL.into_iter().find(|event| event.as_str() == word).ok_or(UnknownEvent)
    }
}

/// What a segment of a URI's path is not written with as it is: all but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Prefix of a CloudEvent's type; the event's word follows.
pub const TYPE_PREFIX: &str = "dev.quayside.job.";

/// A CloudEvent (CloudEvents 1.0.2, JSON format) whose data is a job record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobEvent {
    specversion: String,
    id: WriteId,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: Timestamp,
    datacontenttype: String,
    data: JobRecord,
}

impl JobEvent {
    /// The event that tells of `record`.
    pub fn new(event: Event, record: JobRecord) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: record.write_id.clone(),
            source: format!("/processes/{}", utf8_percent_encode(record.process_id.as_str(), RESERVED)),
            kind: format!("{TYPE_PREFIX}{event}"),
            subject: record.job_id.to_string(),
            time: record.updated,
            datacontenttype: "application/json".to_owned(),
            data: record,
        }
    }

    /// The record after the step.
    pub fn record(&self) -> &JobRecord {
        &self.data
    }

    /// The record after the step.
    pub fn into_record(self) -> JobRecord {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobId, job_record::ArchiveState};

    #[test]
    fn an_event_is_a_cloud_event_with_the_record_as_data() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let id = JobId::generate(1_700_000_000_000);
        let record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        let json = serde_json::to_value(JobEvent::new(Event::Accepted, record.clone())).unwrap();
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(json["type"], "dev.quayside.job.accepted");
        assert_eq!(json["source"], "/processes/p");
        assert_eq!(json["subject"], id.to_string());
        assert_eq!(json["time"], "2023-11-14T22:13:20Z");
        assert_eq!(json["id"], record.write_id.as_str());
        assert_eq!(serde_json::from_value::<JobEvent>(json).unwrap().into_record(), record);
    }

    #[test]
    fn the_source_is_a_uri_reference_whatever_the_process_is_called() {
        let id = JobId::generate(1_700_000_000_000);
        let process = "hällo wörld-1.0_%".parse().unwrap();
        let record = JobRecord::accepted(id, process, "1".into(), Timestamp::UNIX_EPOCH, ArchiveState::Pending);
        let json = serde_json::to_value(JobEvent::new(Event::Accepted, record)).unwrap();
        assert_eq!(json["source"], "/processes/h%C3%A4llo%20w%C3%B6rld-1.0_%25");
    }

    #[test]
    fn every_event_is_read_back_from_its_word() {
        for event in Event::ALL {
            assert_eq!(event.as_str().parse(), Ok(event));
        }
        assert_eq!("finished".parse::<Event>(), Err(UnknownEvent));
    }
}
