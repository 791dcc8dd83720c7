//! Every row, and the sets of ids by which lists find theirs without looking at the others.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, btree_map, btree_set},
    ops::Bound,
    sync::Arc,
};

use protocol::{JobId, job_record::Status};

use super::row::Row;

/// Rows by id, and for each process and status the ids of its jobs; the same again for each owner, whose lists must not
/// cost what others' jobs are.
///
/// Of everybody's sets, and of an owner's, a job is in exactly one, so that the sets that a filter asks for hold no job twice,
/// whatever it asks for. With [`Row`] (64 bytes), its id (16) and its id in a set (16), in two where it has an owner, a job
/// takes 96 to 112 bytes, and some 200 with the room that B-trees leave in their nodes; its message comes on top where no other
/// job has the same.
#[derive(Default)]
pub(super) struct Rows {
    rows: BTreeMap<JobId, Row>,
    groups: Groups,
    /// Of each process those among the accepted ones whose workload was created: no more than may be live.
    launched: HashMap<Arc<str>, BTreeSet<JobId>>,
    owned: HashMap<Arc<str>, Groups>,
}

/// Which jobs of a list are wanted, as far as there are sets for it; what is empty takes all.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Choice<'a> {
    pub(super) owner: Option<&'a str>,
    pub(super) processes: &'a [String],
    pub(super) statuses: &'a [Status],
}

/// For each process and status the ids of its jobs.
#[derive(Default)]
struct Groups(BTreeMap<Arc<str>, [BTreeSet<JobId>; STATUSES.len()]>);

impl Groups {
    fn insert(&mut self, process: &Arc<str>, status: Status, id: JobId) {
        self.0.entry(process.clone()).or_default()[position(status)].insert(id);
    }

    fn remove(&mut self, process: &str, status: Status, id: &JobId) {
        let Some(sets) = self.0.get_mut(process) else { return };
        sets[position(status)].remove(id);
        if sets.iter().all(BTreeSet::is_empty) {
            self.0.remove(process);
        }
    }

    fn of<'a>(&'a self, processes: &[String], statuses: &[Status]) -> impl Iterator<Item = &'a BTreeSet<JobId>> {
        let takes_status = STATUSES.map(|status| statuses.is_empty() || statuses.contains(&status));
        let groups = self
            .0
            .iter()
            .filter(|(process, _)| processes.is_empty() || processes.iter().any(|wanted| **wanted == ***process));
        groups.flat_map(move |(_, sets)| sets.iter().zip(takes_status).filter(|(_, takes)| *takes).map(|(set, _)| set))
    }
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
        let (origin, status) = (row.origin().clone(), row.status());
        if status == Status::Accepted && row.has_workload() {
            self.launched.entry(origin.process.clone()).or_default().insert(id);
        } else {
            self.leave_launched(&id, &origin.process);
        }
        let before = self.rows.insert(id, row);
        if let Some(before) = before {
            if before.status() == status && *before.origin() == origin {
                return;
            }
            self.leave_groups(&id, &before);
        }
        self.groups.insert(&origin.process, status, id);
        if let Some(owner) = &origin.owner {
            self.owned.entry(owner.clone()).or_default().insert(&origin.process, status, id);
        }
    }

    pub(super) fn get(&self, id: &JobId) -> Option<&Row> {
        self.rows.get(id)
    }

    pub(super) fn remove(&mut self, id: &JobId) {
        if let Some(before) = self.rows.remove(id) {
            self.leave_launched(id, before.process_id());
            self.leave_groups(id, &before);
        }
    }

    fn leave_launched(&mut self, id: &JobId, process: &str) {
        if let Some(launched) = self.launched.get_mut(process) {
            launched.remove(id);
            if launched.is_empty() {
                self.launched.remove(process);
            }
        }
    }

    fn leave_groups(&mut self, id: &JobId, row: &Row) {
        self.groups.remove(row.process_id(), row.status(), id);
        let Some(owner) = row.owner() else { return };
        if let Some(groups) = self.owned.get_mut(owner) {
            groups.remove(row.process_id(), row.status(), id);
            if groups.0.is_empty() {
                self.owned.remove(owner);
            }
        }
    }

    /// How many jobs of a process are before this one among those that wait to be launched; at most `limit` are counted.
    pub(super) fn ahead(&self, process: &str, id: &JobId, limit: usize) -> usize {
        let waiting = self.groups.0.get(process).map(|sets| &sets[position(Status::Accepted)]);
        let launched = self.launched.get(process).map_or(0, |launched| launched.range(..id).count());
        waiting.map_or(0, |waiting| waiting.range(..id).take(limit + launched).count() - launched)
    }

    /// How many jobs have each status: as much work as there are processes, not jobs.
    pub(super) fn count(&self) -> [(Status, usize); STATUSES.len()] {
        STATUSES.map(|status| (status, self.groups.0.values().map(|sets| sets[position(status)].len()).sum()))
    }

    /// The chosen jobs whose ids are within bounds.
    pub(super) fn iter<'a>(
        &'a self,
        choice: Choice<'_>,
        bounds: (Bound<JobId>, Bound<JobId>),
        order: Order,
    ) -> impl Iterator<Item = (JobId, &'a Row)> + use<'a> {
        let Choice { owner, processes, statuses } = choice;
        let groups = match owner {
            None => Some(&self.groups),
            Some(owner) => self.owned.get(owner),
        };
        let sources = if is_empty(bounds) {
            Vec::new()
        } else if owner.is_none() && processes.is_empty() && statuses.is_empty() {
            vec![Source::All(self.rows.range(bounds))]
        } else {
            let sets = groups.into_iter().flat_map(|groups| groups.of(processes, statuses));
            sets.map(|set| Source::Group(set.range(bounds))).collect()
        };
        Merge::new(sources, order).filter_map(|(id, row)| Some((id, row.or_else(|| self.rows.get(&id))?)))
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
    use protocol::{
        JobRecord, Owner,
        job_record::{ArchiveState, ExecutorKind, Workload},
    };

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
        let choice = Choice { owner: None, processes: &processes, statuses };
        rows.iter(choice, all, order).map(|(id, _)| id.unix_millis()).collect()
    }

    #[test]
    fn a_job_takes_a_stated_size() {
        assert!(size_of::<JobId>() + size_of::<Row>() + 2 * size_of::<JobId>() <= 112);
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
        assert!(rows.groups.0.is_empty() && rows.rows.is_empty());
    }

    #[test]
    fn a_launched_job_is_before_no_other_even_before_its_pod_has_started() {
        let (mut rows, mut texts) = (Rows::default(), Texts::default());
        let record = |millis: u64| {
            let (id, now) = (JobId::generate(millis), Timestamp::UNIX_EPOCH);
            JobRecord::accepted(id, "a".parse().unwrap(), "1".into(), now, ArchiveState::Off)
        };
        let records: Vec<JobRecord> = (1..=4).map(record).collect();
        for record in &records {
            rows.insert(record.job_id, Row::new(record, &mut texts));
        }
        let last = records[3].job_id;
        assert_eq!((rows.ahead("a", &last, 10), rows.ahead("a", &last, 2)), (3, 2));
        let mut workload = Workload::new(ExecutorKind::Kubernetes, "n", "j");
        let won = JobRecord { workload: Some(workload.clone()), ..records[0].clone() };
        rows.insert(won.job_id, Row::new(&won, &mut texts));
        assert_eq!(rows.ahead("a", &last, 10), 3, "won, not created");
        workload.job_uid = Some("u".to_owned());
        let created = JobRecord { workload: Some(workload), ..won };
        rows.insert(created.job_id, Row::new(&created, &mut texts));
        assert_eq!((rows.ahead("a", &last, 10), rows.ahead("a", &last, 2)), (2, 2));
        let running = JobRecord { status: Status::Running, ..created.clone() };
        rows.insert(running.job_id, Row::new(&running, &mut texts));
        assert!(rows.ahead("a", &last, 10) == 2 && rows.launched.is_empty());
        rows.insert(created.job_id, Row::new(&created, &mut texts));
        rows.remove(&created.job_id);
        assert!(rows.ahead("a", &last, 10) == 2 && rows.launched.is_empty());
    }

    #[test]
    fn an_owners_jobs_are_found_without_those_of_others() {
        let (mut rows, mut texts) = (Rows::default(), Texts::default());
        let owned = |millis: u64, process: &str, owner: Option<&str>, status| {
            let id = JobId::generate(millis);
            let now = Timestamp::UNIX_EPOCH;
            let record = JobRecord::accepted(id, process.parse().unwrap(), "1".into(), now, ArchiveState::Off);
            (id, JobRecord { status, owner: owner.map(Owner::token), ..record })
        };
        let records = [
            owned(1, "a", Some("x"), Status::Failed),
            owned(2, "b", Some("y"), Status::Running),
            owned(3, "b", Some("x"), Status::Running),
            owned(4, "a", None, Status::Failed),
            owned(5, "a", Some("x"), Status::Running),
        ];
        for (id, record) in &records {
            rows.insert(*id, Row::new(record, &mut texts));
        }
        let all = (Bound::Unbounded, Bound::Unbounded);
        let found = |rows: &Rows, owner: &str, processes: &[String], statuses: &[Status]| -> Vec<u64> {
            let choice = Choice { owner: Some(owner), processes, statuses };
            rows.iter(choice, all, Order::NewestFirst).map(|(id, _)| id.unix_millis()).collect()
        };
        assert_eq!(found(&rows, "token:x", &[], &[]), [5, 3, 1]);
        assert_eq!(found(&rows, "token:x", &["a".to_owned()], &[]), [5, 1]);
        assert_eq!(found(&rows, "token:x", &[], &[Status::Running]), [5, 3]);
        assert_eq!(found(&rows, "token:y", &[], &[]), [2]);
        assert!(found(&rows, "token:none", &[], &[]).is_empty());
        assert_eq!(rows.count().iter().map(|(_, count)| count).sum::<usize>(), 5, "each is counted once");
        let (id, record) = &records[2];
        rows.insert(*id, Row::new(&JobRecord { status: Status::Successful, ..record.clone() }, &mut texts));
        assert_eq!(found(&rows, "token:x", &[], &[Status::Running]), [5]);
        for (id, _) in &records {
            rows.remove(id);
        }
        assert!(rows.owned.is_empty() && rows.groups.0.is_empty());
    }

    #[test]
    fn bounds_that_exclude_everything_give_nothing() {
        let (mut rows, mut texts, id) = (Rows::default(), Texts::default(), JobId::generate(5));
        rows.insert(id, row("a", Status::Failed, &mut texts));
        use Bound::{Excluded, Included};
        for bounds in [(Excluded(id), Excluded(id)), (Included(JobId::lowest_at(9)), Excluded(JobId::lowest_at(2)))] {
            for processes in [&[][..], &["a".to_owned()]] {
                let choice = Choice { processes, ..Choice::default() };
                assert_eq!(rows.iter(choice, bounds, Order::NewestFirst).count(), 0);
            }
        }
        assert_eq!(rows.iter(Choice::default(), (Included(id), Included(id)), Order::OldestFirst).count(), 1);
    }
}
