//! Jobs of Kubernetes, through its API.

mod create;
mod observation;
mod originals;
mod refusal;
mod watch;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    config::KubeConfigOptions,
    core::response::Status,
};
use protocol::{
    job_record::Reason,
    names::{environment, kubernetes as names},
};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::create::Answer;
use super::{Change, CreateError, ExecutorError, JobPlan, Observation, PodObservation};
use crate::{manifest, refusal::Refusal};

/// How long one answer may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Looks for events at one time.
const LOOKS: usize = 2;

/// Runs jobs as Kubernetes Jobs; cheap to clone.
#[derive(Clone)]
pub struct KubernetesExecutor {
    client: Client,
    namespace: String,
    more_namespaces: Vec<String>,
    looks: Arc<Semaphore>,
}

/// Kubernetes can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a service account.
    #[error("there is neither a usable kubeconfig nor a service account")]
    NoConfig(#[source] kube::config::InferConfigError),
    /// The client can't be made.
    #[error("the Kubernetes client can't be made")]
    Client(#[source] kube::Error),
}

impl KubernetesExecutor {
    /// Connects as the kubeconfig says, else as the service account. The namespace is the service account's in a
    /// cluster, else that of the environment, else the kubeconfig's.
    ///
    /// # Errors
    /// When there are no credentials, or they can't be used.
    pub async fn connect(variables: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConnectError> {
        let from_file = Config::from_kubeconfig(&KubeConfigOptions::default()).await;
        let (mut config, namespace) = match from_file {
            Ok(config) => {
                let namespace = variables(environment::NAMESPACE).filter(|name| !name.is_empty());
                let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
                (config, namespace)
            }
            Err(_) => {
                let config = Config::infer().await.map_err(ConnectError::NoConfig)?;
                let namespace = config.default_namespace.clone();
                (config, namespace)
            }
        };
        // Silent retries inside the client would hide backpressure, and our own retries are on top of them.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(10));
        // Longer than the server keeps a watch without a word: a dead connection is found, a quiet one is not cut.
        config.read_timeout = Some(Duration::from_secs(330));
        let client = Client::try_from(config).map_err(ConnectError::Client)?;
        Ok(Self { client, namespace, more_namespaces: Vec::new(), looks: Arc::new(Semaphore::new(LOOKS)) })
    }

    /// With Jobs in these namespaces, too.
    #[must_use]
    pub fn and_in(mut self, namespaces: impl IntoIterator<Item = String>) -> Self {
        for namespace in namespaces {
            if namespace != self.namespace && !self.more_namespaces.contains(&namespace) {
                self.more_namespaces.push(namespace);
            }
        }
        self
    }

    /// The namespace of the Jobs of processes that name none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.namespace).chain(&self.more_namespaces).map(String::as_str)
    }

    fn jobs(&self, namespace: &str) -> Api<Job> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) async fn create(&self, plan: &JobPlan) -> Result<String, CreateError> {
        let job = manifest::job(plan).map_err(|error| CreateError::Refused {
            reason: Reason::ConfigError,
            message: platform::telemetry::chain(&error),
        })?;
        match limited(create::create(&self.client, &plan.namespace, &job)).await {
            Err(late) => Err(CreateError::Pressed { retry_after: None, source: late }),
            Ok(Ok(Answer::Created(created))) => {
                created.uid().ok_or_else(|| CreateError::Passing("the created Job has no UID".into()))
            }
            Ok(Ok(Answer::Refused { status, retry_after })) => Err(refusal(*status, retry_after)),
            Ok(Err(error @ (kube::Error::HyperError(_) | kube::Error::Service(_)))) => {
                Err(CreateError::Pressed { retry_after: None, source: Box::new(error) })
            }
            Ok(Err(error)) => Err(CreateError::Passing(Box::new(error))),
        }
    }

    pub(super) async fn observe(&self, namespace: &str, job_name: &str) -> Result<Option<Observation>, ExecutorError> {
        let (jobs, pods) = (self.jobs(namespace), self.pods(namespace));
        let Some(job) = limited(jobs.get_opt(job_name)).await.map_err(ExecutorError)?.map_err(boxed)? else {
            return Ok(None);
        };
        let Some(job_id) = observation::job_id(&job) else { return Ok(None) };
        let of_job = ListParams::default().labels(&format!("{}={job_id}", names::LABEL_JOB_ID));
        let pods = limited(pods.list(&of_job)).await.map_err(ExecutorError)?.map_err(boxed)?;
        Ok(observation::observe(&job, pods.items.iter()))
    }

    /// A kubelet removes the containers of a pod that is being deleted as soon as they have stopped, and their logs with them.
    /// So the pod is not deleted: its time is over, which ends it in the same way, and keeps it as one that failed
    /// (`activeDeadlineSeconds` may be set on a running pod).
    pub(super) async fn stop(&self, seen: &Observation) -> Result<(), ExecutorError> {
        let has_log = |pod: &PodObservation| pod.has_log() && !pod.terminating;
        if !seen.pods.iter().any(has_log) {
            return self.delete(&seen.namespace, &seen.job_name, &seen.uid).await;
        }
        let pods = self.pods(&seen.namespace);
        for pod in &seen.pods {
            if !has_log(pod) || pod.is_over() {
                continue;
            }
            let over = Patch::Merge(json!({ "metadata": { "uid": pod.uid }, "spec": { "activeDeadlineSeconds": 1 } }));
            let patched = limited(pods.patch(&pod.name, &PatchParams::default(), &over)).await;
            match patched.map_err(ExecutorError)? {
                Ok(_) => {}
                // Gone, or another pod of that name: ours is gone.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => {
                    warn!(job_id = %seen.job_id, %status, "the pod can't be stopped: it is deleted, and its log may be lost");
                    return self.delete(&seen.namespace, &seen.job_name, &seen.uid).await;
                }
                Err(error) => return Err(boxed(error)),
            }
        }
        Ok(())
    }

    pub(super) async fn delete(&self, namespace: &str, job_name: &str, uid: &str) -> Result<(), ExecutorError> {
        let params = DeleteParams {
            // The default for Jobs of batch/v1 leaves their pods behind.
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        match limited(self.jobs(namespace).delete(job_name, &params)).await.map_err(ExecutorError)? {
            Ok(_) => Ok(()),
            // Gone, or another incarnation of that name: ours is gone.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(boxed(error)),
        }
    }

    pub(super) async fn watch(&self, changes: mpsc::Sender<Change>, stop: CancellationToken) {
        let of = |namespace: &str| {
            let (jobs, pods) = (self.jobs(namespace), self.pods(namespace));
            watch::run(namespace.to_owned(), jobs, pods, changes.clone(), stop.clone())
        };
        futures::future::join_all(self.namespaces().map(of)).await;
    }
}

/// One request, within its time: a half-open connection must not hold a launch for minutes.
async fn limited<T>(request: impl Future<Output = T>) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    tokio::time::timeout(REQUEST_LIMIT, request).await.map_err(Into::into)
}

fn boxed(error: kube::Error) -> ExecutorError {
    ExecutorError(Box::new(error))
}

/// Retry or give up, decided here and nowhere else. The API server says in `reason` what it means
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/>).
fn refusal(status: Status, retry_after: Option<Duration>) -> CreateError {
    const ADMISSION: [&str; 3] = ["failed calling webhook", "denied the request", "resource quota evaluation"];
    let refusal = Refusal::of(&status.message);
    let refused = |reason| CreateError::Refused { reason, message: status.message.clone() };
    let passing = |status: Status| CreateError::Passing(Box::new(kube::Error::Api(Box::new(status))));
    match (status.code, status.reason.as_str()) {
        (409, "AlreadyExists") => CreateError::Exists,
        (403 | 409, _) if refusal == Refusal::Quota => CreateError::Quota(status.message.clone()),
        // A webhook chooses the code: one that fails itself says so, and may be mended.
        (400..=407 | 409..=428, _) if refusal == Refusal::ForGood => refused(Reason::AdmissionRejected),
        // A webhook, or the count of one quota, is away or fails, not the server: what it has no say about goes on as before.
        (429 | 500.., _) if ADMISSION.iter().any(|known| status.message.contains(known)) => passing(status),
        (408 | 429 | 500.., _) => CreateError::Pressed { retry_after, source: Box::new(status) },
        (400 | 413 | 415 | 422, _) => refused(Reason::AdmissionRejected),
        // A missing permission or namespace can be mended while the job waits, and a proxy in front may answer anything.
        _ => passing(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, reason: &str, message: &str) -> CreateError {
        let status = json!({ "code": code, "reason": reason, "message": message, "status": "Failure" });
        refusal(serde_json::from_value(status).unwrap(), Some(Duration::from_secs(3)))
    }

    #[test]
    fn what_refuses_a_job_for_good_a_quota_and_what_passes_are_told_apart() {
        let quota =
            "jobs.batch \"j\" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: 0, limited: 0";
        assert!(matches!(refused(403, "Forbidden", quota), CreateError::Quota(message) if message == quota));
        let policy = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        for (code, reason, message) in [
            (403, "Forbidden", "admission webhook \"w\" denied the request: no"),
            (403, "Forbidden", policy),
            (422, "Invalid", policy),
        ] {
            let refused = refused(code, reason, message);
            assert!(matches!(refused, CreateError::Refused { reason: Reason::AdmissionRejected, .. }), "{refused}");
        }
        let conflict = "Operation cannot be fulfilled on resourcequotas \"q\": the object has been modified";
        assert!(matches!(refused(409, "Conflict", conflict), CreateError::Quota(_)));
        for code in [302, 307, 402, 405] {
            assert!(matches!(refused(code, "", "moved"), CreateError::Passing(_)), "a proxy's {code}");
        }
        let permission = "jobs.batch is forbidden: User \"u\" cannot create resource";
        let passing = refused(403, "Forbidden", permission);
        assert!(matches!(passing, CreateError::Passing(_)));
        assert_eq!(passing.words(), Some(permission), "it is told");
        assert_eq!(refused(503, "", "later").words(), None, "it is the server's own trouble");
    }

    #[test]
    fn a_server_under_pressure_is_told_from_a_webhook_that_is_away() {
        for code in [408, 429, 500, 503, 504] {
            let refused = refused(code, "", "later");
            assert!(
                matches!(refused, CreateError::Pressed { retry_after: Some(after), .. } if after == Duration::from_secs(3))
            );
        }
        let webhook = "Internal error occurred: failed calling webhook \"w\": no route to host";
        assert!(matches!(refused(500, "InternalError", webhook), CreateError::Passing(_)));
        let fails = "admission webhook \"w\" denied the request: no database";
        assert!(matches!(refused(500, "InternalError", fails), CreateError::Passing(_)));
        let quota = "Internal error occurred: resource quota evaluation timed out";
        assert!(matches!(refused(500, "InternalError", quota), CreateError::Passing(_)));
    }
}
