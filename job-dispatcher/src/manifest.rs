//! From a plan to the objects that run it: pure.
//!
//! `job` → `pod` → `containers`, `volumes`, `security` → `environment`.

mod companion;
mod containers;
mod environment;
mod pod;
mod retries;
mod security;
mod volumes;

use indexmap::IndexMap;
use k8s_openapi::api::batch::v1::Job;
use protocol::names::kubernetes as names;
use serde_json::{Map, Value, json};

pub use self::{
    containers::command,
    environment::{ENVIRONMENT_STRING_LIMIT, Paths, environment},
};
use crate::executor::JobPlan;

/// `ttlSecondsAfterFinished`: 100 days, as the original sets it. The sweep deletes archived Jobs much earlier.
const TTL_SECONDS: i64 = 100 * 86_400;

/// A plan that can't become a Job.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// An environment string is too long for Linux.
    #[error(
        "the environment variable {name} would have {size} bytes, and Linux takes at most {ENVIRONMENT_STRING_LIMIT} in one"
    )]
    EnvironmentTooLong {
        /// Its name.
        name: String,
        /// Bytes of `NAME=value` and its end.
        size: usize,
    },
    /// Parts that are in Kubernetes' own form are not.
    #[error("the process definition makes no valid Job")]
    NotAJob(#[source] serde_json::Error),
}

/// The Job of a plan, as the contract lists it.
///
/// # Errors
/// When an environment value is too long, or a part in Kubernetes' own form is none.
pub fn job(plan: &JobPlan) -> Result<Job, ManifestError> {
    let options = &plan.process.pod;
    let mut labels = texts(&options.labels);
    labels.insert(names::LABEL_JOB_ID.to_owned(), json!(plan.job_id));
    labels.insert(names::LABEL_MANAGED_BY.to_owned(), names::MANAGED_BY.into());
    let annotations = texts(&options.annotations);
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": plan.job_name,
            "namespace": plan.namespace,
            "labels": labels,
            "annotations": own_annotations(plan, annotations.clone()),
        },
        "spec": {
            "ttlSecondsAfterFinished": TTL_SECONDS,
            "template": pod::template(plan, &labels, &annotations)?,
        },
    });
    retries::put(&mut job["spec"], &options.retries, names::main_container(&plan.process.kind));
    if let Some(seconds) = options.active_deadline_seconds {
        job["spec"]["activeDeadlineSeconds"] = seconds.into();
    }
    if let Some(queue) = &options.queue_name {
        // Only the queue lets it start, also where its controller sees the Job late.
        job["metadata"]["labels"][names::LABEL_QUEUE] = json!(queue);
        job["spec"]["suspend"] = true.into();
    }
    serde_json::from_value(job).map_err(ManifestError::NotAJob)
}

fn texts(entries: &IndexMap<String, String>) -> Map<String, Value> {
    entries.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect()
}

/// The annotations of the contract beside those that are configured; values above the limit are left out.
fn own_annotations(plan: &JobPlan, mut configured: Map<String, Value>) -> Map<String, Value> {
    let created = plan.created.strftime(names::ANNOTATION_TIME_FORMAT).to_string();
    let values = [
        (names::ANNOTATION_IDENTIFIER, Some(plan.job_id.to_string())),
        (names::ANNOTATION_PROCESS_ID, Some(plan.process.id.as_str().to_owned())),
        (names::ANNOTATION_STARTED, Some(created.clone())),
        (names::ANNOTATION_UPDATED, Some(created)),
        (names::ANNOTATION_MIMETYPE, plan.process.result_media_type().map(str::to_owned)),
        (names::ANNOTATION_JOB_NAME, Some(plan.job_name.clone())),
        (names::ANNOTATION_PARAMETERS, plan.masked_parameters.clone()),
        (names::ANNOTATION_UPLOADS, plan.exchange.uploads.as_ref().map(|plan| json!(plan.uploads).to_string())),
    ];
    let own = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let own = own.filter(|(_, value)| value.len() <= names::ANNOTATION_VALUE_LIMIT);
    configured.extend(own.map(|(name, value)| (name.to_owned(), Value::from(value))));
    configured
}
