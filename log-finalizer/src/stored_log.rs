//! Parts of a followed log, as who stores the job reads them.

use bytes::Bytes;
use futures::TryStreamExt;
use platform::{
    log_parts,
    object_store::{ObjectStore, StoreError},
};
use protocol::{
    JobId, digest,
    ledger::{PartHeader, PartKey},
};
use tracing::error;

/// Parts of one job that are looked at: more than a follower stores in years.
pub(crate) const MOST_PARTS: usize = 1_000_000;

/// A part, whole; `None` where it is not there, or is not what was stored.
///
/// # Errors
/// When the bucket does not answer.
pub(crate) async fn part(
    store: &ObjectStore,
    job: &JobId,
    part: &PartKey,
) -> Result<Option<(PartHeader, Bytes)>, StoreError> {
    let Some((header, mut stream)) = log_parts::open(store, job, part).await? else { return Ok(None) };
    let size = usize::try_from(header.size).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.try_next().await? {
        if bytes.len() + chunk.len() > size {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() != size || digest::sha256(&bytes) != header.sha256 {
        error!(key = %part.object(store.prefix(), job), "a part of a log is not what was stored");
        return Ok(None);
    }
    Ok(Some((header, bytes.into())))
}
