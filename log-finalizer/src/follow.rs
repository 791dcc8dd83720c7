//! A job that runs: the logs of its containers are followed from their first lines on, into parts in the bucket, so that
//! neither rotation nor deletion of its pod loses what could be read. The message that its containers run is held meanwhile: who
//! has it next goes on where the parts end. That is `running`, or the last `launching` of a job whose init containers run first.

mod disk;
mod finish;
mod progress;
mod read;
mod ring;
mod session;
mod ship;
mod tail;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use platform::consume::{Delivery, Verdict};
use protocol::{JobId, job_event::JobEvent, names::subjects};
use tokio::sync::Semaphore;
use tracing::{info, warn};

pub(crate) use self::finish::finish;
use self::{disk::Disk, session::Session};
use crate::finalize::Finalizer;

/// Parts that are stored at once.
const PUTS: usize = 8;
/// A log may hold so many parts in memory.
const PARTS_IN_MEMORY: usize = 2;

/// What all followed logs share; cheap to clone.
#[derive(Clone)]
pub(crate) struct Follower {
    finalizer: Finalizer,
    disk: Option<Arc<Disk>>,
    /// Containers that may be followed.
    places: Arc<Semaphore>,
    /// Parts that may be stored at once.
    puts: Arc<Semaphore>,
    /// Jobs that are followed here.
    jobs: FollowedJobs,
}

/// The jobs that this process follows: each once, by whichever of its messages it came.
#[derive(Clone, Default)]
struct FollowedJobs(Arc<Mutex<HashSet<JobId>>>);

/// A job that is followed, until it is dropped.
struct Only {
    jobs: FollowedJobs,
    job: JobId,
}

impl FollowedJobs {
    /// `None` where it is followed already.
    fn begin(&self, job: JobId) -> Option<Only> {
        self.jobs().insert(job).then(|| Only { jobs: self.clone(), job })
    }

    fn jobs(&self) -> MutexGuard<'_, HashSet<JobId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        self.jobs.jobs().remove(&self.job);
    }
}

impl Follower {
    /// Opens the file for what waits; goes on without it where that is not possible.
    pub(crate) fn new(finalizer: Finalizer) -> Self {
        let settings = &finalizer.settings;
        let disk = match disk(&finalizer) {
            Ok(disk) => disk,
            Err((dir, error)) => {
                warn!(
                    dir = %dir.display(), %error,
                    "what is read of logs waits for the bucket in memory only: the folder finalizer.log_disk_dir can't be written to"
                );
                None
            }
        };
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        finalizer.metrics.max_followed.set(number(settings.max_followed));
        let places = Arc::new(Semaphore::new(settings.max_followed));
        Self { finalizer, disk, places, puts: Arc::new(Semaphore::new(PUTS)), jobs: FollowedJobs::default() }
    }

    /// Handles one message `running` or `launching`.
    pub(crate) async fn handle(self, delivery: Delivery) -> Verdict {
        let named = subjects::parse_event(&delivery.subject);
        let Some((process, job)) = named.and_then(|(process, job, _)| Some((process.parse().ok()?, job))) else {
            return Verdict::Poison { why: "the subject is none of an event".to_owned() };
        };
        // Most jobs have nothing to be followed before they run: there is no need to ask for the record.
        if serde_json::from_slice::<JobEvent>(&delivery.payload).is_ok_and(|told| !told.record().is_under_way()) {
            return Verdict::Done;
        }
        match Session::new(self, process, job).run(&delivery).await {
            Ok(verdict) => verdict,
            Err(error) => {
                let why = platform::telemetry::chain(error.as_ref()).to_string();
                Verdict::Retry { after: delivery.backoff(Duration::from_secs(10)), why }
            }
        }
    }

    fn ring_memory(&self) -> usize {
        PARTS_IN_MEMORY * self.finalizer.settings.log_part_size
    }
}

fn disk(finalizer: &Finalizer) -> Result<Option<Arc<Disk>>, (PathBuf, std::io::Error)> {
    let (settings, metrics) = (&finalizer.settings, &finalizer.metrics);
    if settings.log_disk_size == 0 {
        return Ok(None);
    }
    let dir = settings.log_disk_dir.clone().unwrap_or_else(std::env::temp_dir);
    let disk =
        Disk::new(&dir, settings.log_disk_size, metrics.log_disk.clone()).map_err(|error| (dir.clone(), error))?;
    metrics.max_log_disk.set(i64::try_from(settings.log_disk_size).unwrap_or(i64::MAX));
    info!(dir = %dir.display(), bytes = settings.log_disk_size, "logs wait for the bucket on disk, too");
    Ok(Some(Arc::new(disk)))
}
