//! The state of jobs: read from the stream's leader, then from the bucket; moved forward by compare-and-set.

use protocol::{
    Event, ExecutionRequest, JobEvent, JobId, JobRecord, Manifest,
    names::{objects, subjects},
};
use tracing::warn;

use crate::{
    nats::Nats,
    object_store::{ObjectStore, StoreError},
    publish::{self, LastMessage, StreamError, Written},
    telemetry,
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
    /// The event that told it; `None` when none did (see [`Self::is_told`]), or one of a newer version.
    pub event: Option<Event>,
    /// Sequence of that event; 0 when there is none.
    pub sequence: u64,
}

impl Stored {
    /// True when an event in the stream told of the job, be it one that this version does not know; false when only the
    /// execution request or the bucket knows the job.
    pub fn is_told(&self) -> bool {
        self.sequence > 0
    }
}

/// Where a job is looked for.
#[derive(Debug, Clone, Copy)]
enum Reach {
    Stream,
    Anywhere,
}

/// What the stream holds of a job.
enum InStream {
    Nothing,
    Removed,
    Job(Box<Stored>),
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

/// What [`JobStore::import`] did.
#[derive(Debug, Clone, PartialEq)]
pub enum Imported {
    /// The job is there now.
    New,
    /// There is a job of that id; this is how it is.
    Known(Box<Stored>),
    /// A job of that id was removed.
    Removed,
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
        Ok(match self.anywhere(job).await? {
            InStream::Job(stored) => Some(*stored),
            InStream::Removed | InStream::Nothing => None,
        })
    }

    /// The removal of a job, as long as it is kept: what is left of its record.
    ///
    /// # Errors
    /// When the stream did not answer, or what it tells of the removal can't be read.
    pub async fn removal(&self, job: &JobId) -> Result<Option<Stored>, JobStoreError> {
        let Some(message) = publish::last(&self.nats, &subjects::events_of_job(job)).await? else { return Ok(None) };
        let event = subjects::parse_event(&message.subject).map(|(_, _, event)| event);
        if event != Some(Event::Removed) {
            return Ok(None);
        }
        let record = decode::<JobEvent>(&message.subject, &message.payload)?.into_record();
        Ok(Some(Stored { record, event, sequence: message.sequence }))
    }

    async fn anywhere(&self, job: &JobId) -> Result<InStream, JobStoreError> {
        let found = self.in_stream(job).await?;
        if !matches!(found, InStream::Nothing) {
            return Ok(found);
        }
        let manifest = self.manifest(job).await?;
        let stored = |manifest: Manifest| Stored { record: manifest.record, event: None, sequence: 0 };
        Ok(manifest.map_or(InStream::Nothing, |manifest| InStream::Job(Box::new(stored(manifest)))))
    }

    async fn in_stream(&self, job: &JobId) -> Result<InStream, JobStoreError> {
        if let Some(message) = publish::last(&self.nats, &subjects::events_of_job(job)).await? {
            return Ok(told(&message)?);
        }
        Ok(match self.execution(job).await? {
            Some(request) => InStream::Job(Box::new(Stored { record: request.record, event: None, sequence: 0 })),
            None => InStream::Nothing,
        })
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
                warn!(%key, error = telemetry::json_error(&error), "a manifest can't be read");
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
        self.write(job, decide, Reach::Stream).await
    }

    /// As [`Self::advance`], also for a job of which only the bucket knows any more.
    ///
    /// # Errors
    /// As [`Self::advance`], and when the bucket did not answer.
    pub async fn advance_anywhere(
        &self,
        job: &JobId,
        decide: impl Fn(&Stored) -> Step + Send,
    ) -> Result<Advanced, JobStoreError> {
        self.write(job, decide, Reach::Anywhere).await
    }

    /// Takes in a job that was made without an execution request, unless there is or was one of that id.
    ///
    /// # Errors
    /// As [`Self::advance_anywhere`].
    pub async fn import(&self, event: Event, record: &JobRecord) -> Result<Imported, JobStoreError> {
        for _ in 0..CONFLICTS {
            match self.anywhere(&record.job_id).await? {
                InStream::Job(stored) => return Ok(Imported::Known(stored)),
                InStream::Removed => return Ok(Imported::Removed),
                InStream::Nothing => {}
            }
            if let Written::Won { .. } = publish::event(&self.nats, event, record.clone(), 0).await? {
                return Ok(Imported::New);
            }
        }
        Err(JobStoreError::Contended(record.job_id))
    }

    async fn write(
        &self,
        job: &JobId,
        decide: impl Fn(&Stored) -> Step + Send,
        reach: Reach,
    ) -> Result<Advanced, JobStoreError> {
        for _ in 0..CONFLICTS {
            let found = match reach {
                Reach::Stream => self.in_stream(job).await?,
                Reach::Anywhere => self.anywhere(job).await?,
            };
            let InStream::Job(stored) = found else { return Ok(Advanced::NoJob) };
            let Step::Write(event, record) = decide(&stored) else { return Ok(Advanced::Left(*stored)) };
            let written = publish::event(&self.nats, event, (*record).clone(), stored.sequence).await?;
            if let Written::Won { sequence } = written {
                return Ok(Advanced::Written(Stored { record: *record, event: Some(event), sequence }));
            }
        }
        Err(JobStoreError::Contended(*job))
    }
}

/// What the last event of a job tells. That of a removal need not hold a record.
fn told(message: &LastMessage) -> Result<InStream, StreamError> {
    let event = subjects::parse_event(&message.subject).map(|(_, _, event)| event);
    if event == Some(Event::Removed) {
        return Ok(InStream::Removed);
    }
    let record = decode::<JobEvent>(&message.subject, &message.payload)?.into_record();
    Ok(InStream::Job(Box::new(Stored { record, event, sequence: message.sequence })))
}

fn decode<T: serde::de::DeserializeOwned>(subject: &str, payload: &[u8]) -> Result<T, StreamError> {
    serde_json::from_slice(payload).map_err(|source| StreamError::Decode { subject: subject.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::job_record::ArchiveState;

    use super::*;

    fn last(word: &str, payload: &[u8]) -> LastMessage {
        let subject = format!("jobs.p.{}.{word}", JobId::generate(1000));
        LastMessage { subject, sequence: 7, payload: payload.to_vec().into() }
    }

    #[test]
    fn a_removed_job_is_known_by_the_subject_alone() {
        assert!(matches!(told(&last("removed", br#"{"id": 1}"#)), Ok(InStream::Removed)));
    }

    #[test]
    fn a_job_that_an_event_of_a_newer_version_told_counts_as_told() {
        let id = JobId::generate(1000);
        let record =
            JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), Timestamp::UNIX_EPOCH, ArchiveState::Off);
        let payload = serde_json::to_vec(&JobEvent::new(Event::Progress, record)).unwrap();
        let Ok(InStream::Job(stored)) = told(&last("suspended", &payload)) else { panic!("not read") };
        assert!(stored.event.is_none() && stored.is_told());
    }
}
