//! The manifest: what was stored of a job, with its record, so that the bucket alone tells everything.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobRecord, Unknown, evolution, job_id::Epoch};

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
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Container.
    pub container: String,
    /// Why.
    pub why: String,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// One part of a followed log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Container.
    pub container: String,
    /// Key of the object.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}
