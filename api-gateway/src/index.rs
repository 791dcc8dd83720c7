//! Every job in memory, compact: it answers lists, wakes synchronous waits, and keeps finished records at hand.
//!
//! It follows the events of the stream ([`feed`]) and may be a moment behind; what must not be is asked of the leader
//! (see [`crate::jobs`]). A job takes some 200 bytes here (see `rows`), and its message where no other job has the same:
//! texts that jobs share are kept once. A page of a list costs what it shows, however many jobs there are.

mod cache;
pub mod feed;
mod page;
mod row;
mod rows;
mod waiters;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use platform::telemetry::json_error;
use protocol::{Event, JobEvent, JobId, JobRecord, job_record::Status, names::subjects};
use tracing::warn;

use self::{cache::RecordCache, row::Texts, rows::Rows, waiters::Waiters};
pub use self::{
    page::{Filter, Listed, Start, Wanted},
    row::{Row, has_log},
    waiters::Wait,
};

/// The index; cheap to clone.
#[derive(Clone)]
pub struct Index {
    state: Arc<RwLock<State>>,
    waiters: Waiters,
}

struct State {
    rows: Rows,
    texts: Texts,
    cache: RecordCache,
    /// Sequence of the last event that was applied.
    sequence: u64,
}

/// Sizes of the index, for metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Jobs by status.
    pub jobs: Vec<(Status, usize)>,
    /// Records at hand.
    pub cached_records: usize,
    /// Their bytes.
    pub cached_bytes: usize,
    /// Synchronous answers waited for.
    pub waits: usize,
}

impl fmt::Debug for Index {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Index").field("sequence", &self.sequence()).finish_non_exhaustive()
    }
}

/// More jobs before another are not counted: nobody's wait is told better by it.
pub const MOST_AHEAD: usize = 10_000;

impl Index {
    /// An empty index that keeps up to `cache_bytes` of finished records.
    pub fn new(cache_bytes: usize) -> Self {
        let state =
            State { rows: Rows::default(), texts: Texts::default(), cache: RecordCache::new(cache_bytes), sequence: 0 };
        Self { state: Arc::new(RwLock::new(state)), waiters: Waiters::default() }
    }

    /// One page of the jobs that `filter` takes, the newest first.
    pub fn list(&self, filter: &Filter, wanted: Wanted) -> Listed {
        page::page(&self.read().rows, filter, wanted)
    }

    /// Whether a job is this owner's; `None` of one that is not known here, or not yet.
    pub fn is_owned_by(&self, job: &JobId, owner: &str) -> Option<bool> {
        self.read().rows.get(job).map(|row| row.owner() == Some(owner))
    }

    /// About how many jobs are launched before this one: those of its process that were made earlier and wait, too. At most
    /// [`MOST_AHEAD`].
    pub fn ahead(&self, record: &JobRecord) -> usize {
        self.read().rows.ahead(record.process_id.as_str(), &record.job_id, MOST_AHEAD)
    }

    /// The record of a finished job that changes no more, when it is at hand.
    pub fn settled(&self, job: &JobId) -> Option<Arc<JobRecord>> {
        self.read().cache.get(job)
    }

    /// Keeps a record at hand if it changes no more.
    pub fn keep(&self, record: &Arc<JobRecord>) {
        if record.is_settled() {
            self.write().cache.insert(record.clone());
        }
    }

    /// Begins to wait for the end of a job. Called before the job is committed, it can't miss it.
    pub fn wait_for(&self, job: JobId) -> Wait {
        self.waiters.register(job)
    }

    /// Takes one event of the stream in.
    pub fn apply(&self, subject: &str, sequence: u64, payload: &[u8]) {
        match subjects::parse_event(subject) {
            Some((_, job, Event::Removed)) => {
                self.forget(&job);
                self.write().sequence = sequence;
                // Its end may have been deleted before this index got to see it.
                if let Ok(event) = serde_json::from_slice::<JobEvent>(payload) {
                    self.waiters.wake(Arc::new(event.into_record()));
                }
            }
            // The word does not matter: a newer version may tell of steps that this one does not know.
            _ => match serde_json::from_slice::<JobEvent>(payload) {
                Ok(event) if is_of(subject, event.record()) => self.apply_record(&event.into_record(), sequence),
                Ok(_) => {
                    warn!(%subject, "an event is on the subject of another job");
                    self.write().sequence = sequence;
                }
                Err(error) => {
                    warn!(%subject, error = json_error(&error), "an event can't be read");
                    self.write().sequence = sequence;
                }
            },
        }
    }

    /// Takes in what an event told.
    pub fn apply_record(&self, record: &JobRecord, sequence: u64) {
        let known = (record.is_settled() || self.waiters.has(&record.job_id)).then(|| Arc::new(record.clone()));
        {
            let mut state = self.write();
            let State { rows, texts, cache, sequence: last } = &mut *state;
            rows.insert(record.job_id, Row::new(record, texts));
            match &known {
                Some(record) if record.is_settled() => cache.insert(record.clone()),
                _ => cache.remove(&record.job_id),
            }
            *last = sequence;
        }
        if let Some(record) = known
            && record.status.is_terminal()
        {
            self.waiters.wake(record);
        }
    }

    /// Forgets a job that was removed, for good.
    pub fn forget(&self, job: &JobId) {
        let mut state = self.write();
        state.rows.remove(job);
        state.cache.bar(*job);
    }

    /// Sequence of the last event taken in; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.read().sequence
    }

    /// Forgets everything: the stream is another one than before.
    pub fn clear(&self) {
        let mut state = self.write();
        state.rows = Rows::default();
        state.cache.clear();
        state.sequence = 0;
    }

    /// How much is in here.
    pub fn sizes(&self) -> Sizes {
        let state = self.read();
        Sizes {
            jobs: state.rows.count().to_vec(),
            cached_records: state.cache.len(),
            cached_bytes: state.cache.bytes(),
            waits: self.waiters.len(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of(subject: &str, record: &JobRecord) -> bool {
    let events = subjects::events_of(&record.process_id, &record.job_id);
    subject.starts_with(events.trim_end_matches('>'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use protocol::job_record::{ArchiveState, Outcome};

    use super::*;

    fn record(millis: u64, process: &str, archive: ArchiveState) -> JobRecord {
        let created = Timestamp::from_millisecond(i64::try_from(millis).unwrap()).unwrap();
        JobRecord::accepted(JobId::generate(millis), process.parse().unwrap(), "1".into(), created, archive)
    }

    fn ended(record: &JobRecord) -> JobRecord {
        let outcome = Some(Outcome {
            reason: None,
            exit_code: Some(0),
            message: String::new(),
            unknown: protocol::Unknown::new(),
        });
        JobRecord { status: Status::Successful, outcome, ..record.clone() }
    }

    fn tell(index: &Index, event: Event, record: &JobRecord, sequence: u64) {
        let subject = subjects::event(&record.process_id, &record.job_id, event);
        let payload = serde_json::to_vec(&JobEvent::new(event, record.clone())).unwrap();
        index.apply(&subject, sequence, &payload);
    }

    fn ids(index: &Index, filter: &Filter, offset: usize, limit: usize) -> Vec<JobId> {
        let wanted = Wanted { start: Start::Newest, offset, limit, now: Timestamp::UNIX_EPOCH };
        index.list(filter, wanted).jobs.into_iter().map(|(id, _)| id).collect()
    }

    fn all(index: &Index) -> Vec<JobId> {
        ids(index, &Filter::default(), 0, 10)
    }

    #[test]
    fn lists_are_newest_first_and_filtered() {
        let index = Index::new(1 << 20);
        let jobs: Vec<JobRecord> =
            (1..=4).map(|n| record(n * 1000, if n % 2 == 0 { "even" } else { "odd" }, ArchiveState::Off)).collect();
        for (sequence, job) in jobs.iter().enumerate() {
            tell(&index, Event::Accepted, job, sequence as u64 + 1);
        }
        tell(&index, Event::Successful, &ended(&jobs[1]), 5);
        let ids = |filter: &Filter, offset, limit| -> Vec<JobId> { ids(&index, filter, offset, limit) };
        let id = |n: usize| jobs[n - 1].job_id;
        assert_eq!(ids(&Filter::default(), 0, 10), [id(4), id(3), id(2), id(1)]);
        assert_eq!(ids(&Filter::default(), 1, 2), [id(3), id(2)]);
        let even = Filter { processes: vec!["even".into()], ..Filter::default() };
        assert_eq!(ids(&even, 0, 10), [id(4), id(2)]);
        let done = Filter { statuses: vec![Status::Successful, Status::Failed], ..Filter::default() };
        assert_eq!(ids(&done, 0, 10), [id(2)]);
        assert_eq!(index.sequence(), 5);
    }

    #[test]
    fn the_place_of_a_job_that_waits_is_among_those_of_its_process() {
        let index = Index::new(0);
        let waiting: Vec<JobRecord> = (1..=4).map(|millis| record(millis, "p", ArchiveState::Pending)).collect();
        let others = record(2, "q", ArchiveState::Pending);
        for (sequence, record) in (1..).zip(waiting.iter().chain([&others])) {
            tell(&index, Event::Accepted, record, sequence);
        }
        assert_eq!(waiting.iter().map(|record| index.ahead(record)).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(index.ahead(&others), 0);
        tell(&index, Event::Successful, &ended(&waiting[1]), 9);
        assert_eq!(index.ahead(&waiting[3]), 2, "one that ended is not waited for");
    }

    #[test]
    fn a_removed_job_is_in_no_list_and_never_kept_again() {
        let index = Index::new(1 << 20);
        let job = ended(&record(1000, "p", ArchiveState::Stored));
        tell(&index, Event::Successful, &job, 1);
        assert!(index.settled(&job.job_id).is_some());
        tell(&index, Event::Removed, &job, 2);
        assert!(all(&index).is_empty());
        assert!(index.settled(&job.job_id).is_none());
        // A read that began before the removal ends after it.
        index.keep(&Arc::new(job.clone()));
        assert!(index.settled(&job.job_id).is_none());
    }

    #[test]
    fn a_record_that_may_still_change_is_not_kept() {
        let index = Index::new(1 << 20);
        let job = ended(&record(1000, "p", ArchiveState::Unavailable));
        tell(&index, Event::Successful, &job, 1);
        index.keep(&Arc::new(job.clone()));
        assert!(index.settled(&job.job_id).is_none());
    }

    #[tokio::test]
    async fn a_wait_that_began_before_the_commit_ends_with_the_job() {
        let index = Index::new(1 << 20);
        let job = record(1000, "p", ArchiveState::Pending);
        let mut wait = index.wait_for(job.job_id);
        tell(&index, Event::Accepted, &job, 1);
        assert!(tokio::time::timeout(Duration::from_millis(10), wait.ended()).await.is_err());
        tell(&index, Event::Successful, &ended(&job), 2);
        assert_eq!(wait.ended().await.status, Status::Successful);
        drop(wait);
        assert_eq!(index.sizes().waits, 0);
    }

    #[tokio::test]
    async fn a_wait_for_a_job_that_was_removed_ends() {
        let index = Index::new(1 << 20);
        let job = JobRecord { status: Status::Dismissed, ..record(1000, "p", ArchiveState::Off) };
        let mut wait = index.wait_for(job.job_id);
        tell(&index, Event::Removed, &job, 1);
        assert_eq!(wait.ended().await.status, Status::Dismissed);
        assert_eq!(index.sequence(), 1);
    }

    #[test]
    fn an_event_of_a_newer_version_counts_by_its_record() {
        let index = Index::new(1 << 20);
        let job = record(1000, "p", ArchiveState::Pending);
        let payload = serde_json::to_vec(&JobEvent::new(Event::Progress, job.clone())).unwrap();
        index.apply(&format!("jobs.p.{}.suspended", job.job_id), 1, &payload);
        assert_eq!(all(&index).len(), 1);
        let other = record(2000, "p", ArchiveState::Pending);
        let payload = serde_json::to_vec(&JobEvent::new(Event::Progress, other)).unwrap();
        index.apply(&format!("jobs.p.{}.suspended", job.job_id), 2, &payload);
        assert_eq!((index.sequence(), all(&index).len()), (2, 1));
    }

    #[test]
    fn what_is_no_event_is_passed_over() {
        let index = Index::new(1 << 20);
        index.apply("jobs.a.b.c", 1, b"{}");
        let job = record(1000, "p", ArchiveState::Pending);
        index.apply(&subjects::event(&job.process_id, &job.job_id, Event::Running), 2, b"nonsense");
        assert_eq!((index.sequence(), all(&index).len()), (2, 0));
    }
}
