//! Names in the Kubernetes API: labels, annotations, the pod finalizer, containers.

use crate::{JobId, process::Processor};

/// On every Job and pod of ours, with the job's id as value.
pub const LABEL_JOB_ID: &str = "quayside.dev/job-id";
/// The usual label that says who made an object.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "quayside";
/// On Jobs that wait in a queue of Kueue, with the queue's name as value.
/// <https://kueue.sigs.k8s.io/docs/tasks/run/jobs/>
pub const LABEL_QUEUE: &str = "kueue.x-k8s.io/queue-name";

/// Job id.
pub const ANNOTATION_IDENTIFIER: &str = "pygeoapi.io/identifier";
/// Process id.
pub const ANNOTATION_PROCESS_ID: &str = "pygeoapi.io/process_id";
/// When the job was created.
pub const ANNOTATION_STARTED: &str = "pygeoapi.io/started";
/// When the job was created, as the original wrote it.
pub const ANNOTATION_UPDATED: &str = "pygeoapi.io/updated";
/// Declared media type of the result.
pub const ANNOTATION_MIMETYPE: &str = "pygeoapi.io/mimetype";
/// Name of the Kubernetes Job.
pub const ANNOTATION_JOB_NAME: &str = "pygeoapi.io/job-name";
/// Masked inputs, JSON.
pub const ANNOTATION_PARAMETERS: &str = "pygeoapi.io/parameters";
/// After the end: media type of the result from its log marker; absent without marker.
pub const ANNOTATION_RESULT_MIMETYPE: &str = "pygeoapi.io/result-mimetype";
/// After the end: the result's text; empty without marker.
pub const ANNOTATION_RESULT_VALUE: &str = "pygeoapi.io/result-value";
/// Annotation values above this many bytes are left out: the record is the truth.
pub const ANNOTATION_VALUE_LIMIT: usize = 32 * 1024;
/// How the original wrote times into annotations: `%Y-%m-%dT%H:%M:%S.%fZ`.
pub const ANNOTATION_TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S.%6fZ";

/// Where what a job uploads goes: [`crate::job_record::Uploads`] as text.
pub const ANNOTATION_UPLOADS: &str = "quayside.dev/uploads";
/// Name of the init container that writes the inputs into a file, and of the volume with that file.
pub const COMPANION_INPUTS: &str = "quayside-inputs";
/// Name of the sidecar that stores files of outputs, and of the volume with these files.
pub const COMPANION_RESULTS: &str = "quayside-results";
/// What the names of containers and volumes of ours begin with.
pub const OWN_PREFIX: &str = "quayside-";
/// What paths of ours in a container begin with.
pub const OWN_PATH: &str = "/quayside";
/// The file with the inputs, in every container that is the process's own.
pub const INPUTS_PATH: &str = "/quayside/inputs/inputs.json";
/// The folder for a file of each output.
pub const RESULTS_PATH: &str = "/quayside/results";

/// True of a container of ours: its log is none of the job's.
pub fn is_companion(container: &str) -> bool {
    container.starts_with(OWN_PREFIX)
}

/// Keeps a pod until its log is stored.
pub const POD_FINALIZER: &str = "pygeoapi.io/finalizer-log-retrieval";

/// True of a label or annotation that a configuration can't set, as it means something to Quayside or to Kubernetes' own Job
/// controller. Prefixes such as `app.kubernetes.io` are there for everybody; `kubernetes.io` and `k8s.io` themselves are not
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).
pub fn is_reserved(key: &str) -> bool {
    const PREFIXES: [&str; 6] =
        ["quayside.dev", "pygeoapi.io", "kubernetes.io", "k8s.io", "batch.kubernetes.io", "kueue.x-k8s.io"];
    match key.split_once('/') {
        Some((prefix, _)) => {
            let is_below = |own: &str| prefix.strip_suffix(own).is_some_and(|rest| rest.ends_with('.'));
            key == LABEL_MANAGED_BY
                || PREFIXES.contains(&prefix)
                || ["quayside.dev", "pygeoapi.io"].into_iter().any(is_below)
        }
        // The Job controller's labels of its pods, from before they had a prefix.
        None => matches!(key, "job-name" | "controller-uid"),
    }
}

/// Name of the Kubernetes Job of a job.
pub fn job_name(prefix: &str, job: &JobId) -> String {
    format!("{prefix}{job}")
}

/// Name of the main container.
pub fn main_container(processor: &Processor) -> &'static str {
    match processor {
        Processor::GenericImage => "generic-image-processor",
        Processor::HelloWorld => "hello-world-k8s",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_quayside_or_the_job_controller_is_reserved() {
        for key in [
            LABEL_JOB_ID,
            LABEL_MANAGED_BY,
            LABEL_QUEUE,
            POD_FINALIZER,
            ANNOTATION_PARAMETERS,
            "x.quayside.dev/a",
            "kubernetes.io/arch",
            "k8s.io/a",
            "batch.kubernetes.io/job-name",
            "job-name",
        ] {
            assert!(is_reserved(key), "{key}");
        }
        for key in
            ["team", "app.kubernetes.io/name", "cluster-autoscaler.kubernetes.io/safe-to-evict", "notquayside.dev/a"]
        {
            assert!(!is_reserved(key), "{key}");
        }
    }
}
