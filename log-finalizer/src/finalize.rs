//! One job: read its log, store everything, seal it, let its pod go.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use platform::{
    consume::{Delivery, Verdict},
    failpoint,
    job_store::{Advanced, JobStore, JobStoreError, Step, Stored},
    object_store::{ObjectStore, StoreError},
    publish::{self, StreamError},
    telemetry::chain,
};
use protocol::{
    Event, JobId, JobRecord, Manifest, SCHEMA,
    job_id::Epoch,
    job_record::{Archive, ArchiveState, Phase, Place, Reason, Status},
    manifest::{ContainerLog, Gap},
    names::{objects, subjects},
};
use tracing::{error, info, instrument, warn};

use crate::{
    collect::{self, CollectError, Kept},
    follow,
    metrics::Metrics,
    pods::{Pods, PodsError, ResultAnnotations},
    release, result,
    seal::{self, Findings, Todo},
    settings::FinalizerSettings,
};

/// How long a piece of work may still take after the process was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(8);
/// Content type of a manifest.
const JSON: &str = "application/json";

/// Everything that finalizing needs; cheap to clone.
#[derive(Clone)]
pub struct Finalizer {
    /// Records, the stream and the bucket.
    pub jobs: JobStore,
    /// The executors.
    pub pods: Pods,
    /// Settings.
    pub settings: Arc<FinalizerSettings>,
    /// Counts.
    pub metrics: Metrics,
}

/// A step failed for a passing cause.
#[derive(Debug, thiserror::Error)]
pub enum FinalizeError {
    /// The record can't be read or written.
    #[error("the record can't be read or written")]
    Job(#[from] JobStoreError),
    /// The stream failed.
    #[error("the result can't be kept in the stream")]
    Stream(#[from] StreamError),
    /// The executor failed.
    #[error("the executor failed")]
    Pods(#[from] PodsError),
    /// The bucket failed.
    #[error("the bucket failed")]
    Store(#[from] StoreError),
    /// A manifest can't be written as JSON.
    #[error("the manifest can't be written as JSON")]
    Encode(#[from] serde_json::Error),
}

impl From<CollectError> for FinalizeError {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::Log(error) => Self::Pods(error),
            CollectError::Store(error) => Self::Store(error),
        }
    }
}

/// What was taken from a job's pod.
struct Taken {
    archive: Archive,
    containers: Vec<ContainerLog>,
    gaps: Vec<Gap>,
    findings: Findings,
    annotations: Option<ResultAnnotations>,
}

impl Finalizer {
    /// Handles one message of the queue.
    pub async fn handle(self, delivery: Delivery) -> Verdict {
        let Some((_, job_id, event)) = subjects::parse_event(&delivery.subject) else {
            return Verdict::Poison { why: "the subject is none of an event".to_owned() };
        };
        if event == Event::Running {
            return follow::follow(&job_id);
        }
        let stop = delivery.stop.clone();
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        let outcome = tokio::select! {
            outcome = self.advance(&job_id) => outcome,
            // What was begun is dropped: nothing of it is visible.
            () = stopped => return Verdict::Release,
        };
        match outcome {
            Ok(()) => Verdict::Done,
            Err(error) => {
                self.metrics.retried.inc();
                Verdict::Retry { after: delivery.backoff(self.settings.retry_limit), why: chain(&error) }
            }
        }
    }

    /// Does what the job's record asks for, until it asks for nothing more. Repeating it changes nothing.
    ///
    /// # Errors
    /// When a step failed and may be tried again.
    #[instrument(skip_all, fields(%job_id))]
    pub async fn advance(&self, job_id: &JobId) -> Result<(), FinalizeError> {
        let Some(stored) = self.jobs.job(job_id).await? else { return Ok(()) };
        match seal::todo(&stored.record, self.jobs.objects().is_some()) {
            Todo::Nothing => Ok(()),
            Todo::Seal => match self.seal(&stored).await {
                Err(FinalizeError::Store(error)) => self.postpone(&stored.record, error).await,
                other => other,
            },
            Todo::ArchiveLate => self.archive_late(&stored.record).await,
            Todo::Release => release::again(self, &stored.record).await,
        }
    }

    async fn seal(&self, stored: &Stored) -> Result<(), FinalizeError> {
        let record = &stored.record;
        let epoch = Epoch::generate();
        let Some(taken) = self.take(record, &epoch, Phase::Ended).await? else {
            return Box::pin(self.advance(&record.job_id)).await;
        };
        if taken.archive.state == ArchiveState::Unavailable {
            error!("log storage is not configured: the log is not archived, its pod stays");
        }
        let Some((event, sealed)) = seal::sealed(record, &taken.findings, Timestamp::now()) else { return Ok(()) };
        let manifest = self.write_epoch_manifest(&epoch, &sealed, &taken).await?;
        failpoint::reach("finalizer.before-seal");
        let advanced = self
            .jobs
            .advance(&record.job_id, |found| {
                let step = if found.sequence == stored.sequence {
                    Some((event, sealed.clone()))
                } else {
                    // Only progress was told meanwhile, or this finds the record terminal.
                    seal::sealed(&found.record, &taken.findings, Timestamp::now())
                };
                step.map_or(Step::Leave, |(event, record)| Step::Write(event, Box::new(record)))
            })
            .await?;
        match advanced {
            Advanced::Written(won) => {
                info!(status = %won.record.status, archive = ?won.record.archive.state, "sealed");
                self.metrics.sealed(&won.record);
                let manifest = manifest.map(|manifest| Manifest { record: won.record.clone(), ..manifest });
                release::first(self, &won.record, manifest, taken.annotations).await
            }
            Advanced::Left(lost) => self.after_loss(&lost.record, &epoch, &taken.archive).await,
            Advanced::NoJob => Ok(()),
        }
    }

    /// Stores the log of a job that is terminal already, tells it, lets the pod go.
    async fn archive_late(&self, record: &JobRecord) -> Result<(), FinalizeError> {
        let epoch = Epoch::generate();
        let taken = match self.take(record, &epoch, Phase::Terminal).await {
            Err(FinalizeError::Store(error)) if self.is_hopeless(record) => {
                warn!(error = %chain(&error), "the log is given up");
                Taken::missing(seal::gap(None, "log storage was not available in time"), None)
            }
            other => {
                let Some(taken) = other? else { return Box::pin(self.advance(&record.job_id)).await };
                taken
            }
        };
        let results = self.move_results(record, &epoch).await?;
        let decide = |found: &JobRecord| seal::archived(found, &taken.archive, &results, Timestamp::now());
        let Some(told) = decide(record) else { return Ok(()) };
        let manifest = self.write_epoch_manifest(&epoch, &told, &taken).await?;
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
            Advanced::NoJob => Ok(()),
        }
    }

    /// Takes log and result of a job in `phase`; `None` when the job left that phase meanwhile, so that nothing of it may
    /// be overwritten any more.
    async fn take(&self, record: &JobRecord, epoch: &Epoch, phase: Phase) -> Result<Option<Taken>, FinalizeError> {
        let Some(workload) = &record.workload else {
            let failure = Some(seal::not_collected(None));
            return Ok(Some(Taken::missing(self.absent(record, epoch, "the job was never launched"), failure)));
        };
        let source = self.pods.of(workload)?;
        let pod = match source.pod(&record.job_id, workload).await {
            Err(error) if self.is_hopeless(record) => {
                warn!(error = %chain(&error), "the pod is given up");
                None
            }
            found => found?,
        };
        let Some(mut pod) = pod else {
            let why = match &workload.pod_name {
                Some(_) => "the pod was gone before its log was read",
                None => "the job had no pod",
            };
            let failure = Some(seal::not_collected(None));
            return Ok(Some(Taken::missing(self.absent(record, epoch, why), failure)));
        };
        let is_success = record.outcome.as_ref().is_some_and(|outcome| outcome.is_success());
        for main in pod.containers.iter_mut().filter(|container| container.main) {
            // Whatever its status says, a log that may hold a result is never taken for an empty one.
            main.started |= is_success;
        }
        let store = self.jobs.objects();
        let is_wanted = record.archive.state != ArchiveState::Off;
        let key = |store: &ObjectStore| objects::archive(store.prefix(), seal::ended_at(record), &workload.job_name);
        let target = store.filter(|_| is_wanted).map(|store| (store, key(store)));
        let archive = target.as_ref().map(|(store, key)| store.writer(key, "text/plain; charset=utf-8"));
        let sink = if phase == Phase::Ended { result::sink(record, epoch, store) } else { result::Sink::None };
        let is_late = seal::is_past(record, self.settings.log_deadline, Timestamp::now());
        let read = collect::read(source, workload, &pod, archive, sink, is_late).await?;
        match self.jobs.job(&record.job_id).await {
            Ok(Some(now)) if now.record.phase() == phase && !now.record.is_settled() => {}
            other => {
                read.abort().await;
                other?;
                return Ok(None);
            }
        }
        let kept = read.keep().await?;
        let archive = self.archive_of(record, epoch, target.map(|(_, key)| key), &kept);
        self.metrics.stored(&kept);
        let findings = self.findings(record, epoch, archive.clone(), &kept).await?;
        let annotations = kept.main_gap.is_none().then(|| result::annotations(&kept.result));
        Ok(Some(Taken { archive, containers: kept.containers, gaps: kept.gaps, findings, annotations }))
    }

    fn archive_of(&self, record: &JobRecord, epoch: &Epoch, key: Option<String>, kept: &Kept) -> Archive {
        let epoch = self.jobs.objects().map(|_| epoch.clone());
        let gaps = seal::public_gaps(&kept.gaps);
        match &kept.archive {
            Some(stored) => Archive {
                state: if gaps.is_empty() { ArchiveState::Stored } else { ArchiveState::Gap },
                key,
                size: Some(stored.size),
                sha256: Some(stored.sha256.clone()),
                epoch,
                gaps,
            },
            None if record.archive.state == ArchiveState::Off => Archive { epoch, ..Archive::new(ArchiveState::Off) },
            None if record.status == Status::Dismissed => seal::gap(None, "log storage is not configured"),
            None => Archive::new(ArchiveState::Unavailable),
        }
    }

    /// The archive of a job without a pod: there is no object, as there is nothing to say in it.
    fn absent(&self, record: &JobRecord, epoch: &Epoch, why: &str) -> Archive {
        let epoch = self.jobs.objects().map(|_| epoch);
        if record.archive.state == ArchiveState::Off {
            Archive { epoch: epoch.cloned(), ..Archive::new(ArchiveState::Off) }
        } else {
            seal::gap(epoch, format!("{why}: there is no log"))
        }
    }

    async fn findings(
        &self,
        record: &JobRecord,
        epoch: &Epoch,
        archive: Archive,
        kept: &Kept,
    ) -> Result<Findings, FinalizeError> {
        let is_success = record.outcome.as_ref().is_some_and(|outcome| outcome.is_success());
        let mut findings = Findings { archive, results: Vec::new(), failure: None };
        if !is_success || record.phase() != Phase::Ended {
            return Ok(findings);
        }
        if kept.main_gap.is_some() {
            findings.failure = Some(seal::not_collected(None));
            return Ok(findings);
        }
        let prefix = self.jobs.objects().map(ObjectStore::prefix);
        findings.results = result::outputs(record, epoch, prefix, &kept.result);
        if let Some(Place::Stream(subject)) = findings.results.first().map(|result| result.place.clone()) {
            match kept.result.message.clone() {
                Some(message) => publish::result(self.jobs.nats(), subject, message).await?,
                None => {
                    let size = kept.result.stored.size;
                    let message = format!(
                        "the result of {size} bytes can't be stored: log storage is not configured, and without it \
                         a result may have {} bytes",
                        result::STREAM_LIMIT
                    );
                    findings.failure = Some((Reason::StoreUnavailable, message));
                }
            }
        }
        Ok(findings)
    }

    /// The bucket fails: say so in the record and try again later, or fail the job once its time is over.
    async fn postpone(&self, record: &JobRecord, failure: StoreError) -> Result<(), FinalizeError> {
        let why = failure.public_cause();
        if !self.is_hopeless(record) {
            self.jobs
                .advance(&record.job_id, |found| match seal::waiting(&found.record, &why, Timestamp::now()) {
                    Some(record) => Step::Write(Event::Progress, Box::new(record)),
                    None => Step::Leave,
                })
                .await?;
            return Err(FinalizeError::Store(failure));
        }
        error!(error = %chain(&failure), "the bucket was not available in time: the job fails, its log is given up");
        let message = format!("the execution ended, but its result could not be stored: {why}");
        let findings = Findings {
            archive: seal::gap(None, "log storage was not available in time"),
            results: Vec::new(),
            failure: Some((Reason::StoreUnavailable, message)),
        };
        let advanced = self
            .jobs
            .advance(&record.job_id, |found| match seal::sealed(&found.record, &findings, Timestamp::now()) {
                Some((event, record)) => Step::Write(event, Box::new(record)),
                None => Step::Leave,
            })
            .await?;
        match advanced {
            Advanced::Written(won) => {
                self.metrics.sealed(&won.record);
                release::first(self, &won.record, None, None).await
            }
            Advanced::Left(_) | Advanced::NoJob => Ok(()),
        }
    }

    /// True once storing has been tried for as long as it may be.
    pub(crate) fn is_hopeless(&self, record: &JobRecord) -> bool {
        seal::is_past(record, self.settings.seal_deadline, Timestamp::now())
    }

    async fn write_epoch_manifest(
        &self,
        epoch: &Epoch,
        record: &JobRecord,
        taken: &Taken,
    ) -> Result<Option<Manifest>, FinalizeError> {
        let Some(store) = self.jobs.objects() else { return Ok(None) };
        let manifest = Manifest {
            schema: SCHEMA,
            epoch: epoch.clone(),
            written: Timestamp::now(),
            record: record.clone(),
            containers: taken.containers.clone(),
            gaps: taken.gaps.clone(),
            parts: Vec::new(),
        };
        let key = objects::epoch_manifest(store.prefix(), &record.job_id, epoch);
        if record.archive.epoch.is_some() {
            store.put(&key, serde_json::to_vec(&manifest)?.into(), JSON).await?;
        }
        Ok(Some(manifest))
    }

    /// Results that wait in the stream go into the bucket once there is one.
    async fn move_results(
        &self,
        record: &JobRecord,
        epoch: &Epoch,
    ) -> Result<Vec<protocol::job_record::StoredResult>, FinalizeError> {
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

    /// Another attempt won: what only this one names is deleted.
    async fn after_loss(&self, record: &JobRecord, epoch: &Epoch, archive: &Archive) -> Result<(), FinalizeError> {
        if record.archive.key == archive.key && record.archive.sha256 != archive.sha256 && archive.sha256.is_some() {
            warn!("the archive was written again with another text than the record names");
        }
        if let Some(store) = self.jobs.objects() {
            store.delete(&objects::epoch_manifest(store.prefix(), &record.job_id, epoch)).await?;
            for place in release::own_results(store.prefix(), record, epoch) {
                store.delete(&place).await?;
            }
        }
        Box::pin(self.advance(&record.job_id)).await
    }
}

impl Taken {
    /// Nothing could be taken.
    fn missing(archive: Archive, failure: Option<(Reason, String)>) -> Self {
        let findings = Findings { archive: archive.clone(), results: Vec::new(), failure };
        Self { archive, containers: Vec::new(), gaps: Vec::new(), findings, annotations: None }
    }
}
