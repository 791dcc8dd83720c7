//! Jobs and pods of pygeoapi-k8s-manager: those that the Job controller knows, and that lack our labels.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use protocol::{JobId, names::kubernetes as names};
use serde_json::json;

use super::{ExecutorError, KubernetesExecutor, boxed, limited, observation};
use crate::adopt::original::{Original, OriginalPod};

/// Objects of one page.
const PAGE: u32 = 200;
/// The Job controller puts it on every pod that it makes.
const LABEL_JOB_NAME: &str = "job-name";

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<String>,
}

impl KubernetesExecutor {
    /// Jobs of the original that nobody has taken over.
    pub(crate) async fn originals(&self, prefix: &str, after: Option<&str>) -> Result<Page<Original>, ExecutorError> {
        let page = page(&format!("!{}", names::LABEL_JOB_ID), after);
        let found = limited(self.jobs(self.namespace()).list(&page)).await.map_err(ExecutorError)?.map_err(boxed)?;
        let items = found.items.iter().filter_map(|job| Original::read(job, prefix)).collect();
        Ok(Page { items, next: found.metadata.continue_.filter(|token| !token.is_empty()) })
    }

    /// The pods of one of them.
    pub(crate) async fn pods_of_original(&self, original: &Original) -> Result<Vec<OriginalPod>, ExecutorError> {
        let selector = ListParams::default().labels(&format!("{LABEL_JOB_NAME}={}", original.job_name));
        let found =
            limited(self.pods(self.namespace()).list(&selector)).await.map_err(ExecutorError)?.map_err(boxed)?;
        let pods = found.items.iter().filter_map(OriginalPod::read);
        Ok(pods.filter(|pod| pod.owner_uid == original.job_uid).collect())
    }

    /// Pods that the original's finalizer holds, and that nobody has taken over.
    pub(crate) async fn held_by_original(&self, after: Option<&str>) -> Result<Page<OriginalPod>, ExecutorError> {
        let page = page(&format!("{LABEL_JOB_NAME},!{}", names::LABEL_JOB_ID), after);
        let found = limited(self.pods(self.namespace()).list(&page)).await.map_err(ExecutorError)?.map_err(boxed)?;
        let items = found.items.iter().filter_map(OriginalPod::read).filter(|pod| pod.is_held).collect();
        Ok(Page { items, next: found.metadata.continue_.filter(|token| !token.is_empty()) })
    }

    /// The job that the Job which made a pod belongs to; within it `None`: the Job is not ours. `None`: that Job is gone.
    pub(crate) async fn owner_of(&self, pod: &OriginalPod) -> Result<Option<Option<JobId>>, ExecutorError> {
        let found = limited(self.jobs(self.namespace()).get_opt(&pod.owner_name))
            .await
            .map_err(ExecutorError)?
            .map_err(boxed)?;
        let found = found.filter(|job| job.uid().as_deref() == Some(pod.owner_uid.as_str()));
        Ok(found.map(|job| observation::job_id(&job)))
    }

    /// Takes a pod over: from now on it is seen as one of the job's.
    pub(crate) async fn label_pod(&self, pod: &OriginalPod, job: &JobId) -> Result<(), ExecutorError> {
        let patch = json!({ "metadata": { "uid": pod.uid, "labels": labels(job) } });
        patched::<Pod>(&self.pods(self.namespace()), &pod.name, patch).await
    }

    /// Takes a Job over, and hides what its annotations tell of secrets. Its pods have to be taken over before: without them
    /// it would look as if they were gone.
    pub(crate) async fn label_job(&self, original: &Original) -> Result<(), ExecutorError> {
        let mut metadata = json!({ "uid": original.job_uid, "labels": labels(&original.job_id) });
        if original.shows_secrets {
            // Where the inputs can't be read, nobody knows what is secret: the annotation goes.
            metadata["annotations"] = json!({ names::ANNOTATION_PARAMETERS: original.parameters });
        }
        patched(&self.jobs(self.namespace()), &original.job_name, json!({ "metadata": metadata })).await
    }
}

fn labels(job: &JobId) -> serde_json::Value {
    json!({ names::LABEL_JOB_ID: job, names::LABEL_MANAGED_BY: names::MANAGED_BY })
}

fn page(selector: &str, after: Option<&str>) -> ListParams {
    let page = ListParams::default().labels(selector).limit(PAGE);
    match after {
        Some(token) => page.continue_token(token),
        None => page,
    }
}

/// Success when the object is gone, or another has its name.
async fn patched<K>(api: &Api<K>, name: &str, patch: serde_json::Value) -> Result<(), ExecutorError>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + kube::Resource,
{
    let patched = limited(api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(patch))).await;
    match patched.map_err(ExecutorError)? {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(boxed(error)),
    }
}
