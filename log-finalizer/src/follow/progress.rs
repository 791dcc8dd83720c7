//! From what a container says of its progress into the job's record: the last word, at most once a second, never back.

use std::time::Duration;

use jiff::Timestamp;
use platform::{
    job_store::{Advanced, JobStore, Step},
    telemetry::chain,
};
use protocol::{Event, JobId, JobRecord, job_record::Phase, progress::Progress};
use tokio::sync::watch;
use tracing::warn;

/// Between two records.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells progress until nobody says any more.
pub(super) async fn tell(jobs: JobStore, job: JobId, mut said: watch::Receiver<Option<Progress>>) {
    while said.changed().await.is_ok() {
        let Some(progress) = said.borrow_and_update().clone() else { continue };
        let advanced = jobs.advance(&job, |found| match told(&found.record, &progress, Timestamp::now()) {
            Some(record) => Step::Write(Event::Progress, Box::new(record)),
            None => Step::Leave,
        });
        let is_early = match advanced.await {
            Ok(Advanced::Left(found)) => found.record.phase() < Phase::Running,
            Ok(_) => false,
            Err(error) => {
                warn!(error = %chain(&error), "progress could not be told");
                false
            }
        };
        tokio::time::sleep(PAUSE).await;
        // Read before anybody had told that the job runs: said again.
        if is_early && said.has_changed().is_ok() {
            said.mark_changed();
        }
    }
}

/// The record with that progress; `None` where it says so already, or the job does not run.
fn told(record: &JobRecord, said: &Progress, now: Timestamp) -> Option<JobRecord> {
    if record.phase() != Phase::Running {
        return None;
    }
    let percent = record.progress.map_or(said.percent, |before| before.max(said.percent));
    let message = said.text.clone().or_else(|| record.message.clone());
    if record.progress == Some(percent) && record.message == message {
        return None;
    }
    Some(JobRecord { progress: Some(percent), message, ..record.next(now) })
}

#[cfg(test)]
mod tests {
    use protocol::job_record::{ArchiveState, Outcome, Status};

    use super::*;

    #[test]
    fn progress_goes_forward_while_the_job_runs_and_no_longer() {
        let now = Timestamp::UNIX_EPOCH;
        let mut record =
            JobRecord::accepted(JobId::generate(1), "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        let said = |percent, text: Option<&str>| Progress { percent, text: text.map(str::to_owned) };
        assert_eq!(told(&record, &said(1, None), now), None, "it does not run yet");
        (record.status, record.message) = (Status::Running, Some("the job is running".into()));
        let first = told(&record, &said(40, None), now).unwrap();
        assert_eq!((first.progress, first.message.as_deref()), (Some(40), Some("the job is running")));
        let second = told(&first, &said(30, Some("again")), now).unwrap();
        assert_eq!((second.progress, second.message.as_deref()), (Some(40), Some("again")));
        assert_eq!(told(&second, &said(40, Some("again")), now), None);
        record.outcome =
            Some(Outcome { reason: None, exit_code: None, message: "m".into(), unknown: protocol::Unknown::new() });
        assert_eq!(told(&record, &said(99, None), now), None, "it ended");
    }
}
