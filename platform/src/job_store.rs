//! The state of jobs: read from the stream's leader, then from the bucket; moved forward by compare-and-set.

use protocol::{
    Event, ExecutionRequest, JobEvent, JobId, JobRecord, Manifest,
    names::{objects, subjects},
};
use tracing::warn;

use crate::{
    nats::Nats,
    object_store::{ObjectStore, StoreError},
    publish::{self, StreamError, Written},
};

/// Reads and writes job records; cheap to clone.
#[derive(Clone)]
pub struct JobStore {
    nats: Nats,
    objects: Option<ObjectStore>,
}

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The record.
    pub record: JobRecord,
    /// The event that told it; `None` when only the execution request or the bucket knows the job.
    pub event: Option<Event>,
    /// Sequence of that event; 0 when there is none.
    pub sequence: u64,
}

/// What [`JobStore::advance`] is to do with what it read.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write this event and record.
    Write(Event, Box<JobRecord>),
    /// Nothing: the job is where it should be, or beyond.
    Leave,
}

/// What [`JobStore::advance`] did.
#[derive(Debug, Clone, PartialEq)]
pub enum Advanced {
    /// The step was written; this is the job now.
    Written(Stored),
    /// The step was [`Step::Leave`]; this is the job as read.
    Left(Stored),
    /// There is no such job, or it was removed.
    NoJob,
}

/// A job can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JobStoreError {
    /// The stream failed.
    #[error("the stream failed")]
    Stream(#[from] StreamError),
    /// The bucket failed.
    #[error("the bucket failed")]
    Objects(#[from] StoreError),
    /// Others wrote each time between reading and writing.
    #[error("the record of job {0} changed too often while it was being written")]
    Contended(JobId),
}

/// A manifest is a record and some lines for each container.
const MANIFEST_LIMIT: u64 = 8 * 1024 * 1024;
const CONFLICTS: u32 = 32;

impl JobStore {
    /// A store on this stream, and on this bucket where there is one.
    pub fn new(nats: Nats, objects: Option<ObjectStore>) -> Self {
        Self { nats, objects }
    }

    /// The connection this store uses.
    pub fn nats(&self) -> &Nats {
        &self.nats
    }

    /// The bucket this store uses.
    pub fn objects(&self) -> Option<&ObjectStore> {
        self.objects.as_ref()
    }

    /// The job: its last event, else its execution request, else its manifest in the bucket. A removed job is `None`.
    ///
    /// # Errors
    /// When stream or bucket did not answer, or hold what can't be read.
    pub async fn job(&self, job: &JobId) -> Result<Option<Stored>, JobStoreError> {
        if let Some(stored) = self.in_stream(job).await? {
            return Ok((stored.event != Some(Event::Removed)).then_some(stored));
        }
        let manifest = self.manifest(job).await?;
        Ok(manifest.map(|manifest| Stored { record: manifest.record, event: None, sequence: 0 }))
    }

    async fn in_stream(&self, job: &JobId) -> Result<Option<Stored>, JobStoreError> {
        if let Some(message) = publish::last(&self.nats, &subjects::events_of_job(job)).await? {
            let event: JobEvent = decode(&message.subject, &message.payload)?;
            let kind = subjects::parse_event(&message.subject).map(|(_, _, kind)| kind);
            return Ok(Some(Stored { record: event.into_record(), event: kind, sequence: message.sequence }));
        }
        let request = self.execution(job).await?;
        Ok(request.map(|request| Stored { record: request.record, event: None, sequence: 0 }))
    }

    /// The execution request of a job, while there is one.
    ///
    /// # Errors
    /// When the stream did not answer, or the request can't be read.
    pub async fn execution(&self, job: &JobId) -> Result<Option<ExecutionRequest>, JobStoreError> {
        let message = publish::last(&self.nats, &subjects::execution_of_job(job)).await?;
        Ok(message.map(|message| decode(&message.subject, &message.payload)).transpose()?)
    }

    /// The manifest of a job that counts; `None` without bucket or manifest.
    ///
    /// # Errors
    /// When the bucket did not answer. A manifest that can't be read is logged, and none.
    pub async fn manifest(&self, job: &JobId) -> Result<Option<Manifest>, JobStoreError> {
        let Some(objects) = &self.objects else { return Ok(None) };
        let key = objects::manifest(objects.prefix(), job);
        let Some(bytes) = objects.get(&key, MANIFEST_LIMIT).await? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) => {
                warn!(%key, %error, "a manifest can't be read");
                Ok(None)
            }
        }
    }

    /// Moves a job forward: reads it, lets `decide` say what to write, writes it unless someone else wrote since, and
    /// starts over in that case. `decide` is pure: it may be called several times.
    ///
    /// # Errors
    /// When the stream did not answer; whether the step was written is then unknown.
    pub async fn advance(
        &self,
        job: &JobId,
        decide: impl Fn(&Stored) -> Step + Send,
    ) -> Result<Advanced, JobStoreError> {
        for _ in 0..CONFLICTS {
            let Some(stored) = self.in_stream(job).await? else { return Ok(Advanced::NoJob) };
            if stored.event == Some(Event::Removed) {
                return Ok(Advanced::NoJob);
            }
            let Step::Write(event, record) = decide(&stored) else { return Ok(Advanced::Left(stored)) };
            let written = publish::event(&self.nats, event, (*record).clone(), stored.sequence).await?;
            if let Written::Won { sequence } = written {
                return Ok(Advanced::Written(Stored { record: *record, event: Some(event), sequence }));
            }
        }
        Err(JobStoreError::Contended(*job))
    }
}

fn decode<T: serde::de::DeserializeOwned>(subject: &str, payload: &[u8]) -> Result<T, StreamError> {
    serde_json::from_slice(payload).map_err(|source| StreamError::Decode { subject: subject.to_owned(), source })
}
