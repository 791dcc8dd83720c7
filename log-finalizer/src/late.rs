//! A job that is terminal before its log is stored: dismissed, or ended while no bucket was configured.

use jiff::Timestamp;
use platform::{
    failpoint,
    job_store::{Advanced, Step},
    publish,
    telemetry::chain,
};
use protocol::{
    Event, JobRecord, Manifest,
    job_id::Epoch,
    job_record::{ArchiveState, Phase, Place, Status, StoredResult},
    names::objects,
};
use tracing::{error, info, warn};

use crate::{
    finalize::{FinalizeError, Finalizer},
    release, seal,
    take::Taken,
};

impl Finalizer {
    /// Stores the log of a job that is terminal already, tells it, lets the pod go.
    pub(crate) async fn archive_late(&self, record: &JobRecord) -> Result<(), FinalizeError> {
        let epoch = Epoch::generate();
        if self.jobs.objects().is_none() {
            error!("no bucket is configured: the log of a dismissed job is lost");
        }
        let taken = self.take(record, &epoch, Phase::Terminal).await;
        let taken = match self.taking_back(record, &epoch, taken).await {
            // The pod of a job that waited for a bucket goes on waiting: nothing is lost by it.
            Err(FinalizeError::Store(error))
                if record.archive.state != ArchiveState::Unavailable && self.is_hopeless(record) =>
            {
                warn!(error = %chain(&error), "the log is given up");
                Taken::missing(seal::gap(None, "the bucket was not available in time"), None)
            }
            other => {
                let Some(taken) = other? else { return Box::pin(self.advance(&record.job_id)).await };
                taken
            }
        };
        let results = self.move_results(record, &epoch).await;
        let results = self.taking_back(record, &epoch, results).await?;
        let decide = |found: &JobRecord| seal::archived(found, &taken.archive, &results, Timestamp::now());
        let Some(told) = decide(record) else { return Ok(()) };
        let manifest = self.write_epoch_manifest(&epoch, &told, &taken).await;
        let manifest = self.taking_back(record, &epoch, manifest).await?;
        failpoint::reach("finalizer.before-archived");
        let advanced = self
            .jobs
            .advance(&record.job_id, |found| match decide(&found.record) {
                Some(record) => Step::Write(Event::Archived, Box::new(record)),
                None => Step::Leave,
            })
            .await?;
        match advanced {
            Advanced::Written(won) => {
                info!(status = %won.record.status, archive = ?won.record.archive.state, "archived");
                let manifest = manifest.map(|manifest| Manifest { record: won.record.clone(), ..manifest });
                let annotations = taken.annotations.filter(|_| won.record.status != Status::Dismissed);
                release::first(self, &won.record, manifest, annotations).await
            }
            Advanced::Left(lost) => self.after_loss(&lost.record, &epoch, &taken.archive).await,
            Advanced::NoJob => self.discard(record, &epoch, &taken.archive).await,
        }
    }

    /// Results that wait in the stream go into the bucket once there is one.
    async fn move_results(&self, record: &JobRecord, epoch: &Epoch) -> Result<Vec<StoredResult>, FinalizeError> {
        let mut results = record.results.clone();
        let Some(store) = self.jobs.objects() else { return Ok(results) };
        for stored in &mut results {
            let Place::Stream(subject) = &stored.place else { continue };
            let Some(message) = publish::last(self.jobs.nats(), subject).await? else { continue };
            let key = objects::result(store.prefix(), &record.job_id, epoch, &stored.id);
            store.put(&key, message.payload, "application/octet-stream").await?;
            stored.place = Place::Object(key);
        }
        Ok(results)
    }
}
