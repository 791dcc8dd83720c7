use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::{JobId, JobRecord};
use tokio::sync::watch;

type Ended = Option<Arc<JobRecord>>;

/// Who waits for the end of which job.
#[derive(Clone, Default)]
pub(super) struct Waiters(Arc<Mutex<HashMap<JobId, watch::Sender<Ended>>>>);

/// A wait for the end of one job; dropping it ends it.
pub struct Wait {
    job: JobId,
    waiters: Waiters,
    ended: watch::Receiver<Ended>,
}

impl Wait {
    /// The record that the job ended with. Safe to drop and to call again.
    pub async fn ended(&mut self) -> Arc<JobRecord> {
        let ended = self.ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        match ended {
            Some(record) => record,
            // The sender lives as long as this wait is registered: there is always a record.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waiters = self.waiters.lock();
        if waiters.get(&self.job).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiters.remove(&self.job);
        }
    }
}

impl Waiters {
    pub(super) fn register(&self, job: JobId) -> Wait {
        let ended = self.lock().entry(job).or_insert_with(|| watch::channel(None).0).subscribe();
        Wait { job, waiters: self.clone(), ended }
    }

    pub(super) fn has(&self, job: &JobId) -> bool {
        self.lock().contains_key(job)
    }

    pub(super) fn wake(&self, record: Arc<JobRecord>) {
        if let Some(sender) = self.lock().get(&record.job_id) {
            sender.send_replace(Some(record));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<Ended>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
