//! How many jobs may be live together, whatever their processes.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc,
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
use tokio::sync::Mutex;
use tracing::warn;

/// What is left of the cap on all live jobs, asked before each fetch.
///
/// A launch is held from its fetch until its job has ended, so the messages that nobody has acknowledged, as the stream's leader
/// counts them over all replicas, are the live jobs, those included that were not created yet. What others ask for at the same
/// moment is not among them, so that the cap may be passed by one fetch a replica and process.
#[derive(Clone)]
pub struct LiveRoom {
    max: usize,
    /// Fetches that may be under way at one time.
    sharers: usize,
    /// Jobs of all replicas, as the watch last told: those too that nobody here fetched.
    seen: Gauge,
    /// Jobs in hand here.
    in_hand: Arc<AtomicUsize>,
    /// Who counts the jobs in hand everywhere; nobody where the queues can't hand out more than the cap.
    held: Option<Arc<Held>>,
}

/// The count of all jobs in hand.
struct Held {
    nats: Nats,
    queues: HashSet<String>,
    /// When there was no room the last time: it is not asked again at once, by none of the queues.
    full: Mutex<Option<Instant>>,
}

/// How long no room is no room.
const FULL_FOR: Duration = Duration::from_millis(100);

/// So many replicas can fetch at the same moment without passing the cap by more than a job each, while much is left.
const REPLICAS: usize = 4;

/// A job in hand, until it is dropped.
#[derive(Debug)]
pub struct Taken(Arc<AtomicUsize>);

impl LiveRoom {
    /// Room for `max` jobs, which so many fetches share.
    pub fn new(max: usize, sharers: usize, seen: Gauge) -> Self {
        Self { max, sharers: sharers.max(1), seen, in_hand: Arc::default(), held: None }
    }

    /// The same, where these queues together may hand out more than that.
    #[must_use]
    pub fn counting(self, nats: Nats, queues: HashSet<String>) -> Self {
        let sharers = self.sharers * REPLICAS;
        Self { sharers, held: Some(Arc::new(Held { nats, queues, full: Mutex::default() })), ..self }
    }

    /// Takes a job in hand.
    pub fn take(&self) -> Taken {
        self.in_hand.fetch_add(1, Ordering::Relaxed);
        Taken(self.in_hand.clone())
    }

    /// What is left where so many are in hand everywhere.
    fn left(&self, held: usize) -> usize {
        let seen = usize::try_from(self.seen.get()).unwrap_or_default();
        let live = seen.max(held).max(self.in_hand.load(Ordering::Relaxed));
        self.max.saturating_sub(live).div_ceil(self.sharers)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room for LiveRoom {
    fn free(&self) -> BoxFuture<'_, usize> {
        Box::pin(async {
            let here = self.left(0);
            match &self.held {
                Some(held) if here > 0 => self.left(held.count(self).await),
                _ => here,
            }
        })
    }
}

impl Held {
    /// How many are in hand everywhere; as many as may be where that can't be told.
    async fn count(&self, room: &LiveRoom) -> usize {
        // One asks at a time: what one fetch of this replica took is counted for the next.
        let mut full = self.full.lock().await;
        if full.is_some_and(|since| since.elapsed() < FULL_FOR) {
            return room.max;
        }
        let held = consume::in_hand(&self.nats, &self.queues).await.unwrap_or_else(|error| {
            warn!(%error, "the live jobs of all replicas can't be counted");
            room.max
        });
        *full = (room.left(held) == 0).then(Instant::now);
        held
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
        let taken: Vec<_> = (0..4).map(|_| room.take()).collect();
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
        let _taken: Vec<_> = (0..9).map(|_| room.take()).collect();
        assert_eq!(room.left(0), 1, "one is left, and one may have it");
    }
}
