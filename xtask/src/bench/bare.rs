//! The peer of executions: the same Jobs, applied by a plain client and awaited by a plain watch.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, ResourceExt,
    api::PostParams,
    runtime::watcher::{self, Event},
};
use protocol::{
    JobId,
    names::kubernetes::{ANNOTATION_RESULT_MIMETYPE, ANNOTATION_RESULT_VALUE},
};
use serde_json::Value;

use super::{
    bed::{Bed, within},
    cpu::Used,
    jobs::{AT_ONCE, Batch, limit, number},
};

/// A Job as the dispatcher made it, to be made again under other names.
#[derive(Debug)]
pub(super) struct Template {
    text: String,
    job_id: String,
}

impl Template {
    /// Takes away what the API server and the finalizer put into the Job, and the pod finalizer: nobody would take it
    /// from the pods of a bare Job.
    pub(super) fn of(job: Job, id: &JobId) -> Result<Self> {
        let mut spec = job.spec.context("a Job without spec")?;
        spec.selector = None;
        let mut pod = spec.template.metadata.take().unwrap_or_default();
        pod.finalizers = None;
        pod.labels = pod.labels.map(without_controller_labels);
        pod.creation_timestamp = None;
        spec.template.metadata = Some(pod);
        let annotations = job.metadata.annotations.map(|mut all| {
            all.remove(ANNOTATION_RESULT_MIMETYPE);
            all.remove(ANNOTATION_RESULT_VALUE);
            all
        });
        let metadata = ObjectMeta {
            name: job.metadata.name,
            labels: job.metadata.labels.map(without_controller_labels),
            annotations,
            ..ObjectMeta::default()
        };
        let bare = Job { metadata, spec: Some(spec), status: None };
        Ok(Self { text: serde_json::to_string(&bare)?, job_id: id.to_string() })
    }

    /// The Job of another id.
    fn another(&self) -> Result<Job> {
        let now = u64::try_from(Timestamp::now().as_millisecond())?;
        let text = self.text.replace(&self.job_id, &JobId::generate(now).to_string());
        Ok(serde_json::from_str(&text)?)
    }
}

fn without_controller_labels(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels.retain(|name, _| {
        !name.starts_with("batch.kubernetes.io/") && !matches!(name.as_str(), "controller-uid" | "job-name")
    });
    labels
}

/// Creates `count` Jobs, and waits until a watch has told that all are complete.
pub(super) async fn apply(bed: &Bed, template: &Template, count: usize) -> Result<Batch> {
    let api: Api<Job> = Api::namespaced(bed.plain.clone(), bed.bare.name());
    let jobs = (0..count).map(|_| template.another()).collect::<Result<Vec<Job>>>()?;
    let mut waiting: HashSet<String> = jobs.iter().map(ResourceExt::name_any).collect();
    let mut watch = watcher::watcher(api.clone(), watcher::Config::default()).boxed();
    while !matches!(watch.try_next().await?.context("the watch ended")?, Event::InitDone) {}

    let before = Used::by(bed)?;
    let started = Instant::now();
    let creating = async {
        let parameters = PostParams::default();
        let created = stream::iter(&jobs).map(|job| api.create(&parameters, job)).buffer_unordered(AT_ONCE);
        created.try_for_each(|_| async { Ok(()) }).await?;
        Ok(started.elapsed())
    };
    let completing = async {
        while !waiting.is_empty() {
            if let Event::Apply(job) | Event::InitApply(job) = watch.try_next().await?.context("the watch ended")? {
                if has(&job, "Failed") {
                    bail!("the bare Job {} failed", job.name_any());
                }
                if has(&job, "Complete") {
                    waiting.remove(&job.name_any());
                }
            }
        }
        Ok(started.elapsed())
    };
    let both = async { tokio::try_join!(creating, completing) };
    let (submitted, done): (Duration, Duration) = within(limit(count), "the bare Jobs", both).await?;
    let processor = Used::by(bed)?.since(&before, number(count));
    Ok(Batch { submitted, done, quiet: done, steps: Value::Null, processor })
}

/// Whether a Job has this condition.
pub(super) fn has(job: &Job, condition: &str) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == condition && one.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_made_again_under_another_id_and_without_what_the_server_added() {
        let id = JobId::generate(1_700_000_000_000);
        let name = format!("pygeoapi-job-{id}");
        let labels = json!({ "quayside.dev/job-id": id, "batch.kubernetes.io/controller-uid": "u", "job-name": name });
        let job = serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "n", "uid": "u", "resourceVersion": "5",
                "labels": { "quayside.dev/job-id": id },
                "annotations": { "pygeoapi.io/identifier": id, "pygeoapi.io/result-value": "{}" },
            },
            "spec": {
                "selector": { "matchLabels": { "batch.kubernetes.io/controller-uid": "u" } },
                "template": {
                    "metadata": { "labels": labels, "finalizers": ["pygeoapi.io/finalizer-log-retrieval"] },
                    "spec": { "containers": [{ "name": "main", "env": [{ "name": "PYGEOAPI_JOB_ID", "value": id }] }] },
                },
            },
            "status": { "succeeded": 1 },
        }));
        let another = Template::of(job.unwrap(), &id).unwrap().another().unwrap();
        let text = serde_json::to_string(&another).unwrap();
        assert!(!text.contains(&id.to_string()), "{text}");
        for gone in ["controller-uid", "finalizer", "result-value", "resourceVersion", "succeeded"] {
            assert!(!text.contains(gone), "{gone} in {text}");
        }
        let new = another.labels()["quayside.dev/job-id"].clone();
        assert_eq!(another.name_any(), format!("pygeoapi-job-{new}"));
        assert_eq!(text.matches(&new).count(), 5, "{text}");
    }
}
