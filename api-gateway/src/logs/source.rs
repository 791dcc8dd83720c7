//! Finds what there is of a job's log.

use std::{future::Future, sync::Arc};

use platform::{
    job_store::{JobStore, JobStoreError},
    log_parts::{self, PartsError},
    object_store::StoreError,
};
use protocol::{
    JobRecord, Manifest,
    job_record::{ArchiveState, Status},
    ledger::tail::Question,
    names::objects,
};
use tokio::runtime::Handle;

use super::{
    MOST_PARTS,
    follower::Follower,
    known::{self, Known},
};
use crate::{
    app::Gateway,
    error::GatewayError,
    jobs::{Jobs, LookupError},
};

/// A manifest is a record and some lines for each container.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// A log can't be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Parts.
    #[error("the parts of the log can't be found")]
    Parts(#[from] PartsError),
    /// Bucket.
    #[error("the log can't be read from the bucket")]
    Bucket(#[from] StoreError),
    /// Manifest.
    #[error("the manifest of the job can't be read")]
    Manifest(#[source] JobStoreError),
    /// Job.
    #[error("the job can't be read")]
    Job(#[from] LookupError),
    /// The job was removed.
    #[error("the job was removed")]
    Removed,
    /// Bytes that had been there are not.
    #[error("the log ends before bytes that it had")]
    Shorter,
    /// Nothing came for long.
    #[error("nobody has the bytes of the log for the moment")]
    Stalled,
    /// The archive has no manifest, or can't be read without it.
    #[error("the archive or its manifest is not at its place")]
    NoManifest,
    /// A defect of ours.
    #[error("the task that reads the log was lost")]
    Lost,
}

impl From<ReadError> for GatewayError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Job(error) => error.into(),
            ReadError::Removed => Self::NoSuchJob,
            ReadError::Parts(PartsError::TooMany(_)) => Self::NoLog(
                "the log is too long to be read while the job runs: it can be read once it is archived".into(),
            ),
            ReadError::NoManifest | ReadError::Shorter | ReadError::Lost => Self::Internal(Box::new(error)),
            ReadError::Parts(_) | ReadError::Bucket(_) | ReadError::Manifest(_) | ReadError::Stalled => {
                Self::Unavailable(Box::new(error))
            }
        }
    }
}

/// Where the log of a job comes from; cheap to clone.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) store: JobStore,
    pub(super) follower: Follower,
    pub(super) record: Arc<JobRecord>,
    jobs: Jobs,
    runtime: Handle,
}

/// What there is of a log.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// The log of each container, in their order.
    pub logs: Vec<Known>,
    /// What is known to be missing.
    pub gaps: u64,
    /// True when these are all that there will ever be.
    pub is_all: bool,
}

impl Source {
    /// Of the log of this job.
    pub(super) fn of(gateway: &Gateway, record: Arc<JobRecord>) -> Self {
        let follower = Follower::of(&record, gateway.store.nats().client.clone());
        let (store, jobs, runtime) = (gateway.store.clone(), gateway.jobs.clone(), gateway.runtime.clone());
        Self { store, follower, record, jobs, runtime }
    }

    /// Everything that there is now: of the archive, if there is one. Call it where the clients were made.
    pub(super) async fn find(&self) -> Result<Found, ReadError> {
        let record = self.jobs.find(&self.record.job_id).await?.ok_or(ReadError::Removed)?;
        match self.archived(&record).await? {
            Some(found) => Ok(found),
            None => self.live(&record).await,
        }
    }

    /// The same, only of the archive.
    pub(super) async fn find_archived(&self) -> Result<Option<Found>, ReadError> {
        let record = self.jobs.find(&self.record.job_id).await?.ok_or(ReadError::Removed)?;
        self.archived(&record).await
    }

    /// Does something where the clients were made.
    pub(super) async fn there<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ReadError>> + Send + 'static,
    ) -> Result<T, ReadError> {
        self.runtime.spawn(work).await.unwrap_or(Err(ReadError::Lost))
    }

    async fn archived(&self, record: &JobRecord) -> Result<Option<Found>, ReadError> {
        let Some(key) = record.archive.key.as_deref().filter(|_| record.archive.is_readable()) else {
            return Ok(None);
        };
        let manifest = self.manifest(record).await?.ok_or(ReadError::NoManifest)?;
        let gaps = u64::try_from(record.archive.gaps.len()).unwrap_or(u64::MAX);
        Ok(Some(Found { logs: known::archived(&manifest, key), gaps, is_all: true }))
    }

    /// The manifest of the attempt that stored the archive: it is there before the record names it.
    async fn manifest(&self, record: &JobRecord) -> Result<Option<Manifest>, ReadError> {
        let (Some(epoch), Some(objects)) = (&record.archive.epoch, self.store.objects()) else {
            return self.store.manifest(&record.job_id).await.map_err(ReadError::Manifest);
        };
        let key = objects::epoch_manifest(objects.prefix(), &record.job_id, epoch);
        let bytes = objects.get(&key, MANIFEST_LIMIT).await?;
        match bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            Some(manifest) => Ok(Some(manifest)),
            None => self.store.manifest(&record.job_id).await.map_err(ReadError::Manifest),
        }
    }

    async fn live(&self, record: &JobRecord) -> Result<Found, ReadError> {
        let chains = async {
            match self.store.objects() {
                Some(objects) => log_parts::load(objects, &record.job_id, MOST_PARTS).await,
                None => Ok(Vec::new()),
            }
        };
        // A log may end up in parts meanwhile, and is not read twice for that.
        let answer = self.follower.ask(&Question::Logs).await.map(|(answer, _)| answer);
        let logs = known::live(chains.await?, answer.as_ref(), self.store.objects().is_some());
        let gaps = answer.iter().flat_map(|answer| &answer.logs).map(|log| log.gaps).sum();
        let is_all = record.status.is_terminal() && record.archive.state != ArchiveState::Pending;
        Ok(Found { logs, gaps, is_all })
    }
}

/// Whether the log of a job may be read although it is not archived.
pub(super) fn is_live(record: &JobRecord) -> bool {
    match record.archive.state {
        ArchiveState::Pending => true,
        ArchiveState::Unavailable => matches!(record.status, Status::Accepted | Status::Running),
        ArchiveState::Off | ArchiveState::Stored | ArchiveState::Gap | ArchiveState::Other(_) => false,
    }
}
