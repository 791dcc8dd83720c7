use std::{
    collections::HashMap,
    net::Ipv6Addr,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    NotUntil, Quota, RateLimiter,
    clock::Clock,
    middleware::{StateInformationMiddleware, StateSnapshot},
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};
use sha2::{Digest, Sha256};

use super::Budget;
use crate::access::Caller;

/// Whose budget, in 16 bytes whatever their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

impl Key {
    /// Shared by those for whom there is no place of their own any more.
    const OTHERS: Self = Self([0xff; 16]);

    pub(super) fn of_caller(caller: &Caller) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(caller.key())[..16]);
        Self(key)
    }

    pub(super) fn of_network(address: Ipv6Addr) -> Self {
        Self(address.octets())
    }
}

/// What is left of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub budget: Budget,
    /// What it holds when it is full.
    pub quota: u32,
    /// Seconds in which it fills.
    pub window: u64,
    /// What it holds now.
    pub remaining: u32,
    /// Seconds until it is full, or, if it is empty, until there is something in it again.
    pub reset: u64,
}

/// The budgets of one kind, one for each key.
pub(super) struct Bucket<C: Clock> {
    limiter: RateLimiter<Ask, Kept, C, StateInformationMiddleware>,
    clock: C,
    quota: Quota,
    /// How many are kept, and when it was last looked for some to forget because there were as many.
    most: usize,
    cleared: Mutex<C::Instant>,
}

/// Looking for some to forget goes over all of them, and is done so often only.
const CLEAR_EVERY: Duration = Duration::from_secs(1);

impl<C: Clock + Clone> Bucket<C> {
    /// One that is given `per_minute` evenly and holds `burst`, or, for 0, what it is given in a minute. None without a limit.
    pub(super) fn new(per_minute: u32, burst: u32, most: usize, clock: C) -> Option<Self> {
        let per_minute = NonZeroU32::new(per_minute)?;
        let burst = NonZeroU32::new(burst).unwrap_or(per_minute);
        let quota = Quota::with_period(Duration::from_secs(60) / per_minute.get())?.allow_burst(burst);
        let kept = Kept { most, states: Mutex::default() };
        let limiter = RateLimiter::new(quota, kept, clock.clone());
        let cleared = Mutex::new(clock.now());
        Some(Self { limiter, clock, quota, most, cleared })
    }
}

impl<C: Clock> Bucket<C> {
    /// Takes one. What is left, and, if there was none, in how many seconds there is.
    pub(super) fn spend(&self, key: Key) -> (Standing, Result<(), u64>) {
        match self.check(key, true) {
            Ok(state) => {
                let (quota, remaining) = (self.quota.burst_size().get(), state.remaining_burst_capacity());
                let missing = if remaining == 0 { 1 } else { quota.saturating_sub(remaining) };
                (self.standing(remaining, seconds(self.quota.replenish_interval() * missing)), Ok(()))
            }
            Err(refused) => {
                let seconds = self.wait(&refused);
                (self.standing(0, seconds), Err(seconds))
            }
        }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&self, key: Key) {
        // What nothing is left of is not made less.
        self.check(key, true).ok();
    }

    /// Whether there is one, without taking it; else in how many seconds there is.
    pub(super) fn look(&self, key: Key) -> Result<(), u64> {
        self.check(key, false).map(|_| ()).map_err(|refused| self.wait(&refused))
    }

    /// Forgets those that are full again, which is what those that are not known are.
    pub(super) fn tidy(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    pub(super) fn kept(&self) -> usize {
        self.limiter.len()
    }

    fn check(&self, key: Key, takes: bool) -> Result<StateSnapshot, NotUntil<C::Instant>> {
        if takes && self.limiter.len() >= self.most {
            self.clear();
        }
        self.limiter.check_key(&Ask { key, takes })
    }

    fn clear(&self) {
        let now = self.clock.now();
        {
            let mut cleared = self.cleared.lock().unwrap_or_else(PoisonError::into_inner);
            if now < *cleared + Nanos::from(CLEAR_EVERY) {
                return;
            }
            *cleared = now;
        }
        self.limiter.retain_recent();
    }

    fn wait(&self, refused: &NotUntil<C::Instant>) -> u64 {
        seconds(refused.wait_time_from(self.clock.now())).max(1)
    }

    fn standing(&self, remaining: u32, reset: u64) -> Standing {
        let quota = self.quota.burst_size().get();
        let window = seconds(self.quota.burst_size_replenished_in());
        Standing { budget: Budget::Reads, quota, window, remaining, reset }
    }
}

/// Whole seconds, rounded up: who comes then does not come too early.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// A question to a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ask {
    key: Key,
    /// Whether something is taken out of it.
    takes: bool,
}

/// The budgets that are not full, or were not when they were last looked at; no more than a fixed number of them. When there
/// are as many, all further keys share one more.
struct Kept {
    most: usize,
    states: Mutex<HashMap<Key, Nanos>>,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Nanos>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Kept {
    type Key = Ask;

    fn measure_and_replace<T, F, E>(&self, ask: &Ask, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut states = self.lock();
        let has_place = states.contains_key(&ask.key) || states.len() < self.most;
        let key = if has_place { ask.key } else { Key::OTHERS };
        let (told, next) = decide(states.get(&key).copied())?;
        if ask.takes {
            states.insert(key, next);
        }
        Ok(told)
    }
}

impl ShrinkableKeyedStateStore<Ask> for Kept {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, state| *state > drop_below);
    }

    fn shrink_to_fit(&self) {
        self.lock().shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn key(number: u128) -> Key {
        Key::of_network(Ipv6Addr::from_bits(number))
    }

    #[test]
    fn a_bucket_tells_what_is_left_and_when_it_is_full() {
        let clock = FakeRelativeClock::default();
        let bucket = Bucket::new(30, 3, 10, clock.clone()).unwrap();
        let told = |it: (Standing, Result<(), u64>)| (it.0.remaining, it.0.reset, it.1);
        assert_eq!(told(bucket.spend(key(1))), (2, 2, Ok(())));
        assert_eq!(told(bucket.spend(key(1))), (1, 4, Ok(())));
        assert_eq!(told(bucket.spend(key(1))), (0, 2, Ok(())));
        assert_eq!(told(bucket.spend(key(1))), (0, 2, Err(2)));
        clock.advance(Duration::from_millis(500));
        assert_eq!(told(bucket.spend(key(1))), (0, 2, Err(2)), "rounded up");
        clock.advance(Duration::from_millis(1500));
        assert_eq!(told(bucket.spend(key(1))), (0, 2, Ok(())));
        let Standing { quota, window, .. } = bucket.spend(key(2)).0;
        assert_eq!((quota, window), (3, 6));
    }

    #[test]
    fn without_a_burst_a_minutes_worth_may_come_at_once() {
        let bucket = Bucket::new(5, 0, 10, FakeRelativeClock::default()).unwrap();
        assert_eq!((0..10).filter(|_| bucket.spend(key(1)).1.is_ok()).count(), 5);
    }

    #[test]
    fn so_many_keys_are_kept_and_further_ones_share_one_budget() {
        let clock = FakeRelativeClock::default();
        let bucket = Bucket::new(6, 2, 3, clock.clone()).unwrap();
        for known in 0..3 {
            assert!(bucket.spend(key(known)).1.is_ok());
        }
        assert!(bucket.spend(key(100)).1.is_ok() && bucket.spend(key(101)).1.is_ok());
        assert!(bucket.spend(key(102)).1.is_err(), "those without a place share");
        assert!(bucket.look(key(103)).is_err());
        assert!(bucket.spend(key(0)).1.is_ok(), "who has a place keeps it");
        for stranger in 1000..2000 {
            bucket.spend(key(stranger)).1.ok();
        }
        assert_eq!(bucket.kept(), 4);
        clock.advance(Duration::from_secs(60));
        assert!(bucket.spend(key(200)).1.is_ok());
        assert_eq!(bucket.kept(), 1, "places of those whose budgets are full are given to others");
    }
}
