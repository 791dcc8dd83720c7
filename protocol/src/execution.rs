//! The execution request: the one message whose acknowledgement makes a job.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{JobRecord, evolution};

/// What a job needs to run. Private to the services; deleted once the job is terminal. Written once, so that there are no
/// members of a newer version to carry along, but for those of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionRequest {
    /// [`crate::SCHEMA`] of the writer.
    #[serde(deserialize_with = "evolution::understood")]
    pub schema: u32,
    /// The first record of the job, as `accepted` tells it.
    pub record: JobRecord,
    /// The inputs, without the token.
    pub inputs: Inputs,
}

/// Where the inputs are. Closed: a job whose inputs can't be read can't be launched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Inputs {
    /// In the request itself.
    Inline(Map<String, Value>),
    /// In the bucket: too large for the request.
    Stored {
        /// Key of the object.
        key: String,
        /// Bytes.
        size: u64,
        /// SHA-256 in hexadecimal.
        sha256: String,
    },
}
