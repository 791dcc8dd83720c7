//! Deletes messages of jobs that nobody needs any more. Repeating it changes nothing.

use futures::TryStreamExt;
use protocol::{JobId, ProcessId, job_id::Epoch, names::subjects};

use crate::{job_store::JobStore, publish::StreamError};

impl JobStore {
    /// Deletes the execution request of a job. The lease on it ends with it.
    ///
    /// # Errors
    /// When the stream did not answer.
    pub async fn forget_request(&self, job: &JobId) -> Result<(), StreamError> {
        self.purge(subjects::execution_of_job(job), None).await
    }

    /// Deletes the results of a job that are kept in the stream, of whichever attempt.
    ///
    /// # Errors
    /// When the stream did not answer.
    pub async fn forget_results(&self, process: &ProcessId, job: &JobId) -> Result<(), StreamError> {
        self.purge(subjects::results_of(process, job), None).await
    }

    /// Deletes the results that one attempt at storing kept in the stream.
    ///
    /// # Errors
    /// When the stream did not answer.
    pub async fn forget_results_of(&self, process: &ProcessId, job: &JobId, epoch: &Epoch) -> Result<(), StreamError> {
        self.purge(subjects::results_of_attempt(process, job, epoch), None).await
    }

    /// Deletes the results of a job that are kept in the stream on subjects that are not `wanted`.
    ///
    /// # Errors
    /// When the stream did not answer.
    pub async fn forget_results_but(
        &self,
        process: &ProcessId,
        job: &JobId,
        wanted: impl Fn(&str) -> bool + Send,
    ) -> Result<(), StreamError> {
        let listed = self.nats().stream.info_with_subjects(subjects::results_of(process, job)).await;
        let mut listed = listed.map_err(|error| StreamError::Read(Box::new(error)))?;
        while let Some((subject, _)) = listed.try_next().await.map_err(|error| StreamError::Read(Box::new(error)))? {
            if !wanted(&subject) {
                self.purge(subject, None).await?;
            }
        }
        Ok(())
    }

    /// Deletes the events of a job that are older than the one of this sequence.
    ///
    /// # Errors
    /// When the stream did not answer.
    pub async fn forget_events_before(&self, job: &JobId, sequence: u64) -> Result<(), StreamError> {
        self.purge(subjects::events_of_job(job), Some(sequence)).await
    }

    /// Deletes all there is about the callbacks of a job. The leases on its deliveries end with it.
    ///
    /// # Errors
    /// When the stream did not answer.
    pub async fn forget_callbacks(&self, process: &ProcessId, job: &JobId) -> Result<(), StreamError> {
        self.forget_callback(subjects::callbacks_of(process, job)).await
    }

    /// Deletes what is on one subject of the stream of callbacks.
    ///
    /// # Errors
    /// When the stream did not answer.
    pub async fn forget_callback(&self, subject: String) -> Result<(), StreamError> {
        let purged = self.nats().callbacks.purge().filter(subject).await;
        purged.map(drop).map_err(|error| StreamError::Delete(Box::new(error)))
    }

    /// Deletes one message.
    ///
    /// # Errors
    /// When the stream did not answer, or does not have it.
    pub async fn forget_message(&self, sequence: u64) -> Result<(), StreamError> {
        let deleted = self.nats().stream.delete_message(sequence).await;
        deleted.map(drop).map_err(|error| StreamError::Delete(Box::new(error)))
    }

    async fn purge(&self, filter: String, before: Option<u64>) -> Result<(), StreamError> {
        let purge = self.nats().stream.purge().filter(filter);
        let purged = match before {
            Some(sequence) => purge.sequence(sequence).await,
            None => purge.await,
        };
        purged.map(drop).map_err(|error| StreamError::Delete(Box::new(error)))
    }
}
