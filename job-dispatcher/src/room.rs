//! How many jobs may be live together, whatever their processes.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use platform::{
    consume::{self, Room},
    nats::Nats,
};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Mutex as AsyncMutex;
use tracing::warn;

/// What is left of the cap on all live jobs, asked before each fetch and before each create.
///
/// A launch is held from its fetch until its job has ended, so the messages that nobody has acknowledged, as their consumers
/// count them over all replicas, are the live jobs, those included that were not created yet. Several may fetch the last one at the
/// same moment; but of those that are created each was counted after its fetch, and not too many were found. Whichever was counted
/// last was counted with all others, so no more than the cap are live.
///
/// Launches that were given back, or whose replica died, are counted, too. So that they keep nobody from being launched for ever, a
/// job that has waited for a while is created once the watch shows room for it.
pub struct LiveRoom {
    max: usize,
    /// Fetches that may be under way at one time.
    sharers: usize,
    /// Jobs of all replicas, as the watch last told: those too that nobody here fetched.
    seen: Gauge,
    /// Jobs in hand here.
    in_hand: Arc<AtomicUsize>,
    /// Those of them that were let be created here.
    live: Arc<AtomicUsize>,
    /// Who counts the jobs in hand everywhere; nobody where the queues can't hand out more than the cap.
    held: Option<Arc<Held>>,
    /// When to fetch all the same, of one queue.
    trial: Arc<Mutex<Trial>>,
}

/// The count of all jobs in hand.
struct Held {
    nats: Nats,
    queues: Vec<String>,
    told: AsyncMutex<Option<Told>>,
}

/// How many were in hand at a time.
#[derive(Clone, Copy)]
struct Told {
    at: Instant,
    held: usize,
    /// What was handed out since.
    granted: usize,
}

/// So long a count is used again: each queue asks, and asks again.
const FRESH: Duration = Duration::from_millis(100);
/// With many queues a count is many requests, and is used for so long more for each,
const FRESH_OF_QUEUE: Duration = Duration::from_millis(5);
/// and so long at most.
const LONGEST_FRESH: Duration = Duration::from_secs(2);

/// So many replicas can fetch at the same moment without passing the cap by more than a job each, while much is left.
const REPLICAS: usize = 4;

/// Once to twice so long a job waits until not too many are in hand, where the watch shows room.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(14);

/// One of a number of jobs, until it is dropped.
#[derive(Debug)]
pub struct Counted(Arc<AtomicUsize>);

impl LiveRoom {
    /// Room for `max` jobs, which so many fetches share.
    pub fn new(max: usize, sharers: usize, seen: Gauge) -> Self {
        Self {
            max,
            sharers: sharers.max(1),
            seen,
            in_hand: Arc::default(),
            live: Arc::default(),
            held: None,
            trial: Arc::default(),
        }
    }

    /// The same, where these queues together may hand out more than that.
    #[must_use]
    pub fn counting(self, nats: Nats, queues: Vec<String>) -> Self {
        let sharers = self.sharers * REPLICAS;
        Self { sharers, held: Some(Arc::new(Held { nats, queues, told: AsyncMutex::default() })), ..self }
    }

    /// The same room, asked for another queue.
    #[must_use]
    pub fn for_a_queue(&self) -> Self {
        Self {
            max: self.max,
            sharers: self.sharers,
            seen: self.seen.clone(),
            in_hand: self.in_hand.clone(),
            live: self.live.clone(),
            held: self.held.clone(),
            trial: Arc::default(),
        }
    }

    /// Takes a job in hand that was delivered so often.
    pub fn take(&self, delivered: u64) -> Counted {
        if delivered > 1 {
            self.trial().found();
        }
        Counted::new(&self.in_hand)
    }

    /// One more that may be created; none while as many are live as may be.
    pub fn enter(&self) -> Option<Counted> {
        let has_room = |live: usize| (self.seen().max(live) < self.max).then_some(live + 1);
        self.live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_room).ok()?;
        Some(Counted(self.live.clone()))
    }

    /// Comes back once a job that was taken in hand then may be created, as far as jobs in hand elsewhere are concerned.
    pub async fn confirm(&self, taken: Instant) {
        let Some(held) = &self.held else { return };
        let began = Instant::now();
        // Not all at the same moment: the watch has to show each to the others.
        let patience = CONFIRMED_WITHIN.mul_f64(1.0 + rand::random::<f64>());
        let mut since = taken;
        while held.count(since).await.is_none_or(|held| held > self.max) {
            if began.elapsed() >= patience && self.seen() < self.max {
                return;
            }
            tokio::time::sleep(FRESH).await;
            since = Instant::now();
        }
    }

    fn seen(&self) -> usize {
        usize::try_from(self.seen.get()).unwrap_or_default()
    }

    /// What is left where so many are in hand everywhere.
    fn left(&self, held: usize) -> usize {
        let live = self.seen().max(held).max(self.in_hand.load(Ordering::Relaxed));
        self.max.saturating_sub(live).div_ceil(self.sharers)
    }

    fn trial(&self) -> MutexGuard<'_, Trial> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn new(number: &Arc<AtomicUsize>) -> Self {
        number.fetch_add(1, Ordering::Relaxed);
        Self(number.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room for LiveRoom {
    fn free(&self) -> BoxFuture<'_, usize> {
        Box::pin(async {
            let here = self.left(0);
            let Some(held) = self.held.as_ref().filter(|_| here > 0) else { return here };
            match held.grant(self).await {
                0 => usize::from(self.trial().full(Instant::now())),
                left => {
                    self.trial().has_room();
                    left
                }
            }
        })
    }
}

impl Held {
    /// How many may be fetched; none where that can't be told.
    async fn grant(&self, room: &LiveRoom) -> usize {
        // One asks at a time: what one fetch of this replica may take is counted for the next.
        let mut told = self.told.lock().await;
        let queues = u32::try_from(self.queues.len()).unwrap_or(u32::MAX);
        let fresh = FRESH_OF_QUEUE.saturating_mul(queues).clamp(FRESH, LONGEST_FRESH);
        let since = Instant::now().checked_sub(fresh);
        let Some(now) = self.told_since(&mut told, since).await else { return 0 };
        let left = room.left(now.held + now.granted);
        now.granted += left;
        left
    }

    /// How many are in hand, as counted at this time or later; `None` where that can't be told.
    async fn count(&self, since: Instant) -> Option<usize> {
        let mut told = self.told.lock().await;
        Some(self.told_since(&mut told, Some(since)).await?.held)
    }

    async fn told_since<'t>(&self, told: &'t mut Option<Told>, since: Option<Instant>) -> Option<&'t mut Told> {
        if told.is_none_or(|told| since.is_some_and(|since| told.at < since)) {
            let at = Instant::now();
            match consume::in_hand(&self.nats, &self.queues).await {
                Ok(held) => *told = Some(Told { at, held, granted: 0 }),
                Err(error) => {
                    warn!(error = %error, "the live jobs of all replicas can't be counted");
                    return None;
                }
            }
        }
        told.as_mut()
    }
}

/// When a queue is asked for one job though as many are in hand as may be live: among those are launches that were given back, and
/// those whose replica died. They come again before any other, once somebody fetches.
#[derive(Debug, Default)]
struct Trial {
    /// Since when there has been no room, or the last trial.
    since: Option<Instant>,
    /// Trials that found nothing of the kind.
    vain: u32,
}

/// The pause before the first trial; it is twice as long after each that was in vain.
const TRIAL_AFTER: Duration = Duration::from_secs(4);
/// The longest pause between two trials.
const TRIAL_AT_LEAST_EVERY: Duration = Duration::from_secs(32);

impl Trial {
    /// There is no room: true when it is time to fetch one all the same.
    fn full(&mut self, now: Instant) -> bool {
        let pause = TRIAL_AFTER.saturating_mul(1 << self.vain.min(8)).min(TRIAL_AT_LEAST_EVERY);
        let since = *self.since.get_or_insert(now);
        let is_due = now.saturating_duration_since(since) >= pause;
        if is_due {
            self.since = Some(now);
            self.vain += 1;
        }
        is_due
    }

    fn has_room(&mut self) {
        *self = Self::default();
    }

    /// One that was delivered before has come: where there was one, there may be others.
    fn found(&mut self) {
        self.vain = 0;
        self.since = self.since.and_then(|since| since.checked_sub(TRIAL_AFTER));
    }
}

impl fmt::Debug for LiveRoom {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LiveRoom").field("max", &self.max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_and_what_is_in_hand_here_and_everywhere_are_the_same_jobs() {
        let seen = Gauge::default();
        let room = LiveRoom::new(10, 1, seen.clone());
        let taken: Vec<_> = (0..4).map(|_| room.take(1)).collect();
        assert_eq!(room.left(0), 6);
        seen.set(3);
        assert_eq!(room.left(0), 6, "the watch is behind");
        assert_eq!(room.left(7), 3, "others have some in hand");
        seen.set(9);
        assert_eq!(room.left(7), 1, "some are in nobody's hand");
        drop(taken);
        seen.set(12);
        assert_eq!(room.left(0), 0);
    }

    #[test]
    fn fetches_of_several_processes_share_what_is_left() {
        let room = LiveRoom::new(10, 4, Gauge::default());
        assert_eq!(room.left(0), 3);
        let _taken: Vec<_> = (0..9).map(|_| room.take(1)).collect();
        assert_eq!(room.left(0), 1, "one is left, and one may have it");
    }

    #[test]
    fn no_more_are_let_be_created_than_may_be_live() {
        let seen = Gauge::default();
        let room = LiveRoom::new(2, 1, seen.clone());
        let first = room.enter().unwrap();
        let _second = room.for_a_queue().enter().unwrap();
        assert!(room.enter().is_none());
        drop(first);
        seen.set(2);
        assert!(room.enter().is_none(), "the other one is not from here");
        seen.set(1);
        assert!(room.enter().is_some());
    }

    #[test]
    fn a_full_queue_is_tried_now_and_then_and_at_once_where_one_was_found() {
        let start = Instant::now();
        let mut trial = Trial::default();
        let mut tried = Vec::new();
        for second in 0..100 {
            if trial.full(start + Duration::from_secs(second)) {
                tried.push(second);
            }
        }
        assert_eq!(tried, [4, 12, 28, 60, 92]);
        trial.found();
        assert!(trial.full(start + Duration::from_secs(93)), "there may be more");
        assert!(!trial.full(start + Duration::from_secs(94)));
        trial.has_room();
        trial.found();
        assert!(!trial.full(start + Duration::from_secs(95)), "there was room");
    }
}
