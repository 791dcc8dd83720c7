//! The state of one job, as the stream's leader has it; what changes no more comes from memory.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::connection::State;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use platform::job_store::{JobStore, JobStoreError};
use protocol::{JobId, JobRecord};
use tokio::runtime::Handle;

use crate::{index::Index, metrics::Metrics};

/// Looks jobs up; cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    store: JobStore,
    index: Index,
    metrics: Metrics,
    runtime: Handle,
    flights: Arc<Mutex<HashMap<JobId, Flight>>>,
    next: Arc<AtomicU64>,
}

/// A job can't be looked up for now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// Stream or bucket failed.
    #[error("the job can't be read")]
    Store(#[source] Arc<JobStoreError>),
    /// There is no connection to NATS, which is known without asking.
    #[error("there is no connection to NATS")]
    NotConnected,
    /// The answer did not come in time.
    #[error("the job was not read within {} s", LIMIT.as_secs())]
    Slow,
    /// A defect of ours.
    #[error("the task that reads the job was lost")]
    Lost,
}

/// How long a read may take, the tries of the layers below included.
const LIMIT: Duration = Duration::from_secs(10);

type Answer = Result<Option<Arc<JobRecord>>, LookupError>;

/// One read that several requests share.
#[derive(Clone)]
struct Flight {
    number: u64,
    /// Once it has begun, later requests may not share it: it might tell them of a moment before they came.
    begun: Arc<AtomicBool>,
    answer: Shared<BoxFuture<'static, Answer>>,
}

impl Jobs {
    /// Reads are done on `runtime`, the one that the clients were made on.
    pub fn new(store: JobStore, index: Index, metrics: Metrics, runtime: Handle) -> Self {
        Self { store, index, metrics, runtime, flights: Arc::default(), next: Arc::default() }
    }

    /// The job as it is now; `None` when there is none. At most one read of a job is under way at a time.
    ///
    /// # Errors
    /// When neither memory nor the leader can tell.
    pub async fn find(&self, job: &JobId) -> Answer {
        match self.index.settled(job) {
            Some(record) => Ok(Some(record)),
            None => self.join_or_begin(*job).await,
        }
    }

    /// The same, as the leader has it, whatever is known here.
    ///
    /// # Errors
    /// When the leader can't tell.
    pub async fn find_at_leader(&self, job: &JobId) -> Answer {
        self.join_or_begin(*job).await
    }

    fn join_or_begin(&self, job: JobId) -> Shared<BoxFuture<'static, Answer>> {
        let mut flights = self.lock();
        let before = flights.get(&job).cloned();
        if let Some(flight) = &before
            && !flight.begun.load(Ordering::SeqCst)
        {
            return flight.answer.clone();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let begun = Arc::new(AtomicBool::new(false));
        let (jobs, mark) = (self.clone(), begun.clone());
        let task = self.runtime.spawn(async move {
            if let Some(flight) = before {
                // Its answer is for those who asked before.
                drop(flight.answer.await);
            }
            mark.store(true, Ordering::SeqCst);
            let answer = jobs.read(&job).await;
            jobs.land(&job, number);
            answer
        });
        let answer = task.map(|joined| joined.unwrap_or(Err(LookupError::Lost))).boxed().shared();
        flights.insert(job, Flight { number, begun, answer: answer.clone() });
        answer
    }

    async fn read(&self, job: &JobId) -> Answer {
        if self.store.nats().client.connection_state() != State::Connected {
            return Err(LookupError::NotConnected);
        }
        self.metrics.leader_read();
        let read = tokio::time::timeout(LIMIT, self.store.job(job)).await.map_err(|_| LookupError::Slow)?;
        let stored = read.map_err(|error| LookupError::Store(Arc::new(error)))?;
        Ok(stored.map(|stored| {
            let record = Arc::new(stored.record);
            self.index.keep(&record);
            record
        }))
    }

    fn land(&self, job: &JobId, number: u64) {
        let mut flights = self.lock();
        if flights.get(job).is_some_and(|flight| flight.number == number) {
            flights.remove(job);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
