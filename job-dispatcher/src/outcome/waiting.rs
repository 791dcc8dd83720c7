//! Why a pod has not started: pure.

use std::time::Duration;

use protocol::job_record::{Outcome, Reason};

use super::outcome;
use crate::executor::{ContainerState, PodObservation};

/// A Job's status does not say why the Job controller makes no pod; only events do, which Quayside may not read.
const NO_POD: &str = "the Job has no pod; a quota, an admission policy or the level of pod security may forbid it, which the \
                      events of the Job tell (kubectl describe job)";

/// Why a pod has not started in time, from what it waits for.
pub(super) fn not_started(pod: Option<&PodObservation>, deadline: Duration) -> Outcome {
    let limit = format!("not started within {} s", deadline.as_secs_f64());
    let because = |reason, what: String| outcome(Some(reason), None, format!("{limit}: {what}"));
    let Some(pod) = pod else { return because(Reason::Deadline, NO_POD.to_owned()) };
    if let Some(why) = &pod.unschedulable {
        return because(Reason::Unschedulable, why.clone());
    }
    let waiting = pod.containers.iter().find_map(|container| match &container.state {
        ContainerState::Waiting { reason: Some(reason), message }
            if !matches!(reason.as_str(), "PodInitializing" | "ContainerCreating") =>
        {
            Some((container, reason.as_str(), message.as_deref().unwrap_or("no details are known")))
        }
        _ => None,
    });
    let Some((container, reason, details)) = waiting else {
        return because(Reason::Deadline, "the pod's containers are still being created".to_owned());
    };
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError"
        | "SignatureValidationFailed" => because(
            Reason::ImagePull,
            format!(
                "the image '{}' of container '{}' can't be pulled ({reason}): {details}",
                container.image, container.name
            ),
        ),
        "CreateContainerConfigError" | "CreateContainerError" => because(
            Reason::ConfigError,
            format!("container '{}' can't be created ({reason}): {details}", container.name),
        ),
        "RunContainerError" | "StartError" => because(
            Reason::StartError,
            format!("container '{}' can't be started ({reason}): {details}", container.name),
        ),
        _ => because(Reason::Deadline, format!("container '{}' waits ({reason}): {details}", container.name)),
    }
}
