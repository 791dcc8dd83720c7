//! Since when this process has been failing at a job. What a job waits for may be given up only after it was tried for
//! its whole time: an outage of anything else, or of this process, is no try.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use protocol::JobId;

/// Jobs remembered. One more has to wait for a place before its time begins to run.
const MOST: usize = 10_000;

/// What a try failed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Reading a log: all else is there.
    Log,
    /// The bucket, or the executor's other answers.
    Else,
}

/// The failed tries of this process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tries(Arc<Mutex<HashMap<JobId, Failing>>>);

#[derive(Debug)]
struct Failing {
    log: Option<Instant>,
    other: Option<Instant>,
    last: Instant,
}

impl Tries {
    /// A try failed that began then. After a pause longer than `pause` between a failure and the next try, time begins anew.
    pub(crate) fn failed(&self, job: &JobId, at: At, pause: Duration, (began, now): (Instant, Instant)) {
        let mut jobs = self.jobs();
        if !jobs.contains_key(job) && jobs.len() >= MOST {
            jobs.retain(|_, failing| now.duration_since(failing.last) <= pause);
            if jobs.len() >= MOST {
                return;
            }
        }
        let failing = jobs.entry(*job).or_insert(Failing { log: None, other: None, last: now });
        if began.duration_since(failing.last) > pause {
            (failing.log, failing.other) = (None, None);
        }
        failing.last = now;
        match at {
            At::Log => _ = failing.log.get_or_insert(now),
            // As long as something else fails, nobody knows whether the log can be read.
            At::Else => (failing.log, failing.other) = (None, failing.other.or(Some(now))),
        }
    }

    /// Nothing is left to be tried.
    pub(crate) fn succeeded(&self, job: &JobId) {
        self.jobs().remove(job);
    }

    /// True when this process has been failing at it for as long as `limit`.
    pub(crate) fn are_for(&self, job: &JobId, at: At, limit: Duration, now: Instant) -> bool {
        let jobs = self.jobs();
        let since = jobs.get(job).and_then(|failing| match at {
            At::Log => failing.log,
            At::Else => failing.other,
        });
        since.is_some_and(|since| now.duration_since(since) >= limit)
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const PAUSE: Duration = Duration::from_secs(600);

    #[test]
    fn time_runs_from_the_first_failure_of_its_kind_to_a_success() {
        let (tries, job, start) = (Tries::default(), JobId::generate(1), Instant::now());
        assert!(!tries.are_for(&job, At::Log, Duration::ZERO, start), "it was never tried");
        for minutes in 0..5 {
            tries.failed(&job, At::Log, PAUSE, (start + MINUTE * minutes, start + MINUTE * minutes));
        }
        assert!(tries.are_for(&job, At::Log, MINUTE * 4, start + MINUTE * 4));
        assert!(!tries.are_for(&job, At::Log, MINUTE * 5, start + MINUTE * 4));
        assert!(!tries.are_for(&job, At::Else, Duration::ZERO, start + MINUTE * 4));
        tries.succeeded(&job);
        assert!(!tries.are_for(&job, At::Log, Duration::ZERO, start + MINUTE * 5));
    }

    #[test]
    fn an_outage_of_the_bucket_is_no_try_at_the_log() {
        let (tries, job, start) = (Tries::default(), JobId::generate(1), Instant::now());
        tries.failed(&job, At::Log, PAUSE, (start, start));
        tries.failed(&job, At::Else, PAUSE, (start + MINUTE, start + MINUTE));
        tries.failed(&job, At::Log, PAUSE, (start + MINUTE * 2, start + MINUTE * 2));
        assert!(!tries.are_for(&job, At::Log, MINUTE, start + MINUTE * 2));
        assert!(tries.are_for(&job, At::Else, MINUTE, start + MINUTE * 2));
    }

    #[test]
    fn a_time_in_which_nothing_was_tried_does_not_count() {
        let (tries, job, start) = (Tries::default(), JobId::generate(1), Instant::now());
        tries.failed(&job, At::Else, PAUSE, (start, start));
        tries.failed(&job, At::Else, PAUSE, (start + PAUSE * 2, start + PAUSE * 2));
        assert!(!tries.are_for(&job, At::Else, MINUTE, start + PAUSE * 2));
    }

    #[test]
    fn a_try_that_takes_long_is_no_pause() {
        let (tries, job, start) = (Tries::default(), JobId::generate(1), Instant::now());
        for number in 0..3 {
            let began = start + PAUSE * 2 * number;
            tries.failed(&job, At::Else, PAUSE, (began, began + PAUSE * 2));
        }
        assert!(tries.are_for(&job, At::Else, PAUSE * 4, start + PAUSE * 6));
    }

    #[test]
    fn the_jobs_remembered_are_bounded_and_the_forgotten_are_given_more_time() {
        let (tries, start) = (Tries::default(), Instant::now());
        for number in 0..MOST {
            tries.failed(&JobId::generate(number as u64), At::Else, PAUSE, (start, start));
        }
        let job = JobId::generate(1);
        tries.failed(&job, At::Else, PAUSE, (start, start));
        assert!(!tries.are_for(&job, At::Else, Duration::ZERO, start));
        tries.failed(&job, At::Else, PAUSE, (start + PAUSE * 2, start + PAUSE * 2));
        assert!(tries.are_for(&job, At::Else, Duration::ZERO, start + PAUSE * 2));
        assert_eq!(tries.jobs().len(), 1);
    }
}
