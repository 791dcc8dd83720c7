//! Names in the Kubernetes API: labels, annotations, the pod finalizer, containers.

use crate::{JobId, process::Processor};

/// On every Job and pod of ours, with the job's id as value.
pub const LABEL_JOB_ID: &str = "quayside.dev/job-id";
/// The usual label that says who made an object.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "quayside";

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

/// Keeps a pod until its log is stored.
pub const POD_FINALIZER: &str = "pygeoapi.io/finalizer-log-retrieval";

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
