//! What an observation means: pure.

mod pod;
mod waiting;

use std::time::Duration;

use jiff::Timestamp;
use protocol::{
    Unknown,
    job_record::{Outcome, Reason},
    names::kubernetes::{COMPANION_INPUTS, COMPANION_RESULTS, is_companion},
};

pub use self::pod::LOST_AFTER;
use self::{
    pod::{is_lost, of_pod},
    waiting::{no_pod, not_started},
};
use crate::{
    executor::{ContainerObservation, ContainerState, JobState, Observation, PodObservation},
    refusal::{Refusal, told},
};

/// What is to be told of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing yet.
    Waiting,
    /// Its init containers run, or have run.
    Preparing {
        /// In which pod.
        pod: PodName,
        /// The last of them that has started.
        container: String,
    },
    /// It may not run yet, or not any more for a while: in the queue of this name, if there is one.
    Suspended {
        /// The queue.
        queue: Option<String>,
    },
    /// Something keeps its pod from being made, and may cease to.
    HeldUp {
        /// What the job fails with when this takes too long.
        reason: Reason,
        /// The words of whoever refused the pod.
        why: String,
    },
    /// The main container runs.
    Running {
        /// Since when.
        started: Timestamp,
        /// In which pod.
        pod: PodName,
        /// `attempt 2 of 3`; none where there is only one.
        attempt: Option<String>,
    },
    /// A pod failed, and another one will follow it.
    Retrying {
        /// When its main container started, if it did.
        started: Option<Timestamp>,
        /// The pod that failed.
        pod: PodName,
        /// Which attempt failed, and why.
        message: String,
    },
    /// The execution ended.
    Ended(Box<Ended>),
}

/// Name and UID of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodName {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// When the main container started, if it did.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// The pod that ran, if one did.
    pub pod: Option<PodName>,
    /// True when the Job would go on by itself and has to be deleted.
    pub must_be_deleted: bool,
    /// True when a container's own end tells it. What only a missing pod, or a condition, tells may be a view that is
    /// behind.
    pub is_proven: bool,
}

/// The longest pause that the Job controller makes before it replaces a failed pod.
const REPLACED_WITHIN: Duration = Duration::from_secs(600);

/// Judges what is seen of a job at `now`. A pod whose containers have not started after the job was seen for
/// `start_deadline` has failed.
pub fn judge(seen: &Observation, now: Timestamp, seen_for: Duration, start_deadline: Duration) -> Judgement {
    let pod = speaker(&seen.pods);
    let started = pod.and_then(started);
    let attempt = attempt(seen);
    let verdict = match &seen.state {
        JobState::Complete => Some((success(), false)),
        JobState::Failed { reason, message } => Some((failure(pod, reason, message), false)),
        // Its pods are on their way out, and their end is not the Job's.
        JobState::Active if seen.suspended => return Judgement::Suspended { queue: seen.queue.clone() },
        JobState::Active => match pod {
            // Its node will not tell how it ended.
            Some(pod) if is_lost(pod, now) => Some((lost(pod), true)),
            // The Job counts it as failed however it ends, and says so; its last words may not be those of its end.
            Some(pod) if pod.terminating => None,
            Some(pod) if all_terminated(pod) || init_failed(pod) => match pod_failure(pod) {
                None => Some((success(), false)),
                // Why Kubernetes ended it may come later than the ends of its containers, but no later than its last phase.
                Some(_) if !pod.phase_is_last => None,
                // Without retries the end of the pod is the end of the Job: there is no need to wait for its condition.
                Some(outcome) if seen.retries == 0 => Some((outcome, false)),
                Some(outcome) if is_older(finished(pod), now, REPLACED_WITHIN + start_deadline) => {
                    Some((outcome, true))
                }
                Some(outcome) => {
                    let message = format!("{} failed: {}", attempt.unwrap_or_default(), outcome.message);
                    let pod = PodName { name: pod.name.clone(), uid: pod.uid.clone() };
                    return Judgement::Retrying { started, pod, message };
                }
            },
            None if refused(seen) == Some(Refusal::Quota) => {
                let why = told(seen.refused.as_deref().unwrap_or_default());
                return Judgement::HeldUp { reason: Reason::QuotaExceeded, why };
            }
            None if refused(seen) == Some(Refusal::ForGood) => Some((no_pod(seen, None), true)),
            None if is_overdue(seen, now, seen_for, start_deadline) => Some((no_pod(seen, Some(start_deadline)), true)),
            Some(pod) if is_prepared(pod, now, start_deadline) => None,
            Some(pod) if started.is_none() && is_overdue(seen, now, seen_for, start_deadline) => {
                Some((not_started(pod, start_deadline), true))
            }
            _ => None,
        },
    };
    let pod_name = pod.map(|pod| PodName { name: pod.name.clone(), uid: pod.uid.clone() });
    match (verdict, started, pod_name) {
        (Some((outcome, must_be_deleted)), started, pod_name) => Judgement::Ended(Box::new(Ended {
            outcome: with_attempt(outcome, attempt.as_deref()),
            started,
            finished: pod.and_then(finished).unwrap_or(now),
            pod: pod_name,
            must_be_deleted,
            is_proven: pod.is_some_and(|pod| all_terminated(pod) || init_failed(pod)),
        })),
        (None, Some(started), Some(pod)) => Judgement::Running { started, pod, attempt },
        (None, None, Some(pod_name)) => match pod.filter(|pod| !pod.terminating).and_then(prepares) {
            Some(container) => Judgement::Preparing { pod: pod_name, container: container.to_owned() },
            None => Judgement::Waiting,
        },
        (None, _, None) => Judgement::Waiting,
    }
}

/// The pod that speaks for the job: the last one. A Job controller that got no answer when it made a pod makes another one, and
/// deletes one of them once it sees both: then it is the one that stays.
fn speaker(pods: &[PodObservation]) -> Option<&PodObservation> {
    let has_succeeded = |pod: &PodObservation| all_terminated(pod) && pod_failure(pod).is_none();
    let stays = |pod: &&PodObservation| !pod.terminating && (!pod.phase_is_last || has_succeeded(pod));
    let last = pods.last()?;
    let other = if last.terminating { pods.iter().rev().find(stays) } else { None };
    other.or(Some(last))
}

/// The first pod's time is counted from when this process saw the job; that of later ones from when they were made.
fn is_overdue(seen: &Observation, now: Timestamp, seen_for: Duration, start_deadline: Duration) -> bool {
    match seen.pods.as_slice() {
        [_, .., last] => is_older(Some(last.created), now, start_deadline),
        _ => seen_for >= start_deadline,
    }
}

/// True while init containers run, and for as long after the last one as the main container may take to start: what they do is
/// work, not a start that is late.
fn is_prepared(pod: &PodObservation, now: Timestamp, start_deadline: Duration) -> bool {
    let own = pod.containers.iter().filter(|container| container.init && container.name != COMPANION_RESULTS);
    own.into_iter().any(|container| match &container.state {
        ContainerState::Running { .. } => true,
        ContainerState::Terminated { finished, .. } => finished.is_some() && !is_older(*finished, now, start_deadline),
        ContainerState::Waiting { .. } => false,
    })
}

/// The init container that has started last; those of ours are not the process's own.
fn prepares(pod: &PodObservation) -> Option<&str> {
    let mut begun = pod.containers.iter().rev().filter(|container| container.init && !is_companion(&container.name));
    begun.find(|container| !matches!(container.state, ContainerState::Waiting { .. })).map(|found| found.name.as_str())
}

fn refused(seen: &Observation) -> Option<Refusal> {
    seen.refused.as_deref().map(Refusal::of)
}

fn is_older(time: Option<Timestamp>, now: Timestamp, age: Duration) -> bool {
    time.is_some_and(|time| now.duration_since(time).unsigned_abs() >= age && now > time)
}

fn attempt(seen: &Observation) -> Option<String> {
    (seen.retries > 0).then(|| format!("attempt {} of {}", seen.pods.len().max(1), seen.retries + 1))
}

fn with_attempt(outcome: Outcome, attempt: Option<&str>) -> Outcome {
    match attempt {
        Some(attempt) => Outcome { message: format!("{attempt}: {}", outcome.message), ..outcome },
        None => outcome,
    }
}

fn lost(pod: &PodObservation) -> Outcome {
    let details = of_pod(pod).map(|(_, message)| format!(": {message}")).unwrap_or_default();
    let limit = LOST_AFTER.as_secs();
    let message = format!("the pod was deleted, and its node has not said for {limit} s that it ended{details}");
    outcome(Some(Reason::NodeLost), None, message)
}

fn success() -> Outcome {
    outcome(None, Some(0), "the execution ended well".to_owned())
}

fn started(pod: &PodObservation) -> Option<Timestamp> {
    pod.containers.iter().filter(|container| !container.init).find_map(|container| match &container.state {
        ContainerState::Running { started } => started.or(Some(pod.created)),
        ContainerState::Terminated { started, .. } => *started,
        ContainerState::Waiting { .. } => None,
    })
}

fn finished(pod: &PodObservation) -> Option<Timestamp> {
    let ends = pod.containers.iter().filter_map(|container| match &container.state {
        ContainerState::Terminated { finished, .. } => *finished,
        _ => None,
    });
    ends.max()
}

fn all_terminated(pod: &PodObservation) -> bool {
    let is_terminated = |container: &ContainerObservation| matches!(container.state, ContainerState::Terminated { .. });
    !pod.containers.is_empty() && pod.containers.iter().all(is_terminated)
}

fn init_failed(pod: &PodObservation) -> bool {
    pod.containers
        .iter()
        // A sidecar is started again, and says nothing of what comes after it.
        .any(|container| {
            container.init
                && container.name != COMPANION_RESULTS
                && matches!(container.state, ContainerState::Terminated { exit_code: 1.., .. })
        })
}

/// Why a pod failed whose containers have ended: what ended them counts more than how they took it.
fn pod_failure(pod: &PodObservation) -> Option<Outcome> {
    let by_containers = by_containers(pod)?;
    Some(of_pod(pod).map_or(by_containers, |(reason, message)| outcome(Some(reason), None, message)))
}

/// The failure that a container's end tells; `None` when all ended well.
fn by_containers(pod: &PodObservation) -> Option<Outcome> {
    let is_last = |container: &&ContainerObservation| container.name == COMPANION_RESULTS;
    let own = pod.containers.iter().filter(|container| !is_last(container));
    own.chain(pod.containers.iter().filter(is_last)).find_map(|container| match &container.state {
        ContainerState::Terminated { exit_code, reason, message, .. } if *exit_code != 0 => {
            Some(container_failure(container, *exit_code, reason.as_deref(), message.as_deref()))
        }
        _ => None,
    })
}

fn container_failure(
    container: &ContainerObservation,
    exit_code: i32,
    reason: Option<&str>,
    message: Option<&str>,
) -> Outcome {
    let kind = if container.init { "init container" } else { "container" };
    let name = &container.name;
    let details = message.filter(|text| !text.trim().is_empty()).map(|text| format!(": {}", text.trim()));
    let details = details.unwrap_or_default();
    let (reason, message) = match reason {
        _ if name == COMPANION_INPUTS => {
            (Reason::StoreUnavailable, format!("the inputs could not be fetched (exit code {exit_code}){details}"))
        }
        _ if name == COMPANION_RESULTS => (
            Reason::ResultsNotCollected,
            format!("the files of the outputs could not be stored (exit code {exit_code}){details}"),
        ),
        Some("OOMKilled") => {
            let limit = container.memory_limit.as_deref().map(|limit| format!(" of {limit}")).unwrap_or_default();
            (Reason::OOMKilled, format!("the {kind} '{name}' was killed: it used more memory than its limit{limit}"))
        }
        Some("ContainerStatusUnknown") => {
            (Reason::NodeLost, format!("the node does not know any more how the {kind} '{name}' ended{details}"))
        }
        Some("StartError" | "ContainerCannotRun") => {
            (Reason::StartError, format!("the {kind} '{name}' could not be started (exit code {exit_code}){details}"))
        }
        _ => (Reason::ExitCode, format!("the {kind} '{name}' ended with exit code {exit_code}{details}")),
    };
    outcome(Some(reason), Some(exit_code), message)
}

fn outcome(reason: Option<Reason>, exit_code: Option<i32>, message: String) -> Outcome {
    Outcome { reason, exit_code, message, unknown: Unknown::new() }
}

/// Why a Job failed: by its containers where they tell, else by its pod, else by its condition.
fn failure(pod: Option<&PodObservation>, reason: &str, message: &str) -> Outcome {
    let because = |reason, message: String| outcome(Some(reason), None, message);
    if reason == "DeadlineExceeded" {
        return because(Reason::Deadline, format!("the Job was active longer than allowed: {message}"));
    }
    let Some(pod) = pod else {
        return because(Reason::Deleted, format!("the pod of the Job is gone: {message}"));
    };
    if let Some((reason, message)) = of_pod(pod) {
        return because(reason, message);
    }
    if pod.terminating && !is_oom_killed(pod) {
        return because(Reason::Deleted, "the pod was deleted while it ran".to_owned());
    }
    let Some(ended) = by_containers(pod) else {
        let details = pod.message.as_deref().unwrap_or(message);
        return because(Reason::JobFailed, format!("the Job failed ({reason}): {details}"));
    };
    if reason == "PodFailurePolicy" {
        return Outcome { message: format!("{}; it is not tried again after this code", ended.message), ..ended };
    }
    ended
}

fn is_oom_killed(pod: &PodObservation) -> bool {
    let is_oom = |state: &ContainerState| matches!(state, ContainerState::Terminated { reason: Some(reason), .. } if reason == "OOMKilled");
    pod.containers.iter().any(|container| is_oom(&container.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Disruption;

    const DEADLINE: Duration = Duration::from_secs(300);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn container(init: bool, state: ContainerState) -> ContainerObservation {
        ContainerObservation {
            name: if init { "fetch" } else { "main" }.into(),
            image: "im:1".into(),
            memory_limit: Some("64Mi".into()),
            init,
            state,
        }
    }

    fn ended(exit_code: i32, reason: &str) -> ContainerState {
        let (started, finished) = (Some(at(1)), Some(at(9)));
        ContainerState::Terminated { exit_code, reason: Some(reason.into()), message: None, started, finished }
    }

    fn waiting(reason: &str) -> ContainerState {
        ContainerState::Waiting { reason: Some(reason.into()), message: Some("details".into()) }
    }

    fn seen(state: JobState, containers: Vec<ContainerObservation>) -> Observation {
        let pod = PodObservation {
            name: "pod".into(),
            uid: "pod-uid".into(),
            created: at(0),
            terminating: false,
            gone_by: None,
            phase_is_last: true,
            disruption: None,
            reason: None,
            message: None,
            unschedulable: None,
            containers,
        };
        Observation {
            job_id: protocol::JobId::generate(1),
            process_id: None,
            namespace: "n".into(),
            job_name: "j".into(),
            uid: "uid".into(),
            terminating: false,
            created: at(0),
            state,
            suspended: false,
            queue: None,
            retries: 0,
            uploads: None,
            pods: vec![pod],
            refused: None,
        }
    }

    fn reason(judgement: Judgement) -> (Option<Reason>, String) {
        match judgement {
            Judgement::Ended(ended) => (ended.outcome.reason, ended.outcome.message),
            other => panic!("not ended: {other:?}"),
        }
    }

    #[test]
    fn of_two_pods_that_were_made_as_one_that_speaks_which_stays() {
        let made = |state: JobState, first: ContainerState, is_last: bool, retries| {
            let mut job = seen(state, vec![container(false, first)]);
            job.pods[0].phase_is_last = is_last;
            let mut second = job.pods[0].clone();
            (second.name, second.uid, second.created) = ("too-many".into(), "other".into(), at(1));
            (second.terminating, second.phase_is_last) = (true, false);
            second.containers = vec![container(false, waiting("ContainerCreating"))];
            job.pods.push(second);
            job.retries = retries;
            judge(&job, at(20), Duration::from_secs(20), DEADLINE)
        };
        let running = ContainerState::Running { started: Some(at(1)) };
        let is_first = |pod: &PodName| pod.uid == "pod-uid";
        let judged = made(JobState::Active, running, false, 0);
        assert!(matches!(&judged, Judgement::Running { pod, .. } if is_first(pod)), "{judged:?}");
        for state in [JobState::Active, JobState::Complete] {
            let judged = made(state, ended(0, "Completed"), true, 0);
            let Judgement::Ended(end) = &judged else { panic!("{judged:?}") };
            assert_eq!((end.outcome.reason, end.started, end.finished), (None, Some(at(1)), at(9)), "{end:?}");
            assert!(end.is_proven && end.pod.as_ref().is_some_and(is_first), "{end:?}");
        }
        // The first one had failed: the second was its retry, and is deleted itself.
        assert_eq!(made(JobState::Active, ended(3, "Error"), true, 2), Judgement::Waiting);
    }

    #[test]
    fn the_time_that_init_containers_take_is_not_that_of_a_start() {
        let judged = |init: ContainerState, second| {
            let containers = vec![container(true, init), container(false, waiting("ErrImagePull"))];
            judge(&seen(JobState::Active, containers), at(second), Duration::from_secs(3600), DEADLINE)
        };
        let is_preparing =
            |judgement| matches!(judgement, Judgement::Preparing { container, .. } if container == "fetch");
        assert!(is_preparing(judged(ContainerState::Running { started: Some(at(0)) }, 3600)));
        // It ended at second 9.
        assert!(is_preparing(judged(ended(0, "Completed"), 308)));
        assert_eq!(reason(judged(ended(0, "Completed"), 309)).0, Some(Reason::ImagePull));
        assert_eq!(reason(judged(waiting("ErrImagePull"), 300)).0, Some(Reason::ImagePull));
        let none_begun = seen(JobState::Active, vec![container(true, waiting("PodInitializing"))]);
        assert_eq!(judge(&none_begun, at(1), Duration::from_secs(1), DEADLINE), Judgement::Waiting);
    }

    #[test]
    fn a_pod_that_waits_is_judged_only_after_the_deadline() {
        let seen = seen(JobState::Active, vec![container(false, waiting("ImagePullBackOff"))]);
        assert_eq!(judge(&seen, at(0), Duration::from_secs(299), DEADLINE), Judgement::Waiting);
        let (reason, message) = reason(judge(&seen, at(300), Duration::from_secs(300), DEADLINE));
        assert_eq!(reason, Some(Reason::ImagePull));
        assert!(message.contains("im:1") && message.contains("details"), "{message}");
    }

    #[test]
    fn what_a_pod_waits_for_gives_the_reason() {
        for (word, expected) in [
            ("ErrImagePull", Reason::ImagePull),
            ("InvalidImageName", Reason::ImagePull),
            ("CreateContainerConfigError", Reason::ConfigError),
            ("RunContainerError", Reason::StartError),
            ("SomethingNew", Reason::Deadline),
            ("ContainerCreating", Reason::Deadline),
        ] {
            let seen = seen(JobState::Active, vec![container(false, waiting(word))]);
            assert_eq!(reason(judge(&seen, at(301), Duration::from_secs(301), DEADLINE)).0, Some(expected), "{word}");
        }
        let mut nowhere = seen(JobState::Active, vec![container(false, waiting("ContainerCreating"))]);
        nowhere.pods[0].unschedulable = Some("0/1 nodes are available".into());
        assert_eq!(reason(judge(&nowhere, at(301), Duration::from_secs(301), DEADLINE)).0, Some(Reason::Unschedulable));
    }

    #[test]
    fn the_companions_tell_what_they_failed_at_and_a_sidecar_that_is_started_again_nothing() {
        let companion = |name: &str, state| ContainerObservation { name: name.into(), ..container(true, state) };
        let judged = |containers| judge(&seen(JobState::Active, containers), at(20), Duration::from_secs(20), DEADLINE);
        let fetch = companion(COMPANION_INPUTS, ended(1, "Error"));
        let not_fetched = judged(vec![fetch, container(false, waiting("PodInitializing"))]);
        assert_eq!(reason(not_fetched).0, Some(Reason::StoreUnavailable));
        let main = |code| container(false, ended(code, if code == 0 { "Completed" } else { "Error" }));
        let killed = || companion(COMPANION_RESULTS, ended(137, "Error"));
        assert_eq!(reason(judged(vec![killed(), main(0)])).0, Some(Reason::ResultsNotCollected));
        assert_eq!(
            reason(judged(vec![killed(), main(3)])).0,
            Some(Reason::ExitCode),
            "the process's own end counts more"
        );
        let running = container(false, ContainerState::Running { started: Some(at(1)) });
        assert!(matches!(judged(vec![killed(), running]), Judgement::Running { .. }));
        let collecting = companion(COMPANION_RESULTS, ContainerState::Running { started: Some(at(1)) });
        assert!(matches!(judged(vec![collecting, main(0)]), Judgement::Running { .. }), "files are being stored");
    }

    #[test]
    fn a_container_that_runs_has_no_deadline() {
        let seen = seen(JobState::Active, vec![container(false, ContainerState::Running { started: Some(at(3)) })]);
        let pod = PodName { name: "pod".into(), uid: "pod-uid".into() };
        assert_eq!(
            judge(&seen, at(9_999), Duration::from_secs(9_999), DEADLINE),
            Judgement::Running { started: at(3), pod, attempt: None }
        );
    }

    #[test]
    fn the_end_of_the_only_pod_is_the_end_whatever_the_condition_says_yet() {
        let done = seen(JobState::Active, vec![container(false, ended(0, "Completed"))]);
        let Judgement::Ended(done) = judge(&done, at(20), Duration::from_secs(20), DEADLINE) else {
            panic!("not ended")
        };
        assert!(done.outcome.is_success());
        assert_eq!((done.started, done.finished), (Some(at(1)), at(9)), "the times are the container's");
        let failed = seen(JobState::Active, vec![container(false, ended(3, "Error"))]);
        let (why, message) = reason(judge(&failed, at(20), Duration::from_secs(20), DEADLINE));
        assert_eq!(why, Some(Reason::ExitCode));
        assert!(message.contains("exit code 3"), "{message}");
    }

    #[test]
    fn a_pod_that_was_evicted_says_so_before_its_job_does_and_is_not_judged_before_it_can() {
        let mut job = seen(JobState::Active, vec![container(false, ended(143, "Error"))]);
        job.pods[0].phase_is_last = false;
        assert!(matches!(judge(&job, at(20), Duration::from_secs(20), DEADLINE), Judgement::Running { .. }));
        job.pods[0].phase_is_last = true;
        (job.pods[0].reason, job.pods[0].message) = (Some("Evicted".into()), Some("the disk is full".into()));
        let (why, message) = reason(judge(&job, at(20), Duration::from_secs(20), DEADLINE));
        assert_eq!(why, Some(Reason::Evicted));
        assert!(message.contains("the disk is full"), "{message}");
        job.retries = 1;
        assert!(matches!(judge(&job, at(20), Duration::from_secs(20), DEADLINE), Judgement::Retrying { message, .. }
            if message.contains("evicted")));
    }

    #[test]
    fn a_failed_init_container_ends_the_job_before_its_main_container_starts() {
        let containers = vec![container(true, ended(2, "Error")), container(false, waiting("PodInitializing"))];
        let (why, message) =
            reason(judge(&seen(JobState::Active, containers), at(20), Duration::from_secs(20), DEADLINE));
        assert_eq!(why, Some(Reason::ExitCode));
        assert!(message.contains("init container 'fetch'"), "{message}");
    }

    #[test]
    fn a_failed_job_is_explained_by_what_is_known_best() {
        let failed = |reason: &str| JobState::Failed { reason: reason.into(), message: "m".into() };
        let killed = seen(failed("BackoffLimitExceeded"), vec![container(false, ended(137, "OOMKilled"))]);
        assert_eq!(reason(judge(&killed, at(20), Duration::from_secs(20), DEADLINE)).0, Some(Reason::OOMKilled));
        let mut evicted = seen(failed("BackoffLimitExceeded"), vec![container(false, ended(137, "Error"))]);
        evicted.pods[0].reason = Some("Evicted".into());
        assert_eq!(reason(judge(&evicted, at(20), Duration::from_secs(20), DEADLINE)).0, Some(Reason::Evicted));
        let mut without_pod = seen(failed("BackoffLimitExceeded"), vec![]);
        without_pod.pods.clear();
        assert_eq!(reason(judge(&without_pod, at(20), Duration::from_secs(20), DEADLINE)).0, Some(Reason::Deleted));
        let late = seen(failed("DeadlineExceeded"), vec![]);
        assert_eq!(reason(judge(&late, at(20), Duration::from_secs(20), DEADLINE)).0, Some(Reason::Deadline));
    }

    fn without_pod(refused: Option<&str>) -> Observation {
        let job = seen(JobState::Active, vec![]);
        Observation { pods: vec![], refused: refused.map(str::to_owned), ..job }
    }

    #[test]
    fn a_quota_that_forbids_the_pod_holds_the_job_up_whatever_time_that_takes() {
        let job = without_pod(Some("Error creating: pods \"p\" is forbidden: exceeded quota: q, requested: pods=1"));
        let expected =
            Judgement::HeldUp { reason: Reason::QuotaExceeded, why: "exceeded quota: q, requested: pods=1".into() };
        assert_eq!(judge(&job, at(9), Duration::from_secs(9), DEADLINE), expected);
        assert_eq!(judge(&job, at(9_999), Duration::from_secs(9_999), DEADLINE), expected);
    }

    #[test]
    fn what_refuses_the_pod_for_good_ends_the_job_at_once_and_what_may_pass_after_the_deadline() {
        let refused =
            without_pod(Some("Error creating: pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\""));
        let Judgement::Ended(ended) = judge(&refused, at(9), Duration::from_secs(9), DEADLINE) else {
            panic!("not ended")
        };
        assert!(ended.must_be_deleted && !ended.is_proven);
        assert_eq!(ended.outcome.reason, Some(Reason::AdmissionRejected));
        assert_eq!(ended.outcome.message, "the pod could not be made: violates PodSecurity \"restricted:latest\"");
        let may_pass = [
            (
                Some("Error creating: pods \"p\" is forbidden: error looking up service account"),
                Reason::AdmissionRejected,
            ),
            (Some("Error creating: Internal error occurred: failed calling webhook \"w\""), Reason::Deadline),
            (None, Reason::Deadline),
        ];
        for (words, expected) in may_pass {
            let job = without_pod(words);
            assert_eq!(judge(&job, at(299), Duration::from_secs(299), DEADLINE), Judgement::Waiting, "{words:?}");
            let (why, message) = reason(judge(&job, at(300), Duration::from_secs(300), DEADLINE));
            assert_eq!(why, Some(expected), "{words:?}");
            assert!(message.starts_with("not started within 300 s: "), "{message}");
        }
    }

    #[test]
    fn a_suspended_job_waits_for_as_long_as_its_queue_takes() {
        let mut job = seen(JobState::Active, vec![container(false, ended(143, "Error"))]);
        (job.suspended, job.queue) = (true, Some("a-queue".into()));
        let late = Duration::from_secs(9_999);
        assert_eq!(judge(&job, at(9_999), late, DEADLINE), Judgement::Suspended { queue: Some("a-queue".into()) });
        job.state = JobState::Failed { reason: "DeadlineExceeded".into(), message: "m".into() };
        assert_eq!(reason(judge(&job, at(20), late, DEADLINE)).0, Some(Reason::Deadline));
    }

    #[test]
    fn only_a_job_that_would_go_on_by_itself_is_deleted() {
        let stuck = seen(JobState::Active, vec![container(false, waiting("ErrImagePull"))]);
        let Judgement::Ended(stuck) = judge(&stuck, at(301), Duration::from_secs(301), DEADLINE) else {
            panic!("not ended")
        };
        assert!(stuck.must_be_deleted);
        let failed = seen(JobState::Active, vec![container(false, ended(3, "Error"))]);
        let Judgement::Ended(failed) = judge(&failed, at(20), Duration::from_secs(20), DEADLINE) else {
            panic!("not ended")
        };
        assert!(!failed.must_be_deleted);
    }

    #[test]
    fn a_pod_that_kubernetes_ended_is_told_by_its_words() {
        let failed = || JobState::Failed { reason: "BackoffLimitExceeded".into(), message: "m".into() };
        for (word, expected) in [
            ("PreemptionByScheduler", Reason::Preempted),
            ("EvictionByEvictionAPI", Reason::Evicted),
            ("DeletionByTaintManager", Reason::NodeLost),
            ("DeletionByPodGC", Reason::NodeLost),
        ] {
            let mut job = seen(failed(), vec![container(false, ended(137, "Error"))]);
            job.pods[0].disruption = Some(Disruption { reason: word.into(), message: "in its words".into() });
            let (why, message) = reason(judge(&job, at(20), Duration::from_secs(20), DEADLINE));
            assert_eq!(why, Some(expected), "{word}");
            assert!(message.contains("in its words"), "{message}");
        }
        for (word, expected) in [
            ("Evicted", Reason::Evicted),
            ("Preempting", Reason::Preempted),
            ("NodeLost", Reason::NodeLost),
            ("Terminated", Reason::NodeLost),
            ("OutOfcpu", Reason::Unschedulable),
            ("NodeAffinity", Reason::Unschedulable),
            ("UnexpectedAdmissionError", Reason::AdmissionRejected),
        ] {
            let mut job = seen(failed(), vec![container(false, waiting("ContainerCreating"))]);
            (job.pods[0].reason, job.pods[0].message) = (Some(word.into()), Some("in its words".into()));
            let (why, message) = reason(judge(&job, at(20), Duration::from_secs(20), DEADLINE));
            assert_eq!(why, Some(expected), "{word}");
            assert!(message.contains("in its words"), "{message}");
        }
    }

    #[test]
    fn the_end_of_a_deleted_pod_is_told_by_the_job() {
        let mut job = seen(JobState::Active, vec![container(false, ended(143, "Error"))]);
        (job.pods[0].terminating, job.pods[0].gone_by) = (true, Some(at(30)));
        assert!(matches!(judge(&job, at(20), Duration::from_secs(20), DEADLINE), Judgement::Running { .. }));
        job.state = JobState::Failed { reason: "BackoffLimitExceeded".into(), message: "m".into() };
        assert_eq!(reason(judge(&job, at(20), Duration::from_secs(20), DEADLINE)).0, Some(Reason::Deleted));
        job.pods[0].containers[0].state = ended(137, "OOMKilled");
        let (why, message) = reason(judge(&job, at(20), Duration::from_secs(20), DEADLINE));
        assert_eq!(why, Some(Reason::OOMKilled));
        assert!(message.contains("64Mi"), "{message}");
    }

    #[test]
    fn a_pod_whose_node_does_not_tell_its_end_is_lost_after_a_while() {
        let mut job = seen(JobState::Active, vec![container(false, ContainerState::Running { started: Some(at(1)) })]);
        job.retries = 2;
        (job.pods[0].terminating, job.pods[0].gone_by) = (true, Some(at(30)));
        let late = Duration::from_secs(9);
        assert!(matches!(judge(&job, at(329), late, DEADLINE), Judgement::Running { .. }));
        assert_eq!(reason(judge(&job, at(330), late, DEADLINE)).0, Some(Reason::NodeLost));
    }

    #[test]
    fn with_retries_only_the_job_tells_the_end_and_the_attempt_is_named() {
        let mut job = seen(JobState::Active, vec![container(false, ended(3, "Error"))]);
        job.retries = 2;
        let Judgement::Retrying { message, .. } = judge(&job, at(20), Duration::from_secs(20), DEADLINE) else {
            panic!("not retrying")
        };
        assert!(message.starts_with("attempt 1 of 3 failed: ") && message.contains("exit code 3"), "{message}");
        let mut second = job.pods[0].clone();
        (second.created, second.containers[0].state) = (at(50), waiting("ImagePullBackOff"));
        job.pods.push(second);
        assert_eq!(
            judge(&job, at(340), Duration::from_secs(340), DEADLINE),
            Judgement::Waiting,
            "its time began at 50"
        );
        assert_eq!(reason(judge(&job, at(350), Duration::from_secs(350), DEADLINE)).0, Some(Reason::ImagePull));
        job.pods[1].containers[0].state = ended(4, "Error");
        job.state = JobState::Failed { reason: "PodFailurePolicy".into(), message: "m".into() };
        let (why, message) = reason(judge(&job, at(60), Duration::from_secs(60), DEADLINE));
        assert_eq!(why, Some(Reason::ExitCode));
        assert!(
            message.starts_with("attempt 2 of 3: ") && message.ends_with("not tried again after this code"),
            "{message}"
        );
    }

    #[test]
    fn a_failed_pod_that_nothing_follows_ends_the_job_in_the_end() {
        let mut job = seen(JobState::Active, vec![container(false, ended(3, "Error"))]);
        job.retries = 1;
        assert!(matches!(judge(&job, at(900), DEADLINE, DEADLINE), Judgement::Retrying { .. }));
        assert_eq!(reason(judge(&job, at(909), DEADLINE, DEADLINE)).0, Some(Reason::ExitCode));
    }
}
