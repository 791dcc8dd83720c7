//! The level behind the messages: at start and on a timer, workloads that are still held and records that are not settled
//! are compared, and whatever a lost message left undone is done.

use std::{collections::VecDeque, time::Duration};

use async_nats::jetstream::{message::StreamMessage, stream::RawMessageErrorKind};
use jiff::Timestamp;
use platform::telemetry::chain;
use protocol::{
    Event, JobEvent, JobId, JobRecord,
    deadline::has_passed,
    job_record::{Phase, Status},
    names::subjects,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    finalize::{FinalizeError, Finalizer},
    pods::Held,
    retention::Retention,
    seal::{self, Todo},
};

/// Messages that one round looks at for each kind of event; the next round goes on from there.
const PAGE: usize = 2000;
/// Jobs remembered for a second look.
const SECOND_LOOKS: usize = 10_000;

/// The events whose message may be the last trace of a job that is not settled.
const KINDS: [Event; 4] = [Event::Ended, Event::Dismissed, Event::Successful, Event::Failed];

/// A page of the stream can't be read.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error("the stream could not be read")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The sweep of one replica. It keeps only how far it has read.
pub struct Sweep {
    finalizer: Finalizer,
    cursors: [u64; KINDS.len()],
    again: VecDeque<JobId>,
    /// How far removals were looked at.
    removals: u64,
    retention: Retention,
}

impl Sweep {
    /// A sweep that begins at the start of the stream.
    pub fn new(finalizer: Finalizer) -> Self {
        Self {
            finalizer,
            cursors: [0; KINDS.len()],
            again: VecDeque::new(),
            removals: 0,
            retention: Retention::default(),
        }
    }

    /// Sweeps now and on the timer, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = self.round() => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(jittered(self.finalizer.settings.sweep_every)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One round.
    pub async fn round(&mut self) {
        self.held().await;
        for _ in 0..self.again.len() {
            let Some(job_id) = self.again.pop_front() else { break };
            self.look(&job_id).await;
        }
        for kind in 0..KINDS.len() {
            if let Err(error) = self.records(kind).await {
                warn!(error = %chain(&error), "records could not be swept");
            }
        }
        if let Err(error) = self.removals().await {
            warn!(error = %chain(&error), "removals could not be swept");
        }
        self.retention.round(&self.finalizer).await;
    }

    /// Workloads that nobody released. What can't be done for one does not keep the others.
    async fn held(&self) {
        let mut waiting = 0;
        for source in self.finalizer.pods.sources() {
            let mut after = None;
            loop {
                let page = match source.held(after.as_deref()).await {
                    Ok(page) => page,
                    Err(error) => {
                        warn!(error = %chain(&error), "held workloads could not be swept");
                        break;
                    }
                };
                for held in &page.held {
                    match self.held_one(held).await {
                        Ok(waits) => waiting += i64::from(waits),
                        Err(error) => {
                            warn!(job_id = %held.job, error = %chain(&error), "a held workload could not be swept");
                        }
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        self.finalizer.metrics.waiting.set(waiting);
    }

    /// True when the workload has to wait for log storage.
    async fn held_one(&self, held: &Held) -> Result<bool, FinalizeError> {
        let stored = self.finalizer.jobs.job(&held.job).await?;
        let Some(stored) = stored else {
            if self.finalizer.jobs.removal(&held.job).await?.is_some() {
                info!(job_id = %held.job, "a workload of a removed job is released");
                self.finalizer.pods.of(&held.workload)?.release(&held.job, &held.workload, None).await?;
            } else if is_abandoned(held, self.finalizer.settings.seal_deadline, Timestamp::now()) {
                info!(job_id = %held.job, "a workload without a job is released");
                self.finalizer.pods.of(&held.workload)?.release(&held.job, &held.workload, None).await?;
            }
            return Ok(false);
        };
        if is_stray(held, &stored.record) {
            info!(job_id = %held.job, "a workload that is not the job's is released");
            self.finalizer.pods.of(&held.workload)?.release(&held.job, &held.workload, None).await?;
            return Ok(false);
        }
        let has_store = self.finalizer.jobs.objects().is_some();
        // A pod that is to be deleted waits for its release and nothing else, once all of its job is stored.
        let is_late = held.terminating && seal::todo(&stored.record, has_store) == Todo::Release;
        let after = self.finalizer.settings.sweep_after;
        if is_late || is_overdue(&stored.record, has_store, after, Timestamp::now()) {
            self.finalize(&held.job).await;
        }
        Ok(stored.record.status.is_terminal() && seal::todo(&stored.record, has_store) == Todo::Nothing)
    }

    /// Removals. Those that had their time are forgotten, once more after everything of their job was deleted: whoever
    /// wrote late, and died before it could delete that, is made up for. The others are looked at once, in case their
    /// message was lost.
    async fn removals(&mut self) -> Result<(), SweepError> {
        let (mut from, now) = (1, Timestamp::now());
        let keep = self.finalizer.settings.forget_removed_after;
        for _ in 0..PAGE {
            let Some(removal) = self.removal_from(from).await?.filter(|removal| removal.is_older(keep, now)) else {
                break;
            };
            from = removal.sequence + 1;
            if self.remove(&removal.job).await
                && let Err(error) = self.finalizer.jobs.forget_message(removal.sequence).await
            {
                // Another replica was faster.
                debug!(job_id = %removal.job, error = %chain(&error), "a removal could not be forgotten");
            }
        }
        let after = self.finalizer.settings.sweep_after;
        for _ in 0..PAGE {
            let removal = self.removal_from(self.removals + 1).await?;
            let Some(removal) = removal.filter(|removal| removal.is_older(after, now)) else { break };
            self.removals = removal.sequence;
            self.remove(&removal.job).await;
        }
        Ok(())
    }

    async fn removal_from(&self, sequence: u64) -> Result<Option<Removal>, SweepError> {
        let mut from = sequence;
        loop {
            let Some(message) = self.next_of(Event::Removed, from).await? else { return Ok(None) };
            if let Some((_, job, _)) = subjects::parse_event(&message.subject) {
                let told = Timestamp::from_nanosecond(message.time.unix_timestamp_nanos()).unwrap_or(Timestamp::MAX);
                return Ok(Some(Removal { job, sequence: message.sequence, told }));
            }
            from = message.sequence + 1;
        }
    }

    async fn remove(&self, job_id: &JobId) -> bool {
        match self.finalizer.remove(job_id).await {
            Ok(()) => true,
            Err(error) => {
                warn!(%job_id, error = %chain(&error), "the sweep could not delete what is left of a removed job");
                false
            }
        }
    }

    /// Records that are not settled, a page further in the stream.
    async fn records(&mut self, kind: usize) -> Result<(), SweepError> {
        for _ in 0..PAGE {
            let Some(message) = self.next_of(KINDS[kind], self.cursors[kind] + 1).await? else { break };
            self.cursors[kind] = message.sequence;
            // What the message says settled stays so; anything else may have changed since.
            if let Ok(event) = serde_json::from_slice::<JobEvent>(&message.payload)
                && !event.record().is_settled()
            {
                self.look(&event.record().job_id).await;
            }
        }
        Ok(())
    }

    /// The first message of that kind from a sequence on.
    async fn next_of(&self, kind: Event, from: u64) -> Result<Option<StreamMessage>, SweepError> {
        let filter = subjects::events_of_kind(kind);
        match self.finalizer.jobs.nats().stream.get_first_raw_message_by_subject(&filter, from).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(SweepError::Read(Box::new(error))),
        }
    }

    /// Looks at a job as it is now; remembers it when it is too early, or did not work.
    async fn look(&mut self, job_id: &JobId) {
        let is_open = match self.finalizer.jobs.job(job_id).await {
            Ok(None) => false,
            Ok(Some(stored)) => {
                let has_store = self.finalizer.jobs.objects().is_some();
                let is_settled = stored.record.is_settled();
                // Without a bucket nothing will change before this process is started again.
                let can_change = seal::todo(&stored.record, has_store) != Todo::Nothing;
                let is_due =
                    is_overdue(&stored.record, has_store, self.finalizer.settings.sweep_after, Timestamp::now());
                !is_settled && can_change && !(is_due && self.finalize(job_id).await)
            }
            Err(error) => {
                warn!(%job_id, error = %chain(&error), "a job could not be read");
                true
            }
        };
        if is_open && self.again.len() < SECOND_LOOKS {
            self.again.push_back(*job_id);
        }
    }

    async fn finalize(&self, job_id: &JobId) -> bool {
        self.finalizer.metrics.swept.inc();
        match self.finalizer.advance_and_tidy(job_id).await {
            Ok(()) => true,
            Err(error) => {
                debug!(%job_id, error = %chain(&error), "the sweep could not finish a job");
                false
            }
        }
    }
}

/// A message that tells of a removal.
struct Removal {
    job: JobId,
    sequence: u64,
    told: Timestamp,
}

impl Removal {
    fn is_older(&self, than: Duration, now: Timestamp) -> bool {
        has_passed(than, self.told, now)
    }
}

/// True of a record that asks for something, and whose message had its time.
fn is_overdue(record: &JobRecord, has_store: bool, after: Duration, now: Timestamp) -> bool {
    let is_old = has_passed(after, record.updated, now);
    match seal::todo(record, has_store) {
        Todo::Nothing => false,
        // What waited for a bucket has no message any more.
        Todo::ArchiveLate if record.status != Status::Dismissed => true,
        Todo::Seal | Todo::ArchiveLate | Todo::Release => is_old && record.phase() >= Phase::Ended,
    }
}

/// True of a workload that is not the one of the job's record, and of which nothing will be taken: the job is settled, or
/// the workload is of an incarnation that is being deleted.
fn is_stray(held: &Held, record: &JobRecord) -> bool {
    let Some(workload) = &record.workload else { return record.is_settled() };
    match (&workload.job_uid, &held.workload.job_uid) {
        (Some(recorded), Some(own)) => recorded != own && (held.terminating || record.is_settled()),
        // What has no owner may be the job's own, orphaned.
        (Some(_), None) => record.is_settled(),
        // Whatever has the job's name counts as its own.
        (None, _) => false,
    }
}

/// True of a workload whose job nobody knows (any more), for so long that none will appear.
fn is_abandoned(held: &Held, limit: Duration, now: Timestamp) -> bool {
    held.created.is_some_and(|created| has_passed(limit, created, now))
}

/// Replicas that start together shall not sweep together for ever.
fn jittered(every: Duration) -> Duration {
    let nanos = Timestamp::now().subsec_nanosecond().unsigned_abs();
    every.mul_f64(0.9 + f64::from(nanos % 1_000_000) / 5_000_000.0)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use protocol::job_record::{ArchiveState, ExecutorKind, Outcome, Workload};

    use super::*;

    fn record(status: Status, state: ArchiveState) -> JobRecord {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let mut record = JobRecord::accepted(JobId::generate(1), "p".parse().unwrap(), "1".into(), now, state);
        record.status = status;
        record.outcome =
            Some(Outcome { reason: None, exit_code: None, message: String::new(), unknown: protocol::Unknown::new() });
        record
    }

    #[test]
    fn a_job_is_left_to_its_message_until_that_had_its_time() {
        let record = record(Status::Running, ArchiveState::Pending);
        let after = Duration::from_secs(600);
        assert!(!is_overdue(&record, true, after, record.updated + SignedDuration::from_secs(599)));
        assert!(is_overdue(&record, true, after, record.updated + SignedDuration::from_secs(600)));
    }

    #[test]
    fn a_workload_of_another_incarnation_is_let_go_when_nothing_of_it_will_be_taken() {
        let workload = |uid: Option<&str>| Workload {
            job_uid: uid.map(str::to_owned),
            ..Workload::new(ExecutorKind::Kubernetes, "n", "j")
        };
        let is_stray_to = |recorded: Option<Workload>, own: Option<&str>, terminating: bool, is_settled: bool| {
            let status = if is_settled { Status::Successful } else { Status::Running };
            let mut record = record(status, if is_settled { ArchiveState::Stored } else { ArchiveState::Pending });
            record.workload = recorded;
            let held = Held { job: record.job_id, workload: workload(own), terminating, created: None };
            is_stray(&held, &record)
        };
        let is_stray = |recorded, own, terminating, is_settled| {
            is_stray_to(Some(workload(recorded)), own, terminating, is_settled)
        };
        let (a, b) = (Some("a"), Some("b"));
        assert!(!is_stray(a, a, true, true) && !is_stray(a, a, true, false), "the job's own");
        assert!(is_stray(a, b, true, false) && is_stray(a, b, false, true));
        assert!(!is_stray(a, b, false, false), "the record may be behind");
        assert!(!is_stray(None, b, true, false) && !is_stray(a, None, true, false));
        assert!(!is_stray(None, b, true, true) && is_stray(a, None, false, true));
        assert!(is_stray_to(None, b, false, true) && !is_stray_to(None, b, true, false));
    }

    #[test]
    fn what_waited_for_a_bucket_is_archived_as_soon_as_there_is_one() {
        let record = record(Status::Successful, ArchiveState::Unavailable);
        assert!(is_overdue(&record, true, Duration::from_secs(600), record.updated));
        assert!(!is_overdue(&record, false, Duration::ZERO, record.updated));
    }
}
