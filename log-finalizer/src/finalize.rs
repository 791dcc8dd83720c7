//! One job: read its log, store everything, seal it, let its pod go.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use platform::{
    consume::{Delivery, Verdict},
    failpoint,
    job_store::{Advanced, JobStore, JobStoreError, Step, Stored},
    object_store::StoreError,
    publish::StreamError,
    telemetry::chain,
};
use protocol::{
    Event, JobId, JobRecord, Manifest, SCHEMA,
    job_id::Epoch,
    job_record::{Archive, ArchiveState, Phase, Place, Reason, StoredResult},
    names::{objects, subjects},
};
use tracing::{error, info, instrument, warn};

use crate::{
    collect::CollectError,
    metrics::Metrics,
    pods::{Pods, PodsError},
    release,
    seal::{self, Findings, Todo},
    settings::FinalizerSettings,
    take::Taken,
    tries::{At, Tries},
};

/// How long a piece of work may still take after the process was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(8);
/// Content type of a manifest.
const JSON: &str = "application/json";
/// How many of the longest pauses between two tries may pass until a job counts as not being tried.
const RARELY: u32 = 10;
/// How soon a pod that is about to end is looked at again.
const SOON: Duration = Duration::from_secs(2);

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
    /// What this process has been failing at.
    pub tries: Tries,
    /// The archive of a removed job stays.
    pub keep_archives: bool,
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

impl FinalizeError {
    /// What it says about the bucket and the executor; `None` when nothing.
    fn at(&self) -> Option<At> {
        match self {
            Self::Pods(
                PodsError::Log { .. } | PodsError::LogGone { .. } | PodsError::Running { .. } | PodsError::Starting,
            ) => Some(At::Log),
            Self::Pods(_) | Self::Store(_) => Some(At::Else),
            Self::Job(_) | Self::Stream(_) | Self::Encode(_) => None,
        }
    }
}

impl From<CollectError> for FinalizeError {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::Log(error) => Self::Pods(error),
            CollectError::Store(error) => Self::Store(error),
        }
    }
}

impl Finalizer {
    /// Handles one message of the queue.
    pub async fn handle(self, delivery: Delivery) -> Verdict {
        let Some((_, job_id, event)) = subjects::parse_event(&delivery.subject) else {
            return Verdict::Poison { why: "the subject is none of an event".to_owned() };
        };
        if event == Event::Running {
            // Another consumer's. Filters stay as they are, so that versions side by side do not change each other's.
            return Verdict::Done;
        }
        let stop = delivery.stop.clone();
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        let outcome = tokio::select! {
            outcome = self.advance_once(&job_id, delivery.delivered > 1) => outcome,
            // What was begun is dropped, and what it stored is deleted by who has the message next.
            () = stopped => return Verdict::Release,
        };
        match outcome {
            Ok(()) => Verdict::Done,
            Err(error) => {
                self.metrics.retried.inc();
                let is_ending = matches!(&error, FinalizeError::Pods(PodsError::Running { .. } | PodsError::Starting));
                let after = delivery.backoff(if is_ending { SOON } else { self.settings.retry_limit });
                Verdict::Retry { after, why: chain(&error) }
            }
        }
    }

    /// Does what the job's record asks for, until it asks for nothing more. Repeating it changes nothing.
    ///
    /// # Errors
    /// When a step failed and may be tried again.
    pub async fn advance(&self, job_id: &JobId) -> Result<(), FinalizeError> {
        self.advance_once(job_id, false).await
    }

    /// As [`Self::advance`], for a job that others may have tried before: what they left is deleted, too.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub async fn advance_and_tidy(&self, job_id: &JobId) -> Result<(), FinalizeError> {
        self.advance_once(job_id, true).await
    }

    #[instrument(skip_all, fields(%job_id))]
    async fn advance_once(&self, job_id: &JobId, tidy: bool) -> Result<(), FinalizeError> {
        let began = Instant::now();
        let outcome = async {
            self.step(job_id).await?;
            if tidy { self.tidy(job_id).await } else { Ok(()) }
        };
        let outcome = outcome.await;
        match &outcome {
            Ok(()) => self.tries.succeeded(job_id),
            Err(error) => {
                if let Some(at) = error.at() {
                    let pause = self.settings.retry_limit.saturating_mul(RARELY);
                    self.tries.failed(job_id, at, pause, (began, Instant::now()));
                }
            }
        }
        outcome
    }

    async fn step(&self, job_id: &JobId) -> Result<(), FinalizeError> {
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
        let taken = self.take(record, &epoch, Phase::Ended).await;
        let Some(taken) = self.taking_back(record, &epoch, taken).await? else {
            return Box::pin(self.advance(&record.job_id)).await;
        };
        if taken.archive.state == ArchiveState::Unavailable {
            error!("no bucket is configured: the log is not archived, its pod stays");
        }
        let Some((event, sealed)) = seal::sealed(record, &taken.findings, Timestamp::now()) else { return Ok(()) };
        let manifest = self.write_epoch_manifest(&epoch, &sealed, &taken).await;
        let manifest = self.taking_back(record, &epoch, manifest).await?;
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
                failpoint::reach("finalizer.after-seal");
                let manifest = manifest.map(|manifest| Manifest { record: won.record.clone(), ..manifest });
                release::first(self, &won.record, manifest, taken.annotations).await
            }
            Advanced::Left(lost) => self.after_loss(&lost.record, &epoch, &taken.archive).await,
            Advanced::NoJob => self.discard(record, &epoch, &taken.archive).await,
        }
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
            archive: seal::gap(None, "the bucket was not available in time"),
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
        self.is_over(record, At::Else, self.settings.seal_deadline)
    }

    /// True once reading the log has been tried for as long as it may be.
    pub(crate) fn is_late(&self, record: &JobRecord) -> bool {
        self.is_over(record, At::Log, self.settings.log_deadline)
    }

    /// True once this process has failed for so long at reading the log.
    pub(crate) fn has_failed_for(&self, record: &JobRecord, limit: Duration) -> bool {
        self.is_over(record, At::Log, limit)
    }

    fn is_over(&self, record: &JobRecord, at: At, limit: Duration) -> bool {
        seal::is_past(record, limit, Timestamp::now()) && self.tries.are_for(&record.job_id, at, limit, Instant::now())
    }

    /// Stores what the seal will say, before it says it.
    pub(crate) async fn write_epoch_manifest(
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
            parts: taken.parts.clone(),
            unknown: protocol::Unknown::new(),
        };
        let key = objects::epoch_manifest(store.prefix(), &record.job_id, epoch);
        if record.archive.epoch.is_some() {
            store.put(&key, serde_json::to_vec(&manifest)?.into(), JSON).await?;
        }
        Ok(Some(manifest))
    }

    /// Another attempt won: what only this one names is deleted.
    pub(crate) async fn after_loss(
        &self,
        record: &JobRecord,
        epoch: &Epoch,
        archive: &Archive,
    ) -> Result<(), FinalizeError> {
        if record.archive.key == archive.key && record.archive.sha256 != archive.sha256 && archive.sha256.is_some() {
            warn!("the archive was written again with another text than the record names");
        }
        if let Some(store) = self.jobs.objects().filter(|_| record.archive.epoch.as_ref() != Some(epoch)) {
            store.delete(&objects::epoch_manifest(store.prefix(), &record.job_id, epoch)).await?;
            for place in release::own_results(store.prefix(), record, epoch) {
                store.delete(&place).await?;
            }
        }
        let names_own = |result: &StoredResult| match &result.place {
            Place::Stream(subject) => subject.contains(epoch.as_str()),
            Place::Object(_) | Place::Other(_) => false,
        };
        if !record.results.iter().any(names_own) {
            self.jobs.forget_results_of(&record.process_id, &record.job_id, epoch).await?;
        }
        Box::pin(self.advance(&record.job_id)).await
    }
}
