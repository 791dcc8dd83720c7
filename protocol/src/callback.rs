//! Callbacks of a job: who is told, what waits to be told, and how far that is. Private to the gateways, as the addresses may
//! hold secrets; of all this only [`CallbackKind`] is in a job's public record.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Event, SCHEMA, Unknown, Word, evolution, job_id::WriteId};

/// What a job's subscriber is told, once each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallbackKind {
    /// The job has started.
    InProgress,
    /// The job was successful: its results.
    Success,
    /// The job failed, or was dismissed.
    Failed,
    /// A kind of a newer version: its callbacks are not ours to make.
    #[serde(untagged)]
    Other(Word),
}

impl CallbackKind {
    /// Those of this version, in the order of a job's life.
    pub const ALL: [Self; 3] = [Self::InProgress, Self::Success, Self::Failed];

    /// The word used in subjects, ids of deliveries and answers.
    pub fn as_str(&self) -> &str {
        match self {
            Self::InProgress => "in-progress",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Other(word) => word.as_str(),
        }
    }

    /// The kind of this word; `None` for what is no word of any version.
    pub fn of_word(word: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        known.or_else(|| Some(Self::Other(word.to_owned().try_into().ok()?)))
    }

    /// What an event of a job is a reason to tell.
    pub fn of_event(event: Event) -> Option<Self> {
        match event {
            Event::Running => Some(Self::InProgress),
            Event::Successful => Some(Self::Success),
            Event::Failed | Event::Dismissed => Some(Self::Failed),
            Event::Accepted | Event::Launching | Event::Progress | Event::Ended | Event::Archived | Event::Removed => {
                None
            }
        }
    }
}

impl fmt::Display for CallbackKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// An address that is called. Its path and query may be secret: its `Debug` shows nothing, and it has no `Display`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallbackUri(String);

impl CallbackUri {
    /// Wraps a URL that was checked.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL itself, for the one place that calls it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CallbackUri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

/// Who is told about a job (OGC 18-062r2, schema `subscriber`). Written before the job's commit, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// [`SCHEMA`] of the writer.
    #[serde(deserialize_with = "evolution::understood")]
    pub schema: u32,
    /// Gets the results.
    pub success_uri: CallbackUri,
    /// Is told that the job has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_progress_uri: Option<CallbackUri>,
    /// Is told that the job failed or was dismissed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_uri: Option<CallbackUri>,
    /// Drawn for each write.
    pub write_id: WriteId,
}

impl Subscription {
    /// A new one.
    pub fn new(
        success_uri: CallbackUri,
        in_progress_uri: Option<CallbackUri>,
        failed_uri: Option<CallbackUri>,
    ) -> Self {
        Self { schema: SCHEMA, success_uri, in_progress_uri, failed_uri, write_id: WriteId::generate() }
    }

    /// Who is told what this kind tells, if anybody.
    pub fn uri(&self, kind: CallbackKind) -> Option<&CallbackUri> {
        match kind {
            CallbackKind::InProgress => self.in_progress_uri.as_ref(),
            CallbackKind::Success => Some(&self.success_uri),
            CallbackKind::Failed => self.failed_uri.as_ref(),
            CallbackKind::Other(_) => None,
        }
    }

    /// What somebody is told, in the order of a job's life.
    pub fn kinds(&self) -> Vec<CallbackKind> {
        CallbackKind::ALL.into_iter().filter(|kind| self.uri(*kind).is_some()).collect()
    }
}

/// A delivery that waits for its turn, or is under way: the message whose lease is the delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueuedDelivery {
    /// [`SCHEMA`] of the writer.
    #[serde(deserialize_with = "evolution::understood")]
    pub schema: u32,
    /// The host that is called, without anything else of the address: its places are counted before anything is read.
    pub host: String,
    /// When it was queued.
    pub queued: Timestamp,
    /// Drawn for each write.
    pub write_id: WriteId,
}

impl QueuedDelivery {
    /// A new one.
    pub fn new(host: String, queued: Timestamp) -> Self {
        Self { schema: SCHEMA, host, queued, write_id: WriteId::generate() }
    }
}

/// How far a delivery is. It names no address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryRecord {
    /// [`SCHEMA`] of the writer.
    #[serde(deserialize_with = "evolution::understood")]
    pub schema: u32,
    /// What is told.
    pub kind: CallbackKind,
    /// How far it is.
    pub state: DeliveryState,
    /// Tries so far.
    pub attempts: u32,
    /// When the first try ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_attempt: Option<Timestamp>,
    /// When the last try ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Timestamp>,
    /// HTTP status of the last try, where one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// Why the last try failed, where no status came, or why there is none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reason: Option<String>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    /// Drawn for each write.
    pub write_id: WriteId,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// Not tried yet.
    Pending,
    /// Tried in vain, and tried again.
    Failing,
    /// The receiver took it.
    Delivered,
    /// It is not tried any more.
    GivenUp,
    /// A state of a newer version: left alone.
    #[serde(untagged)]
    Other(Word),
}

impl DeliveryState {
    /// True of a delivery that is not tried any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::GivenUp)
    }
}

impl DeliveryRecord {
    /// A delivery that was not tried yet.
    pub fn pending(kind: CallbackKind) -> Self {
        Self {
            schema: SCHEMA,
            kind,
            state: DeliveryState::Pending,
            attempts: 0,
            first_attempt: None,
            last_attempt: None,
            last_status: None,
            last_reason: None,
            next_attempt: None,
            write_id: WriteId::generate(),
            unknown: Unknown::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription() -> Subscription {
        Subscription::new(CallbackUri::new("https://a/?key=hush"), None, Some(CallbackUri::new("https://b/hush")))
    }

    #[test]
    fn an_address_is_never_shown_and_always_kept() {
        let shown = format!("{:?}", subscription());
        assert!(!shown.contains("hush"), "{shown}");
        let json = serde_json::to_value(subscription()).unwrap();
        assert_eq!(json["successUri"], "https://a/?key=hush");
        assert!(json.get("inProgressUri").is_none(), "{json}");
        let read: Subscription = serde_json::from_value(json).unwrap();
        assert_eq!(read.uri(CallbackKind::Failed).unwrap().reveal(), "https://b/hush");
        assert_eq!(read.kinds(), [CallbackKind::Success, CallbackKind::Failed]);
    }

    #[test]
    fn every_kind_is_read_back_from_its_word_and_a_newer_one_is_carried_along() {
        for kind in CallbackKind::ALL {
            assert_eq!(CallbackKind::of_word(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        let newer: CallbackKind = serde_json::from_value("progress".into()).unwrap();
        assert_eq!(newer.to_string(), "progress");
        assert_eq!(CallbackKind::of_word("progress"), Some(newer));
        assert_eq!(CallbackKind::of_word(&"x".repeat(100)), None);
        assert_eq!(subscription().uri(newer), None);
    }

    #[test]
    fn a_dismissed_job_is_told_to_those_who_wait_for_a_failure() {
        assert_eq!(CallbackKind::of_event(Event::Dismissed), Some(CallbackKind::Failed));
        assert_eq!(CallbackKind::of_event(Event::Running), Some(CallbackKind::InProgress));
        assert_eq!(CallbackKind::of_event(Event::Ended), None);
    }

    #[test]
    fn what_a_newer_version_wrote_of_a_delivery_is_carried_along() {
        let mut json = serde_json::to_value(DeliveryRecord::pending(CallbackKind::Success)).unwrap();
        json["later"] = 1.into();
        json["state"] = "paused".into();
        let read: DeliveryRecord = serde_json::from_value(json.clone()).unwrap();
        assert!(!read.state.is_final());
        assert_eq!(serde_json::to_value(read).unwrap(), json);
    }
}
