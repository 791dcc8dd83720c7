//! After the seal, in this order: the manifest that counts, the annotations on the workload, the pod's release, what followers
//! stored. Each step can be repeated.

use platform::{
    object_store::{ObjectStore, StoreError},
    telemetry::chain,
};
use protocol::{
    JobRecord, Manifest, SCHEMA,
    job_id::Epoch,
    job_record::{ArchiveState, Place, Status, WHOLE_RESULT},
    names::{kubernetes::ANNOTATION_VALUE_LIMIT, objects},
};
use tracing::{debug, info, warn};

use crate::{
    finalize::{FinalizeError, Finalizer},
    pods::ResultAnnotations,
    remove::delete_below,
};

/// A manifest is a record and some lines for each container.
const MANIFEST_LIMIT: u64 = 8 * 1024 * 1024;
/// Content type of a manifest.
const JSON: &str = "application/json";

/// Right after the seal, by its winner.
pub(crate) async fn first(
    finalizer: &Finalizer,
    record: &JobRecord,
    manifest: Option<Manifest>,
    annotations: Option<ResultAnnotations>,
) -> Result<(), FinalizeError> {
    drop_results(finalizer, record).await?;
    if let (Some(store), Some(manifest)) = (finalizer.jobs.objects(), manifest) {
        match keep(finalizer, store, &manifest).await {
            Err(FinalizeError::Store(error)) => give_up_or(finalizer, record, error)?,
            kept => kept?,
        }
    }
    let_go(finalizer, record, annotations).await?;
    drop_parts(finalizer, record).await
}

/// For a record that was sealed before, by whomever: whatever is missing is done.
pub(crate) async fn again(finalizer: &Finalizer, record: &JobRecord) -> Result<(), FinalizeError> {
    drop_results(finalizer, record).await?;
    let annotations = match finalizer.jobs.objects() {
        Some(store) => match prepare(finalizer, store, record).await {
            Err(FinalizeError::Store(error)) => give_up_or(finalizer, record, error).map(|()| None)?,
            prepared => prepared?,
        },
        None => None,
    };
    let_go(finalizer, record, annotations).await?;
    drop_parts(finalizer, record).await
}

/// Writes the manifest if it is not there, and reads what is to be written on the workload.
async fn prepare(
    finalizer: &Finalizer,
    store: &ObjectStore,
    record: &JobRecord,
) -> Result<Option<ResultAnnotations>, FinalizeError> {
    let key = objects::manifest(store.prefix(), &record.job_id);
    if store.size(&key).await?.is_none() {
        let manifest = rebuilt(store, record).await?;
        keep(finalizer, store, &manifest).await?;
    }
    annotations_of(store, record).await
}

/// Writes the manifest that counts. The job may have been removed since its record was read: who removed it deleted what was
/// there then, so that what is written afterwards is ours to delete.
async fn keep(finalizer: &Finalizer, store: &ObjectStore, manifest: &Manifest) -> Result<(), FinalizeError> {
    let job_id = &manifest.record.job_id;
    let key = objects::manifest(store.prefix(), job_id);
    store.put(&key, serde_json::to_vec(manifest)?.into(), JSON).await?;
    if finalizer.jobs.removal(job_id).await?.is_some() {
        info!("the job was removed meanwhile: its manifest is deleted");
        store.delete(&key).await?;
    }
    Ok(())
}

/// Keys of the results that only the attempt `epoch` can have written, and that the record does not name.
pub(crate) fn own_results(prefix: &str, record: &JobRecord, epoch: &Epoch) -> Vec<String> {
    let mut keys = all_results(prefix, record, epoch);
    keys.retain(|key| !record.results.iter().any(|result| result.place == Place::Object(key.clone())));
    keys
}

/// Keys of the results that the attempt `epoch` can have written.
pub(crate) fn all_results(prefix: &str, record: &JobRecord, epoch: &Epoch) -> Vec<String> {
    let declared = record.declared_outputs.iter().map(|output| output.id.as_str());
    declared.chain([WHOLE_RESULT]).map(|id| objects::result(prefix, &record.job_id, epoch, id)).collect()
}

async fn drop_results(finalizer: &Finalizer, record: &JobRecord) -> Result<(), FinalizeError> {
    match finalizer.drop_results(record).await {
        Err(FinalizeError::Store(error)) => give_up_or(finalizer, record, error),
        dropped => dropped,
    }
}

/// What was stored of logs while they were followed is in the archive now. Where there is none, it is all there is of them.
async fn drop_parts(finalizer: &Finalizer, record: &JobRecord) -> Result<(), FinalizeError> {
    let Some(store) = finalizer.jobs.objects().filter(|_| record.archive.key.is_some()) else { return Ok(()) };
    match delete_below(store, &objects::log_parts_prefix(store.prefix(), &record.job_id), |_| true).await {
        Err(error) => give_up_or(finalizer, record, error),
        Ok(()) => Ok(()),
    }
}

/// A pod is not held for ever for the sake of a manifest, nor of what is to be deleted.
fn give_up_or(finalizer: &Finalizer, record: &JobRecord, error: StoreError) -> Result<(), FinalizeError> {
    if !finalizer.is_hopeless(record) {
        return Err(error.into());
    }
    warn!(error = %chain(&error), "the pod is released without a manifest");
    Ok(())
}

/// The manifest of the epoch that won, else one that says no more than the record.
async fn rebuilt(store: &ObjectStore, record: &JobRecord) -> Result<Manifest, FinalizeError> {
    let mut found = None;
    if let Some(epoch) = &record.archive.epoch {
        let key = objects::epoch_manifest(store.prefix(), &record.job_id, epoch);
        if let Some(bytes) = store.get(&key, MANIFEST_LIMIT).await? {
            found = serde_json::from_slice::<Manifest>(&bytes).ok();
        }
    }
    let manifest = found.unwrap_or_else(|| Manifest {
        schema: SCHEMA,
        epoch: record.archive.epoch.clone().unwrap_or_else(Epoch::generate),
        written: record.updated,
        record: record.clone(),
        containers: Vec::new(),
        gaps: Vec::new(),
        parts: Vec::new(),
        unknown: protocol::Unknown::new(),
    });
    Ok(Manifest { record: record.clone(), ..manifest })
}

/// The annotations as far as the record tells: that a media type was only declared is not known any more.
async fn annotations_of(store: &ObjectStore, record: &JobRecord) -> Result<Option<ResultAnnotations>, FinalizeError> {
    if record.status != Status::Successful {
        return Ok(None);
    }
    let Some(result) = record.results.first() else {
        return Ok(Some(ResultAnnotations { media_type: None, value: Some(String::new()) }));
    };
    let limit = u64::try_from(ANNOTATION_VALUE_LIMIT).unwrap_or(u64::MAX);
    let value = match &result.place {
        // What was printed around several outputs is only in the log.
        Place::Object(key) if result.size <= limit && !result.is_member => store.get(key, limit).await?,
        _ => None,
    };
    let value = value.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    let media_type = if result.is_member { JSON } else { &result.media_type };
    Ok(Some(ResultAnnotations { media_type: Some(media_type.to_owned()), value }))
}

async fn let_go(
    finalizer: &Finalizer,
    record: &JobRecord,
    annotations: Option<ResultAnnotations>,
) -> Result<(), FinalizeError> {
    let Some(workload) = &record.workload else { return Ok(()) };
    if record.archive.state == ArchiveState::Unavailable {
        debug!("the pod stays until log storage is configured");
        return Ok(());
    }
    match finalizer.pods.of(workload) {
        Ok(source) => source.release(&record.job_id, workload, annotations.as_ref()).await?,
        Err(error) if finalizer.is_hopeless(record) => {
            warn!(error = %chain(&error), "nothing is released");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    finalizer.metrics.released.inc();
    debug!("the pod was released");
    drop_uploads(finalizer, record).await
}

/// What counts was copied: what the job put itself is not needed any more.
async fn drop_uploads(finalizer: &Finalizer, record: &JobRecord) -> Result<(), FinalizeError> {
    let uploads = record.workload.as_ref().and_then(|workload| workload.uploads.as_ref());
    let (Some(_), Some(store)) = (uploads, finalizer.jobs.objects()) else { return Ok(()) };
    let dropped = delete_below(store, &objects::uploads_prefix(store.prefix(), &record.job_id), |_| true).await;
    dropped.or_else(|error| give_up_or(finalizer, record, error))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::{
        JobId,
        job_record::{DeclaredOutput, StoredResult},
    };

    use super::*;

    #[test]
    fn an_attempt_that_lost_names_every_object_it_may_have_written_and_none_of_the_winner() {
        let (id, now) = (JobId::generate(1), Timestamp::UNIX_EPOCH);
        let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, ArchiveState::Stored);
        record.declared_outputs = ["a", "b"].map(|id| DeclaredOutput::new(id, "text/plain")).to_vec();
        let (winner, loser) = (Epoch::generate(), Epoch::generate());
        record.results = vec![StoredResult {
            id: "a".into(),
            media_type: "text/plain".into(),
            size: 1,
            sha256: String::new(),
            place: Place::Object(objects::result("l/", &id, &winner, "a")),
            is_member: true,
            unknown: protocol::Unknown::new(),
        }];
        let keys = |epoch, ids: &[&str]| -> Vec<String> {
            ids.iter().map(|output| objects::result("l/", &id, epoch, output)).collect()
        };
        assert_eq!(own_results("l/", &record, &loser), keys(&loser, &["a", "b", WHOLE_RESULT]));
        assert_eq!(own_results("l/", &record, &winner), keys(&winner, &["b", WHOLE_RESULT]));
    }
}
