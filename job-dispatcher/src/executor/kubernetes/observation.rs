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

use crate::executor::{ContainerObservation, ContainerState, Disruption, JobState, Observation, PodObservation};

/// The job that an object of ours belongs to.
pub(super) fn job_id(object: &impl ResourceExt) -> Option<JobId> {
    object.labels().get(names::LABEL_JOB_ID)?.parse().ok()
}

/// What is seen of a Job; `None` when it is not ours. Pods of other incarnations of its name are left out.
pub(super) fn observe<'a>(job: &Job, pods: impl Iterator<Item = &'a Pod>) -> Option<Observation> {
    let uid = job.uid()?;
    let pods = pods.filter(|pod| belongs_to(pod, &uid) && !is_of_earlier_spell(pod, job));
    let mut pods: Vec<PodObservation> = pods.filter_map(observe_pod).collect();
    // Times of creation are whole seconds: of two pods of the same one, that which was deleted made room for the other.
    pods.sort_by(|a, b| (a.created, !a.terminating, &a.name).cmp(&(b.created, !b.terminating, &b.name)));
    Some(Observation {
        job_id: job_id(job)?,
        process_id: job.annotations().get(names::ANNOTATION_PROCESS_ID).and_then(|id| id.parse().ok()),
        namespace: job.namespace().unwrap_or_default(),
        job_name: job.name_any(),
        uid,
        terminating: job.metadata.deletion_timestamp.is_some(),
        created: created(job.metadata.creation_timestamp.as_ref()),
        state: job_state(job),
        suspended: job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false),
        queue: job.labels().get(names::LABEL_QUEUE).cloned(),
        retries: retries(job),
        uploads: job.annotations().get(names::ANNOTATION_UPLOADS).and_then(|text| serde_json::from_str(text).ok()),
        pods,
        refused: None,
    })
}

fn retries(job: &Job) -> u32 {
    let limit = job.spec.as_ref().and_then(|spec| spec.backoff_limit);
    limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(0)
}

fn belongs_to(pod: &Pod, job_uid: &str) -> bool {
    pod.owner_references().iter().any(|owner| owner.uid == job_uid)
}

/// A pod that was deleted because its Job was suspended says nothing of how the Job ends: another one takes its place when the
/// Job goes on, which starts its time anew
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#suspending-a-job>).
fn is_of_earlier_spell(pod: &Pod, job: &Job) -> bool {
    let is_over = !matches!(job_state(job), JobState::Active);
    let since = job.status.as_ref().and_then(|status| status.start_time.as_ref());
    let is_before = since.is_none_or(|since| created(pod.metadata.creation_timestamp.as_ref()) < since.0);
    !is_over && pod.metadata.deletion_timestamp.is_some() && is_before
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
    let condition = |kind: &str, holds: &str| {
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        conditions.iter().find(|condition| condition.type_ == kind && condition.status == holds)
    };
    let disruption = condition("DisruptionTarget", "True").map(|condition| Disruption {
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    });
    let unschedulable = condition("PodScheduled", "False")
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
        memory_limit: container
            .resources
            .as_ref()
            .and_then(|resources| resources.limits.as_ref()?.get("memory"))
            .map(|limit| limit.0.clone()),
        init,
        state: container_state(statuses(init).iter().find(|status| status.name == container.name)),
    });
    Some(PodObservation {
        name: pod.name_any(),
        uid: pod.uid()?,
        created: created(pod.metadata.creation_timestamp.as_ref()),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        gone_by: pod.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        phase_is_last: matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")),
        disruption,
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(job_status: Value, pod_metadata: Value) -> Observation {
        let job: Job = serde_json::from_value(json!({
            "metadata": {
                "name": "j", "namespace": "n", "uid": "job-uid",
                "labels": { names::LABEL_JOB_ID: JobId::generate(1), names::LABEL_QUEUE: "a-queue" },
            },
            "spec": { "suspend": true, "template": {} },
            "status": job_status,
        }))
        .unwrap();
        let mut pod = json!({
            "metadata": {
                "name": "p", "uid": "pod-uid", "creationTimestamp": "2026-01-01T00:00:10Z",
                "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "job-uid" }],
            },
            "spec": { "containers": [{ "name": "main" }] },
        });
        pod["metadata"].as_object_mut().unwrap().extend(pod_metadata.as_object().unwrap().clone());
        observe(&job, [serde_json::from_value(pod).unwrap()].iter()).unwrap()
    }

    #[test]
    fn a_suspended_job_tells_its_queue() {
        let seen = seen(json!({}), json!({}));
        assert!(seen.suspended);
        assert_eq!(seen.queue.as_deref(), Some("a-queue"));
    }

    #[test]
    fn of_pods_of_the_same_second_the_one_that_was_deleted_is_the_earlier() {
        let job: Job = serde_json::from_value(json!({
            "metadata": { "name": "j", "namespace": "n", "uid": "job-uid", "labels": { names::LABEL_JOB_ID: JobId::generate(1) } },
            "status": { "conditions": [{ "type": "Complete", "status": "True" }] },
        }))
        .unwrap();
        let pod = |name: &str, more: Value| -> Pod {
            let mut pod = json!({
                "metadata": {
                    "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:10Z",
                    "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "job-uid" }],
                },
                "spec": { "containers": [{ "name": "main" }] },
            });
            pod["metadata"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(pod).unwrap()
        };
        let deleted = json!({ "deletionTimestamp": "2026-01-01T00:00:20Z" });
        for pods in [[pod("z", deleted.clone()), pod("a", json!({}))], [pod("z", json!({})), pod("a", deleted.clone())]]
        {
            let last = observe(&job, pods.iter()).unwrap().pods.pop().unwrap();
            assert!(!last.terminating, "{}", last.name);
        }
    }

    #[test]
    fn a_pod_that_went_when_its_job_was_suspended_is_not_looked_at() {
        let deleted = json!({ "deletionTimestamp": "2026-01-01T00:00:20Z" });
        let started = |time: &str| json!({ "startTime": time });
        assert!(seen(json!({}), deleted.clone()).pods.is_empty(), "the Job waits to go on");
        assert!(seen(started("2026-01-01T00:00:30Z"), deleted.clone()).pods.is_empty(), "it went on");
        assert_eq!(seen(started("2026-01-01T00:00:10Z"), deleted.clone()).pods.len(), 1, "somebody deleted it");
        assert_eq!(seen(started("2026-01-01T00:00:30Z"), json!({})).pods.len(), 1, "clocks differ");
        let failed = json!({ "conditions": [{ "type": "Failed", "status": "True" }] });
        assert_eq!(seen(failed, deleted).pods.len(), 1, "it is over");
    }
}
