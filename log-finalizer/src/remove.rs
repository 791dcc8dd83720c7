//! Deletes what is left of a removed job: in the cluster, in the bucket, in the stream. Its removal stays in the stream for
//! a while, so that whoever writes late finds the job gone, and deletes what it wrote.

use std::time::Duration;

use platform::{
    consume::{Delivery, Verdict},
    failpoint,
    job_store::JobStoreError,
    object_store::{ObjectStore, StoreError},
    publish::StreamError,
    telemetry::chain,
};
use protocol::{
    JobId, JobRecord,
    job_id::Epoch,
    job_record::{Archive, ArchiveState, Status},
    names::{objects, subjects},
};
use tracing::{info, instrument, warn};

use crate::{
    finalize::{FinalizeError, Finalizer},
    pods::PodsError,
    seal,
};

/// Objects of one page of a listing.
const PAGE: u16 = 1000;

impl Finalizer {
    /// Handles the message of one removal.
    pub async fn handle_removal(self, delivery: Delivery) -> Verdict {
        let Some((_, job_id, _)) = subjects::parse_event(&delivery.subject) else {
            return Verdict::Poison { why: "the subject is none of an event".to_owned() };
        };
        let removed = tokio::select! {
            removed = self.remove(&job_id) => removed,
            // Whatever is left is deleted by the next one.
            () = delivery.stop.cancelled() => return Verdict::Release,
        };
        match removed {
            Ok(()) => Verdict::Done,
            Err(FinalizeError::Job(JobStoreError::Stream(error @ StreamError::Decode { .. }))) => {
                Verdict::Poison { why: chain(&error) }
            }
            Err(error) => {
                self.metrics.retried.inc();
                Verdict::Retry { after: delivery.backoff(Duration::from_secs(60)), why: chain(&error) }
            }
        }
    }

    /// Deletes everything of a job whose last event is its removal, but for that event. Repeating it changes nothing.
    ///
    /// # Errors
    /// When a step failed and may be tried again.
    #[instrument(skip_all, fields(%job_id))]
    pub async fn remove(&self, job_id: &JobId) -> Result<(), FinalizeError> {
        let Some(removal) = self.jobs.removal(job_id).await? else { return Ok(()) };
        let record = &removal.record;
        self.let_pods_go(record).await?;
        if let Some(store) = self.jobs.objects() {
            delete_below(store, &objects::job_prefix(store.prefix(), job_id), |_| true).await?;
            if !self.keep_archives {
                for key in archives(record, store.prefix()) {
                    store.delete(&key).await?;
                }
            }
        } else if record.archive.key.is_some() {
            warn!("no bucket is configured: what the removed job has there stays");
        }
        failpoint::reach("finalizer.amid-removal");
        self.jobs.forget_results(&record.process_id, job_id).await?;
        self.jobs.forget_callbacks(&record.process_id, job_id).await?;
        self.jobs.forget_request(job_id).await?;
        self.jobs.forget_events_before(job_id, removal.sequence).await?;
        self.metrics.removed.inc();
        info!("what was left of the removed job is deleted");
        Ok(())
    }

    async fn let_pods_go(&self, record: &JobRecord) -> Result<(), FinalizeError> {
        let Some(workload) = &record.workload else { return Ok(()) };
        match self.pods.of(workload) {
            Ok(source) => Ok(source.release(&record.job_id, workload, None).await?),
            // It is left to those who serve it: no reason to keep the rest.
            Err(error @ PodsError::NoExecutor(_)) => {
                warn!(error = %chain(&error), "nothing is released");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The job was removed while this attempt stored it: what only this one knows of goes too.
    pub(crate) async fn discard(
        &self,
        record: &JobRecord,
        epoch: &Epoch,
        archive: &Archive,
    ) -> Result<(), FinalizeError> {
        info!("the job was removed meanwhile: what was stored of it is deleted");
        if let (Some(store), Some(key), false) = (self.jobs.objects(), &archive.key, self.keep_archives) {
            store.delete(key).await?;
        }
        self.drop_attempt(record, epoch).await
    }

    /// A dismissed job has no results: those of an attempt at storing that was cut by the dismissal are deleted.
    pub(crate) async fn drop_results(&self, record: &JobRecord) -> Result<(), FinalizeError> {
        if record.status != Status::Dismissed || record.attempt == 0 {
            return Ok(());
        }
        if let Some(store) = self.jobs.objects() {
            delete_below(store, &objects::results_prefix(store.prefix(), &record.job_id), |_| true).await?;
        }
        Ok(self.jobs.forget_results(&record.process_id, &record.job_id).await?)
    }
}

/// Where the archive of a job is, or may be: one that was written, and not told of before the job was removed, is where
/// its name and its day say.
fn archives(record: &JobRecord, prefix: &str) -> Vec<String> {
    let untold = record.workload.as_ref().filter(|_| record.archive.state != ArchiveState::Off);
    let untold = untold.map(|workload| objects::archive(prefix, seal::ended_at(record), &workload.job_name));
    let mut keys: Vec<String> = record.archive.key.iter().cloned().chain(untold).collect();
    keys.dedup();
    keys
}

/// Deletes the objects below a prefix of whose key this is true.
pub(crate) async fn delete_below(
    store: &ObjectStore,
    prefix: &str,
    is_doomed: impl Fn(&str) -> bool,
) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    loop {
        let page = store.list(prefix, after.as_deref(), PAGE).await?;
        for object in page.iter().filter(|object| is_doomed(&object.key)) {
            store.delete(&object.key).await?;
        }
        after = page.last().map(|last| last.key.clone()).filter(|_| page.len() == usize::from(PAGE));
        if after.is_none() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::job_record::{ExecutorKind, Workload};

    use super::*;

    #[test]
    fn the_archive_is_where_the_record_says_or_where_it_would_have_been() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let id = JobId::generate(1);
        let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        record.finished = Some(now);
        assert!(archives(&record, "logs/").is_empty(), "it was never launched");
        record.workload = Some(Workload::new(ExecutorKind::Local, "n", "j"));
        assert_eq!(archives(&record, "logs/"), ["logs/2026-01-31_j-logs.txt"]);
        record.archive.key = Some("logs/2026-01-31_j-logs.txt".into());
        assert_eq!(archives(&record, "logs/").len(), 1);
        record.archive.key = Some("before/2026-01-31_j-logs.txt".into());
        assert_eq!(archives(&record, "logs/").len(), 2, "the prefix was another one");
        record.archive = Archive::new(ArchiveState::Off);
        assert!(archives(&record, "logs/").is_empty());
    }
}
