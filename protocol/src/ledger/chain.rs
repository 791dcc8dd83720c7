//! Which parts of one container's log count: pure.

use std::collections::HashMap;

use super::{PartKey, Previous};
use crate::job_id::Epoch;

/// Of the parts of one container's log, in any order, those that make up the longest log: the first begins at 0, each
/// begins where the one before ends. `previous` says what the header of the first part of an epoch says; it is asked for
/// those only that do not begin at 0. Of two chains of the same length one counts whose last part has no bytes, as it says that the
/// log has ended, or what is missing; else the one with fewer epochs.
pub fn longest(parts: &[PartKey], previous: impl Fn(&PartKey) -> Option<Previous>) -> Vec<PartKey> {
    let mut by_epoch: HashMap<&Epoch, Vec<&PartKey>> = HashMap::new();
    for part in parts {
        by_epoch.entry(&part.epoch).or_default().push(part);
    }
    for own in by_epoch.values_mut() {
        own.sort_by_key(|part| (part.start, part.size));
        let broken = own.windows(2).position(|pair| pair[1].start != pair[0].end());
        own.truncate(broken.map_or(own.len(), |last| last + 1));
    }
    let mut best: Option<Vec<&PartKey>> = None;
    for own in by_epoch.values() {
        let Some(chain) = whole(own, &by_epoch, &previous) else { continue };
        let is_better = best.as_ref().is_none_or(|best| rank(&chain) > rank(best));
        if is_better {
            best = Some(chain);
        }
    }
    best.unwrap_or_default().into_iter().cloned().collect()
}

/// The first part of each epoch, where it does not begin at 0: whose header has to be read to tell a chain.
pub fn firsts(parts: &[PartKey]) -> Vec<&PartKey> {
    let mut firsts: HashMap<&Epoch, &PartKey> = HashMap::new();
    for part in parts {
        let first = firsts.entry(&part.epoch).or_insert(part);
        if (part.start, part.size) < (first.start, first.size) {
            *first = part;
        }
    }
    firsts.into_values().filter(|part| part.start > 0).collect()
}

fn rank<'a>(chain: &[&'a PartKey]) -> (u64, bool, std::cmp::Reverse<usize>, usize, &'a str) {
    let epochs = chain.windows(2).filter(|pair| pair[0].epoch != pair[1].epoch).count();
    let last = chain.last();
    // The last one decides nothing but that two replicas choose alike.
    let name = last.map_or("", |part| part.epoch.as_str());
    let has_mark = last.is_some_and(|part| part.size == 0);
    (last.map_or(0, |part| part.end()), has_mark, std::cmp::Reverse(epochs), chain.len(), name)
}

/// The parts of an epoch with all that they go on after; `None` where something of that is missing.
fn whole<'a>(
    own: &[&'a PartKey],
    by_epoch: &HashMap<&Epoch, Vec<&'a PartKey>>,
    previous: &impl Fn(&PartKey) -> Option<Previous>,
) -> Option<Vec<&'a PartKey>> {
    let mut chain: Vec<&PartKey> = own.iter().rev().copied().collect();
    // A chain that goes in circles would need a part that begins before itself.
    while let Some(first) = chain.last().filter(|first| first.start > 0) {
        let before = previous(first)?;
        let earlier = by_epoch.get(&before.epoch)?;
        let at = earlier.iter().position(|part| part.start == before.start && part.size == before.size)?;
        if earlier[at].end() != first.start || earlier[at].start >= first.start {
            return None;
        }
        chain.extend(earlier[..=at].iter().rev().copied());
    }
    chain.reverse();
    Some(chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LogName;

    struct World {
        epochs: Vec<Epoch>,
        parts: Vec<PartKey>,
        previous: HashMap<String, Previous>,
    }

    impl World {
        fn new() -> Self {
            Self { epochs: (0..4).map(|_| Epoch::generate()).collect(), parts: Vec::new(), previous: HashMap::new() }
        }

        fn part(&mut self, epoch: usize, start: u64, size: u64) {
            let epoch = self.epochs[epoch].clone();
            self.parts.push(PartKey { epoch, log: LogName::of("p", "c"), start, size });
        }

        fn goes_on_after(&mut self, epoch: usize, earlier: usize, start: u64, size: u64) {
            let previous = Previous { epoch: self.epochs[earlier].clone(), start, size };
            self.previous.insert(self.epochs[epoch].as_str().to_owned(), previous);
        }

        fn chain(&self) -> Vec<(usize, u64, u64)> {
            let chain = longest(&self.parts, |part| self.previous.get(part.epoch.as_str()).cloned());
            let number = |epoch: &Epoch| self.epochs.iter().position(|own| own == epoch).unwrap();
            chain.iter().map(|part| (number(&part.epoch), part.start, part.size)).collect()
        }
    }

    #[test]
    fn the_parts_of_one_epoch_are_one_log_up_to_the_first_that_is_missing() {
        let mut world = World::new();
        assert!(world.chain().is_empty());
        world.part(0, 10, 5);
        world.part(0, 0, 10);
        world.part(0, 15, 0);
        assert_eq!(world.chain(), [(0, 0, 10), (0, 10, 5), (0, 15, 0)]);
        world.part(0, 16, 4);
        assert_eq!(world.chain().len(), 3);
    }

    #[test]
    fn a_follower_that_took_over_counts_up_to_where_it_is_longer_than_the_one_that_woke() {
        let mut world = World::new();
        world.part(0, 0, 10);
        world.part(0, 10, 3);
        world.part(1, 10, 2);
        world.goes_on_after(1, 0, 0, 10);
        assert_eq!(world.chain(), [(0, 0, 10), (0, 10, 3)]);
        world.part(1, 12, 5);
        assert_eq!(world.chain(), [(0, 0, 10), (1, 10, 2), (1, 12, 5)]);
        world.part(2, 17, 1);
        world.goes_on_after(2, 1, 12, 5);
        assert_eq!(world.chain().last(), Some(&(2, 17, 1)));
    }

    #[test]
    fn one_that_took_over_and_found_the_end_counts_though_it_read_nothing_new() {
        let mut world = World::new();
        world.part(0, 0, 10);
        world.part(1, 10, 0);
        world.goes_on_after(1, 0, 0, 10);
        assert_eq!(world.chain(), [(0, 0, 10), (1, 10, 0)]);
        world.part(0, 10, 0);
        assert_eq!(world.chain(), [(0, 0, 10), (0, 10, 0)], "one is enough");
    }

    #[test]
    fn what_nobody_can_vouch_for_counts_nothing() {
        let mut world = World::new();
        world.part(1, 10, 9);
        assert!(world.chain().is_empty(), "without a header");
        world.goes_on_after(1, 0, 0, 10);
        assert!(world.chain().is_empty(), "without the part before");
        world.part(0, 0, 9);
        assert_eq!(world.chain(), [(0, 0, 9)], "with another one");
        world.part(2, 10, 5);
        world.goes_on_after(2, 2, 10, 5);
        assert_eq!(world.chain(), [(0, 0, 9)], "after itself");
    }

    #[test]
    fn only_first_parts_that_go_on_are_asked_for_what_they_go_on_after() {
        let mut world = World::new();
        world.part(0, 0, 10);
        world.part(1, 12, 2);
        world.part(1, 10, 2);
        let [only] = firsts(&world.parts).try_into().unwrap();
        assert_eq!((only.start, &only.epoch), (10, &world.epochs[1]));
    }
}
