//! Entries of the audit: CloudEvents 1.0 in structured JSON mode that say who did what. They hold no token and no input.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, SCHEMA, job_id::WriteId, names::subjects};

/// Prefix of a CloudEvent's type; the action's word follows.
pub const TYPE_PREFIX: &str = "dev.quayside.audit.";
/// Source of the CloudEvents.
const SOURCE: &str = "/audit";
/// The longest text of who it was, in bytes; what is longer is cut.
const LONGEST_WHO: usize = 512;

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Executed a process.
    Executed,
    /// Dismissed a job.
    Dismissed,
    /// Removed a job.
    Removed,
    /// Read the log of a job, where that needs a token.
    ReadLog,
    /// Asked for something that needs a token, and was refused.
    Refused,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Executed, Self::Dismissed, Self::Removed, Self::ReadLog, Self::Refused];

    /// The word used in subjects and types.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Dismissed => "dismissed",
            Self::Removed => "removed",
            Self::ReadLog => "read-log",
            Self::Refused => "refused",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// An earlier request with the same idempotency key had done it.
    Replayed,
    /// Nobody knows whether it was done: the stream did not answer.
    Unknown,
    /// No token, or none that is taken: 401.
    Unauthorized,
    /// A token that is wrong, or not for this: 403.
    Forbidden,
}

/// Who did what.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Version of this form.
    pub schema: u32,
    /// `token` for the static token, `token:<name>`, `oidc:<issuer>#<subject>`, or `anonymous`.
    pub who: String,
    /// From where, as far as proxies are believed. Of several refusals in IPv6 the network of 64 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The id of the request, which is on every line of the log about it. Of several the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Method and route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_id: Option<String>,
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// What came of it.
    pub outcome: Outcome,
    /// How often, where it is told of several at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// When the first of several was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Entry {
    /// What `who` came to, of which nothing else is known yet.
    pub fn new(who: &str, outcome: Outcome) -> Self {
        let end = who.floor_char_boundary(LONGEST_WHO);
        Self {
            schema: SCHEMA,
            who: who[..end].to_owned(),
            address: None,
            request_id: None,
            operation: None,
            process_id: None,
            job_id: None,
            outcome,
            count: None,
            since: None,
        }
    }
}

/// A CloudEvent (CloudEvents 1.0.2, JSON format) whose data is an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    specversion: String,
    id: WriteId,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<JobId>,
    time: Timestamp,
    datacontenttype: String,
    data: Entry,
}

impl AuditEvent {
    /// The event that tells what was done at `time`.
    pub fn new(action: Action, time: Timestamp, entry: Entry) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: WriteId::generate(),
            source: SOURCE.to_owned(),
            kind: format!("{TYPE_PREFIX}{}", action.as_str()),
            subject: entry.job_id,
            time,
            datacontenttype: "application/json".to_owned(),
            data: entry,
        }
    }

    /// Drawn for each event: the same whenever it is written again.
    pub fn id(&self) -> &WriteId {
        &self.id
    }

    /// What was done; `None` for an action of a newer version.
    pub fn action(&self) -> Option<Action> {
        let word = self.kind.strip_prefix(TYPE_PREFIX)?;
        Action::ALL.into_iter().find(|action| action.as_str() == word)
    }

    /// When it was done.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Who did it, and what came of it.
    pub fn entry(&self) -> &Entry {
        &self.data
    }

    /// Where it is kept.
    pub fn stream_subject(&self) -> String {
        let word = self.kind.strip_prefix(TYPE_PREFIX).unwrap_or_default();
        subjects::audit(word, self.data.process_id.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_cloud_event_without_what_is_not_known() {
        let time = Timestamp::from_second(1_700_000_000).unwrap();
        let job = JobId::generate(1_700_000_000_000);
        let known = Entry {
            address: Some("192.0.2.1".parse().unwrap()),
            process_id: Some("a.b".to_owned()),
            job_id: Some(job),
            ..Entry::new("token:lakes", Outcome::Done)
        };
        let event = AuditEvent::new(Action::Executed, time, known);
        assert_eq!(event.stream_subject(), "audit.executed.a=2Eb");
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["type"], "dev.quayside.audit.executed");
        assert_eq!(
            (json["subject"].as_str(), json["time"].as_str()),
            (Some(&*job.to_string()), Some("2023-11-14T22:13:20Z"))
        );
        let data = serde_json::json!({
            "schema": SCHEMA, "who": "token:lakes", "address": "192.0.2.1", "processId": "a.b", "jobId": job, "outcome": "done",
        });
        assert_eq!(json["data"], data);
        let read: AuditEvent = serde_json::from_value(json).unwrap();
        assert_eq!((read.action(), &read), (Some(Action::Executed), &event));
    }

    #[test]
    fn what_is_about_no_process_has_a_subject_too() {
        let refused = Entry::new("anonymous", Outcome::Unauthorized);
        let event = AuditEvent::new(Action::Refused, Timestamp::UNIX_EPOCH, refused);
        assert_eq!(event.stream_subject(), "audit.refused.-");
        assert!(serde_json::to_value(&event).unwrap().get("subject").is_none());
    }

    #[test]
    fn who_it_was_is_never_longer_than_a_line() {
        assert_eq!(Entry::new(&"é".repeat(1000), Outcome::Done).who.len(), LONGEST_WHO);
        assert_eq!(Entry::new("anonymous", Outcome::Done).who, "anonymous");
    }
}
