//! The manifest: what was stored of a job, with its record, so that the bucket alone tells everything.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobRecord, Unknown, Word, evolution, job_id::Epoch};

/// Stored twice: as `manifest/<epoch>.json` before the seal, as `manifest.json` after it by its winner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`crate::SCHEMA`] of the writer.
    #[serde(deserialize_with = "evolution::understood")]
    pub schema: u32,
    /// The attempt that stored this.
    pub epoch: Epoch,
    /// When this was written.
    pub written: Timestamp,
    /// The record as the seal makes it.
    pub record: JobRecord,
    /// What is in the archive object, in its order.
    pub containers: Vec<ContainerLog>,
    /// What is known to be missing.
    pub gaps: Vec<Gap>,
    /// Parts of a followed log that the archive was put together from, also of earlier epochs.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The log of one container inside the archive object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerLog {
    /// Pod.
    pub pod: String,
    /// Container.
    pub container: String,
    /// True of an init container.
    pub init: bool,
    /// First byte of the log in the archive object, its heading not counted.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of these bytes, in hexadecimal.
    pub sha256: String,
    /// When the first of its lines was written, as the runtime says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When the last of its lines was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// Bytes of it that were read while the container ran; the others were read after its end.
    #[serde(default)]
    pub followed: u64,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// What is known of it; absent in manifests of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<GapKind>,
    /// Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Container.
    pub container: String,
    /// Where in the container's log as it was kept something is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// When the last line before it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Timestamp>,
    /// When the first line after it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// Why.
    pub why: String,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Gap {
    /// A gap of which nothing but its kind and its cause is known.
    pub fn new(kind: GapKind, pod: impl Into<String>, container: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            kind: Some(kind),
            pod: Some(pod.into()),
            container: container.into(),
            at: None,
            after: None,
            before: None,
            why: why.into(),
            unknown: Unknown::new(),
        }
    }
}

/// What is known of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GapKind {
    /// The log was read on after an interruption, and the last line that had been read was not there any more: it was
    /// rotated away, and with it maybe lines after it.
    Rotation,
    /// The log is gone with its pod, and had not been read to its end.
    Gone,
    /// The log could not be read for too long.
    Unreadable,
    /// The container had not ended when its log was given up.
    Running,
    /// A part of the log that had been stored is not what was stored.
    Damaged,
    /// The archive is as large as an object may be: what comes after this place was not kept.
    TooLarge,
    /// A kind of a newer version.
    #[serde(untagged)]
    Other(Word),
}

/// Parts of a followed log, one after the other, that one follower wrote. They are deleted once the archive is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Container.
    pub container: String,
    /// What the keys of these parts start with.
    pub key: String,
    /// Place of their first byte in the container's log.
    #[serde(default)]
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// How many they are.
    #[serde(default)]
    pub count: u64,
    /// SHA-256 of these bytes in hexadecimal.
    pub sha256: String,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}
