//! Tells the stream what was seen of a job. Every replica sees everything; compare-and-set picks who tells.

use std::{sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use jiff::Timestamp;
use platform::job_store::{Advanced, JobStore, JobStoreError, Step, Stored};
use protocol::{
    Event, JobId, JobRecord,
    job_record::{ExecutorKind, Outcome, Phase, Reason, Status},
};
use tokio::{runtime::Handle, sync::Semaphore, task::JoinError};
use tracing::{info, warn};

use crate::{
    executor::{Executor, ExecutorError, Looked, Observation, local},
    launcher::held_up,
    metrics::Metrics,
    outcome::{Ended, Judgement, PodName, judge},
    stopping::is_stopping,
};

/// The actor; it keeps nothing but addresses, as what it is told is always the whole level.
pub struct Reporter {
    /// Where records are.
    pub store: JobStore,
    /// What runs the jobs.
    pub executor: Executor,
    /// How long a pod may take to start.
    pub start_deadline: Duration,
    /// How long a quota may keep a job's pod from being made.
    pub quota_deadline: Duration,
    /// Reports under way at one time: at start everything there is gets reported.
    pub places: Arc<Semaphore>,
    /// Counts.
    pub metrics: Metrics,
    /// The runtime of the clients.
    pub runtime: Handle,
}

impl Actor for Reporter {
    type Context = Context<Self>;
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// The job goes on, or was dismissed and is about to stop.
    Alive,
    /// The job goes on; something keeps its pod from being made.
    HeldUp,
    /// The record says that the execution ended, or that the job is terminal: nothing more is to be told.
    Ended,
    /// There is no such job.
    NoJob,
}

/// Tells how a job looks.
#[derive(Message)]
#[rtype(result = "Result<Reported, ReportError>")]
pub struct Report {
    /// What was seen.
    pub seen: Box<Observation>,
    /// For how long this process has seen the job: its own clock against no other.
    pub seen_for: Duration,
    /// For how long of this nothing is known to have held it up.
    pub waited: Duration,
}

/// A report that is to be made again.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The record can't be read or written.
    #[error("the record of the job can't be read or written")]
    Store(#[from] JobStoreError),
    /// The executor did not answer.
    #[error("the executor can't be asked")]
    Executor(#[from] ExecutorError),
    /// The report was cut short.
    #[error("the report was cut short")]
    Lost(#[source] JoinError),
}

/// Reports under way at one time.
pub const REPORTS: usize = 64;

/// Tells that the object of a job is gone.
#[derive(Message)]
#[rtype(result = "Result<Reported, ReportError>")]
pub struct ReportGone {
    /// The job.
    pub job_id: JobId,
    /// UID of what is gone.
    pub uid: String,
}

impl Handler<Report> for Reporter {
    type Result = ResponseFuture<Result<Reported, ReportError>>;

    fn handle(&mut self, report: Report, _: &mut Context<Self>) -> Self::Result {
        let (store, executor, metrics) = (self.store.clone(), self.executor.clone(), self.metrics.clone());
        let places = self.places.clone();
        let deadlines = Deadlines { start: self.start_deadline, quota: self.quota_deadline };
        let told = self.runtime.spawn(async move {
            // Without a place: what other jobs have to tell does not wait for it.
            let looked = report.look(&executor).await;
            let _place = places.acquire_owned().await;
            report.make(looked, &store, &executor, deadlines, &metrics).await
        });
        Box::pin(async { told.await.unwrap_or_else(|lost| Err(ReportError::Lost(lost))) })
    }
}

impl Handler<ReportGone> for Reporter {
    type Result = ResponseFuture<Result<Reported, ReportError>>;

    fn handle(&mut self, gone: ReportGone, _: &mut Context<Self>) -> Self::Result {
        let (store, places) = (self.store.clone(), self.places.clone());
        let told = self.runtime.spawn(async move {
            let _place = places.acquire_owned().await;
            Ok(tell_gone(&store, &gone.job_id, &gone.uid).await?)
        });
        Box::pin(async { told.await.unwrap_or_else(|lost| Err(ReportError::Lost(lost))) })
    }
}

impl Report {
    /// Why there is no pod, where one could be there.
    async fn look(&self, executor: &Executor) -> Looked {
        match self.seen.lacks_pod() && self.seen_for >= POD_MADE_WITHIN {
            true => executor.refusal(&self.seen).await,
            false => Looked::Nothing,
        }
    }

    async fn make(
        self,
        looked: Looked,
        store: &JobStore,
        executor: &Executor,
        deadlines: Deadlines,
        metrics: &Metrics,
    ) -> Result<Reported, ReportError> {
        let Self { mut seen, waited, .. } = self;
        match looked {
            // Who does not know why there is no pod ends nothing for it, and looks again.
            Looked::NotNow => return Ok(Reported::Alive),
            Looked::Nothing => {}
            Looked::Refused(words) => seen.refused = Some(words),
        }
        let mut judgement = judge(&seen, Timestamp::now(), waited, deadlines.start);
        if !is_proven(&judgement) {
            // The watches of Jobs and of pods are two: one may be behind. Only a look at both tells.
            match executor.observe(&seen.namespace, &seen.job_name).await? {
                Some(now) if now.uid == seen.uid => {
                    let refused = seen.refused.take().filter(|_| now.lacks_pod());
                    *seen = Observation { refused, ..now };
                }
                _ => return Ok(tell_gone(store, &seen.job_id, &seen.uid).await?),
            }
            judgement = judge(&seen, Timestamp::now(), waited, deadlines.start);
        }
        let reported = tell(store, executor.kind(), &seen, &judgement, deadlines.quota, metrics).await?;
        if reported == Reported::Ended && would_go_on(&judgement) {
            end_it(executor, &seen).await;
        }
        match judgement {
            Judgement::HeldUp { .. } if reported == Reported::Alive => Ok(Reported::HeldUp),
            _ => Ok(reported),
        }
    }
}

/// The Job controller usually makes a pod within a moment: until then nothing is looked for.
pub(crate) const POD_MADE_WITHIN: Duration = Duration::from_secs(5);

struct Deadlines {
    start: Duration,
    quota: Duration,
}

/// What only a missing pod, or a condition, tells may be a view that is behind.
fn is_proven(judgement: &Judgement) -> bool {
    match judgement {
        Judgement::Ended(ended) => ended.is_proven,
        // Else whoever is behind would tell an earlier container, or pod, again.
        Judgement::HeldUp { .. } | Judgement::Preparing { .. } => false,
        Judgement::Waiting | Judgement::Suspended { .. } | Judgement::Running { .. } | Judgement::Retrying { .. } => {
            true
        }
    }
}

/// True of what is over for us, while the Job goes on by itself.
fn would_go_on(judgement: &Judgement) -> bool {
    match judgement {
        Judgement::Ended(ended) => ended.must_be_deleted,
        judgement => matches!(judgement, Judgement::HeldUp { .. }),
    }
}

/// A job that could not start in time would go on trying. Where its init containers have a log, that is left to be read.
async fn end_it(executor: &Executor, seen: &Observation) {
    let ended = match seen.retries {
        0 => executor.stop(seen).await,
        // Another pod would follow the one that is stopped.
        _ => executor.delete(&seen.namespace, &seen.job_name, &seen.uid).await,
    };
    if let Err(error) = ended {
        warn!(job_id = %seen.job_id, error = %platform::telemetry::chain(&error), "the job could not be deleted, the sweep will");
    }
}

async fn tell(
    store: &JobStore,
    executor: ExecutorKind,
    seen: &Observation,
    judgement: &Judgement,
    quota_deadline: Duration,
    metrics: &Metrics,
) -> Result<Reported, JobStoreError> {
    loop {
        let step = |stored: &Stored| next_step(stored, seen, judgement, executor, quota_deadline);
        let advanced = store.advance(&seen.job_id, step).await?;
        let stored = match advanced {
            Advanced::NoJob => return Ok(Reported::NoJob),
            Advanced::Left(stored) => return Ok(reported(&stored.record, Some(seen))),
            Advanced::Written(stored) => stored,
        };
        let event = stored.event.unwrap_or(Event::Progress);
        info!(job_id = %seen.job_id, process_id = %stored.record.process_id, %event, "told");
        metrics.told(event);
        // A job that was seen only after its end is still told as running first.
        if event != Event::Running || !matches!(judgement, Judgement::Ended(_) | Judgement::Retrying { .. }) {
            return Ok(reported(&stored.record, Some(seen)));
        }
    }
}

fn reported(record: &JobRecord, there: Option<&Observation>) -> Reported {
    let has_ended = record.phase() >= Phase::Ended && !is_stopping(record, there, Timestamp::now());
    if has_ended { Reported::Ended } else { Reported::Alive }
}

/// What to write about a job that is stored so and seen so.
fn next_step(
    stored: &Stored,
    seen: &Observation,
    judgement: &Judgement,
    executor: ExecutorKind,
    quota_deadline: Duration,
) -> Step {
    let record = &stored.record;
    // Only the incarnation that the record names speaks for the job. One that it does not name yet is the launcher's.
    let is_ours = record.workload.as_ref().and_then(|w| w.job_uid.as_deref()) == Some(seen.uid.as_str());
    if record.phase() >= Phase::Ended || !is_ours {
        return Step::Leave;
    }
    match judgement {
        // Who has not looked yet why there is no pod does not know that nothing holds it up.
        Judgement::Waiting if record.held_up.is_some() && seen.lacks_pod() => Step::Leave,
        Judgement::Waiting => waiting(record),
        Judgement::Preparing { pod, container } => preparing(record, pod, container),
        Judgement::HeldUp { .. } if record.phase() >= Phase::Running => Step::Leave,
        Judgement::HeldUp { reason, why } => held_up(record, *reason, why, Timestamp::now(), quota_deadline),
        Judgement::Suspended { queue } => suspended(record, queue.as_deref()),
        Judgement::Running { started, pod, attempt } => running(record, *started, pod, attempt.as_deref(), executor),
        Judgement::Retrying { started: Some(started), pod, .. } if record.phase() < Phase::Running => {
            running(record, *started, pod, None, executor)
        }
        Judgement::Retrying { message, .. } => say(record, message.clone()),
        // Seen waiting by one, seen running by another: the other saw more.
        Judgement::Ended(ended) if ended.must_be_deleted && is_said_to_run(record, ended) => Step::Leave,
        Judgement::Ended(ended) => match (&ended.started, &ended.pod) {
            (Some(started), Some(pod)) if record.phase() < Phase::Running => {
                running(record, *started, pod, None, executor)
            }
            _ => self::ended(record, ended),
        },
    }
}

/// True when what is seen as not started was told as running before.
fn is_said_to_run(record: &JobRecord, ended: &Ended) -> bool {
    let named = record.workload.as_ref().and_then(|workload| workload.pod_uid.as_ref());
    let is_other = ended.pod.as_ref().is_some_and(|pod| Some(&pod.uid) != named);
    record.phase() >= Phase::Running && ended.started.is_none() && !is_other
}

/// What a launched job's message says until something else is seen of it.
pub(crate) const LAUNCHED: &str = "the job is launched, waiting for its pod to start";

/// A job that is seen waiting for its pod, after it waited in a queue or was held up.
fn waiting(record: &JobRecord) -> Step {
    if record.phase() >= Phase::Running || !(is_of_queue(record) || record.held_up.is_some()) {
        return Step::Leave;
    }
    let mut next = record.next(Timestamp::now());
    (next.held_up, next.message) = (None, Some(LAUNCHED.to_owned()));
    Step::Write(Event::Progress, Box::new(next))
}

/// A job whose init containers run. The event that tells so first is its last `launching`: whoever follows logs holds it.
fn preparing(record: &JobRecord, pod: &PodName, container: &str) -> Step {
    if record.phase() >= Phase::Running {
        return Step::Leave;
    }
    let message = format!("the job is being prepared: its init container '{container}' has started");
    let named = record.workload.as_ref().and_then(|workload| workload.pod_uid.as_ref());
    if named == Some(&pod.uid) && record.held_up.is_none() {
        return say(record, message);
    }
    let event = if named.is_none() { Event::Launching } else { Event::Progress };
    let mut next = record.next(Timestamp::now());
    (next.held_up, next.message) = (None, Some(message));
    name_pod(&mut next, pod);
    Step::Write(event, Box::new(next))
}

fn suspended(record: &JobRecord, queue: Option<&str>) -> Step {
    say(
        record,
        match queue {
            Some(queue) => format!("{SUSPENDED}: it waits in the queue '{queue}'"),
            None => SUSPENDED.to_owned(),
        },
    )
}

/// What the message of a job that may not run begins with.
const SUSPENDED: &str = "the job is suspended";

fn is_of_queue(record: &JobRecord) -> bool {
    record.message.as_deref().is_some_and(|message| message.starts_with(SUSPENDED))
}

/// The job stays where it is, and says why.
pub(crate) fn say(record: &JobRecord, message: String) -> Step {
    if record.message.as_deref() == Some(message.as_str()) {
        return Step::Leave;
    }
    let mut next = record.next(Timestamp::now());
    next.message = Some(message);
    Step::Write(Event::Progress, Box::new(next))
}

fn running(
    record: &JobRecord,
    started: Timestamp,
    pod: &PodName,
    attempt: Option<&str>,
    executor: ExecutorKind,
) -> Step {
    let message = match executor {
        ExecutorKind::Kubernetes | ExecutorKind::Other(_) => "the job is running".to_owned(),
        ExecutorKind::Local => format!("the job is running; {}", local::MESSAGE),
    };
    let message = attempt.map_or(message.clone(), |attempt| format!("{message}, {attempt}"));
    let named = record.workload.as_ref().and_then(|workload| workload.pod_uid.as_ref());
    if record.phase() >= Phase::Running && attempt.is_some() && named != Some(&pod.uid) {
        let mut next = record.next(Timestamp::now());
        next.message = Some(message);
        name_pod(&mut next, pod);
        return Step::Write(Event::Progress, Box::new(next));
    }
    if record.phase() >= Phase::Running {
        // It ran before, and went back into its queue for a while.
        return if is_of_queue(record) { say(record, message) } else { Step::Leave };
    }
    let mut next = record.next(Timestamp::now());
    next.status = Status::Running;
    next.held_up = None;
    next.started = Some(started);
    next.message = Some(message);
    name_pod(&mut next, pod);
    Step::Write(Event::Running, Box::new(next))
}

fn ended(record: &JobRecord, ended: &Ended) -> Step {
    let mut next = record.next(Timestamp::now());
    next.held_up = None;
    next.status = Status::Running;
    next.started = record.started.or(ended.started);
    next.finished = Some(ended.finished);
    next.message = Some(format!("{}; result and log are being stored", ended.outcome.message));
    next.outcome = Some(ended.outcome.clone());
    if let Some(pod) = &ended.pod {
        name_pod(&mut next, pod);
    }
    Step::Write(Event::Ended, Box::new(next))
}

fn name_pod(record: &mut JobRecord, pod: &PodName) {
    if let Some(workload) = &mut record.workload {
        workload.pod_name = Some(pod.name.clone());
        workload.pod_uid = Some(pod.uid.clone());
    }
}

/// Ends a job by itself: one that can't be launched, or whose object is gone.
pub(crate) fn end(record: &JobRecord, reason: Reason, message: String) -> Step {
    if record.phase() >= Phase::Ended {
        return Step::Leave;
    }
    let now = Timestamp::now();
    let outcome = Outcome { reason: Some(reason), exit_code: None, message, unknown: protocol::Unknown::new() };
    ended(record, &Ended { outcome, started: None, finished: now, pod: None, must_be_deleted: false, is_proven: true })
}

async fn tell_gone(store: &JobStore, job_id: &JobId, uid: &str) -> Result<Reported, JobStoreError> {
    let advanced = store
        .advance(job_id, |stored| {
            let named = stored.record.workload.as_ref().and_then(|workload| workload.job_uid.as_deref());
            if named != Some(uid) {
                return Step::Leave;
            }
            end(&stored.record, Reason::Deleted, "the Job was deleted before it ended".to_owned())
        })
        .await?;
    Ok(match advanced {
        Advanced::NoJob => Reported::NoJob,
        Advanced::Left(stored) | Advanced::Written(stored) => reported(&stored.record, None),
    })
}

#[cfg(test)]
mod tests {
    use protocol::job_record::{ArchiveState, HeldUp, Workload};

    use super::*;
    use crate::executor::{JobState, PodObservation};

    #[test]
    fn only_who_sees_a_pod_says_that_nothing_holds_the_job_up_any_more() {
        let now = Timestamp::now();
        let id = JobId::generate(1);
        let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        let workload = Workload::new(ExecutorKind::Kubernetes, "n", "j");
        record.workload = Some(Workload { job_uid: Some("uid".into()), ..workload });
        record.held_up = Some(HeldUp { reason: Reason::QuotaExceeded, since: now, unknown: protocol::Unknown::new() });
        record.attempt = 1;
        let seen = Observation {
            job_id: id,
            process_id: None,
            namespace: "n".into(),
            job_name: "j".into(),
            uid: "uid".into(),
            terminating: false,
            created: now,
            state: JobState::Active,
            suspended: false,
            queue: None,
            retries: 0,
            uploads: None,
            pods: vec![],
            refused: None,
        };
        let stored = Stored { record, sequence: 1, event: Some(Event::Launching) };
        let step = |seen: &Observation, judgement| {
            next_step(&stored, seen, &judgement, ExecutorKind::Kubernetes, Duration::from_secs(100))
        };
        assert!(matches!(step(&seen, Judgement::Waiting), Step::Leave));
        let pod = PodObservation {
            name: "p".into(),
            uid: "u".into(),
            created: now,
            terminating: false,
            gone_by: None,
            phase_is_last: false,
            disruption: None,
            reason: None,
            message: None,
            unschedulable: None,
            containers: vec![],
        };
        let with_pod = Observation { pods: vec![pod], ..seen.clone() };
        let Step::Write(Event::Progress, next) = step(&with_pod, Judgement::Waiting) else { panic!("not told") };
        assert_eq!((next.held_up, next.message.as_deref()), (None, Some(LAUNCHED)));
        let held = |why: &str| Judgement::HeldUp { reason: Reason::QuotaExceeded, why: why.into() };
        let Step::Write(Event::Progress, next) = step(&seen, held("q")) else { panic!("not told") };
        assert_eq!(next.held_up.map(|held_up| held_up.since), Some(now), "it is counted from when it began");
    }

    #[test]
    fn the_first_init_container_is_told_as_a_launch_with_its_pod_and_what_follows_as_progress() {
        let id = JobId::generate(1);
        let now = Timestamp::UNIX_EPOCH;
        let process = "p".parse().expect("an id");
        let mut record = JobRecord::accepted(id, process, "1".into(), now, ArchiveState::Pending);
        record.attempt = 1;
        record.workload = Some(Workload::new(ExecutorKind::Kubernetes, "n", "j"));
        record.held_up = Some(HeldUp { reason: Reason::QuotaExceeded, since: now, unknown: protocol::Unknown::new() });
        let pod = |name: &str| PodName { name: name.into(), uid: format!("uid of {name}") };
        let Step::Write(Event::Launching, told) = preparing(&record, &pod("a"), "fetch") else { panic!("not told") };
        let workload = told.workload.clone().expect("it had one");
        assert_eq!(
            (workload.pod_name.as_deref(), told.held_up.as_ref(), told.status),
            (Some("a"), None, Status::Accepted)
        );
        assert!(told.message.as_deref().is_some_and(|message| message.contains("'fetch'")), "{told:?}");
        assert!(matches!(preparing(&told, &pod("a"), "fetch"), Step::Leave));
        assert!(message(preparing(&told, &pod("a"), "unpack")).is_some_and(|message| message.contains("'unpack'")));
        let Step::Write(Event::Progress, again) = preparing(&told, &pod("b"), "fetch") else { panic!("not told") };
        assert_eq!(again.workload.and_then(|workload| workload.pod_name).as_deref(), Some("b"));
        let mut running = *told;
        running.status = Status::Running;
        assert!(matches!(preparing(&running, &pod("b"), "fetch"), Step::Leave), "it is behind");
    }

    fn message(step: Step) -> Option<String> {
        match step {
            Step::Write(Event::Progress, record) => record.message,
            Step::Leave => None,
            Step::Write(event, _) => panic!("{event}"),
        }
    }

    #[test]
    fn a_job_in_a_queue_says_so_once_and_no_longer_when_it_is_let_go() {
        let id = JobId::generate(1);
        let now = Timestamp::UNIX_EPOCH;
        let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        record.message = Some(LAUNCHED.into());
        assert_eq!(message(waiting(&record)), None);
        let queued = message(suspended(&record, Some("a-queue"))).unwrap();
        assert_eq!(queued, "the job is suspended: it waits in the queue 'a-queue'");
        record.message = Some(queued);
        assert_eq!(message(suspended(&record, Some("a-queue"))), None);
        assert_eq!(message(waiting(&record)).as_deref(), Some(LAUNCHED));
        let pod = PodName { name: "p".into(), uid: "u".into() };
        record.status = Status::Running;
        let again = message(running(&record, now, &pod, None, ExecutorKind::Kubernetes));
        assert_eq!(again.as_deref(), Some("the job is running"));
    }
}
