//! After the seal, in this order: the manifest that counts, the annotations on the workload, the pod's release. Each step
//! can be repeated.

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
use tracing::{debug, warn};

use crate::{
    finalize::{FinalizeError, Finalizer},
    pods::ResultAnnotations,
};

/// A manifest is a record and some lines for each container.
const MANIFEST_LIMIT: u64 = 8 * 1024 * 1024;

/// Right after the seal, by its winner.
pub(crate) async fn first(
    finalizer: &Finalizer,
    record: &JobRecord,
    manifest: Option<Manifest>,
    annotations: Option<ResultAnnotations>,
) -> Result<(), FinalizeError> {
    if let (Some(store), Some(manifest)) = (finalizer.jobs.objects(), manifest) {
        write(finalizer, store, record, &manifest).await?;
    }
    let_go(finalizer, record, annotations).await
}

/// For a record that was sealed before, by whomever: whatever is missing is done.
pub(crate) async fn again(finalizer: &Finalizer, record: &JobRecord) -> Result<(), FinalizeError> {
    let mut annotations = None;
    if let Some(store) = finalizer.jobs.objects() {
        let key = objects::manifest(store.prefix(), &record.job_id);
        match store.size(&key).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                let manifest = rebuilt(store, record).await?;
                write(finalizer, store, record, &manifest).await?;
            }
            Err(error) => give_up_or(finalizer, record, error)?,
        }
        annotations = annotations_of(store, record).await?;
    }
    let_go(finalizer, record, annotations).await
}

/// Keys of the results that only the attempt `epoch` can have written, and that the record does not name.
pub(crate) fn own_results(prefix: &str, record: &JobRecord, epoch: &Epoch) -> Vec<String> {
    let declared = record.declared_outputs.iter().map(|output| output.id.as_str());
    let keys = declared.chain([WHOLE_RESULT]).map(|id| objects::result(prefix, &record.job_id, epoch, id));
    keys.filter(|key| !record.results.iter().any(|result| result.place == Place::Object(key.clone()))).collect()
}

async fn write(
    finalizer: &Finalizer,
    store: &ObjectStore,
    record: &JobRecord,
    manifest: &Manifest,
) -> Result<(), FinalizeError> {
    let key = objects::manifest(store.prefix(), &record.job_id);
    match store.put(&key, serde_json::to_vec(manifest)?.into(), "application/json").await {
        Ok(_) => Ok(()),
        Err(error) => give_up_or(finalizer, record, error),
    }
}

/// A pod is not held for ever for the sake of a manifest: the sweep writes it later.
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
        Place::Object(key) if result.size <= limit => store.get(key, limit).await?,
        _ => None,
    };
    let value = value.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    Ok(Some(ResultAnnotations { media_type: Some(result.media_type.clone()), value }))
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
    finalizer.pods.of(workload)?.release(&record.job_id, workload, annotations.as_ref()).await?;
    finalizer.metrics.released.inc();
    debug!("the pod was released");
    Ok(())
}
