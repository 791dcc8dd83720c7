//! How many jobs may be live together, whatever their processes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use platform::consume::Room;
use prometheus_client::metrics::gauge::Gauge;

/// What is left of the cap on all live jobs. It is asked before each fetch: what the other replicas fetch at the same moment is not seen
/// yet, so that the cap may be passed by one fetch a replica and process.
#[derive(Debug, Clone)]
pub struct LiveRoom {
    max: usize,
    /// Fetches that may be under way at one time.
    sharers: usize,
    /// Jobs of all replicas, as the watch last told.
    seen: Gauge,
    /// Jobs in hand here: the watch has not told of each yet.
    in_hand: Arc<AtomicUsize>,
}

/// A job in hand, until it is dropped.
#[derive(Debug)]
pub struct Taken(Arc<AtomicUsize>);

impl LiveRoom {
    /// Room for `max` jobs, which so many fetches share.
    pub fn new(max: usize, sharers: usize, seen: Gauge) -> Self {
        Self { max, sharers: sharers.max(1), seen, in_hand: Arc::default() }
    }

    /// Takes a job in hand.
    pub fn take(&self) -> Taken {
        self.in_hand.fetch_add(1, Ordering::Relaxed);
        Taken(self.in_hand.clone())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room for LiveRoom {
    fn free(&self) -> usize {
        let seen = usize::try_from(self.seen.get()).unwrap_or_default();
        let live = seen.max(self.in_hand.load(Ordering::Relaxed));
        self.max.saturating_sub(live).div_ceil(self.sharers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_and_what_is_in_hand_are_the_same_jobs() {
        let seen = Gauge::default();
        let room = LiveRoom::new(10, 1, seen.clone());
        let taken: Vec<_> = (0..4).map(|_| room.take()).collect();
        assert_eq!(room.free(), 6);
        seen.set(3);
        assert_eq!(room.free(), 6, "the watch is behind");
        seen.set(9);
        assert_eq!(room.free(), 1, "others have some, too");
        drop(taken);
        seen.set(12);
        assert_eq!(room.free(), 0);
    }

    #[test]
    fn fetches_of_several_processes_share_what_is_left() {
        let room = LiveRoom::new(10, 4, Gauge::default());
        assert_eq!(room.free(), 3);
        let _taken: Vec<_> = (0..9).map(|_| room.take()).collect();
        assert_eq!(room.free(), 1, "one is left, and one may have it");
    }
}
