//! What the dispatcher, the companion and the finalizer agree on. The companion is built from this one file: it must not name
//! anything else of this crate.

use serde::{Deserialize, Serialize};

/// Argument of the init container that writes the inputs into a file.
pub const INPUTS: &str = "inputs";
/// Argument of the sidecar that stores the files of a job's outputs.
pub const COLLECT: &str = "collect";

/// Where the file with the inputs goes.
pub const INPUTS_PATH: &str = "QUAYSIDE_INPUTS_PATH";
/// Presigned URL of the inputs, where they are in the bucket.
pub const INPUTS_URL: &str = "QUAYSIDE_INPUTS_URL";
/// Bytes of the inputs in the bucket.
pub const INPUTS_SIZE: &str = "QUAYSIDE_INPUTS_SIZE";
/// SHA-256 of the inputs in the bucket, in hexadecimal.
pub const INPUTS_SHA256: &str = "QUAYSIDE_INPUTS_SHA256";
/// The inputs themselves in pieces, where they are not in the bucket: this and a number from 0 on.
pub const INPUTS_PIECE: &str = "QUAYSIDE_INPUTS_";
/// Folder with one file for each output, of that name.
pub const RESULTS: &str = "QUAYSIDE_RESULTS";
/// [`Upload`]s as a JSON array.
pub const UPLOADS: &str = "QUAYSIDE_UPLOADS";
/// Seconds that storing may take after the main container has ended.
pub const COLLECT_SECONDS: &str = "QUAYSIDE_COLLECT_SECONDS";

/// What follows an output's name in the name of a file whose first line is its media type.
pub const MEDIA_TYPE_SUFFIX: &str = ".media-type";
/// What begins a line of the sidecar's log that is meant for the finalizer: a [`Collected`] as JSON follows.
pub const COLLECTED: &str = "QUAYSIDE_COLLECTED ";
/// The most that a line of the sidecar's log has, in bytes.
pub const LINE_LIMIT: usize = 8 * 1024;

/// Where the file of one output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// Id of the output.
    pub output: String,
    /// Name of its file.
    pub file: String,
    /// Presigned URL: a secret.
    pub url: String,
    /// Its media type, unless a file beside it says another.
    pub media_type: String,
}

/// What became of the file of one output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// Id of the output.
    pub output: String,
    /// Bytes that were stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Their SHA-256 in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
