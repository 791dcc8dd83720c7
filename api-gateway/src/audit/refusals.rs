//! Sums up what was refused, in bounded memory and entries: pure.

use std::collections::HashMap;

use jiff::Timestamp;
use protocol::audit::{Entry, Outcome};

use crate::rates::network;

/// Kinds of refusals of those of whom nothing is known that are told apart in a minute, and as many of those who are known.
const MOST: usize = 32;
/// Who it was, of those that are not told apart any more.
const SEVERAL: &str = "several";
/// Who it was, where nothing is known.
pub(super) const ANONYMOUS: &str = "anonymous";

/// The refusals of a minute.
#[derive(Default)]
pub(super) struct Refusals {
    /// Those of whom nothing is known take no place of those who are known.
    of_nobody: HashMap<Entry, Sum>,
    of_somebody: HashMap<Entry, Sum>,
    others: HashMap<Outcome, Sum>,
}

/// Those that are not told of yet.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    count: u64,
    times: Option<(Timestamp, Timestamp)>,
}

impl Sum {
    fn add(&mut self, now: Timestamp) {
        self.count += 1;
        self.times = Some((self.times.map_or(now, |(first, _)| first), now));
    }

    fn told(self, entry: Entry) -> Option<(Timestamp, Entry)> {
        let (first, last) = self.times?;
        Some((last, Entry { count: Some(self.count), since: Some(first), ..entry }))
    }
}

impl Refusals {
    /// Takes a refusal. It is given back if it is the first of its kind, and is to be told of at once.
    pub(super) fn add(&mut self, entry: Entry, now: Timestamp) -> Option<Entry> {
        let kind = kind(&entry);
        let kinds = if entry.who == ANONYMOUS { &mut self.of_nobody } else { &mut self.of_somebody };
        if let Some(sum) = kinds.get_mut(&kind) {
            sum.add(now);
            return None;
        }
        if kinds.len() >= MOST {
            self.others.entry(entry.outcome).or_default().add(now);
            return None;
        }
        kinds.insert(kind, Sum::default());
        Some(entry)
    }

    /// What is to be told at the end of a minute, with the time of the last of each.
    pub(super) fn take(&mut self) -> Vec<(Timestamp, Entry)> {
        let Self { of_nobody, of_somebody, others } = std::mem::take(self);
        let kinds = of_nobody.into_iter().chain(of_somebody);
        let others = others.into_iter().map(|(outcome, sum)| (Entry::new(SEVERAL, outcome), sum));
        kinds.chain(others).filter_map(|(entry, sum)| sum.told(entry)).collect()
    }
}

/// What several refusals may have in common. What nobody in particular asked for says nothing, and would make many kinds of one.
fn kind(entry: &Entry) -> Entry {
    let is_known = entry.who != ANONYMOUS;
    Entry {
        address: entry.address.map(network),
        operation: entry.operation.clone().filter(|_| is_known),
        process_id: entry.process_id.clone().filter(|_| is_known),
        ..Entry::new(&entry.who, entry.outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(who: &str, address: &str, operation: &str) -> Entry {
        Entry {
            address: Some(address.parse().unwrap()),
            operation: Some(operation.to_owned()),
            request_id: Some(operation.to_owned()),
            ..Entry::new(who, Outcome::Unauthorized)
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_first_is_told_at_once_and_those_after_it_as_a_sum() {
        let mut refusals = Refusals::default();
        let first = refused(ANONYMOUS, "192.0.2.1", "GET /jobs");
        assert_eq!(refusals.add(first.clone(), at(1)), Some(first));
        assert_eq!(refusals.add(refused(ANONYMOUS, "192.0.2.1", "DELETE /jobs/{jobID}"), at(2)), None);
        assert_eq!(refusals.add(refused(ANONYMOUS, "192.0.2.1", "GET /jobs"), at(5)), None);
        assert!(refusals.add(refused(ANONYMOUS, "192.0.2.2", "GET /jobs"), at(3)).is_some(), "another address");
        let told = refusals.take();
        let [(time, sum)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((*time, sum.count, sum.since), (at(5), Some(2), Some(at(2))));
        assert_eq!((sum.who.as_str(), sum.address, &sum.operation), (ANONYMOUS, "192.0.2.1".parse().ok(), &None));
        assert!(refusals.take().is_empty());
        assert!(refusals.add(refused(ANONYMOUS, "192.0.2.1", "GET /jobs"), at(61)).is_some(), "the next minute");
    }

    #[test]
    fn of_who_is_known_it_is_told_what_was_refused() {
        let mut refusals = Refusals::default();
        for operation in ["GET /jobs", "DELETE /jobs/{jobID}", "GET /jobs"] {
            refusals.add(refused("token:a", "192.0.2.1", operation), at(1));
        }
        let told = refusals.take();
        assert_eq!((told.len(), told[0].1.operation.as_deref()), (1, Some("GET /jobs")));
    }

    #[test]
    fn a_flood_makes_a_bounded_number_of_entries_and_hides_nobody_who_is_known() {
        let mut refusals = Refusals::default();
        let mut at_once = 0;
        for number in 0..10_000_u32 {
            let address = format!("10.0.{}.{}", number / 256 % 256, number % 256);
            at_once += usize::from(refusals.add(refused(ANONYMOUS, &address, "GET /jobs"), at(1)).is_some());
            at_once += usize::from(refusals.add(refused(ANONYMOUS, &address, "GET /jobs"), at(2)).is_some());
        }
        assert_eq!(at_once, MOST);
        assert!(refusals.add(refused("token:a", "192.0.2.1", "GET /jobs"), at(3)).is_some());
        let told = refusals.take();
        assert_eq!(told.len(), MOST + 1);
        let counted: u64 = told.iter().filter_map(|(_, entry)| entry.count).sum();
        assert_eq!(counted + MOST as u64, 20_000, "none is lost");
        let others = told.iter().find(|(_, entry)| entry.who == SEVERAL).unwrap();
        assert_eq!(others.1.address, None);
    }
}
