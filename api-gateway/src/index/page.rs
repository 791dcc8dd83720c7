//! One page of the list of jobs: which jobs, from where on, and how the pages before and after it are found.

use std::ops::Bound;

use jiff::{SignedDuration, Timestamp};
use protocol::{JobId, job_record::Status};

use super::{
    row::Row,
    rows::{Choice, Order, Rows},
};

/// Which jobs a list shows; what is empty shows all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Whose jobs, as the records have it.
    pub owner: Option<String>,
    /// Ids of processes.
    pub processes: Vec<String>,
    /// Statuses.
    pub statuses: Vec<Status>,
    /// When the job was created, this time included.
    pub from: Option<Timestamp>,
    /// The same at the end.
    pub to: Option<Timestamp>,
    /// The shortest run, in seconds.
    pub min_duration: Option<u64>,
    /// The longest run, in seconds.
    pub max_duration: Option<u64>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// With the newest job.
    #[default]
    Newest,
    /// With the next older one than this, which need not be there any more.
    After(JobId),
    /// The page ends with the next newer one than this.
    Before(JobId),
}

/// What is asked of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Where the page begins.
    pub start: Start,
    /// Jobs left out from there on. Each costs a step.
    pub offset: usize,
    /// Jobs at most.
    pub limit: usize,
    /// The time up to which the runs of running jobs count.
    pub now: Timestamp,
}

/// A page.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Its jobs, the newest first.
    pub jobs: Vec<(JobId, Row)>,
    /// What the page after it is asked for by: after which job, and how many more are left out.
    pub next: Option<(JobId, usize)>,
    /// The job before which the page before it ends.
    pub prev: Option<JobId>,
}

/// Jobs that a page looks at in vain before it ends: only durations make it look at jobs that it does not show. Such a
/// page may be short, or empty, and has a next one.
const LOOKS: usize = 2_000;

/// How far the time in an id may be from the time at which its job was created. Today they are the same; gateways of
/// earlier versions took them one after the other.
const SKEW: SignedDuration = SignedDuration::from_secs(10);

impl Filter {
    /// True of a job that only a look at its row can tell of.
    fn takes(&self, row: &Row, now: Timestamp) -> bool {
        let created = row.created().as_microsecond();
        let is_in_time = self.from.is_none_or(|from| from.as_microsecond() <= created)
            && self.to.is_none_or(|to| created <= to.as_microsecond());
        if !is_in_time || (self.min_duration.is_none() && self.max_duration.is_none()) {
            return is_in_time;
        }
        let Some(run) = run(row, now) else { return false };
        let seconds = |limit: u64| SignedDuration::from_secs(i64::try_from(limit).unwrap_or(i64::MAX));
        self.min_duration.is_none_or(|least| run >= seconds(least))
            && self.max_duration.is_none_or(|most| run <= seconds(most))
    }

    /// Between which ids the jobs are that were created in the time.
    fn bounds(&self) -> (Bound<JobId>, Bound<JobId>) {
        let millis = |time: Timestamp, skew| {
            let near = time.saturating_add(skew).unwrap_or(time).as_millisecond();
            u64::try_from(near).unwrap_or(0)
        };
        let low = self.from.map(|from| JobId::lowest_at(millis(from, -SKEW)));
        let high = self.to.map(|to| JobId::highest_at(millis(to, SKEW)));
        (low.map_or(Bound::Unbounded, Bound::Included), high.map_or(Bound::Unbounded, Bound::Included))
    }
}

/// How long a job ran, or has been running; `None` where that can't be told (requirement
/// `/req/job-list/duration-response`).
fn run(row: &Row, now: Timestamp) -> Option<SignedDuration> {
    let end = match row.status() {
        Status::Accepted => return None,
        // It may have ended already, and be stored now.
        Status::Running => row.finished().unwrap_or(now),
        Status::Successful | Status::Failed | Status::Dismissed => row.finished()?,
    };
    Some(end.duration_since(row.started()?))
}

pub(super) fn page(rows: &Rows, filter: &Filter, wanted: Wanted) -> Listed {
    let look = |order, from, offset, limit| scan(rows, filter, Look { order, from, offset, limit, now: wanted.now });
    let (order, from) = match wanted.start {
        Start::Newest => (Order::NewestFirst, None),
        Start::After(job) => (Order::NewestFirst, Some(job)),
        Start::Before(job) => (Order::OldestFirst, Some(job)),
    };
    let Scan { mut jobs, more } = look(order, from, wanted.offset, wanted.limit);
    let is_more = |order, from| look(order, from, 0, 0).more.is_some();
    match order {
        Order::NewestFirst => {
            let is_first = wanted.start == Start::Newest && wanted.offset == 0;
            let newest =
                jobs.first().map(|(id, _)| *id).filter(|id| !is_first && is_more(Order::OldestFirst, Some(*id)));
            Listed { jobs, next: more, prev: newest }
        }
        Order::OldestFirst => {
            jobs.reverse();
            let oldest = jobs.last().map(|(id, _)| *id).filter(|id| is_more(Order::NewestFirst, Some(*id)));
            Listed { jobs, next: oldest.map(|id| (id, 0)), prev: more.map(|(id, _)| id) }
        }
    }
}

struct Look {
    order: Order,
    /// The job behind which the look begins.
    from: Option<JobId>,
    offset: usize,
    limit: usize,
    now: Timestamp,
}

struct Scan {
    jobs: Vec<(JobId, Row)>,
    /// Where to go on, and what is left of the offset; `None` at the end.
    more: Option<(JobId, usize)>,
}

fn scan(rows: &Rows, filter: &Filter, look: Look) -> Scan {
    let Look { order, from, mut offset, limit, now } = look;
    let (mut low, mut high) = filter.bounds();
    match (from, order) {
        (Some(from), Order::NewestFirst) => high = nearer(high, from, |bound| bound < from),
        (Some(from), Order::OldestFirst) => low = nearer(low, from, |bound| bound > from),
        (None, _) => {}
    }
    let Filter { owner, processes, statuses, .. } = filter;
    let choice = Choice { owner: owner.as_deref(), processes, statuses };
    let mut jobs: Vec<(JobId, Row)> = Vec::with_capacity(limit.min(1024));
    let mut looks = 0;
    let mut last = from;
    for (id, row) in rows.iter(choice, (low, high), order) {
        if !filter.takes(row, now) {
            looks += 1;
            if looks > LOOKS {
                return Scan { jobs, more: Some((id, offset)) };
            }
        } else if offset > 0 {
            offset -= 1;
        } else if jobs.len() == limit {
            // One more is there: the next page begins behind what this one shows.
            return Scan { more: Some((jobs.last().map_or(last.unwrap_or(id), |(id, _)| *id), 0)), jobs };
        } else {
            jobs.push((id, row.clone()));
        }
        last = Some(id);
    }
    Scan { jobs, more: None }
}

/// The bound, or the job, whichever leaves less.
fn nearer(bound: Bound<JobId>, job: JobId, is_nearer: impl Fn(JobId) -> bool) -> Bound<JobId> {
    match bound {
        Bound::Included(id) if is_nearer(id) => bound,
        _ => Bound::Excluded(job),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{JobRecord, job_record::ArchiveState};

    use super::*;
    use crate::index::row::Texts;

    /// Jobs 1 to `count`, created a second apart; each runs for as many seconds as its number says.
    fn jobs(count: u64) -> Rows {
        let (mut rows, mut texts) = (Rows::default(), Texts::default());
        for number in 1..=count {
            let created = at(number);
            let id = JobId::generate(number * 1000);
            let record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), created, ArchiveState::Off);
            let finished = created + SignedDuration::from_secs(i64::try_from(number).unwrap());
            let record =
                JobRecord { status: Status::Failed, started: Some(created), finished: Some(finished), ..record };
            rows.insert(id, Row::new(&record, &mut texts));
        }
        rows
    }

    fn at(number: u64) -> Timestamp {
        Timestamp::from_second(i64::try_from(number).unwrap()).unwrap()
    }

    fn wanted(start: Start, offset: usize, limit: usize) -> Wanted {
        Wanted { start, offset, limit, now: at(1_000_000) }
    }

    fn numbers(listed: &Listed) -> Vec<u64> {
        listed.jobs.iter().map(|(id, _)| id.unix_millis() / 1000).collect()
    }

    #[test]
    fn pages_lead_through_the_whole_list_and_back() {
        let rows = jobs(7);
        let filter = Filter::default();
        let (mut forth, mut start) = (Vec::new(), Start::Newest);
        let last = loop {
            let listed = page(&rows, &filter, wanted(start, 0, 3));
            forth.push(numbers(&listed));
            match listed.next {
                Some((id, 0)) => start = Start::After(id),
                Some(_) => panic!("{listed:?}"),
                None => break listed,
            }
        };
        assert_eq!(forth, [vec![7, 6, 5], vec![4, 3, 2], vec![1]]);
        let back = page(&rows, &filter, wanted(Start::Before(last.prev.unwrap()), 0, 3));
        assert_eq!(numbers(&back), [4, 3, 2]);
        assert_eq!(back.next.map(|(id, _)| id.unix_millis()), Some(2000));
        let first = page(&rows, &filter, wanted(Start::Before(back.prev.unwrap()), 0, 3));
        assert_eq!((numbers(&first), first.prev), (vec![7, 6, 5], None));
        assert!(page(&rows, &filter, wanted(Start::Newest, 0, 7)).next.is_none(), "nothing is left");
    }

    #[test]
    fn an_offset_counts_from_where_the_page_begins() {
        let rows = jobs(7);
        let listed = page(&rows, &Filter::default(), wanted(Start::Newest, 2, 2));
        assert_eq!((numbers(&listed), listed.prev.is_some()), (vec![5, 4], true));
        let (after, offset) = listed.next.unwrap();
        assert_eq!(numbers(&page(&rows, &Filter::default(), wanted(Start::After(after), offset + 1, 9))), [2, 1]);
        assert!(page(&rows, &Filter::default(), wanted(Start::Newest, 9, 2)).jobs.is_empty());
    }

    #[test]
    fn a_cursor_outlives_its_job() {
        let mut rows = jobs(5);
        let (after, _) = page(&rows, &Filter::default(), wanted(Start::Newest, 0, 2)).next.unwrap();
        rows.remove(&after);
        assert_eq!(numbers(&page(&rows, &Filter::default(), wanted(Start::After(after), 0, 2))), [3, 2]);
    }

    #[test]
    fn times_of_creation_are_exact_at_both_ends() {
        let rows = jobs(100);
        let between = |from: Option<u64>, to: Option<u64>| {
            let filter = Filter { from: from.map(at), to: to.map(at), ..Filter::default() };
            numbers(&page(&rows, &filter, wanted(Start::Newest, 0, 200)))
        };
        assert_eq!(between(Some(40), Some(42)), [42, 41, 40]);
        assert_eq!(between(Some(99), None), [100, 99]);
        assert_eq!(between(None, Some(2)), [2, 1]);
        assert_eq!(between(Some(50), Some(50)), [50]);
        assert!(between(Some(101), None).is_empty());
        let filter = Filter { from: Some(at(40)), to: Some(at(50)), ..Filter::default() };
        let second = page(&rows, &filter, wanted(Start::After(JobId::lowest_at(46_000)), 0, 2));
        assert_eq!(numbers(&second), [45, 44], "a cursor and a time together");
    }

    #[test]
    fn durations_are_those_of_runs_that_are_known() {
        let rows = jobs(10);
        let filter = Filter { min_duration: Some(4), max_duration: Some(6), ..Filter::default() };
        assert_eq!(numbers(&page(&rows, &filter, wanted(Start::Newest, 0, 10))), [6, 5, 4]);
        let mut texts = Texts::default();
        let mut row = |status, started, finished| {
            let id = JobId::generate(1);
            let record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), at(1), ArchiveState::Off);
            Row::new(&JobRecord { status, started, finished, ..record }, &mut texts)
        };
        let seconds = |row: &Row| run(row, at(100)).map(|run| run.as_secs());
        assert_eq!(seconds(&row(Status::Accepted, None, None)), None);
        assert_eq!(seconds(&row(Status::Running, Some(at(40)), None)), Some(60));
        assert_eq!(seconds(&row(Status::Running, Some(at(40)), Some(at(50)))), Some(10), "it is being stored");
        assert_eq!(seconds(&row(Status::Dismissed, None, Some(at(50)))), None, "it never started");
    }

    #[test]
    fn a_page_ends_after_so_many_looks_and_the_next_ones_find_the_rest() {
        let count = u64::try_from(LOOKS).unwrap() * 2 + 100;
        let rows = jobs(count);
        let filter = Filter { max_duration: Some(3), ..Filter::default() };
        let (mut found, mut start, mut pages) = (Vec::new(), Start::Newest, 0);
        loop {
            let listed = page(&rows, &filter, wanted(start, 0, 2));
            (pages, found) = (pages + 1, [found, numbers(&listed)].concat());
            let Some((id, _)) = listed.next else { break };
            start = Start::After(id);
        }
        assert_eq!((found, pages), (vec![3, 2, 1], 4));
        let skipping = page(&rows, &filter, wanted(Start::Newest, 1, 2));
        assert_eq!(skipping.next.unwrap().1, 1, "what is left of the offset comes along");
    }
}
