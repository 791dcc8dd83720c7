//! Why a pod has not started: pure.

use std::time::Duration;

use protocol::job_record::{Outcome, Reason};

use super::outcome;
use crate::{
    executor::{ContainerState, Observation, PodObservation},
    refusal::{Refusal, told},
};

/// Why a Job has no pod, as whoever refused it says; after `deadline`, if that had to pass.
pub(super) fn no_pod(seen: &Observation, deadline: Option<Duration>) -> Outcome {
    let late = deadline.map(|deadline| format!("{}: ", late(deadline))).unwrap_or_default();
    let because = |reason, what: String| outcome(Some(reason), None, format!("{late}{what}"));
    let Some(words) = &seen.refused else {
        return because(Reason::Deadline, "the Job has no pod, and no event that may be read says why".to_owned());
    };
    // What else goes wrong, such as a webhook that does not answer, says nothing of the pod.
    let is_refused =
        Refusal::of(words) == Refusal::ForGood || words.contains(" is forbidden: ") || words.contains(" is invalid: ");
    let reason = if is_refused { Reason::AdmissionRejected } else { Reason::Deadline };
    because(reason, format!("the pod could not be made: {}", told(words)))
}

/// Why a pod has not started in time, from what it waits for.
pub(super) fn not_started(pod: &PodObservation, deadline: Duration) -> Outcome {
    let limit = late(deadline);
    let because = |reason, what: String| outcome(Some(reason), None, format!("{limit}: {what}"));
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

fn late(deadline: Duration) -> String {
    format!("not started within {} s", deadline.as_secs_f64())
}
