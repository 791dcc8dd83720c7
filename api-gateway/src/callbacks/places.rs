//! Places for attempts that are under way: a slow receiver takes no more than its own, and those that failed before never take
//! the places of those that were not tried yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// All places of one gateway.
pub(super) struct Places {
    at_once: usize,
    per_host: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    first: usize,
    again: usize,
    /// First attempts and others under way for each host; an entry lasts as long as one is.
    hosts: HashMap<String, (usize, usize)>,
}

/// One place; dropping it gives it back.
pub(super) struct Place {
    places: Arc<Places>,
    host: String,
    is_first: bool,
}

impl Places {
    /// As many for first attempts, and half of that for others; `per_host` of the one kind, a quarter of that of the other.
    pub(super) fn new(at_once: usize, per_host: usize) -> Arc<Self> {
        Arc::new(Self { at_once, per_host, taken: Mutex::default() })
    }

    /// A place, if there is one.
    pub(super) fn take(self: &Arc<Self>, host: &str, is_first: bool) -> Option<Place> {
        let (most, most_for_host) = match is_first {
            true => (self.at_once, self.per_host),
            false => (self.at_once.div_ceil(2), self.per_host.div_ceil(4)),
        };
        let mut taken = self.lock();
        let Taken { first, again, hosts } = &mut *taken;
        let all = if is_first { first } else { again };
        let here = hosts.get(host).map_or(0, |here| if is_first { here.0 } else { here.1 });
        if *all >= most || here >= most_for_host {
            return None;
        }
        *all += 1;
        let (first_here, again_here) = hosts.entry(host.to_owned()).or_default();
        *(if is_first { first_here } else { again_here }) += 1;
        Some(Place { places: self.clone(), host: host.to_owned(), is_first })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        let Taken { first, again, hosts } = &mut *taken;
        let all = if self.is_first { first } else { again };
        *all = all.saturating_sub(1);
        if let Some((first_here, again_here)) = hosts.get_mut(&self.host) {
            let here = if self.is_first { &mut *first_here } else { &mut *again_here };
            *here = here.saturating_sub(1);
            if *first_here == 0 && *again_here == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_host_takes_no_more_than_its_own_places() {
        let places = Places::new(10, 4);
        let slow: Vec<Place> = std::iter::from_fn(|| places.take("slow", true)).collect();
        assert_eq!(slow.len(), 4);
        assert!(places.take("live", true).is_some());
    }

    #[test]
    fn those_that_failed_before_leave_the_first_attempts_their_places() {
        let places = Places::new(10, 4);
        let dead: Vec<Place> = (0..1000).filter_map(|host| places.take(&format!("dead-{host}"), false)).collect();
        assert_eq!(dead.len(), 5);
        assert!(places.take("live", true).is_some(), "a host that was not tried yet");
        assert!(places.take("dead-0", true).is_some(), "and a first attempt at one that failed another time");
        assert!(places.take("other", false).is_none());
    }

    #[test]
    fn of_a_host_that_failed_few_are_tried_at_once() {
        let places = Places::new(64, 8);
        assert_eq!(std::iter::from_fn(|| places.take("dead", false)).collect::<Vec<_>>().len(), 2);
    }

    #[test]
    fn a_place_is_given_back_and_nothing_is_remembered_of_it() {
        let places = Places::new(2, 2);
        let both = (places.take("a", true), places.take("b", true));
        assert!(both.0.is_some() && both.1.is_some() && places.take("c", true).is_none());
        drop(both);
        assert!(places.take("c", true).is_some() && places.lock().hosts.is_empty());
    }
}
