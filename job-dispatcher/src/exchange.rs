//! How inputs and results of one job go between it and us: decided here, before its Job is made.

use std::time::Duration;

use platform::object_store::{ObjectStore, StoreError};
use platform::secret::Secret;
use protocol::{
    JobId, ProcessDefinition, digest,
    execution::Inputs,
    job_record::{DeclaredOutput, ResultsBy, Uploads},
    names::{environment, objects},
    process::{InputsAs, Processor},
};
use serde_json::{Map, Value};

use crate::manifest::ENVIRONMENT_STRING_LIMIT;

/// The most that one environment variable takes of the inputs that go into a file without the bucket.
pub const PIECE: usize = 96 * 1024;

/// What of a job goes another way than through its environment and its log.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// The inputs in a file.
    pub inputs_file: Option<InputsFile>,
    /// Where outputs go that are not printed.
    pub uploads: Option<UploadPlan>,
    /// Image of the companion.
    pub companion_image: String,
}

/// Where the content of the file with the inputs comes from.
#[derive(Debug, Clone)]
pub enum InputsFile {
    /// From here: one JSON object.
    Text(String),
    /// From the bucket.
    Stored {
        /// Presigned.
        url: Secret,
        /// Bytes.
        size: u64,
        /// SHA-256 in hexadecimal.
        sha256: String,
    },
}

/// Where the outputs of one job go.
#[derive(Debug, Clone)]
pub struct UploadPlan {
    /// How, and under which name.
    pub uploads: Uploads,
    /// Each declared output and its presigned URL; of a local job with files there are no URLs.
    pub outputs: Vec<(DeclaredOutput, Option<Secret>)>,
    /// How long storing files may take after the main container has ended, in seconds.
    pub collect_seconds: u32,
}

/// The parts of a plan that were made from a request.
#[derive(Debug, Default)]
pub struct Exchanged {
    /// The inputs for the environment; empty where they are in a file.
    pub inputs: Map<String, Value>,
    /// The rest.
    pub exchange: Exchange,
}

/// Nothing can be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// It never will: why.
    #[error("{0}")]
    Never(String),
    /// The bucket can't be asked now.
    #[error("the inputs can't be read, or a URL can't be made")]
    Store(#[from] StoreError),
}

/// What an exchange is made with.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Image of the companion.
    pub companion_image: String,
    /// How long presigned URLs are valid.
    pub presigned_expiry: Duration,
    /// True where containers see the files of this machine: nothing has to be fetched for them.
    pub is_local: bool,
}

/// How the inputs reach the container, from their size as JSON: pure.
fn goes_into_file(process: &ProcessDefinition, size: u64) -> bool {
    let string = u64::try_from(environment::INPUTS.len() + 2).unwrap_or_default() + size;
    match (process.kind, process.exchange.inputs) {
        (Processor::HelloWorld, _) | (_, InputsAs::Environment) => false,
        (_, InputsAs::File) => true,
        (_, InputsAs::Auto) => string > u64::try_from(ENVIRONMENT_STRING_LIMIT).unwrap_or(u64::MAX),
    }
}

impl Terms {
    /// Makes the exchange of a job.
    ///
    /// # Errors
    /// When the bucket does not answer, or is needed and not configured, or the inputs are not those that were accepted.
    pub async fn exchange(
        &self,
        store: Option<&ObjectStore>,
        job: &JobId,
        process: &ProcessDefinition,
        inputs: &Inputs,
    ) -> Result<Exchanged, ExchangeError> {
        let mut exchanged = Exchanged::default();
        exchanged.exchange.companion_image.clone_from(&self.companion_image);
        match inputs {
            Inputs::Inline(inputs) => {
                let text = Value::Object(inputs.clone()).to_string();
                // As with the variable, no inputs are no file.
                match goes_into_file(process, length(&text)) && !inputs.is_empty() {
                    true => exchanged.exchange.inputs_file = Some(InputsFile::Text(text)),
                    false => exchanged.inputs.clone_from(inputs),
                }
            }
            Inputs::Stored { key, size, sha256 } => {
                let store = store.ok_or_else(|| {
                    ExchangeError::Never("the inputs are in S3, which is not configured at the dispatcher".to_owned())
                })?;
                if goes_into_file(process, *size) && !self.is_local {
                    let url = Secret::new(store.presign_fetch(key, self.presigned_expiry).await?);
                    let (size, sha256) = (*size, sha256.clone());
                    exchanged.exchange.inputs_file = Some(InputsFile::Stored { url, size, sha256 });
                } else {
                    let text = read_inputs(store, key, *size, sha256).await?;
                    match goes_into_file(process, *size) {
                        true => exchanged.exchange.inputs_file = Some(InputsFile::Text(text)),
                        false => exchanged.inputs = parsed(&text)?,
                    }
                }
            }
        }
        exchanged.exchange.uploads = self.uploads(store, job, process).await?;
        Ok(exchanged)
    }

    async fn uploads(
        &self,
        store: Option<&ObjectStore>,
        job: &JobId,
        process: &ProcessDefinition,
    ) -> Result<Option<UploadPlan>, ExchangeError> {
        let Some(by) = process.exchange.results else { return Ok(None) };
        let uploads = Uploads::new(by);
        let is_here = self.is_local && by == ResultsBy::Files;
        let mut outputs = Vec::new();
        for output in process.declared_outputs() {
            let url = match store {
                _ if is_here => None,
                Some(store) => {
                    let key = objects::upload(store.prefix(), job, &uploads.epoch, &output.id);
                    Some(Secret::new(store.presign_put(&key, self.presigned_expiry).await?))
                }
                None => {
                    return Err(ExchangeError::Never(format!(
                        "the results of the process '{}' go to S3, which is not configured at the dispatcher",
                        process.id
                    )));
                }
            };
            outputs.push((output, url));
        }
        Ok(Some(UploadPlan { uploads, outputs, collect_seconds: process.exchange.collect_seconds }))
    }
}

async fn read_inputs(store: &ObjectStore, key: &str, size: u64, sha256: &str) -> Result<String, ExchangeError> {
    let never = |why: &str| ExchangeError::Never(why.to_owned());
    let bytes = store.get(key, size).await?.ok_or_else(|| never("the stored inputs are gone"))?;
    if digest::sha256(&bytes) != sha256 {
        return Err(never("the stored inputs are not those that were accepted"));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| never("the stored inputs are no JSON object"))
}

fn parsed(text: &str) -> Result<Map<String, Value>, ExchangeError> {
    serde_json::from_str(text).map_err(|_| ExchangeError::Never("the stored inputs are no JSON object".to_owned()))
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

/// A text in pieces of at most [`PIECE`] bytes, each a text of its own.
pub fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_nothing_is_lost() {
        for text in [String::new(), "a".repeat(PIECE), "ü".repeat(PIECE), "€".repeat(PIECE + 7)] {
            let pieces = pieces(&text);
            assert_eq!(pieces.concat(), text);
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE));
        }
    }
}
