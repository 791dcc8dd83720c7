//! From the files of a folder to an observation: pure.

use protocol::{
    local::{Exit, NAMESPACE, pod_name},
    names::kubernetes::ANNOTATION_UPLOADS,
};

use super::files::Level;
use crate::executor::{ContainerObservation, ContainerState, JobState, Observation, PodObservation};

/// What a folder says, told as of a Job with one pod.
pub(super) fn observe(level: &Level) -> Observation {
    let job = &level.job;
    let pod = PodObservation {
        name: pod_name(&job.job_name),
        uid: job.uid.clone(),
        created: job.created,
        terminating: level.deleted,
        gone_by: None,
        phase_is_last: level.exit.is_some(),
        disruption: None,
        reason: None,
        message: None,
        unschedulable: None,
        containers: vec![ContainerObservation {
            name: job.container.clone(),
            image: job.image.clone(),
            memory_limit: None,
            init: false,
            state: container(level),
        }],
    };
    Observation {
        job_id: job.job_id,
        process_id: Some(job.process_id.clone()),
        namespace: NAMESPACE.to_owned(),
        job_name: job.job_name.clone(),
        uid: job.uid.clone(),
        terminating: level.deleted,
        created: job.created,
        state: state(level.exit.as_ref()),
        suspended: false,
        queue: None,
        retries: 0,
        uploads: job.annotations.get(ANNOTATION_UPLOADS).and_then(|text| serde_json::from_str(text).ok()),
        pods: vec![pod],
        refused: None,
    }
}

/// The words are those of the Job controller.
fn state(exit: Option<&Exit>) -> JobState {
    match exit {
        None => JobState::Active,
        Some(exit) if exit.exit_code == 0 => JobState::Complete,
        Some(_) => JobState::Failed {
            reason: "BackoffLimitExceeded".to_owned(),
            message: "Job has reached the specified backoff limit".to_owned(),
        },
    }
}

/// The words are those of the kubelet.
fn container(level: &Level) -> ContainerState {
    match (&level.exit, &level.started) {
        (Some(exit), _) => ContainerState::Terminated {
            exit_code: exit.exit_code,
            reason: Some(exit.reason.clone()),
            message: exit.message.clone(),
            started: exit.started,
            finished: Some(exit.finished),
        },
        (None, Some(started)) => ContainerState::Running { started: Some(started.started) },
        (None, None) => ContainerState::Waiting { reason: Some("ContainerCreating".to_owned()), message: None },
    }
}
