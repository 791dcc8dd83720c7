//! What the objects of pygeoapi-k8s-manager tell of a job: its annotations are its only records. Pure.

use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt;
use protocol::{JobId, ProcessId, masking, names::kubernetes as names};
use serde_json::{Map, Value};

/// A Job that pygeoapi-k8s-manager made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Original {
    pub job_id: JobId,
    pub process_id: ProcessId,
    pub job_name: String,
    pub job_uid: String,
    pub created: Timestamp,
    /// Declared media type of the result.
    pub mimetype: Option<String>,
    /// The inputs as JSON, secrets masked; `None` where they are none, or too long.
    pub parameters: Option<String>,
    /// Whether the annotation with the inputs tells more than `parameters`.
    pub shows_secrets: bool,
    /// What it wrote down at the end.
    pub result: Option<Found>,
    pub end: Option<End>,
}

/// A result as the annotations have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Of the log marker.
    pub media_type: Option<String>,
    pub value: String,
}

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub finished: Timestamp,
    /// Reason and message of the condition, where it failed.
    pub failure: Option<(String, String)>,
}

/// A pod that pygeoapi-k8s-manager's finalizer holds or held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OriginalPod {
    pub name: String,
    pub uid: String,
    /// The Job that made it.
    pub owner_name: String,
    pub owner_uid: String,
    /// The id in the environment of its containers.
    pub job_id: Option<JobId>,
    pub process_id: Option<ProcessId>,
    pub created: Timestamp,
    /// True as long as its log is to be archived.
    pub is_held: bool,
}

/// What becomes of an original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// As with a job of our own: its pods are watched, and their log is read.
    Follow,
    /// It is over: what its annotations say is all there is.
    Close,
}

impl Original {
    /// The original that this Job is; `None` of any other Job.
    pub(crate) fn read(job: &Job, prefix: &str) -> Option<Self> {
        let annotation = |name: &str| job.annotations().get(name).map(String::as_str);
        let job_name = job.name_any();
        let job_id: JobId = annotation(names::ANNOTATION_IDENTIFIER)?.parse().ok()?;
        if job.labels().contains_key(names::LABEL_JOB_ID) || job_name != names::job_name(prefix, &job_id) {
            return None;
        }
        let began = job.creation_timestamp().map(|time| time.0);
        let told = annotation(names::ANNOTATION_STARTED).and_then(|text| text.parse().ok());
        let inputs = annotation(names::ANNOTATION_PARAMETERS);
        let parameters = inputs.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
        let parameters = parameters.and_then(|inputs| masking::masked(&inputs, names::ANNOTATION_VALUE_LIMIT));
        Some(Self {
            job_id,
            process_id: annotation(names::ANNOTATION_PROCESS_ID)?.parse().ok()?,
            job_name,
            job_uid: job.uid()?,
            created: told.or(began).unwrap_or(Timestamp::UNIX_EPOCH),
            mimetype: annotation(names::ANNOTATION_MIMETYPE).filter(|text| !text.is_empty()).map(str::to_owned),
            shows_secrets: inputs.is_some_and(|text| !tells_the_same(text, parameters.as_deref())),
            parameters,
            result: annotation(names::ANNOTATION_RESULT_VALUE).map(|value| Found {
                media_type: annotation(names::ANNOTATION_RESULT_MIMETYPE).map(str::to_owned),
                value: value.to_owned(),
            }),
            end: end(job),
        })
    }

    /// What becomes of it, given its pods.
    pub(crate) fn course(&self, pods: &[OriginalPod]) -> Course {
        let is_held = pods.iter().any(|pod| pod.is_held);
        // Its own controller has read the log where it wrote a result down, be it an empty one.
        let is_all = self.result.is_some() || pods.is_empty();
        if self.end.is_some() && is_all && !is_held { Course::Close } else { Course::Follow }
    }
}

impl OriginalPod {
    /// The pod as far as it matters; `None` of one that no Job made.
    pub(crate) fn read(pod: &Pod) -> Option<Self> {
        let owner = pod.owner_references().iter().find(|owner| owner.kind == "Job")?;
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let variables = containers.flat_map(|container| container.env.iter().flatten());
        let value = |name: &str| variables.clone().find(|variable| variable.name == name)?.value.clone();
        Some(Self {
            name: pod.name_any(),
            uid: pod.uid()?,
            owner_name: owner.name.clone(),
            owner_uid: owner.uid.clone(),
            job_id: value(protocol::names::environment::JOB_ID).and_then(|id| id.parse().ok()),
            process_id: value(protocol::names::environment::PROCESS_ID).and_then(|id| id.parse().ok()),
            created: pod.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            is_held: pod.finalizers().iter().any(|name| name == names::POD_FINALIZER),
        })
    }
}

/// Spaces and the order of members are no matter.
fn tells_the_same(text: &str, masked: Option<&str>) -> bool {
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    masked.is_some_and(|masked| value(text) == value(masked))
}

fn end(job: &Job) -> Option<End> {
    let status = job.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let is = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True");
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (condition, failure) = match (is("Complete"), is("Failed")) {
        (Some(condition), _) => (condition, None),
        (None, Some(condition)) => (condition, Some((text(&condition.reason), text(&condition.message)))),
        (None, None) => return None,
    };
    let finished = status.completion_time.as_ref().or(condition.last_transition_time.as_ref());
    Some(End { finished: finished.map_or_else(Timestamp::now, |time| time.0), failure })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "99755242-31af-11f0-80bd-0255ac10006c";

    fn job(more: Value) -> Job {
        let mut job = json!({
            "metadata": {
                "name": format!("pygeoapi-job-{ID}"), "uid": "u", "creationTimestamp": "2025-05-15T16:00:00Z",
                "annotations": {
                    names::ANNOTATION_IDENTIFIER: ID, names::ANNOTATION_PROCESS_ID: "hello-world-k8s",
                    names::ANNOTATION_STARTED: "2025-05-15T15:59:58.000001Z", names::ANNOTATION_MIMETYPE: "application/json",
                    names::ANNOTATION_PARAMETERS: r#"{"name": "x", "token": "hush"}"#,
                },
            },
        });
        for (path, value) in more.as_object().unwrap() {
            let (parent, key) = path.rsplit_once('/').unwrap();
            job.pointer_mut(parent).unwrap()[key] = value.clone();
        }
        serde_json::from_value(job).unwrap()
    }

    fn read(more: Value) -> Option<Original> {
        Original::read(&job(more), "pygeoapi-job-")
    }

    fn ended(kind: &str) -> Value {
        let condition = json!({ "type": kind, "status": "True", "reason": "R", "message": "m",
            "lastTransitionTime": "2025-05-15T16:10:00Z" });
        json!({ "conditions": [condition] })
    }

    fn pod(is_held: bool) -> OriginalPod {
        OriginalPod {
            name: "p".into(),
            uid: "pu".into(),
            owner_name: "j".into(),
            owner_uid: "u".into(),
            job_id: None,
            process_id: None,
            created: Timestamp::UNIX_EPOCH,
            is_held,
        }
    }

    #[test]
    fn a_job_of_the_original_is_read_from_its_annotations_and_its_secrets_are_masked() {
        let found = read(json!({})).unwrap();
        assert_eq!((found.job_id.to_string().as_str(), found.process_id.as_str()), (ID, "hello-world-k8s"));
        assert_eq!(found.created.to_string(), "2025-05-15T15:59:58.000001Z");
        assert_eq!(found.parameters.as_deref(), Some(r#"{"name":"x","token":"*"}"#));
        assert!(found.shows_secrets && found.end.is_none() && found.result.is_none());
        let harmless = json!({ format!("/metadata/annotations/{}", "x"): "", "/metadata/uid": "v" });
        assert_eq!(read(harmless).unwrap().job_uid, "v");
    }

    #[test]
    fn jobs_of_others_are_left_alone() {
        assert_eq!(read(json!({ "/metadata/name": "someone-elses" })), None);
        assert_eq!(read(json!({ "/metadata/name": format!("other-{ID}") })), None);
        assert_eq!(read(json!({ "/metadata/annotations": {} })), None);
        assert_eq!(read(json!({ "/metadata/labels": { names::LABEL_JOB_ID: ID } })), None, "our own");
    }

    #[test]
    fn inputs_that_hide_nothing_are_left_as_they_are() {
        let with = |text: &str| {
            let mut job = job(json!({}));
            let annotations = job.metadata.annotations.as_mut().unwrap();
            annotations.insert(names::ANNOTATION_PARAMETERS.into(), text.into());
            Original::read(&job, "pygeoapi-job-").unwrap()
        };
        assert!(!with(r#"{"b": 1, "a": [1, 2]}"#).shows_secrets);
        let broken = with("{'name': 1}");
        assert!(broken.shows_secrets && broken.parameters.is_none());
    }

    #[test]
    fn a_job_is_followed_unless_it_is_over_and_its_log_was_read_or_is_gone() {
        let course = |more: Value, pods: &[OriginalPod]| read(more).unwrap().course(pods);
        let over = |kind: &str| json!({ "/status": ended(kind) });
        assert_eq!(course(json!({}), &[]), Course::Follow);
        assert_eq!(course(over("Complete"), &[]), Course::Close);
        assert_eq!(course(over("Failed"), &[pod(false)]), Course::Follow);
        let mut read = read(over("Complete")).unwrap();
        read.result = Some(Found { media_type: None, value: String::new() });
        assert_eq!(read.course(&[pod(false)]), Course::Close);
        assert_eq!(read.course(&[pod(true)]), Course::Follow, "it is still held");
    }

    #[test]
    fn the_end_is_that_of_the_condition() {
        let end = |kind: &str| read(json!({ "/status": ended(kind) })).unwrap().end;
        assert_eq!(end("Complete").unwrap().failure, None);
        let failed = end("Failed").unwrap();
        assert_eq!(failed.failure, Some(("R".into(), "m".into())));
        assert_eq!(failed.finished.to_string(), "2025-05-15T16:10:00Z");
        assert_eq!(end("Suspended"), None);
    }

    #[test]
    fn a_pod_tells_its_job_by_its_environment() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p", "uid": "pu", "finalizers": [names::POD_FINALIZER], "ownerReferences": [
                { "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u" }] },
            "spec": { "containers": [{ "name": "c", "env": [
                { "name": "PYGEOAPI_JOB_ID", "value": ID }, { "name": "PYGEOAPI_PROCESS_ID", "value": "a" }] }] },
        }))
        .unwrap();
        let read = OriginalPod::read(&pod).unwrap();
        assert!(read.is_held && read.owner_uid == "u");
        assert_eq!((read.job_id.unwrap().to_string().as_str(), read.process_id.unwrap().as_str()), (ID, "a"));
    }
}
