//! From Kubernetes' objects to what the dispatcher sees of them: pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition},
        core::v1::{ContainerState as KubeState, ContainerStatus, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;
use protocol::{JobId, names::kubernetes as names};

use crate::executor::{ContainerObservation, ContainerState, JobState, Observation, PodObservation};

/// The job that an object of ours belongs to.
pub(super) fn job_id(object: &impl ResourceExt) -> Option<JobId> {
    object.labels().get(names::LABEL_JOB_ID)?.parse().ok()
}

/// What is seen of a Job; `None` when it is not ours. Pods of other incarnations of its name are left out.
pub(super) fn observe<'a>(job: &Job, pods: impl Iterator<Item = &'a Pod>) -> Option<Observation> {
    let uid = job.uid()?;
    let mut pods: Vec<PodObservation> = pods.filter(|pod| belongs_to(pod, &uid)).filter_map(observe_pod).collect();
    pods.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    Some(Observation {
        job_id: job_id(job)?,
        process_id: job.annotations().get(names::ANNOTATION_PROCESS_ID).and_then(|id| id.parse().ok()),
        namespace: job.namespace().unwrap_or_default(),
        job_name: job.name_any(),
        uid,
        terminating: job.metadata.deletion_timestamp.is_some(),
        created: created(job.metadata.creation_timestamp.as_ref()),
        state: job_state(job),
        pods,
    })
}

fn belongs_to(pod: &Pod, job_uid: &str) -> bool {
    pod.owner_references().iter().any(|owner| owner.uid == job_uid)
}

fn created(time: Option<&Time>) -> Timestamp {
    time.map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

/// `FailureTarget` and `SuccessCriteriaMet` come before `Failed` and `Complete`, once the outcome is certain
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions>).
fn job_state(job: &Job) -> JobState {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let holds = |kinds: [&str; 2]| -> Option<&JobCondition> {
        conditions.iter().find(|condition| condition.status == "True" && kinds.contains(&condition.type_.as_str()))
    };
    if let Some(condition) = holds(["Failed", "FailureTarget"]) {
        JobState::Failed {
            reason: condition.reason.clone().unwrap_or_default(),
            message: condition.message.clone().unwrap_or_default(),
        }
    } else if holds(["Complete", "SuccessCriteriaMet"]).is_some() {
        JobState::Complete
    } else {
        JobState::Active
    }
}

fn observe_pod(pod: &Pod) -> Option<PodObservation> {
    let spec = pod.spec.as_ref()?;
    let status = pod.status.as_ref();
    let unschedulable = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default()
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .map(|condition| condition.message.clone().unwrap_or_else(|| "no node takes the pod".to_owned()));
    let statuses = |init: bool| {
        status
            .and_then(|status| {
                if init { status.init_container_statuses.as_deref() } else { status.container_statuses.as_deref() }
            })
            .unwrap_or_default()
    };
    let init = spec.init_containers.iter().flatten().map(|container| (container, true));
    let main = spec.containers.iter().map(|container| (container, false));
    let containers = init.chain(main).map(|(container, init)| ContainerObservation {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        init,
        state: container_state(statuses(init).iter().find(|status| status.name == container.name)),
    });
    Some(PodObservation {
        name: pod.name_any(),
        uid: pod.uid()?,
        created: created(pod.metadata.creation_timestamp.as_ref()),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        reason: status.and_then(|status| status.reason.clone()),
        message: status.and_then(|status| status.message.clone()),
        unschedulable,
        containers: containers.collect(),
    })
}

fn container_state(status: Option<&ContainerStatus>) -> ContainerState {
    let state: KubeState = status.and_then(|status| status.state.clone()).unwrap_or_default();
    if let Some(ended) = state.terminated {
        ContainerState::Terminated {
            exit_code: ended.exit_code,
            reason: ended.reason,
            message: ended.message,
            started: ended.started_at.map(|time| time.0),
            finished: ended.finished_at.map(|time| time.0),
        }
    } else if let Some(running) = state.running {
        ContainerState::Running { started: running.started_at.map(|time| time.0) }
    } else {
        let waiting = state.waiting.unwrap_or_default();
        ContainerState::Waiting { reason: waiting.reason, message: waiting.message }
    }
}
