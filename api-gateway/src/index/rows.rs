//! Every row, and the sets of ids by which lists find theirs without looking at the others.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, btree_map, btree_set},
    ops::Bound,
    sync::Arc,
};

use protocol::{JobId, job_record::Status};

use super::row::Row;

/// Rows by id, and for each process and status the ids of its jobs.
///
/// A job is in exactly one set, so that the sets that a filter asks for hold no job twice, whatever it asks for. With
/// [`Row`] (72 bytes), its id (16) and its id in a set (16) a job takes 104 bytes, and some 200 with the room that B-trees
/// leave in their nodes; its message comes on top where no other job has the same.
#[derive(Default)]
pub(super) struct Rows {
    rows: BTreeMap<JobId, Row>,
    groups: BTreeMap<Arc<str>, [BTreeSet<JobId>; STATUSES.len()]>,
}

/// All statuses, in the order of the sets.
pub(super) const STATUSES: [Status; 5] =
    [Status::Accepted, Status::Running, Status::Successful, Status::Failed, Status::Dismissed];

fn position(status: Status) -> usize {
    match status {
        Status::Accepted => 0,
        Status::Running => 1,
        Status::Successful => 2,
        Status::Failed => 3,
        Status::Dismissed => 4,
    }
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    NewestFirst,
    OldestFirst,
}

impl Rows {
    pub(super) fn insert(&mut self, id: JobId, row: Row) {
        let (process, status) = (row.shared_process(), row.status());
        let before = self.rows.insert(id, row);
        if let Some(before) = before {
            if before.status() == status && before.process_id() == &*process {
                return;
            }
            self.leave_group(&id, &before);
        }
        self.groups.entry(process).or_default()[position(status)].insert(id);
    }

    pub(super) fn remove(&mut self, id: &JobId) {
        if let Some(before) = self.rows.remove(id) {
            self.leave_group(id, &before);
        }
    }

    fn leave_group(&mut self, id: &JobId, row: &Row) {
        let Some(sets) = self.groups.get_mut(row.process_id()) else { return };
        sets[position(row.status())].remove(id);
        if sets.iter().all(BTreeSet::is_empty) {
            self.groups.remove(row.process_id());
        }
    }

    /// How many jobs have each status: as much work as there are processes, not jobs.
    pub(super) fn count(&self) -> [(Status, usize); STATUSES.len()] {
        STATUSES.map(|status| (status, self.groups.values().map(|sets| sets[position(status)].len()).sum()))
    }

    /// The jobs of these processes and statuses, all where there are none, whose ids are within bounds.
    pub(super) fn iter<'a>(
        &'a self,
        processes: &[String],
        statuses: &[Status],
        bounds: (Bound<JobId>, Bound<JobId>),
        order: Order,
    ) -> impl Iterator<Item = (JobId, &'a Row)> + use<'a> {
        let sources = if is_empty(bounds) {
            Vec::new()
        } else if processes.is_empty() && statuses.is_empty() {
            vec![Source::All(self.rows.range(bounds))]
        } else {
            self.groups_of(processes, statuses).map(|set| Source::Group(set.range(bounds))).collect()
        };
        Merge::new(sources, order).filter_map(|(id, row)| Some((id, row.or_else(|| self.rows.get(&id))?)))
    }

    fn groups_of<'a>(&'a self, processes: &[String], statuses: &[Status]) -> impl Iterator<Item = &'a BTreeSet<JobId>> {
        let takes_status = STATUSES.map(|status| statuses.is_empty() || statuses.contains(&status));
        let groups = self
            .groups
            .iter()
            .filter(|(process, _)| processes.is_empty() || processes.iter().any(|wanted| **wanted == ***process));
        groups.flat_map(move |(_, sets)| sets.iter().zip(takes_status).filter(|(_, takes)| *takes).map(|(set, _)| set))
    }
}

/// Bounds between which nothing can be: ranges of B-trees panic at some of them.
fn is_empty((low, high): (Bound<JobId>, Bound<JobId>)) -> bool {
    match (low, high) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low >= high,
    }
}

enum Source<'a> {
    All(btree_map::Range<'a, JobId, Row>),
    Group(btree_set::Range<'a, JobId>),
}

impl<'a> Source<'a> {
    /// The next id, with its row where that is at hand.
    fn next(&mut self, order: Order) -> Option<(JobId, Option<&'a Row>)> {
        let with_row = |(id, row): (&'a JobId, &'a Row)| (*id, Some(row));
        match (self, order) {
            (Self::All(range), Order::NewestFirst) => range.next_back().map(with_row),
            (Self::All(range), Order::OldestFirst) => range.next().map(with_row),
            (Self::Group(range), Order::NewestFirst) => range.next_back().map(|id| (*id, None)),
            (Self::Group(range), Order::OldestFirst) => range.next().map(|id| (*id, None)),
        }
    }
}

/// The ids of several sets in one order: each step looks at the next id of each set, by a heap.
struct Merge<'a> {
    sources: Vec<(Source<'a>, Option<&'a Row>)>,
    heads: BinaryHeap<(Head, usize)>,
    order: Order,
}

/// The next id of a source; the greatest comes first. All heads of a merge are of one kind.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Head {
    Newest(JobId),
    Oldest(Reverse<JobId>),
}

impl Head {
    fn new(id: JobId, order: Order) -> Self {
        match order {
            Order::NewestFirst => Self::Newest(id),
            Order::OldestFirst => Self::Oldest(Reverse(id)),
        }
    }
}

impl<'a> Merge<'a> {
    fn new(sources: Vec<Source<'a>>, order: Order) -> Self {
        let (numbers, sources) = (0..sources.len(), sources.into_iter().map(|source| (source, None)).collect());
        let mut merge = Self { sources, heads: BinaryHeap::new(), order };
        numbers.for_each(|number| merge.advance(number));
        merge
    }

    fn advance(&mut self, number: usize) {
        let (source, row) = &mut self.sources[number];
        if let Some((id, next)) = source.next(self.order) {
            *row = next;
            self.heads.push((Head::new(id, self.order), number));
        }
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = (JobId, Option<&'a Row>);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, number) = self.heads.pop()?;
        let row = self.sources[number].1;
        self.advance(number);
        match head {
            Head::Newest(id) | Head::Oldest(Reverse(id)) => Some((id, row)),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::{JobRecord, job_record::ArchiveState};

    use super::*;
    use crate::index::row::Texts;

    fn row(process: &str, status: Status, texts: &mut Texts) -> Row {
        let id = JobId::generate(1);
        let now = Timestamp::UNIX_EPOCH;
        let record = JobRecord::accepted(id, process.parse().unwrap(), "1".into(), now, ArchiveState::Off);
        Row::new(&JobRecord { status, ..record }, texts)
    }

    fn ids(rows: &Rows, processes: &[&str], statuses: &[Status], order: Order) -> Vec<u64> {
        let processes: Vec<String> = processes.iter().map(|&process| process.to_owned()).collect();
        let all = (Bound::Unbounded, Bound::Unbounded);
        rows.iter(&processes, statuses, all, order).map(|(id, _)| id.unix_millis()).collect()
    }

    #[test]
    fn a_job_takes_a_stated_size() {
        assert!(size_of::<JobId>() + size_of::<Row>() + size_of::<JobId>() <= 104);
    }

    #[test]
    fn several_sets_are_told_in_one_order() {
        let (mut rows, mut texts) = (Rows::default(), Texts::default());
        for (millis, process, status) in [
            (1, "a", Status::Failed),
            (2, "b", Status::Running),
            (3, "a", Status::Running),
            (4, "c", Status::Failed),
            (5, "b", Status::Failed),
        ] {
            rows.insert(JobId::generate(millis), row(process, status, &mut texts));
        }
        use Order::{NewestFirst, OldestFirst};
        assert_eq!(ids(&rows, &[], &[], NewestFirst), [5, 4, 3, 2, 1]);
        assert_eq!(ids(&rows, &[], &[], OldestFirst), [1, 2, 3, 4, 5]);
        assert_eq!(ids(&rows, &["b", "a"], &[], NewestFirst), [5, 3, 2, 1]);
        assert_eq!(ids(&rows, &["b", "b", "none"], &[], OldestFirst), [2, 5]);
        assert_eq!(ids(&rows, &[], &[Status::Failed, Status::Accepted], NewestFirst), [5, 4, 1]);
        assert_eq!(ids(&rows, &["a"], &[Status::Running], NewestFirst), [3]);
    }

    #[test]
    fn a_job_is_in_the_set_of_its_last_status_only_and_in_none_once_removed() {
        let (mut rows, mut texts, id) = (Rows::default(), Texts::default(), JobId::generate(1));
        rows.insert(id, row("a", Status::Accepted, &mut texts));
        rows.insert(id, row("a", Status::Running, &mut texts));
        assert_eq!(rows.count().map(|(_, count)| count), [0, 1, 0, 0, 0]);
        assert!(ids(&rows, &[], &[Status::Accepted], Order::NewestFirst).is_empty());
        rows.remove(&id);
        assert_eq!(rows.count().map(|(_, count)| count), [0; 5]);
        assert!(rows.groups.is_empty() && rows.rows.is_empty());
    }

    #[test]
    fn bounds_that_exclude_everything_give_nothing() {
        let (mut rows, mut texts, id) = (Rows::default(), Texts::default(), JobId::generate(5));
        rows.insert(id, row("a", Status::Failed, &mut texts));
        use Bound::{Excluded, Included};
        for bounds in [(Excluded(id), Excluded(id)), (Included(JobId::lowest_at(9)), Excluded(JobId::lowest_at(2)))] {
            for processes in [&[][..], &["a".to_owned()]] {
                assert_eq!(rows.iter(processes, &[], bounds, Order::NewestFirst).count(), 0);
            }
        }
        assert_eq!(rows.iter(&[], &[], (Included(id), Included(id)), Order::OldestFirst).count(), 1);
    }
}
