//! Keeps the level that the executor's watch tells, has each change reported, and lets launches wait for the end.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, StreamHandler, WrapFuture,
};
use jiff::Timestamp;
use protocol::JobId;
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use crate::{
    executor::{Change, Observation},
    levels::Levels,
    metrics::Metrics,
    outcome::{Judgement, judge},
    reporter::{POD_MADE_WITHIN, Report, ReportGone, Reported, Reporter},
};

/// The actor. What it keeps is told anew by every watch: nothing in it is the only copy of a fact.
pub struct Watcher {
    reporter: Addr<Reporter>,
    start_deadline: Duration,
    metrics: Metrics,
    levels: watch::Sender<Levels>,
    jobs: HashMap<JobId, Seen>,
    waiting: HashMap<JobId, Vec<oneshot::Sender<()>>>,
    over: Recent,
}

struct Seen {
    latest: Box<Observation>,
    /// When this incarnation was seen first, or seen to be free to start.
    since: Instant,
    /// When it was last known that something keeps its pod from being made.
    held_up: Option<Instant>,
    /// A report is under way.
    busy: bool,
    /// `latest` changed since the report under way began.
    stale: bool,
    /// The record says that the execution ended: nothing more is to be told.
    ended: bool,
    /// How long it had been seen when it was reported last while it lacked a pod.
    looked: Duration,
}

impl Seen {
    fn new(latest: Box<Observation>) -> Self {
        Self {
            latest,
            since: Instant::now(),
            held_up: None,
            busy: false,
            stale: true,
            ended: false,
            looked: Duration::ZERO,
        }
    }

    /// How long it has waited without a known cause: the time that a quota takes is not the pod's.
    fn waited(&self) -> Duration {
        self.held_up.unwrap_or(self.since).max(self.since).elapsed()
    }

    /// True when something is to be told of it though nothing has changed.
    fn is_due(&self, now: Timestamp, start_deadline: Duration) -> bool {
        if self.latest.lacks_pod() {
            return is_look_due(self.since.elapsed(), self.looked, start_deadline);
        }
        self.is_over(now, start_deadline)
    }

    /// True when it has ended by the clock alone.
    fn is_over(&self, now: Timestamp, start_deadline: Duration) -> bool {
        let is_waiting = self.since.elapsed() >= start_deadline && !self.latest.has_started();
        let is_watched = self.latest.retries > 0 || self.latest.pods.iter().any(|pod| pod.terminating);
        (is_waiting || is_watched)
            && matches!(judge(&self.latest, now, self.since.elapsed(), start_deadline), Judgement::Ended(_))
    }

    /// What was not told yet stays untold, even when the same is seen again.
    fn take_in(&mut self, latest: Box<Observation>) {
        self.stale |= self.latest != latest;
        // The time that a queue takes, or a quota before there is a pod, is not the pod's.
        let has_first_pod = self.latest.lacks_pod() && !latest.pods.is_empty();
        if self.latest.suspended || has_first_pod {
            (self.since, self.looked) = (Instant::now(), Duration::ZERO);
        }
        self.latest = latest;
    }
}

/// Why a Job has no pod is looked for less and less often, at last once in this time; and at the deadline for its start.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(60);

fn is_look_due(seen_for: Duration, looked: Duration, start_deadline: Duration) -> bool {
    let next = (looked + looked.min(LOOK_AT_LEAST_EVERY)).max(POD_MADE_WITHIN);
    seen_for >= next || (seen_for >= start_deadline && looked < start_deadline)
}

impl Watcher {
    /// A watcher that has `reporter` tell what it sees; `levels` hears of what the level is known.
    pub fn new(
        reporter: Addr<Reporter>,
        start_deadline: Duration,
        metrics: Metrics,
        levels: watch::Sender<Levels>,
    ) -> Self {
        Self {
            reporter,
            start_deadline,
            metrics,
            levels,
            jobs: HashMap::new(),
            waiting: HashMap::new(),
            over: Recent::default(),
        }
    }
}

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        // Deadlines pass without any change in the cluster.
        context.run_interval(Duration::from_secs(1), |watcher, context| watcher.report_overdue(context));
    }
}

impl StreamHandler<Change> for Watcher {
    fn handle(&mut self, change: Change, context: &mut Context<Self>) {
        match change {
            Change::Synced { namespace } => {
                info!(%namespace, jobs = self.jobs.len(), "the watch is up to date");
                self.tell_level(|levels| levels.known(&namespace));
            }
            Change::Unwatched { namespace, why } => self.tell_level(|levels| levels.unwatched(&namespace, why)),
            Change::Seen(seen) => self.see(seen, context),
            Change::Gone { job_id, uid } => self.gone(job_id, uid, context),
        }
        self.metrics.live_jobs.set(i64::try_from(self.live()).unwrap_or(i64::MAX));
    }
}

impl Watcher {
    fn tell_level(&mut self, change: impl FnOnce(&mut Levels)) {
        self.levels.send_modify(change);
        let unwatched = self.levels.borrow().unwatched_count();
        self.metrics.unwatched_namespaces.set(i64::try_from(unwatched).unwrap_or(i64::MAX));
    }

    fn live(&self) -> usize {
        self.jobs.values().filter(|seen| !seen.ended).count()
    }

    fn see(&mut self, latest: Box<Observation>, context: &mut Context<Self>) {
        let id = latest.job_id;
        match self.jobs.get_mut(&id) {
            Some(seen) if seen.latest.uid == latest.uid => {
                seen.take_in(latest);
            }
            _ => {
                self.jobs.insert(id, Seen::new(latest));
            }
        }
        self.report(id, context);
    }

    /// Has the latest be told, unless a report is under way: then again after it.
    fn report(&mut self, id: JobId, context: &mut Context<Self>) {
        let Some(seen) = self.jobs.get_mut(&id) else { return };
        if seen.busy || seen.ended || !seen.stale {
            return;
        }
        (seen.busy, seen.stale) = (true, false);
        let (seen_for, waited) = (seen.since.elapsed(), seen.waited());
        if seen.latest.lacks_pod() {
            seen.looked = seen_for;
        }
        let report = Report { seen: seen.latest.clone(), seen_for, waited };
        let told = self.reporter.send(report).into_actor(self);
        context.spawn(told.map(move |told, watcher, context| {
            let Some(seen) = watcher.jobs.get_mut(&id) else { return };
            seen.busy = false;
            match told {
                Ok(Ok(reported @ (Reported::Alive | Reported::HeldUp))) => {
                    if reported == Reported::HeldUp {
                        seen.held_up = Some(Instant::now());
                    }
                    watcher.report(id, context);
                }
                Ok(Ok(Reported::Ended | Reported::NoJob)) => watcher.has_ended(&id),
                Ok(Err(error)) => {
                    warn!(job_id = %id, error = %platform::telemetry::chain(&error), "could not be told, trying again");
                    watcher.report_later(id, context);
                }
                Err(error) => {
                    warn!(job_id = %id, %error, "could not be told, trying again");
                    watcher.report_later(id, context);
                }
            }
        }));
    }

    fn report_later(&mut self, id: JobId, context: &mut Context<Self>) {
        context.run_later(Duration::from_secs(1), move |watcher, context| watcher.report_again(id, context));
    }

    fn report_again(&mut self, id: JobId, context: &mut Context<Self>) {
        if let Some(seen) = self.jobs.get_mut(&id) {
            seen.stale = true;
        }
        self.report(id, context);
    }

    fn report_overdue(&mut self, context: &mut Context<Self>) {
        let now = Timestamp::now();
        let overdue: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, seen)| !seen.ended && !seen.busy && seen.is_due(now, self.start_deadline))
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            self.report_again(id, context);
        }
    }

    fn gone(&mut self, id: JobId, uid: String, context: &mut Context<Self>) {
        let is_current = self.jobs.get(&id).is_some_and(|seen| seen.latest.uid == uid);
        if is_current {
            self.jobs.remove(&id);
        }
        let told = self.reporter.send(ReportGone { job_id: id, uid: uid.clone() }).into_actor(self);
        context.spawn(told.map(move |told, watcher, context| match told {
            Ok(Ok(Reported::Alive | Reported::HeldUp)) => {}
            Ok(Ok(Reported::Ended | Reported::NoJob)) => watcher.wake(&id),
            Ok(Err(error)) => {
                warn!(job_id = %id, error = %platform::telemetry::chain(&error), "could not be told, trying again");
                context.run_later(Duration::from_secs(1), move |watcher, context| watcher.gone(id, uid, context));
            }
            Err(error) => warn!(job_id = %id, %error, "the reporter is gone"),
        }));
    }

    fn has_ended(&mut self, id: &JobId) {
        if let Some(seen) = self.jobs.get_mut(id) {
            seen.ended = true;
        }
        self.metrics.live_jobs.set(i64::try_from(self.live()).unwrap_or(i64::MAX));
        self.wake(id);
    }

    fn wake(&mut self, id: &JobId) {
        self.over.insert(*id);
        for waiter in self.waiting.remove(id).unwrap_or_default() {
            // Who waited may have left.
            waiter.send(()).ok();
        }
    }
}

/// Waits until the record says that the execution ended. Answers at once when that is known already; answers `false`
/// when the watcher stops.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct WaitForEnd(pub JobId);

impl Handler<WaitForEnd> for Watcher {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, WaitForEnd(id): WaitForEnd, context: &mut Context<Self>) -> Self::Result {
        match self.jobs.get(&id) {
            _ if self.over.contains(&id) => return Box::pin(std::future::ready(true)),
            Some(seen) if seen.ended => return Box::pin(std::future::ready(true)),
            // The launch has just named the incarnation that was seen: only now can it be told.
            Some(_) => self.report_again(id, context),
            None => {}
        }
        let (sender, receiver) = oneshot::channel();
        let waiters = self.waiting.entry(id).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(sender);
        Box::pin(async move { receiver.await.is_ok() })
    }
}

/// The record says that the job is over: launches that are held for it are let go. What is still there of it is not looked
/// at for this.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Over(pub JobId);

impl Handler<Over> for Watcher {
    type Result = ();

    fn handle(&mut self, Over(id): Over, _: &mut Context<Self>) {
        self.wake(&id);
    }
}

/// The jobs that ended last: one that is gone before anybody began to wait for its end is not waited for.
#[derive(Default)]
struct Recent {
    known: HashSet<JobId>,
    order: VecDeque<JobId>,
}

impl Recent {
    /// Whoever comes later than so many ends looks for itself (see the launcher).
    const LIMIT: usize = 4096;

    fn insert(&mut self, id: JobId) {
        if self.known.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > Self::LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn contains(&self, id: &JobId) -> bool {
        self.known.contains(id)
    }
}

/// The jobs that the watch knows, with name and UID.
#[derive(Message)]
#[rtype(result = "Vec<Known>")]
pub struct KnownJobs;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Id of the job.
    pub job_id: JobId,
    /// Namespace of its object.
    pub namespace: String,
    /// Name of its object.
    pub job_name: String,
    /// UID of its object.
    pub uid: String,
}

impl Handler<KnownJobs> for Watcher {
    type Result = Vec<Known>;

    fn handle(&mut self, _: KnownJobs, _: &mut Context<Self>) -> Self::Result {
        let known = |seen: &Seen| Known {
            job_id: seen.latest.job_id,
            namespace: seen.latest.namespace.clone(),
            job_name: seen.latest.job_name.clone(),
            uid: seen.latest.uid.clone(),
        };
        self.jobs.values().filter(|seen| !seen.latest.terminating).map(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::executor::{JobState, PodObservation};

    fn observation(state: JobState) -> Box<Observation> {
        Box::new(Observation {
            job_id: JobId::generate(1),
            process_id: None,
            namespace: "n".into(),
            job_name: "j".into(),
            uid: "u".into(),
            terminating: false,
            created: Timestamp::UNIX_EPOCH,
            state,
            suspended: false,
            queue: None,
            retries: 0,
            uploads: None,
            pods: vec![],
            refused: None,
        })
    }

    #[test]
    fn only_the_last_ends_are_remembered() {
        let mut recent = Recent::default();
        let ids: Vec<JobId> = (0..=Recent::LIMIT as u64).map(JobId::generate).collect();
        for id in ids.iter().chain(&ids[1..]) {
            recent.insert(*id);
        }
        assert_eq!((recent.known.len(), recent.order.len()), (Recent::LIMIT, Recent::LIMIT));
        assert!(!recent.contains(&ids[0]) && recent.contains(&ids[1]));
    }

    #[test]
    fn the_time_in_a_queue_is_not_the_time_of_the_pod() {
        let waiting = Box::new(Observation { suspended: true, ..*observation(JobState::Active) });
        let mut seen = Seen::new(waiting.clone());
        let long_ago = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap();
        seen.since = long_ago;
        seen.take_in(Box::new(Observation { suspended: false, ..*waiting }));
        assert!(seen.since.elapsed() < Duration::from_secs(60));
        seen.since = long_ago;
        seen.take_in(Box::new(Observation { suspended: false, ..*observation(JobState::Active) }));
        assert_eq!(seen.since, long_ago, "a job that may run is counted from when that was seen first");
    }

    #[test]
    fn the_time_that_a_quota_takes_does_not_count_whatever_refuses_the_pod_next() {
        let mut seen = Seen::new(observation(JobState::Active));
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        seen.since = ago(3600);
        assert!(seen.waited() >= Duration::from_secs(3600));
        seen.held_up = Some(ago(30));
        assert!(seen.waited() < Duration::from_secs(60));
    }

    #[test]
    fn why_there_is_no_pod_is_looked_for_less_and_less_often_and_at_the_deadline() {
        let (deadline, mut looked) = (Duration::from_secs(33), Duration::ZERO);
        let mut looks = Vec::new();
        for second in 0..300 {
            let seen_for = Duration::from_secs(second);
            if is_look_due(seen_for, looked, deadline) {
                looked = seen_for;
                looks.push(second);
            }
        }
        assert_eq!(looks, [5, 10, 20, 33, 66, 126, 186, 246]);
    }

    #[test]
    fn the_time_of_a_pod_begins_when_it_is_there() {
        let mut seen = Seen::new(observation(JobState::Active));
        seen.since = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap();
        let pod = PodObservation {
            name: "p".into(),
            uid: "u".into(),
            created: Timestamp::UNIX_EPOCH,
            terminating: false,
            gone_by: None,
            phase_is_last: false,
            disruption: None,
            reason: None,
            message: None,
            unschedulable: None,
            containers: vec![],
        };
        seen.take_in(Box::new(Observation { pods: vec![pod], ..*observation(JobState::Active) }));
        assert!(seen.since.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_change_that_is_seen_twice_while_a_report_is_under_way_is_told_after_it() {
        let mut seen = Seen::new(observation(JobState::Active));
        (seen.busy, seen.stale) = (true, false);
        let ended = Box::new(Observation { state: JobState::Complete, ..(*seen.latest).clone() });
        seen.take_in(ended.clone());
        seen.take_in(ended);
        assert!(seen.stale);
    }
}
