//! Ends what dismissed jobs left running, and clears away what removed jobs left behind.

use std::time::Duration;

use actix::Addr;
use jiff::Timestamp;
use platform::{
    consume::{self, Delivery, Verdict, WorkQueue},
    failpoint,
    job_store::JobStore,
    publish::StreamError,
    telemetry::{chain, json_error},
};
use protocol::{
    Event, JobEvent, JobRecord,
    job_record::Status,
    names::subjects::{self, CANCELLING_CONSUMER, CLEARING_CONSUMER},
};
use tokio_util::sync::CancellationToken;

use crate::{
    executor::{Executor, ExecutorError},
    stopping::is_stopping,
    watcher::{Over, Watcher},
};

/// What ending a job needs.
#[derive(Clone)]
pub struct Canceller {
    /// Where execution requests are.
    pub store: JobStore,
    /// What runs the jobs.
    pub executor: Executor,
    /// Has launches let go.
    pub watcher: Addr<Watcher>,
}

/// The end of a job did not work for a passing cause.
#[derive(Debug, thiserror::Error)]
enum CancelError {
    #[error("the executor can't be asked")]
    Executor(#[from] ExecutorError),
    #[error("the execution request can't be deleted")]
    Stream(#[from] StreamError),
}

impl Canceller {
    /// Ends dismissed jobs until `stop`.
    pub async fn dismissed(self, stop: CancellationToken) {
        self.run(CANCELLING_CONSUMER, &[Event::Dismissed], stop).await;
    }

    /// Clears up after jobs that are archived now, or removed, until `stop`.
    pub async fn over(self, stop: CancellationToken) {
        self.run(CLEARING_CONSUMER, &[Event::Archived, Event::Removed], stop).await;
    }

    async fn run(self, consumer: &str, events: &[Event], stop: CancellationToken) {
        let queue = WorkQueue {
            consumer: consumer.to_owned(),
            filters: events.iter().copied().map(subjects::events_of_kind).collect(),
            max_in_hand: 256,
            max_here: 32,
            room: None,
        };
        let nats = self.store.nats().clone();
        let handler = move |delivery: Delivery| {
            let canceller = self.clone();
            async move { canceller.handle(&delivery).await }
        };
        consume::run(nats, queue, handler, stop).await;
    }

    async fn handle(&self, delivery: &Delivery) -> Verdict {
        let record = match serde_json::from_slice::<JobEvent>(&delivery.payload) {
            Ok(event) => event.into_record(),
            Err(error) => return Verdict::Poison { why: format!("not a job event: {}", json_error(&error)) },
        };
        let event = subjects::parse_event(&delivery.subject).map(|(_, _, event)| event);
        let ended = match end_of(event, &record) {
            Some(end) => self.end(&record, end).await,
            None => Ok(()),
        };
        match ended {
            Ok(()) => Verdict::Done,
            Err(error) => Verdict::Retry { after: delivery.backoff(Duration::from_secs(60)), why: chain(&error) },
        }
    }

    async fn end(&self, record: &JobRecord, end: End) -> Result<(), CancelError> {
        failpoint::reach("dispatcher.before-cancel");
        if let Some(workload) = &record.workload
            && let Some(seen) = self.executor.observe(&workload.namespace, &workload.job_name).await?
            && seen.job_id == record.job_id
        {
            match end {
                End::Stop => self.executor.stop(&seen).await?,
                End::Delete => self.executor.delete(&seen.namespace, &seen.job_name, &seen.uid).await?,
            }
            if end == End::Stop && is_stopping(record, Some(&seen), Timestamp::now()) {
                // It keeps its place until the watch tells that it has stopped, or its log is archived.
                return Ok(());
            }
        }
        // Whoever holds the launch here lets go at once, and elsewhere when the watch tells of its end. When the watcher
        // is gone, this process ends.
        self.watcher.send(Over(record.job_id)).await.ok();
        if !may_be_under_way(record) {
            self.store.forget_request(&record.job_id).await?;
        }
        Ok(())
    }
}

/// How what a job runs is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its log is still to be read.
    Stop,
    /// Nothing of it is wanted any more.
    Delete,
}

/// What an event asks for; `None` where it asks for nothing.
fn end_of(event: Option<Event>, record: &JobRecord) -> Option<End> {
    match event? {
        Event::Removed => Some(End::Delete),
        Event::Dismissed | Event::Archived if record.status == Status::Dismissed => {
            Some(if record.archive.state.is_settled() { End::Delete } else { End::Stop })
        }
        // Its Job stays for a while: see the sweep.
        _ => None,
    }
}

/// True while a launch that was won may still create something that the record does not name: if its launcher dies, the
/// one that is given the request next deletes that. The sweep deletes the request.
fn may_be_under_way(record: &JobRecord) -> bool {
    record.workload.as_ref().is_some_and(|workload| workload.job_uid.is_none())
}

#[cfg(test)]
mod tests {
    use protocol::{
        JobId,
        job_record::{ArchiveState, ExecutorKind, Workload},
    };

    use super::*;

    #[test]
    fn what_a_dismissed_job_runs_is_deleted_only_once_its_log_is_archived() {
        let (now, id) = (Timestamp::UNIX_EPOCH, JobId::generate(1));
        let of = |event, status, archive| {
            let record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, archive);
            end_of(Some(event), &JobRecord { status, ..record })
        };
        assert_eq!(of(Event::Dismissed, Status::Dismissed, ArchiveState::Pending), Some(End::Stop));
        assert_eq!(of(Event::Dismissed, Status::Dismissed, ArchiveState::Off), Some(End::Delete));
        assert_eq!(of(Event::Archived, Status::Dismissed, ArchiveState::Gap), Some(End::Delete));
        assert_eq!(of(Event::Archived, Status::Successful, ArchiveState::Stored), None);
        assert_eq!(of(Event::Removed, Status::Dismissed, ArchiveState::Pending), Some(End::Delete));
    }

    #[test]
    fn a_request_stays_as_long_as_a_launch_may_create_what_nobody_names() {
        let now = Timestamp::UNIX_EPOCH;
        let id = JobId::generate(1);
        let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        assert!(!may_be_under_way(&record), "it was never launched, and never will be");
        let workload = |uid: Option<&str>| Workload {
            job_uid: uid.map(str::to_owned),
            ..Workload::new(ExecutorKind::Local, "n", "j")
        };
        record.workload = Some(workload(None));
        assert!(may_be_under_way(&record));
        record.workload = Some(workload(Some("u")));
        assert!(!may_be_under_way(&record));
    }
}
