//! What a client's idempotency key stands for: the job that it made, and a digest of what was asked for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, SCHEMA, evolution, job_id::WriteId};

/// The newest word on an idempotency key; each is written by compare-and-set on the one before. The key itself is not in
/// it, nor anything of the request but its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedKey {
    /// [`SCHEMA`] of the writer.
    #[serde(deserialize_with = "evolution::understood")]
    pub schema: u32,
    /// The job that this key makes, committed or not yet.
    pub job_id: JobId,
    /// Digest of the request; another request under the same key is a mistake of the client.
    pub request: String,
    /// When this was written.
    pub created: Timestamp,
    /// True when the job was refused: the key is free again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// Drawn for each write.
    pub write_id: WriteId,
}

impl ClaimedKey {
    /// A claim on a key.
    pub fn new(job_id: JobId, request: String, created: Timestamp) -> Self {
        Self { schema: SCHEMA, job_id, request, created, released: false, write_id: WriteId::generate() }
    }

    /// The same key, given back.
    #[must_use]
    pub fn given_back(&self, now: Timestamp) -> Self {
        Self { released: true, ..Self::new(self.job_id, self.request.clone(), now) }
    }
}
