//! One watch of our Jobs and one of their pods, put together to observations.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Container, Pod, PodSpec, ResourceRequirements},
};
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use protocol::{JobId, names::kubernetes as names};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::observation::{job_id, observe};
use crate::executor::Change;

/// Pages of the list that a watch begins with.
const PAGE: u32 = 500;

/// Watches until `stop` or until nobody listens; failures are logged and the watch begins anew, with backoff.
pub(super) async fn run(
    namespace: String,
    jobs: Api<Job>,
    pods: Api<Pod>,
    changes: mpsc::Sender<Change>,
    stop: CancellationToken,
) {
    let ours = watcher::Config::default().labels(names::LABEL_JOB_ID).page_size(PAGE);
    let mut jobs: BoxStream<'_, _> = watcher::watcher(jobs, ours.clone()).default_backoff().boxed();
    let mut pods: BoxStream<'_, _> = watcher::watcher(pods, ours).default_backoff().boxed();
    let mut level = Level { namespace, ..Level::default() };
    loop {
        let told = tokio::select! {
            () = stop.cancelled() => return,
            Some(event) = jobs.next() => match event {
                Ok(event) => level.job(event),
                Err(error) => level.broke("Jobs", &error),
            },
            Some(event) = pods.next() => match event {
                Ok(event) => level.pod(event),
                Err(error) => level.broke("pods", &error),
            },
            else => return,
        };
        for change in told {
            if changes.send(change).await.is_err() {
                return;
            }
        }
    }
}

/// Everything of ours that is there, as far as the watches told.
#[derive(Default)]
struct Level {
    namespace: String,
    jobs: HashMap<JobId, Job>,
    pods: HashMap<JobId, HashMap<String, Pod>>,
    listed_jobs: Option<HashSet<JobId>>,
    listed_pods: Option<HashSet<String>>,
    jobs_known: bool,
    pods_known: bool,
    synced: bool,
}

impl Level {
    /// A watch that broke begins anew by itself. Before the level was known, somebody waits for that.
    fn broke(&self, what: &str, error: &watcher::Error) -> Vec<Change> {
        let why = platform::telemetry::chain(error);
        if self.synced {
            warn!(namespace = %self.namespace, error = %why, "the watch of {what} broke");
            return Vec::new();
        }
        error!(
            namespace = %self.namespace,
            error = %why,
            "the {what} of this namespace can't be watched: nothing is launched there; trying again"
        );
        vec![Change::Unwatched { namespace: self.namespace.clone(), why }]
    }

    fn job(&mut self, event: Event<Job>) -> Vec<Change> {
        let mut changes = Vec::new();
        match event {
            Event::Init => self.listed_jobs = Some(HashSet::new()),
            Event::InitApply(job) | Event::Apply(job) => {
                let Some(id) = job_id(&job) else { return changes };
                if let Some(listed) = &mut self.listed_jobs {
                    listed.insert(id);
                }
                let before = self.jobs.insert(id, slim_job(job));
                changes.extend(before.and_then(|before| self.replaced(&before, id)));
                changes.extend(self.seen(id));
            }
            Event::Delete(job) => {
                let Some(id) = job_id(&job) else { return changes };
                self.jobs.remove(&id);
                changes.extend(gone(&job, id));
            }
            Event::InitDone => {
                // What was there before the watch broke and is not listed now is gone.
                let listed = self.listed_jobs.take().unwrap_or_default();
                let vanished: Vec<JobId> = self.jobs.keys().filter(|id| !listed.contains(id)).copied().collect();
                for id in vanished {
                    changes.extend(self.jobs.remove(&id).and_then(|job| gone(&job, id)));
                }
                self.jobs_known = true;
                changes.extend(self.now_synced());
            }
        }
        changes
    }

    fn pod(&mut self, event: Event<Pod>) -> Vec<Change> {
        let mut changes = Vec::new();
        match event {
            Event::Init => self.listed_pods = Some(HashSet::new()),
            Event::InitApply(pod) | Event::Apply(pod) => {
                let (Some(id), Some(uid)) = (job_id(&pod), pod.uid()) else { return changes };
                if let Some(listed) = &mut self.listed_pods {
                    listed.insert(uid.clone());
                }
                self.pods.entry(id).or_default().insert(uid, slim_pod(pod));
                changes.extend(self.seen(id));
            }
            Event::Delete(pod) => {
                let (Some(id), Some(uid)) = (job_id(&pod), pod.uid()) else { return changes };
                self.forget_pod(id, &uid);
                changes.extend(self.seen(id));
            }
            Event::InitDone => {
                let listed = self.listed_pods.take().unwrap_or_default();
                let of = |(id, pods): (&JobId, &HashMap<String, Pod>)| -> Vec<(JobId, String)> {
                    pods.keys().filter(|uid| !listed.contains(*uid)).map(|uid| (*id, uid.clone())).collect()
                };
                let vanished: Vec<(JobId, String)> = self.pods.iter().flat_map(of).collect();
                for (id, uid) in vanished {
                    self.forget_pod(id, &uid);
                    changes.extend(self.seen(id));
                }
                self.pods_known = true;
                changes.extend(self.now_synced());
            }
        }
        changes
    }

    fn forget_pod(&mut self, id: JobId, uid: &str) {
        if let Some(pods) = self.pods.get_mut(&id) {
            pods.remove(uid);
            if pods.is_empty() {
                self.pods.remove(&id);
            }
        }
    }

    /// A Job that was deleted and made again between two looks.
    fn replaced(&self, before: &Job, id: JobId) -> Option<Change> {
        (before.uid() != self.jobs.get(&id)?.uid()).then(|| gone(before, id)).flatten()
    }

    /// Nothing is told before pods are known too: a Job without its pods looks as if they had been deleted.
    fn seen(&self, id: JobId) -> Option<Change> {
        if !self.pods_known {
            return None;
        }
        let pods = self.pods.get(&id);
        let observation = observe(self.jobs.get(&id)?, pods.into_iter().flat_map(HashMap::values))?;
        Some(Change::Seen(Box::new(observation)))
    }

    fn now_synced(&mut self) -> Vec<Change> {
        if self.synced || !self.jobs_known || !self.pods_known {
            return Vec::new();
        }
        self.synced = true;
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        let mut changes: Vec<Change> = ids.into_iter().filter_map(|id| self.seen(id)).collect();
        changes.push(Change::Synced { namespace: self.namespace.clone() });
        changes
    }
}

fn gone(job: &Job, job_id: JobId) -> Option<Change> {
    Some(Change::Gone { job_id, uid: job.uid()? })
}

/// What [`observe`] looks at: without the template, inputs in its environment among it, memory is bounded by the number
/// of Jobs.
fn slim_job(mut job: Job) -> Job {
    let (suspend, backoff_limit) = job.spec.as_ref().map_or((None, None), |spec| (spec.suspend, spec.backoff_limit));
    job.spec = Some(JobSpec { suspend, backoff_limit, ..JobSpec::default() });
    job.metadata.managed_fields = None;
    if let Some(annotations) = &mut job.metadata.annotations {
        annotations
            .retain(|name, _| [names::ANNOTATION_PROCESS_ID, names::ANNOTATION_UPLOADS].contains(&name.as_str()));
    }
    job
}

fn slim_pod(mut pod: Pod) -> Pod {
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    let slim = |container: Container| Container {
        name: container.name,
        image: container.image,
        resources: container
            .resources
            .map(|resources| ResourceRequirements { limits: resources.limits, ..ResourceRequirements::default() }),
        ..Container::default()
    };
    pod.spec = pod.spec.map(|spec| PodSpec {
        containers: spec.containers.into_iter().map(slim).collect(),
        init_containers: spec.init_containers.map(|containers| containers.into_iter().map(slim).collect()),
        ..PodSpec::default()
    });
    pod
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept_of_a_job_and_its_pods_is_all_that_is_looked_at() {
        let labels = json!({ names::LABEL_JOB_ID: JobId::generate(1) });
        let job: Job = serde_json::from_value(json!({
            "metadata": { "name": "j", "namespace": "n", "uid": "u", "labels": labels },
            "spec": { "suspend": false, "backoffLimit": 3, "template": {} },
        }))
        .unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p", "uid": "v", "labels": labels, "ownerReferences": [
                { "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u" },
            ] },
            "spec": { "containers": [{ "name": "c", "image": "i", "resources": { "limits": { "memory": "16Mi" } } }] },
        }))
        .unwrap();
        let whole = observe(&job, std::iter::once(&pod)).unwrap();
        assert_eq!((whole.retries, whole.pods[0].containers[0].memory_limit.as_deref()), (3, Some("16Mi")));
        assert_eq!(observe(&slim_job(job), std::iter::once(&slim_pod(pod))), Some(whole));
    }
}
