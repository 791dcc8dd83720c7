//! Launches a job, exactly once, and holds on to it until it has ended.

use std::{sync::Arc, time::Duration};

use actix::{Actor, Addr, Context, Handler, Message, ResponseFuture};
use indexmap::IndexMap;
use jiff::Timestamp;
use platform::{
    failpoint,
    job_store::{Advanced, JobStore, JobStoreError, Step, Stored},
};
use protocol::{
    Event, ExecutionRequest, JobId, JobRecord, ProcessDefinition, ProcessId, Unknown,
    job_record::{ArchiveState, HeldUp, Phase, Reason, Uploads, Workload},
    names::kubernetes::job_name,
};
use tokio::{runtime::Handle, time::Instant};
use tracing::{info, instrument, warn};

use crate::{
    exchange::{ExchangeError, Exchanged, Terms},
    executor::{CreateError, Executor, ExecutorError, JobPlan, Observation},
    metrics::Metrics,
    pace::{Pace, Place as PlaceInLine},
    refusal::told,
    reporter::{LAUNCHED, end, say},
    room::{Counted, LiveRoom},
    stopping::is_stopping,
    watcher::{WaitForEnd, Watcher},
};

/// The actor; it keeps nothing but addresses and settings.
#[derive(Clone)]
pub struct Launcher {
    /// Where records are.
    pub store: JobStore,
    /// What runs the jobs.
    pub executor: Executor,
    /// The configured processes.
    pub processes: Arc<IndexMap<ProcessId, ProcessDefinition>>,
    /// Prefix of the Jobs' names.
    pub job_name_prefix: String,
    /// How long a quota may keep a job from being launched.
    pub quota_deadline: Duration,
    /// How inputs and results are exchanged with jobs.
    pub terms: Terms,
    /// Tells when a job has ended.
    pub watcher: Addr<Watcher>,
    /// How fast jobs are created.
    pub pace: Pace,
    /// Whether more may be live.
    pub room: Arc<LiveRoom>,
    /// Counts.
    pub metrics: Metrics,
    /// The runtime of the clients.
    pub runtime: Handle,
}

/// A holder looks again after once to twice this time, and who waits to create after it.
const HOLD_LOOK: Duration = Duration::from_secs(30);

/// So often in a row a job that has kept its place may not be looked at, this long after each other.
const LOOKS: u32 = 15;
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl Actor for Launcher {
    type Context = Context<Self>;
}

/// Launches the job of a request unless it was launched, and answers once it has ended.
#[derive(Message)]
#[rtype(result = "Result<Launched, LaunchError>")]
pub struct Launch {
    /// The request.
    pub request: Box<ExecutionRequest>,
    /// Its place in the stream: of jobs that wait here to be created the one with the lowest is the next.
    pub sequence: u64,
}

/// What became of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launched {
    /// The execution has ended, whoever launched it.
    Ended,
    /// This process is about to stop: another one holds on.
    Stopping,
}

/// A launch that did not work for a passing cause.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The record can't be read or written.
    #[error("the record of the job can't be read or written")]
    Store(#[from] JobStoreError),
    /// The executor did not answer.
    #[error("the executor can't be asked")]
    Executor(#[from] ExecutorError),
    /// The job can't be created now.
    #[error("the job can't be created")]
    Create(#[source] CreateError),
    /// The inputs can't be read from the bucket, or no URL can be made for it.
    #[error("inputs or results can't be exchanged")]
    Exchange(#[source] platform::object_store::StoreError),
    /// Someone else's object has the job's name.
    #[error("an object that is not ours has the job's name")]
    NotOurs,
    /// The job was launched where this process does not look.
    #[error("the job was launched in namespace {0}, which is not served here")]
    Elsewhere(String),
    /// An earlier incarnation is still being deleted.
    #[error("an object of the job's name is still being deleted")]
    Terminating,
}

impl Handler<Launch> for Launcher {
    type Result = ResponseFuture<Result<Launched, LaunchError>>;

    fn handle(&mut self, Launch { request, sequence }: Launch, _: &mut Context<Self>) -> Self::Result {
        let launcher = self.clone();
        let launched = self.runtime.spawn(async move { launcher.launch(&request, sequence).await });
        Box::pin(async { launched.await.unwrap_or(Ok(Launched::Stopping)) })
    }
}

/// What to do next with a job, from its record and what is there of it: pure.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    /// Nothing: it has ended. What is still there is deleted when it is live.
    Ended,
    /// Win the next attempt, then create.
    Create,
    /// What is there is ours, and the record does not name it yet.
    Adopt { uid: String },
    /// It is there and named: wait for its end, or until it has stopped after a dismissal.
    Hold,
    /// What is there is not what the record names: delete it, and look again.
    DeleteOther { uid: String },
    /// What the record names is gone.
    Gone,
    /// Wait until what is there is gone.
    WaitForDeletion,
}

fn next(record: &JobRecord, there: Option<&Observation>, now: Timestamp) -> Next {
    if record.phase() >= Phase::Ended {
        return if is_stopping(record, there, now) { Next::Hold } else { Next::Ended };
    }
    let named = record.workload.as_ref().and_then(|workload| workload.job_uid.as_deref());
    match (named, there) {
        (None, None) => Next::Create,
        (None, Some(there)) if there.terminating || there.job_id != record.job_id => Next::WaitForDeletion,
        (None, Some(_)) if record.attempt == 0 => Next::Create,
        (None, Some(there)) => Next::Adopt { uid: there.uid.clone() },
        (Some(_), None) => Next::Gone,
        (Some(named), Some(there)) if named == there.uid => Next::Hold,
        (Some(_), Some(there)) => Next::DeleteOther { uid: there.uid.clone() },
    }
}

/// A job's turn to be created.
struct Turn {
    /// Its place in the stream.
    sequence: u64,
    /// When it was taken in hand.
    taken: std::time::Instant,
    /// The place in the line that it has kept.
    kept: Option<PlaceInLine>,
    /// It may be live, and counts as such.
    live: Option<Counted>,
    /// It was refused by a server under pressure.
    refused: Option<Refused>,
}

/// When a job was refused last.
#[derive(Clone, Copy)]
struct Refused {
    /// How many creates had been answered well until then.
    answers: u64,
    /// How often it was refused again while others were not.
    times: u32,
}

/// Where the object of a job is.
struct Place {
    namespace: String,
    name: String,
}

impl Launcher {
    #[instrument(skip_all, fields(job_id = %request.record.job_id, process_id = %request.record.process_id))]
    async fn launch(&self, request: &ExecutionRequest, sequence: u64) -> Result<Launched, LaunchError> {
        let id = request.record.job_id;
        let taken = std::time::Instant::now();
        let mut turn = Turn { sequence, taken, kept: None, live: None, refused: None };
        let mut unseen = 0;
        loop {
            let Some(stored) = self.accept(request).await? else { return Ok(Launched::Ended) };
            let place = self.place(&stored.record)?;
            // Nothing of a job can be there before its first attempt was won; a stranger's object is found by creating.
            let there = if stored.record.attempt == 0 {
                None
            } else {
                match self.executor.observe(&place.namespace, &place.name).await {
                    // A server under pressure refuses looks, too: that is no reason to go to the end of the line.
                    Err(error) if turn.kept.is_some() && unseen < LOOKS => {
                        unseen += 1;
                        warn!(error = %platform::telemetry::chain(&error), "can't be looked at yet");
                        tokio::time::sleep(LOOK_AGAIN).await;
                        continue;
                    }
                    observed => observed?,
                }
            };
            unseen = 0;
            let next = next(&stored.record, there.as_ref(), Timestamp::now());
            if next != Next::Create {
                turn.kept = None;
            }
            match next {
                Next::Ended => return self.clean_up(&stored.record, there.as_ref()).await,
                Next::Create => {
                    let is_named = match self.create(request, &mut turn, &stored, &place).await {
                        // It is not given back: it would come again behind others, and later than need be.
                        Err(LaunchError::Create(CreateError::Pressed { .. })) => {
                            self.stand_back(&mut turn).await;
                            false
                        }
                        created => created?,
                    };
                    if is_named && let Some(launched) = self.hold(&id).await {
                        return Ok(launched);
                    }
                }
                Next::Adopt { uid } => {
                    info!(%uid, "found the job created, not recorded");
                    let uploads = there.and_then(|there| there.uploads);
                    self.record_uid(&id, stored.record.attempt, &place, &uid, uploads).await?;
                }
                Next::Hold => {
                    // Looked at again now and then: what this process did not get to see wakes nobody.
                    if let Some(launched) = self.hold(&id).await {
                        return Ok(launched);
                    }
                }
                Next::DeleteOther { uid } => {
                    warn!(%uid, "deleting a job that the record does not name");
                    self.executor.delete(&place.namespace, &place.name, &uid).await?;
                    return Err(LaunchError::Terminating);
                }
                Next::Gone => {
                    let message = "the Job was deleted before it ended".to_owned();
                    self.fail(&id, Reason::Deleted, message).await?;
                }
                Next::WaitForDeletion => return Err(LaunchError::Terminating),
            }
        }
    }

    /// Reads the job, and tells `accepted` where the gateway died before it could. `None` when it was removed.
    async fn accept(&self, request: &ExecutionRequest) -> Result<Option<Stored>, LaunchError> {
        let advanced = self
            .store
            .advance(&request.record.job_id, |stored| match stored.sequence {
                0 => Step::Write(Event::Accepted, Box::new(request.record.clone())),
                _ => Step::Leave,
            })
            .await?;
        Ok(match advanced {
            Advanced::NoJob => None,
            Advanced::Left(stored) | Advanced::Written(stored) => Some(stored),
        })
    }

    /// A job that has ended needs nothing, but a live object of it is not to run.
    async fn clean_up(&self, record: &JobRecord, there: Option<&Observation>) -> Result<Launched, LaunchError> {
        if let Some(there) = there
            && !there.terminating
            && there.job_id == record.job_id
            && record.workload.as_ref().and_then(|workload| workload.job_uid.as_ref()) != Some(&there.uid)
        {
            self.executor.delete(&there.namespace, &there.job_name, &there.uid).await?;
        }
        Ok(Launched::Ended)
    }

    /// Wins the next attempt, creates, and records what was created: true when the record names it. Whatever goes another
    /// way is seen by the caller's next look.
    async fn create(
        &self,
        request: &ExecutionRequest,
        turn: &mut Turn,
        stored: &Stored,
        place: &Place,
    ) -> Result<bool, LaunchError> {
        let id = request.record.job_id;
        let in_line = turn.kept.take();
        turn.live = None;
        let Some(process) = self.processes.get(&request.record.process_id) else {
            let message = format!("the process '{}' is not configured any more", request.record.process_id.as_str());
            return self.fail(&id, Reason::ProcessUnavailable, message).await.map(|()| false);
        };
        let exchanged = self.terms.exchange(self.store.objects(), &id, process, &request.inputs).await;
        let Exchanged { inputs, exchange } = match exchanged {
            Ok(exchanged) => exchanged,
            Err(ExchangeError::Never(message)) => {
                return self.fail(&id, Reason::ConfigError, message).await.map(|()| false);
            }
            Err(ExchangeError::Store(error)) => return Err(LaunchError::Exchange(error)),
        };
        let uploads = exchange.uploads.as_ref().map(|plan| plan.uploads.clone());
        let plan = JobPlan {
            job_id: id,
            process: process.clone(),
            namespace: place.namespace.clone(),
            job_name: place.name.clone(),
            created: request.record.created,
            inputs,
            exchange,
            masked_parameters: request.record.parameters.clone(),
            hold_pod: request.record.archive.state != ArchiveState::Off,
        };
        // Waited for before the attempt is won: from then on there is little time. A job that was dismissed meanwhile leaves.
        let in_line = in_line.unwrap_or_else(|| self.pace.place(turn.sequence));
        let permitted = async {
            let permit = in_line.permit().await;
            self.room.confirm(turn.taken).await;
            permit
        };
        let Ok(mut permit) = tokio::time::timeout(HOLD_LOOK, permitted).await else { return Ok(false) };
        turn.live = permit.live();
        let Some(attempt) = self.win(&id, stored, place).await? else { return Ok(false) };
        let won = Instant::now();
        failpoint::reach("dispatcher.before-create");
        if won.elapsed() > self.store.nats().ack_wait / 2 {
            // This process stood still: someone else may have taken over, and finished.
            return Ok(false);
        }
        let created = self.executor.create(&plan).await;
        match &created {
            Err(pressed @ CreateError::Pressed { retry_after, .. }) => {
                permit.pressed(*retry_after, &platform::telemetry::chain(pressed));
            }
            // Nothing was sent, or it is not known what was answered.
            Err(CreateError::Refused { reason: Reason::ConfigError, .. } | CreateError::Passing(_)) => drop(permit),
            _ => permit.answered(),
        }
        match created {
            Ok(uid) => {
                self.metrics.launched.inc();
                self.metrics.create_seconds.observe(won.elapsed().as_secs_f64());
                failpoint::reach("dispatcher.after-create");
                self.record_uid(&id, attempt, place, &uid, uploads).await
            }
            Err(CreateError::Exists) => match self.executor.observe(&place.namespace, &place.name).await? {
                Some(_) => Ok(false),
                None => Err(LaunchError::NotOurs),
            },
            Err(CreateError::Refused { reason, message }) => {
                self.fail(&id, reason, told(&message)).await.map(|()| false)
            }
            Err(CreateError::Quota(message)) => {
                self.hold_up(&id, Reason::QuotaExceeded, &told(&message)).await?;
                Err(LaunchError::Create(CreateError::Quota(message)))
            }
            Err(passing) => {
                if let Some(words) = passing.words() {
                    let message = format!("the job can't be created now, and is tried again: {}", told(words));
                    self.store.advance(&id, |stored| before_start(&stored.record, message.clone())).await?;
                }
                Err(LaunchError::Create(passing))
            }
        }
    }

    /// Waits after an API server under pressure refused a create. The place in the line is kept, unless others were created each time
    /// since this one was refused before: then it is not the server, and they go first.
    async fn stand_back(&self, turn: &mut Turn) {
        turn.live = None;
        let (answers, times) = (self.pace.answers(), turn.refused.map_or(0, |refused| refused.times));
        let is_alone = turn.refused.is_some_and(|refused| refused.answers != answers);
        let times = if is_alone { times + 1 } else { 0 };
        turn.refused = Some(Refused { answers, times });
        if times > 1 {
            let pause = Duration::from_secs(1 << times.min(6));
            warn!(seconds = pause.as_secs(), "others are created, this one is not: it is tried later");
            tokio::time::sleep(pause).await;
            return;
        }
        turn.kept = Some(self.pace.place(turn.sequence));
        self.pace.pause(HOLD_LOOK).await;
    }

    /// The number of the attempt that was won; `None` when someone else moved the job.
    async fn win(&self, id: &JobId, read: &Stored, place: &Place) -> Result<Option<u32>, LaunchError> {
        let advanced = self
            .store
            .advance(id, |stored| {
                if stored.sequence != read.sequence {
                    return Step::Leave;
                }
                let mut record = stored.record.next(Timestamp::now());
                record.attempt += 1;
                record.workload = Some(Workload::new(self.executor.kind(), &place.namespace, &place.name));
                if record.held_up.is_none() {
                    record.message = Some("the job is being launched".to_owned());
                }
                Step::Write(Event::Launching, Box::new(record))
            })
            .await?;
        Ok(match advanced {
            Advanced::Written(stored) => Some(stored.record.attempt),
            Advanced::Left(_) | Advanced::NoJob => None,
        })
    }

    /// Records the UID of what was created: true when the record names it now. A job that has ended meanwhile, or names
    /// another, deletes what was created.
    async fn record_uid(
        &self,
        id: &JobId,
        attempt: u32,
        place: &Place,
        uid: &str,
        uploads: Option<Uploads>,
    ) -> Result<bool, LaunchError> {
        let is_free = |record: &JobRecord| {
            let named = record.workload.as_ref().and_then(|workload| workload.job_uid.as_deref());
            record.phase() < Phase::Ended && named.is_none()
        };
        let advanced = self
            .store
            .advance(id, |stored| {
                if !is_free(&stored.record) || stored.record.attempt < attempt {
                    return Step::Leave;
                }
                let mut record = stored.record.next(Timestamp::now());
                if let Some(workload) = &mut record.workload {
                    workload.job_uid = Some(uid.to_owned());
                    workload.uploads.clone_from(&uploads);
                }
                record.held_up = None;
                record.message = Some(LAUNCHED.to_owned());
                Step::Write(Event::Launching, Box::new(record))
            })
            .await?;
        let named = match &advanced {
            Advanced::Written(stored) | Advanced::Left(stored) => {
                stored.record.workload.as_ref().and_then(|workload| workload.job_uid.as_deref())
            }
            Advanced::NoJob => None,
        };
        let is_named = named == Some(uid);
        if !is_named {
            warn!(%uid, "the job went on without what was created here: deleting it");
            self.executor.delete(&place.namespace, &place.name, uid).await?;
        }
        Ok(is_named)
    }

    /// `None` when it is time to look again.
    async fn hold(&self, id: &JobId) -> Option<Launched> {
        let look_again = HOLD_LOOK.mul_f64(1.0 + rand::random::<f64>());
        match tokio::time::timeout(look_again, self.watcher.send(WaitForEnd(*id))).await {
            Ok(Ok(true)) => Some(Launched::Ended),
            Ok(Ok(false) | Err(_)) => Some(Launched::Stopping),
            Err(_) => None,
        }
    }

    /// What the record says, once it says so: today's prefix and namespace may be others.
    fn place(&self, record: &JobRecord) -> Result<Place, LaunchError> {
        match &record.workload {
            None => {
                // A process that is gone is looked for when its job is created.
                let home = || self.executor.namespaces().first().copied().unwrap_or_default();
                let namespace =
                    self.processes.get(&record.process_id).map(|process| self.executor.namespace_of(process));
                let namespace = namespace.unwrap_or_else(home).to_owned();
                Ok(Place { namespace, name: job_name(&self.job_name_prefix, &record.job_id) })
            }
            Some(workload)
                if self.executor.namespaces().contains(&workload.namespace.as_str())
                    && workload.executor == self.executor.kind() =>
            {
                Ok(Place { namespace: workload.namespace.clone(), name: workload.job_name.clone() })
            }
            Some(workload) => Err(LaunchError::Elsewhere(workload.namespace.clone())),
        }
    }

    /// Tells what keeps the job from being launched, or fails it when that takes too long.
    async fn hold_up(&self, id: &JobId, reason: Reason, why: &str) -> Result<(), LaunchError> {
        let step = |stored: &Stored| held_up(&stored.record, reason, why, Timestamp::now(), self.quota_deadline);
        self.store.advance(id, step).await?;
        Ok(())
    }

    async fn fail(&self, id: &JobId, reason: Reason, message: String) -> Result<(), LaunchError> {
        info!(%reason, %message, "the job can't run");
        self.store.advance(id, |stored| end(&stored.record, reason, message.clone())).await?;
        Ok(())
    }
}

/// Tells why a job is not created, until something else is known of it.
fn before_start(record: &JobRecord, message: String) -> Step {
    if record.phase() < Phase::Running { say(record, message) } else { Step::Leave }
}

/// What a quota says, without how much of it is used: that changes with every other job.
fn without_use(message: &str) -> (&str, &str) {
    let (before, after) = message.split_once(", used: ").unwrap_or((message, ""));
    (before, after.split_once(", limited: ").map_or("", |(_, limits)| limits))
}

/// What to write about a job that can't go on yet: pure.
pub(crate) fn held_up(record: &JobRecord, reason: Reason, why: &str, now: Timestamp, limit: Duration) -> Step {
    if record.phase() >= Phase::Ended {
        return Step::Leave;
    }
    let known = record.held_up.clone().filter(|held_up| held_up.reason == reason);
    let held_up = known.unwrap_or(HeldUp { reason, since: now, unknown: Unknown::new() });
    if now.duration_since(held_up.since).unsigned_abs() >= limit {
        return end(record, reason, format!("held up for {} s: {why}", limit.as_secs_f64()));
    }
    let message = format!("the job is held up ({reason}): {why}");
    let is_told = record.message.as_deref().is_some_and(|told| without_use(told) == without_use(&message));
    if record.held_up.as_ref() == Some(&held_up) && is_told {
        return Step::Leave;
    }
    let mut next = record.next(now);
    (next.held_up, next.message) = (Some(held_up), Some(message));
    Step::Write(Event::Progress, Box::new(next))
}

/// How long to wait before a launch is tried again.
pub(crate) fn retry_limit(error: &LaunchError) -> Duration {
    match error {
        LaunchError::Terminating => Duration::from_secs(2),
        // Room in a quota comes whenever another job goes.
        LaunchError::Create(CreateError::Quota(_)) => Duration::from_secs(15),
        _ => Duration::from_secs(60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::JobState;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn record(attempt: u32, uid: Option<&str>) -> JobRecord {
        let id = JobId::generate(1);
        let now = Timestamp::UNIX_EPOCH;
        let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        record.attempt = attempt;
        let workload = Workload::new(protocol::job_record::ExecutorKind::Kubernetes, "n", "j");
        record.workload = Some(Workload { job_uid: uid.map(str::to_owned), ..workload });
        record
    }

    fn there(record: &JobRecord, uid: &str, terminating: bool) -> Observation {
        Observation {
            job_id: record.job_id,
            process_id: None,
            namespace: "n".into(),
            job_name: "j".into(),
            uid: uid.into(),
            terminating,
            created: Timestamp::UNIX_EPOCH,
            state: JobState::Active,
            suspended: false,
            queue: None,
            retries: 0,
            uploads: None,
            pods: vec![],
            refused: None,
        }
    }

    #[test]
    fn a_job_is_created_only_when_nothing_is_there_and_none_is_named() {
        assert_eq!(next(&record(0, None), None, NOW), Next::Create);
        assert_eq!(next(&record(3, None), None, NOW), Next::Create);
        assert_eq!(next(&record(1, Some("a")), None, NOW), Next::Gone);
    }

    #[test]
    fn what_was_created_and_not_recorded_is_adopted() {
        let record = record(1, None);
        assert_eq!(next(&record, Some(&there(&record, "a", false)), NOW), Next::Adopt { uid: "a".into() });
        assert_eq!(next(&record, Some(&there(&record, "a", true)), NOW), Next::WaitForDeletion);
    }

    #[test]
    fn another_incarnation_than_the_named_one_is_deleted() {
        let record = record(2, Some("b"));
        assert_eq!(next(&record, Some(&there(&record, "b", false)), NOW), Next::Hold);
        assert_eq!(next(&record, Some(&there(&record, "a", false)), NOW), Next::DeleteOther { uid: "a".into() });
    }

    #[test]
    fn a_job_that_a_quota_forbids_says_so_once_and_fails_in_the_end() {
        let limit = Duration::from_secs(100);
        let at = |second| Timestamp::from_second(second).unwrap();
        let Step::Write(Event::Progress, waiting) =
            held_up(&record(1, None), Reason::QuotaExceeded, "q", at(10), limit)
        else {
            panic!("not told")
        };
        assert_eq!(waiting.held_up.as_ref().map(|held_up| held_up.since), Some(at(10)));
        assert!(matches!(held_up(&waiting, Reason::QuotaExceeded, "q", at(109), limit), Step::Leave));
        let words = |used: u32, limited: u32| {
            format!("exceeded quota: q, requested: pods=1, used: pods={used}, limited: pods={limited}")
        };
        let step = |record: &JobRecord, words: &str| held_up(record, Reason::QuotaExceeded, words, at(20), limit);
        let Step::Write(_, full) = step(&waiting, &words(5, 5)) else { panic!("other words are not told") };
        assert!(matches!(step(&full, &words(4, 5)), Step::Leave), "it changes with every job");
        assert!(matches!(step(&full, &words(5, 6)), Step::Write(..)));
        let Step::Write(Event::Ended, failed) = held_up(&waiting, Reason::QuotaExceeded, "q", at(110), limit) else {
            panic!("not failed")
        };
        assert_eq!(failed.outcome.and_then(|outcome| outcome.reason), Some(Reason::QuotaExceeded));
        assert_eq!(failed.held_up, None);
    }
}
