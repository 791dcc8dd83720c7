//! Compares what is there with what is recorded, at start and on a timer: no job is stuck, and nothing is left over,
//! because a message was lost.

use std::{collections::HashSet, sync::Arc, time::Duration};

use actix::Addr;
use futures::TryStreamExt;
use indexmap::IndexMap;
use jiff::Timestamp;
use platform::{
    job_store::{JobStore, JobStoreError, Step, Stored},
    publish::StreamError,
    telemetry::chain,
};
use protocol::{
    JobId, JobRecord, ProcessDefinition, ProcessId,
    deadline::has_passed,
    job_record::{Reason, Status, Workload},
    names::subjects::{ALL_EXECUTIONS, parse_execution},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    executor::{Executor, ExecutorError, Observation},
    levels::Levels,
    reporter::{end, say},
    stopping::{is_stopping, may_be_stopping},
    watcher::{Known, KnownJobs, Watcher},
};

/// What the sweep needs.
#[derive(Clone)]
pub struct Sweep {
    /// Where records are.
    pub store: JobStore,
    /// What runs the jobs.
    pub executor: Executor,
    /// The configured processes.
    pub processes: Arc<IndexMap<ProcessId, ProcessDefinition>>,
    /// Of which namespaces it is known what is there.
    pub levels: watch::Receiver<Levels>,
    /// Knows the jobs that are there.
    pub watcher: Addr<Watcher>,
    /// How long objects stay after their job is terminal and archived.
    pub keep: Duration,
    /// How long an execution may wait for its process to be configured.
    pub unconfigured_after: Duration,
    /// Time between two sweeps.
    pub every: Duration,
}

/// Why a job is not launched; the dispatcher's log has the details.
const UNWATCHED: &str = "the job waits: the namespace of its process can't be watched by Quayside now";

/// A sweep could not go on.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error("a record can't be read or written")]
    Store(#[from] JobStoreError),
    #[error("the executor can't be asked")]
    Executor(#[from] ExecutorError),
    #[error("the stream's subjects can't be listed")]
    Subjects(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("an execution request can't be deleted")]
    Forget(#[from] StreamError),
}

impl Sweep {
    /// Sweeps until `stop`; what fails is tried again by the next sweep.
    pub async fn run(self, stop: CancellationToken) {
        let mut timer = tokio::time::interval(self.every);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = timer.tick() => {}
                () = stop.cancelled() => return,
            }
            let swept = async {
                self.executions().await?;
                self.objects().await
            };
            tokio::select! {
                swept = swept => if let Err(error) = swept {
                    warn!(error = %chain(&error), "the sweep was cut short");
                },
                () = stop.cancelled() => return,
            }
        }
    }

    /// Execution requests: those of terminal jobs go, those of processes that are gone fail.
    async fn executions(&self) -> Result<(), SweepError> {
        let subjects = |error| SweepError::Subjects(Box::new(error));
        let mut listed = self.store.nats().stream.info_with_subjects(ALL_EXECUTIONS).await.map_err(subjects)?;
        let mut waiting: Vec<(String, JobId)> = Vec::new();
        while let Some((subject, _)) = listed.try_next().await.map_err(subjects)? {
            waiting.extend(parse_execution(&subject));
        }
        for (process, job) in waiting {
            // One that can't be read must not keep the others from being looked at.
            if let Err(error) = self.execution(&process, &job).await {
                warn!(job_id = %job, error = %chain(&error), "the execution can't be swept");
            }
        }
        Ok(())
    }

    async fn execution(&self, process: &str, job: &JobId) -> Result<(), SweepError> {
        let Some(stored) = self.store.job(job).await? else { return Ok(self.store.forget_request(job).await?) };
        if stored.record.status.is_terminal() {
            if !self.is_stopping(&stored.record).await? {
                self.store.forget_request(job).await?;
            }
            return Ok(());
        }
        // A rollout, or an operator's slip, is not the end of a job; one that runs ends by itself.
        let is_old = has_passed(self.unconfigured_after, stored.record.updated, Timestamp::now());
        if stored.record.attempt == 0 && is_old && !self.is_configured(process) {
            let message = format!("the process '{process}' is not configured any more");
            self.store.advance(job, |stored| end(&stored.record, Reason::ProcessUnavailable, message.clone())).await?;
        } else if stored.record.attempt == 0 && self.is_unwatched(process) {
            let still_waits = |stored: &Stored| stored.record.attempt == 0 && !stored.record.status.is_terminal();
            let say_so = |stored: &Stored| match still_waits(stored) {
                true => say(&stored.record, UNWATCHED.to_owned()),
                false => Step::Leave,
            };
            self.store.advance(job, say_so).await?;
        }
        Ok(())
    }

    /// True of a job whose place is not free yet: with the request its launch would lose its lease.
    async fn is_stopping(&self, record: &JobRecord) -> Result<bool, ExecutorError> {
        let Some(workload) = &record.workload else { return Ok(false) };
        let now = Timestamp::now();
        Ok(may_be_stopping(record, now) && is_stopping(record, self.observe(workload).await?.as_ref(), now))
    }

    async fn observe(&self, workload: &Workload) -> Result<Option<Observation>, ExecutorError> {
        self.executor.observe(&workload.namespace, &workload.job_name).await
    }

    /// True of a process whose jobs can't be launched, as nobody can see what is in its namespace.
    fn is_unwatched(&self, process: &str) -> bool {
        let process = process.parse::<ProcessId>().ok().and_then(|id| self.processes.get(&id));
        process.is_some_and(|process| self.levels.borrow().is_unwatched(self.executor.namespace_of(process)))
    }

    fn is_configured(&self, process: &str) -> bool {
        process.parse::<ProcessId>().is_ok_and(|id| self.processes.contains_key(&id))
    }

    /// Objects: those of jobs that are terminal, archived and old enough go, and so do those that their record does
    /// not name. Objects of jobs nobody knows are left, and said.
    async fn objects(&self) -> Result<(), SweepError> {
        let Ok(known) = self.watcher.send(KnownJobs).await else { return Ok(()) };
        let mut unknown = HashSet::new();
        for object in known {
            match self.object(&object).await {
                Ok(true) => {}
                Ok(false) => {
                    unknown.insert(object.job_name);
                }
                Err(error) => warn!(job_id = %object.job_id, error = %chain(&error), "the object can't be swept"),
            }
        }
        if !unknown.is_empty() {
            warn!(count = unknown.len(), "there are objects of jobs that are not recorded; they are left alone");
        }
        Ok(())
    }

    /// False when nobody knows the job.
    async fn object(&self, object: &Known) -> Result<bool, SweepError> {
        let Some(stored) = self.store.job(&object.job_id).await? else {
            let is_removed = self.store.removal(&object.job_id).await?.is_some();
            if is_removed {
                info!(job_id = %object.job_id, job_name = %object.job_name, "deleting what is left of a removed job");
                self.executor.delete(&object.namespace, &object.job_name, &object.uid).await?;
            }
            return Ok(is_removed);
        };
        if is_done_with(&stored.record, object, Timestamp::now(), self.keep) {
            info!(job_id = %object.job_id, job_name = %object.job_name, "deleting what is left of the job");
            self.executor.delete(&object.namespace, &object.job_name, &object.uid).await?;
        } else if is_to_be_stopped(&stored.record)
            && let Some(seen) =
                self.executor.observe(&object.namespace, &object.job_name).await?.filter(|seen| seen.uid == object.uid)
        {
            self.executor.stop(&seen).await?;
        }
        Ok(true)
    }
}

/// True of an object that is not to go on, and whose log is still to be read: pure.
fn is_to_be_stopped(record: &JobRecord) -> bool {
    record.status == Status::Dismissed && !record.archive.state.is_settled()
}

/// True when an object may go: pure.
fn is_done_with(record: &JobRecord, object: &Known, now: Timestamp, keep: Duration) -> bool {
    if !record.status.is_terminal() {
        return false;
    }
    let named = record.workload.as_ref().and_then(|workload| workload.job_uid.as_deref());
    let is_other = named != Some(object.uid.as_str());
    let never_ended_by_itself = matches!(
        record.outcome.as_ref().and_then(|outcome| outcome.reason),
        Some(
            Reason::ImagePull
                | Reason::Unschedulable
                | Reason::Deadline
                | Reason::ConfigError
                | Reason::StartError
                | Reason::NodeLost
                | Reason::QuotaExceeded
                | Reason::AdmissionRejected
        )
    );
    let is_old = has_passed(keep, record.updated, now);
    let is_dismissed = record.status == Status::Dismissed;
    is_other || (record.archive.state.is_settled() && (is_old || is_dismissed || never_ended_by_itself))
}

#[cfg(test)]
mod tests {
    use protocol::job_record::{ArchiveState, ExecutorKind};

    use super::*;

    #[test]
    fn an_object_goes_once_its_job_is_archived_and_old_or_dismissed_or_names_another() {
        let (now, keep) = (Timestamp::UNIX_EPOCH, Duration::from_secs(60));
        let id = JobId::generate(1);
        let object = Known { job_id: id, namespace: "n".into(), job_name: "j".into(), uid: "u".into() };
        let record = |status, archive, uid: &str| {
            let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, archive);
            record.status = status;
            let workload = Workload::new(ExecutorKind::Local, "n", "j");
            record.workload = Some(Workload { job_uid: Some(uid.into()), ..workload });
            record
        };
        let goes = |record: &JobRecord, seconds| {
            is_done_with(record, &object, now + jiff::SignedDuration::from_secs(seconds), keep)
        };
        assert!(!goes(&record(Status::Running, ArchiveState::Pending, "other"), 100));
        assert!(!goes(&record(Status::Successful, ArchiveState::Stored, "u"), 59));
        for settled in [ArchiveState::Stored, ArchiveState::Gap, ArchiveState::Off] {
            assert!(!goes(&record(Status::Successful, settled, "u"), 59));
            assert!(goes(&record(Status::Successful, settled, "u"), 60));
        }
        assert!(!goes(&record(Status::Successful, ArchiveState::Pending, "u"), 60));
        assert!(!goes(&record(Status::Failed, ArchiveState::Unavailable, "u"), 60));
        assert!(goes(&record(Status::Successful, ArchiveState::Stored, "other"), 0));
        assert!(goes(&record(Status::Dismissed, ArchiveState::Stored, "u"), 0));
        assert!(goes(&record(Status::Dismissed, ArchiveState::Pending, "other"), 0));
        let unread = record(Status::Dismissed, ArchiveState::Pending, "u");
        assert!(!goes(&unread, 100) && is_to_be_stopped(&unread), "its log would be lost");
        assert!(!is_to_be_stopped(&record(Status::Running, ArchiveState::Pending, "u")));
    }
}
