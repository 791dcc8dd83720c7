//! What there is of a job's results: the outputs that are stored, or that are members of a result that was stored whole.

use bytes::Bytes;
use protocol::{
    JobRecord, digest,
    job_record::{Place, StoredResult},
    media_type, output_members,
};

use super::values::Values;
use crate::{error::GatewayError, memory::Portion};

/// The outputs of a job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Printed {
    pub outputs: Vec<Output>,
    /// True of one output that stands for several, which can't be told apart.
    pub is_whole: bool,
}

/// One output.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Output {
    pub id: String,
    pub media_type: String,
    pub size: u64,
    pub sha256: String,
    pub content: Content,
}

/// Where the bytes of an output are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Stored(Place),
    /// A section of an object: its key, and the place of the first byte.
    Section(String, u64),
    Held(Bytes),
}

impl Printed {
    /// The outputs of a successful job. A result that was stored whole by an older version, or because it was too large
    /// for the finalizer, is read if a document may hold it.
    /// Then the memory that it takes comes with it.
    pub(super) async fn of(record: &JobRecord, values: &Values) -> Result<(Self, Option<Portion>), GatewayError> {
        let outputs: Vec<Output> = record.results.iter().map(stored).collect();
        let ([result], [whole]) = (record.results.as_slice(), outputs.as_slice()) else {
            return Ok((Self { outputs, is_whole: false }, None));
        };
        if !record.is_several(result) {
            return Ok((Self { outputs, is_whole: false }, None));
        }
        if media_type::is_json(&whole.media_type) && whole.size <= values.max_document {
            // Its bytes, and those of its members.
            let mut portion = values.memory(whole.size.saturating_mul(2)).await?;
            let bytes = values.read(whole).await?;
            if let Some(members) = output_members::split(&bytes, &record.declared_outputs) {
                let outputs: Vec<Output> = members.into_iter().map(held).collect();
                drop(bytes);
                portion.shrink(usize::try_from(whole.size).unwrap_or(usize::MAX));
                return Ok((Self { outputs, is_whole: false }, Some(portion)));
            }
        }
        Ok((Self { outputs, is_whole: true }, None))
    }

    /// One of the outputs.
    pub(super) fn find(&self, id: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.id == id)
    }

    /// The answer to someone who asks for an output that there is not.
    pub(super) fn has_none(&self) -> GatewayError {
        GatewayError::NoSuchOutput(self.outputs.iter().map(|output| output.id.clone()).collect())
    }
}

fn stored(result: &StoredResult) -> Output {
    Output {
        id: result.id.clone(),
        media_type: result.media_type.clone(),
        size: result.size,
        sha256: result.tag(),
        content: Content::Stored(result.place.clone()),
    }
}

fn held(member: output_members::Member) -> Output {
    let sha256 = digest::sha256(&member.bytes);
    let size = u64::try_from(member.bytes.len()).unwrap_or(u64::MAX);
    Output { id: member.id, media_type: member.media_type, size, sha256, content: Content::Held(member.bytes.into()) }
}
