//! Why Kubernetes itself ended a pod: pure.

use std::time::Duration;

use jiff::Timestamp;
use protocol::job_record::Reason;

use crate::executor::PodObservation;

/// How long after a deleted pod ought to be gone its node is taken for lost: nothing but the node's word, or the removal of the
/// node, ends such a pod.
pub const LOST_AFTER: Duration = Duration::from_secs(300);

/// True of a pod that ought to have been gone for long.
pub(super) fn is_lost(pod: &PodObservation, now: Timestamp) -> bool {
    pod.gone_by
        .is_some_and(|by| now.duration_since(by) >= jiff::SignedDuration::try_from(LOST_AFTER).unwrap_or_default())
}

/// The reason that the pod's own status tells, with the words of Kubernetes.
pub(super) fn of_pod(pod: &PodObservation) -> Option<(Reason, String)> {
    by_status(pod).or_else(|| by_disruption(pod))
}

/// By `status.reason`, which the kubelet writes.
fn by_status(pod: &PodObservation) -> Option<(Reason, String)> {
    let word = pod.reason.as_deref()?;
    let details = pod.message.as_deref().unwrap_or("no details are known");
    Some(match word {
        "Evicted" => (Reason::Evicted, format!("the pod was evicted: {details}")),
        "Preempting" => (Reason::Preempted, format!("the pod had to make room for a critical one: {details}")),
        "NodeLost" => (Reason::NodeLost, format!("the node that ran the pod was lost: {details}")),
        "Terminated" | "NodeShutdown" | "Shutdown" => {
            (Reason::NodeLost, format!("the node that ran the pod was shut down: {details}"))
        }
        "DeadlineExceeded" => (Reason::Deadline, format!("the pod was active longer than allowed: {details}")),
        "NodeAffinity" | "NodeSelectorMismatching" => {
            (Reason::Unschedulable, format!("the node did not take the pod ({word}): {details}"))
        }
        _ if word.starts_with("OutOf") => {
            (Reason::Unschedulable, format!("the node had no room for the pod ({word}): {details}"))
        }
        _ => (Reason::AdmissionRejected, format!("the node refused the pod ({word}): {details}")),
    })
}

/// By the condition `DisruptionTarget`, which whoever ends the pod writes.
fn by_disruption(pod: &PodObservation) -> Option<(Reason, String)> {
    let disruption = pod.disruption.as_ref()?;
    let (reason, what) = match disruption.reason.as_str() {
        "PreemptionByScheduler" => (Reason::Preempted, "a pod of higher priority took the pod's place"),
        "DeletionByTaintManager" => (Reason::NodeLost, "the node that ran the pod was lost, or closed by a taint"),
        "DeletionByPodGC" => (Reason::NodeLost, "the node that ran the pod is gone"),
        _ => (Reason::Evicted, "the pod was evicted"),
    };
    Some((reason, format!("{what} ({}): {}", disruption.reason, disruption.message)))
}
