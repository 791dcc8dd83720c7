//! Dismisses a job, or removes it (requirement `/req/dismiss/job-dismiss-success`): one compare-and-set of its record.
//! What the job left is deleted afterwards, by those who own it.
//!
//! A job that is not done is cancelled; one that is done, or was dismissed before, is removed with all it stored. Which of the
//! two a request means is decided once, by what it found first. When the job ends meanwhile, the request is refused
//! instead of turning into the other kind: who wanted to stop a job never deletes its results by accident. For the same
//! reason a client that did not get the answer should look at the job before it sends the same again: of a dismissed job
//! the second request removes the record.

use std::sync::Arc;

use async_nats::connection::State;
use jiff::Timestamp;
use platform::{
    failpoint,
    job_store::{Advanced, JobStore, JobStoreError, Step, Stored},
};
use protocol::{
    Event, JobId, JobRecord, ProcessDefinition,
    audit::{Action, Outcome},
    job_record::{Archive, ArchiveState, RemovedBy, Status},
};
use tracing::{Instrument, info, info_span};

use crate::{app::Gateway, audit::Trail, error::GatewayError, jobs::LookupError};

/// What a request to delete a job means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    /// The job is not done: it is not to go on.
    Cancel,
    /// The job is done: it is to be gone.
    Remove,
}

impl Intent {
    fn of(record: &JobRecord) -> Self {
        if record.status.is_terminal() { Self::Remove } else { Self::Cancel }
    }
}

/// What became of the job.
#[derive(Debug, Clone, PartialEq)]
pub enum Deleted {
    /// It is dismissed; this is its record.
    Dismissed(Box<JobRecord>),
    /// It is removed; this is what is left of its record.
    Removed(Box<JobRecord>),
}

/// Deletes the job that was found as `found`, whose process is `process` where it is still configured. It is done in a
/// task of its own: a client that hangs up does not cut it short. It is told of on the trail of who asked.
///
/// # Errors
/// When the job can't be dismissed, is gone, or nobody can tell.
pub async fn delete(
    gateway: &Gateway,
    found: Arc<JobRecord>,
    process: Option<&ProcessDefinition>,
    trail: Trail,
) -> Result<Deleted, GatewayError> {
    let (intent, id) = (Intent::of(&found), found.job_id);
    let is_offered = process.is_none_or(|process| process.description.job_control_options.allows_dismiss());
    if intent == Intent::Cancel && !is_offered {
        return Err(GatewayError::NotDismissable);
    }
    // The library would keep the message and send it after the next connect, long after the client was refused.
    if gateway.store.nats().client.connection_state() != State::Connected {
        return Err(GatewayError::Unavailable(Box::new(LookupError::NotConnected)));
    }
    let (own, span) = (gateway.clone(), info_span!("delete", job_id = %id));
    let deleting = async move {
        let deleted = write(&own, &id, intent).await;
        if let Some((action, outcome)) = told(intent, &deleted) {
            trail.tell(action, &found.process_id, &id, outcome);
        }
        deleted
    };
    let task = gateway.runtime.spawn(deleting.instrument(span));
    task.await.unwrap_or_else(|lost| Err(GatewayError::internal(lost)))
}

/// What the audit is told of it: what was done, or may have been.
fn told(intent: Intent, deleted: &Result<Deleted, GatewayError>) -> Option<(Action, Outcome)> {
    match deleted {
        Ok(Deleted::Dismissed(_)) => Some((Action::Dismissed, Outcome::Done)),
        Ok(Deleted::Removed(_)) => Some((Action::Removed, Outcome::Done)),
        Err(GatewayError::DismissalUnknown { .. }) => match intent {
            Intent::Cancel => Some((Action::Dismissed, Outcome::Unknown)),
            Intent::Remove => Some((Action::Removed, Outcome::Unknown)),
        },
        Err(_) => None,
    }
}

async fn write(gateway: &Gateway, id: &JobId, intent: Intent) -> Result<Deleted, GatewayError> {
    let unknown =
        |source: JobStoreError| GatewayError::DismissalUnknown { job: gateway.urls.job(id), source: Box::new(source) };
    match advance(&gateway.store, id, intent).await.map_err(unknown)? {
        Advanced::Written(Stored { record, event: Some(Event::Removed), .. }) => {
            info!("removed");
            failpoint::reach("gateway.after-removal");
            // This replica's own index may hear of it later than the client asks again.
            gateway.index.forget(id);
            Ok(Deleted::Removed(Box::new(record)))
        }
        Advanced::Written(Stored { record, .. }) => {
            info!(attempt = record.attempt, "dismissed");
            failpoint::reach("gateway.after-dismissal");
            Ok(Deleted::Dismissed(Box::new(record)))
        }
        // Someone else dismissed it at the same time.
        Advanced::Left(stored) if stored.record.status == Status::Dismissed => {
            Ok(Deleted::Dismissed(Box::new(stored.record)))
        }
        Advanced::Left(stored) => Err(GatewayError::JobEnded { status: stored.record.status }),
        Advanced::NoJob => Err(GatewayError::NoSuchJob),
    }
}

async fn advance(store: &JobStore, id: &JobId, intent: Intent) -> Result<Advanced, JobStoreError> {
    loop {
        let advanced = store.advance_anywhere(id, |stored| next_step(stored, intent, Timestamp::now())).await?;
        match advanced {
            Advanced::Written(Stored { event: Some(Event::Accepted), .. }) => {}
            advanced => return Ok(advanced),
        }
    }
}

/// What to write about a job: pure.
fn next_step(stored: &Stored, intent: Intent, now: Timestamp) -> Step {
    let record = &stored.record;
    match intent {
        Intent::Cancel if record.status.is_terminal() => Step::Leave,
        // The gateway that took it died before it could tell so; events come in order all the same.
        Intent::Cancel if !stored.is_told() => Step::Write(Event::Accepted, Box::new(record.clone())),
        Intent::Cancel => Step::Write(Event::Dismissed, Box::new(dismissed(record, now))),
        Intent::Remove if record.status.is_terminal() => {
            Step::Write(Event::Removed, Box::new(record.removed(RemovedBy::Client, now)))
        }
        Intent::Remove => Step::Leave,
    }
}

fn dismissed(record: &JobRecord, now: Timestamp) -> JobRecord {
    let mut next = record.next(now);
    next.status = Status::Dismissed;
    next.finished = Some(record.finished.unwrap_or(next.updated));
    next.message = Some("the job was dismissed".to_owned());
    next.results = Vec::new();
    if record.attempt == 0 {
        // It was never launched: there is no log, and nobody has to look for one.
        next.archive = Archive::new(ArchiveState::Off);
    }
    next
}

#[cfg(test)]
mod tests {
    use protocol::{
        Unknown,
        job_record::{ExecutorKind, Outcome, Workload},
    };

    use super::*;

    fn stored(status: Status, attempt: u32) -> Stored {
        let (id, created) = (JobId::generate(1_000), Timestamp::from_second(1).unwrap());
        let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), created, ArchiveState::Pending);
        (record.status, record.attempt) = (status, attempt);
        record.parameters = Some(r#"{"a":"private"}"#.into());
        record.message = Some("private".into());
        record.workload = (attempt > 0).then(|| Workload {
            executor: ExecutorKind::Local,
            namespace: "n".into(),
            job_name: "j".into(),
            job_uid: Some("u".into()),
            pod_name: None,
            pod_uid: None,
            uploads: None,
            unknown: Unknown::new(),
        });
        Stored { record, event: Some(Event::Running), sequence: 7 }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn written(step: Step) -> (Event, JobRecord) {
        let Step::Write(event, record) = step else { panic!("nothing is written") };
        (event, *record)
    }

    #[test]
    fn a_job_that_was_launched_is_dismissed_and_its_log_follows() {
        let (event, record) = written(next_step(&stored(Status::Running, 1), Intent::Cancel, at(50)));
        assert_eq!((event, record.status, record.finished), (Event::Dismissed, Status::Dismissed, Some(at(50))));
        assert_eq!(
            (record.archive.state, record.message.as_deref()),
            (ArchiveState::Pending, Some("the job was dismissed"))
        );
        assert!(record.workload.is_some() && record.parameters.is_some());
    }

    #[test]
    fn a_job_that_was_never_launched_is_settled_at_once() {
        let (_, record) = written(next_step(&stored(Status::Accepted, 0), Intent::Cancel, at(50)));
        assert!(record.is_settled() && record.archive.state == ArchiveState::Off);
        let mut off = stored(Status::Running, 1);
        off.record.archive.state = ArchiveState::Off;
        assert!(written(next_step(&off, Intent::Cancel, at(50))).1.is_settled(), "no archive is wanted");
    }

    #[test]
    fn a_job_that_is_being_stored_keeps_when_it_ended() {
        let mut ended = stored(Status::Running, 1);
        ended.record.finished = Some(at(40));
        ended.record.outcome =
            Some(Outcome { reason: None, exit_code: Some(0), message: String::new(), unknown: Unknown::new() });
        let (_, record) = written(next_step(&ended, Intent::Cancel, at(50)));
        assert_eq!((record.finished, record.status), (Some(at(40)), Status::Dismissed));
    }

    #[test]
    fn a_job_that_was_not_told_of_is_told_as_accepted_first() {
        let untold = Stored { event: None, sequence: 0, ..stored(Status::Accepted, 0) };
        assert_eq!(written(next_step(&untold, Intent::Cancel, at(50))), (Event::Accepted, untold.record.clone()));
        let in_bucket = Stored { event: None, sequence: 0, ..stored(Status::Successful, 1) };
        assert_eq!(written(next_step(&in_bucket, Intent::Remove, at(50))).0, Event::Removed);
    }

    #[test]
    fn a_request_that_meant_to_cancel_never_removes() {
        for status in [Status::Successful, Status::Failed, Status::Dismissed] {
            assert_eq!(next_step(&stored(status, 1), Intent::Cancel, at(50)), Step::Leave);
            assert_eq!(Intent::of(&stored(status, 1).record), Intent::Remove);
        }
        assert_eq!(Intent::of(&stored(Status::Running, 1).record), Intent::Cancel);
        assert_eq!(Intent::of(&stored(Status::Accepted, 0).record), Intent::Cancel);
    }

    #[test]
    fn a_removal_tells_what_cleaning_up_needs_and_nothing_else() {
        let mut done = stored(Status::Successful, 2);
        done.record.archive = Archive { key: Some("k".into()), ..Archive::new(ArchiveState::Stored) };
        done.record.unknown.insert("later".into(), "private".into());
        let (event, record) = written(next_step(&done, Intent::Remove, at(50)));
        assert_eq!((event, record.archive.key.as_deref(), record.finished), (Event::Removed, Some("k"), Some(at(1))));
        assert_eq!((record.workload.as_ref(), record.attempt), (done.record.workload.as_ref(), 2));
        assert_ne!(record.write_id, done.record.write_id);
        assert_eq!(record.removed_by, Some(RemovedBy::Client));
        let text = serde_json::to_string(&record).unwrap();
        assert!(!text.contains("private"), "{text}");
    }
}
