//! What is kept of jobs that are done, and for how long. Jobs over their retention are removed as by a client: the event
//! `removed` is written by compare-and-set, and whoever is given it deletes the rest. Earlier events of the others go
//! sooner.
//!
//! Each job that is done has one event that tells of its end. These are looked through in their order, the oldest first,
//! so that no replica has to remember any.

mod scan;
mod settings;

use std::{collections::HashSet, fmt};

use jiff::Timestamp;
use platform::{
    job_store::{Advanced, JobStoreError, Step, Stored},
    publish,
    telemetry::chain,
};
use protocol::{Event, JobId, JobRecord, deadline::has_passed, job_record::RemovedBy, names::subjects};
use tracing::{info, warn};

use self::scan::{Found, Scan, ScanError, unfinished_removals};
pub use self::settings::RetentionSettings;
use crate::{finalize::Finalizer, seal};

/// The events of which each job that is done has exactly one.
const ENDS: [Event; 3] = [Event::Successful, Event::Failed, Event::Dismissed];
/// The events before them.
const EARLIER: [Event; 5] = [Event::Accepted, Event::Launching, Event::Running, Event::Progress, Event::Ended];
/// Jobs that one round looks at for each purpose; the next one goes on from there.
const JOBS: usize = 2000;

/// The retention as one replica carries it through. It keeps only how far it has read.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    ends: u64,
    earlier: u64,
}

/// Which limit a job is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Age,
    Number,
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Age => "max_age",
            Self::Number => "max_jobs",
        })
    }
}

impl Retention {
    /// One round: at most so many jobs.
    pub(crate) async fn round(&mut self, finalizer: &Finalizer) {
        if let Err(error) = self.expire(finalizer).await {
            warn!(error = %chain(&error), "jobs over their retention could not be looked for");
        }
        if let Err(error) = self.tidy(finalizer).await {
            warn!(error = %chain(&error), "earlier events could not be looked for");
        }
    }

    /// Removes jobs over their retention.
    async fn expire(&mut self, finalizer: &Finalizer) -> Result<(), ScanError> {
        let settings = &finalizer.settings.retention;
        if settings.max_age.is_none() && settings.max_jobs.is_none() {
            return Ok(());
        }
        let stream = &finalizer.jobs.nats().stream;
        // Counted before the ends are, so that a job whose removal is under way never costs another one its place.
        let leaving = unfinished_removals(stream).await?;
        let scan = Scan::after(stream, self.ends, &ENDS).await?;
        let mut left = JOBS;
        'pages: while left > 0 {
            let page = scan.page().await?;
            let is_end = page.is_empty();
            for found in page {
                let Some(limit) = over(settings, &found, leaving, Timestamp::now()) else {
                    self.ends = 0;
                    break 'pages;
                };
                self.ends = found.sequence;
                left = left.saturating_sub(1);
                if let Err(error) = expire_one(finalizer, &found.job, limit).await {
                    warn!(job_id = %found.job, error = %chain(&error), "a job over its retention could not be removed");
                }
            }
            if is_end {
                self.ends = 0;
                break;
            }
        }
        scan.end().await;
        Ok(())
    }

    /// Deletes the earlier events of jobs that have been done for long.
    async fn tidy(&mut self, finalizer: &Finalizer) -> Result<(), ScanError> {
        let keep = finalizer.settings.retention.keep_events;
        let scan = Scan::after(&finalizer.jobs.nats().stream, self.earlier, &EARLIER).await?;
        let mut seen = HashSet::new();
        'pages: while seen.len() < JOBS {
            let page = scan.page().await?;
            let is_end = page.is_empty();
            for found in page {
                if !has_passed(keep, found.stored, Timestamp::now()) {
                    self.earlier = 0;
                    break 'pages;
                }
                self.earlier = found.sequence;
                if seen.insert(found.job)
                    && let Err(error) = tidy_one(finalizer, &found.job).await
                {
                    warn!(job_id = %found.job, error = %chain(&error), "earlier events could not be deleted");
                }
            }
            if is_end {
                self.earlier = 0;
                break;
            }
        }
        scan.end().await;
        Ok(())
    }
}

async fn expire_one(finalizer: &Finalizer, job: &JobId, limit: Limit) -> Result<(), JobStoreError> {
    let Some(stored) = finalizer.jobs.job(job).await? else { return Ok(()) };
    if !is_finished_with(finalizer, &stored.record).await? {
        return Ok(());
    }
    let advanced = finalizer.jobs.advance(job, |stored| expired(stored, Timestamp::now())).await?;
    if let Advanced::Written(_) = advanced {
        finalizer.metrics.expired.inc();
        info!(job_id = %job, process = %stored.record.process_id, %limit, "the job is over its retention: removed");
    }
    Ok(())
}

/// What to write about a job over its retention: pure.
fn expired(stored: &Stored, now: Timestamp) -> Step {
    // What a newer version told may ask for more than this one knows.
    if stored.event.is_none() || !stored.record.is_settled() {
        return Step::Leave;
    }
    Step::Write(Event::Removed, Box::new(stored.record.removed(RemovedBy::Retention, now)))
}

async fn tidy_one(finalizer: &Finalizer, job: &JobId) -> Result<(), JobStoreError> {
    let Some(stored) = finalizer.jobs.job(job).await? else { return Ok(()) };
    let record = &stored.record;
    let is_old = has_passed(finalizer.settings.retention.keep_events, seal::ended_at(record), Timestamp::now());
    if !is_old || !is_finished_with(finalizer, record).await? {
        return Ok(());
    }
    let Some(end) = Event::of_terminal(record.status) else { return Ok(()) };
    // The end stays even where `archived` followed it: by the ends it is counted how many jobs are kept.
    let end = subjects::event(&record.process_id, job, end);
    let Some(end) = publish::last(finalizer.jobs.nats(), &end).await? else { return Ok(()) };
    finalizer.jobs.forget_events_before(job, end.sequence).await?;
    finalizer.metrics.tidied.inc();
    Ok(())
}

/// True of a job that changes no more, and of whose end everybody was told who wanted to be.
async fn is_finished_with(finalizer: &Finalizer, record: &JobRecord) -> Result<bool, JobStoreError> {
    if !record.is_settled() {
        return Ok(false);
    }
    let nats = finalizer.jobs.nats();
    Ok(record.callbacks.is_empty() || !publish::is_subscribed(nats, &record.process_id, &record.job_id).await?)
}

/// Which limit the job of this end is over, where so many later ones are `leaving` and do not count: pure. If one is over
/// none, all that ended later are not either.
fn over(settings: &RetentionSettings, end: &Found, leaving: u64, now: Timestamp) -> Option<Limit> {
    if settings.max_age.is_some_and(|age| has_passed(age, end.stored, now)) {
        return Some(Limit::Age);
    }
    let is_over = |most: u64| end.later >= most.saturating_add(leaving);
    settings.max_jobs.is_some_and(is_over).then_some(Limit::Number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;
    use protocol::job_record::{ArchiveState, Status};

    use super::*;

    fn end(later: u64) -> Found {
        Found { job: JobId::generate(1), sequence: 1, stored: Timestamp::from_second(1_700_000_000).unwrap(), later }
    }

    #[test]
    fn a_job_is_over_its_age_at_its_end_and_without_one_never() {
        let end = end(0);
        let over = |age: Option<u64>, seconds| {
            let max_age = age.map(Duration::from_secs);
            let settings = RetentionSettings { max_age, ..RetentionSettings::default() };
            over(&settings, &end, 0, end.stored + SignedDuration::from_secs(seconds))
        };
        assert_eq!(over(Some(60), 59), None);
        assert_eq!(over(Some(60), 60), Some(Limit::Age));
        assert_eq!(over(None, 1_000_000_000), None);
    }

    #[test]
    fn the_newest_jobs_are_kept_and_one_that_is_leaving_costs_none_its_place() {
        let settings = RetentionSettings { max_jobs: Some(2), ..RetentionSettings::default() };
        let over = |later, leaving| over(&settings, &end(later), leaving, Timestamp::MAX);
        assert_eq!((over(0, 0), over(1, 0)), (None, None));
        assert_eq!(over(2, 0), Some(Limit::Number));
        assert_eq!((over(2, 1), over(3, 1)), (None, Some(Limit::Number)));
    }

    #[test]
    fn only_a_job_that_changes_no_more_is_removed_and_its_removal_says_by_whom() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let step = |status, archive, event| {
            let id = JobId::generate(1);
            let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, archive);
            record.status = status;
            expired(&Stored { record, event, sequence: 7 }, now)
        };
        let done = Some(Event::Successful);
        for archive in [ArchiveState::Pending, ArchiveState::Unavailable] {
            assert_eq!(step(Status::Successful, archive, done), Step::Leave);
        }
        assert_eq!(step(Status::Running, ArchiveState::Off, Some(Event::Running)), Step::Leave);
        assert_eq!(step(Status::Successful, ArchiveState::Stored, None), Step::Leave, "a newer version told it");
        for archive in [ArchiveState::Stored, ArchiveState::Gap, ArchiveState::Off] {
            let Step::Write(event, record) = step(Status::Successful, archive, done) else { panic!("it stays") };
            assert_eq!((event, record.removed_by), (Event::Removed, Some(RemovedBy::Retention)));
        }
    }
}
