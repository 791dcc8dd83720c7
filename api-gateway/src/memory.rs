//! What others send, and what is made for them, takes memory out of a budget. Beyond it they are told to come again: a
//! process that is killed for its memory serves nobody.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one permit.
const UNIT: usize = 1024;

/// A budget in bytes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Memory {
    free: Arc<Semaphore>,
    units: usize,
}

/// What was taken out of a budget; it goes back when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Portion(OwnedSemaphorePermit);

impl Memory {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        let units = units(bytes).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(units)), units }
    }

    /// Takes so many bytes; `None` when they are not there now.
    pub fn take(&self, bytes: usize) -> Option<Portion> {
        let wanted = u32::try_from(units(bytes)).ok()?;
        self.free.clone().try_acquire_many_owned(wanted).ok().map(Portion)
    }

    /// Takes so many bytes, in the order of those who ask; `None` when they did not come in this time, or never can.
    pub async fn take_within(&self, bytes: usize, limit: Duration) -> Option<Portion> {
        let wanted = u32::try_from(units(bytes)).ok()?;
        if units(bytes) > self.units {
            return None;
        }
        let taking = self.free.clone().acquire_many_owned(wanted);
        tokio::time::timeout(limit, taking).await.ok()?.ok().map(Portion)
    }

    /// Bytes that are taken.
    pub fn used(&self) -> usize {
        self.units.saturating_sub(self.free.available_permits()).saturating_mul(UNIT)
    }
}

impl Portion {
    /// Bytes that it stands for.
    pub fn size(&self) -> usize {
        self.0.num_permits().saturating_mul(UNIT)
    }

    /// Makes it stand for at least so many bytes. False when they are not there now: nothing changed then.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let missing = units(bytes).saturating_sub(self.0.num_permits());
        let Ok(missing) = u32::try_from(missing) else { return false };
        match self.0.semaphore().clone().try_acquire_many_owned(missing) {
            Ok(more) => {
                self.0.merge(more);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives back what is above so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(units(bytes));
        drop(self.0.split(surplus));
    }
}

/// What a buffer of so many bytes takes while it grows: it doubles.
pub fn growing(bytes: usize) -> usize {
    bytes.saturating_mul(2)
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_overdrawn_and_what_is_dropped_comes_back() {
        let memory = Memory::new(10 * UNIT);
        let mut first = memory.take(6 * UNIT).unwrap();
        assert!(memory.take(5 * UNIT).is_none());
        assert!(first.grow(10 * UNIT) && memory.used() == 10 * UNIT);
        assert!(!first.grow(11 * UNIT));
        assert_eq!(first.size(), 10 * UNIT);
        first.shrink(UNIT + 1);
        assert_eq!((first.size(), memory.used()), (2 * UNIT, 2 * UNIT));
        assert!(first.grow(1), "it does already");
        let second = memory.take(8 * UNIT).unwrap();
        drop((first, second));
        assert_eq!(memory.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_what_others_give_back_and_nobody_waits_for_what_can_not_come() {
        let memory = Memory::new(2 * UNIT);
        let all = memory.take(2 * UNIT).unwrap();
        assert!(memory.take_within(UNIT, Duration::from_secs(1)).await.is_none());
        let (waited, ()) = tokio::join!(memory.take_within(UNIT, Duration::from_secs(1)), async { drop(all) });
        assert_eq!(waited.unwrap().size(), UNIT);
        let began = tokio::time::Instant::now();
        assert!(memory.take_within(3 * UNIT, Duration::from_secs(60)).await.is_none());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
