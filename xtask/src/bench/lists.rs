//! A page of the list of jobs out of many jobs, beside one out of few: the index itself, without HTTP.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use api_gateway::index::{Filter, Index, Start, Wanted};
use jiff::Timestamp;
use protocol::{
    JobId, JobRecord,
    job_record::{ArchiveState, Status},
};
use serde_json::json;

use super::{
    memory,
    report::{Aim, Figure, Report},
    statistics::median,
};

const FEW: usize = 100;
/// Jobs of a page: every list has so many out of few, too.
const LIMIT: usize = 10;
/// Pages of each measurement; the middle one counts.
const PAGES: usize = 2_000;
/// What a page out of many may take of one out of few: nodes of a larger tree are less often in the processor's cache.
const ALLOWED: f64 = 2.0;

/// Adds a row for each kind of list, and one for memory.
pub(super) fn measure(many: usize, report: &mut Report) -> Result<()> {
    let few = filled(FEW)?;
    let before = memory::own_anonymous_mib()?;
    let started = Instant::now();
    let large = filled(many)?;
    let filling = started.elapsed();
    let bytes = (memory::own_anonymous_mib()? - before) * 1024.0 * 1024.0 / many as f64;
    for (name, filter, place) in lists() {
        let (mut ours, mut peers) = (Vec::with_capacity(PAGES), Vec::with_capacity(PAGES));
        for _ in 0..PAGES {
            peers.push(page(&few, FEW, &filter, place)?.as_secs_f64());
            ours.push(page(&large, many, &filter, place)?.as_secs_f64());
        }
        let (ours, peer) = (median(&ours) * 1e6, median(&peers) * 1e6);
        report.add(Figure {
            name: format!("page of the list of jobs, {name}"),
            ratio: ours / peer,
            aim: Some(Aim::at_most(ALLOWED, ours / peer)),
            ours: format!("{ours:.1} µs of {many} jobs"),
            peer: format!("{peer:.1} µs of {FEW} jobs"),
            setting: format!("{LIMIT} jobs a page, median of {PAGES} pages, the index without HTTP"),
            numbers: json!({"jobs": many, "few": FEW, "page_microseconds": ours, "page_of_few_microseconds": peer}),
        });
    }
    report.add(Figure {
        name: "memory of the index for each job".to_owned(),
        ratio: bytes / 200.0,
        aim: Some(Aim::at_most(1.25, bytes / 200.0)),
        ours: format!("{bytes:.0} bytes"),
        peer: "200 bytes, as stated".to_owned(),
        setting: format!("{many} finished jobs, filled in {filling:.1?}; their records not kept at hand"),
        numbers: json!({"jobs": many, "bytes_for_each_job": bytes}),
    });
    Ok(())
}

/// Where a list begins.
#[derive(Clone, Copy)]
enum Place {
    Newest,
    /// Behind the job in the middle.
    Middle,
}

fn lists() -> Vec<(&'static str, Filter, Place)> {
    let failed = Filter { statuses: vec![Status::Failed, Status::Dismissed], ..Filter::default() };
    let processes = vec!["process-1".to_owned(), "process-2".to_owned()];
    let both = Filter { processes, ..failed.clone() };
    vec![
        ("the newest", Filter::default(), Place::Newest),
        ("from the middle on", Filter::default(), Place::Middle),
        ("of two statuses", failed, Place::Newest),
        ("of two processes and two statuses", both, Place::Newest),
    ]
}

/// Jobs a second apart, of ten processes and three statuses.
fn filled(jobs: usize) -> Result<Index> {
    let index = Index::new(0);
    for number in 0..jobs {
        let millis = millis(number);
        let created = Timestamp::from_millisecond(i64::try_from(millis)?)?;
        let process = format!("process-{}", number % 10).parse()?;
        let id = JobId::generate(millis);
        let record = JobRecord::accepted(id, process, "1.0.0".to_owned(), created, ArchiveState::Stored);
        let status = [Status::Successful, Status::Failed, Status::Dismissed][number % 3];
        let record = JobRecord {
            status,
            started: Some(created),
            finished: Some(created),
            message: Some("the execution ended well".to_owned()),
            ..record
        };
        index.apply_record(&record, u64::try_from(number)? + 1);
    }
    Ok(index)
}

fn millis(number: usize) -> u64 {
    1_700_000_000_000 + u64::try_from(number).unwrap_or_default() * 1000
}

fn page(index: &Index, jobs: usize, filter: &Filter, place: Place) -> Result<Duration> {
    let start = match place {
        Place::Newest => Start::Newest,
        Place::Middle => Start::After(JobId::lowest_at(millis(jobs - jobs / 3))),
    };
    let wanted = Wanted { start, offset: 0, limit: LIMIT, now: Timestamp::UNIX_EPOCH };
    let started = Instant::now();
    let listed = black_box(index.list(black_box(filter), wanted));
    let took = started.elapsed();
    ensure!(listed.jobs.len() == LIMIT, "a page of {} jobs", listed.jobs.len());
    Ok(took)
}
