//! Pods of Kubernetes Jobs. Needs: pods list, patch; pods/log get; jobs patch.

use std::{collections::BTreeMap, pin::Pin, time::Duration};

use futures::{AsyncBufRead, AsyncReadExt, FutureExt, StreamExt, future::BoxFuture, stream};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Container as ContainerSpec, ContainerState, ContainerStateTerminated, ContainerStatus, Pod as KubePod},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, LogParams, Patch, PatchParams},
    config::KubeConfigOptions,
    core::response::Status,
};
use protocol::{
    JobId,
    job_record::{ExecutorKind, Workload},
    kubelet_log::Timestamps,
    names::kubernetes::{ANNOTATION_RESULT_MIMETYPE, ANNOTATION_RESULT_VALUE, LABEL_JOB_ID, POD_FINALIZER},
};
use serde_json::json;
use tracing::error;

use super::{
    Cause, Chunk, Container, Held, HeldPage, LogRead, LogStream, Pod, PodSource, PodsError, ResultAnnotations,
};

/// How long one answer may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// How long the next bytes of a log may take: it is not followed, so all of it is there.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// Pods of one page.
const PAGE: u32 = 200;
/// Bytes of one chunk of a log.
const CHUNK: usize = 64 * 1024;
/// The name of our changes in an object's managed fields.
const FIELD_MANAGER: &str = "quayside-log-finalizer";

/// Pods in a cluster; cheap to clone.
#[derive(Clone)]
pub struct KubernetesPods {
    client: Client,
    /// Waits for as long as a container says nothing.
    following: Client,
    /// Its own first.
    namespaces: Vec<String>,
}

/// The cluster can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is neither a kubeconfig nor a service account.
    #[error("there is neither a usable kubeconfig nor a service account")]
    Credentials(#[source] Box<kube::config::InferConfigError>),
    /// The client can't be built.
    #[error("the Kubernetes client can't be built")]
    Client(#[source] Box<kube::Error>),
}

impl KubernetesPods {
    /// A client from the kubeconfig, else from the service account; sends nothing yet. `namespace` is used with a
    /// kubeconfig only: in a cluster it is the service account's.
    ///
    /// # Errors
    /// When there are no credentials, or they can't be used.
    pub async fn connect(namespace: Option<String>) -> Result<Self, ConnectError> {
        let (mut config, namespace) = match Config::from_kubeconfig(&KubeConfigOptions::default()).await {
            Ok(config) => (config, namespace.filter(|name| !name.is_empty())),
            Err(_) => (Config::infer().await.map_err(|error| ConnectError::Credentials(Box::new(error)))?, None),
        };
        // Our own loops retry, and see when the server asks for less.
        config.default_retry = false;
        config.read_timeout = Some(STALL_LIMIT);
        // The time that a connection was idle before a request is no stall.
        config.reset_reader_on_write = true;
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let built = |config| Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)));
        let mut following = config.clone();
        following.read_timeout = None;
        Ok(Self { following: built(following)?, client: built(config)?, namespaces: vec![namespace] })
    }

    /// Pods that `client` sees in `namespace`.
    pub fn new(client: Client, namespace: String) -> Self {
        Self { following: client.clone(), client, namespaces: vec![namespace] }
    }

    /// Also looks through these namespaces for pods that are held.
    #[must_use]
    pub fn and_in(mut self, namespaces: impl IntoIterator<Item = String>) -> Self {
        for namespace in namespaces {
            if !self.namespaces.contains(&namespace) {
                self.namespaces.push(namespace);
            }
        }
        self
    }

    async fn held_in(&self, namespace: &str, token: &str) -> Result<HeldPage, PodsError> {
        let mut page = ListParams::default().labels(LABEL_JOB_ID).limit(PAGE);
        if !token.is_empty() {
            page = page.continue_token(token);
        }
        let found = match tokio::time::timeout(REQUEST_LIMIT, self.pods(namespace).list(&page)).await {
            Err(late) => return Err(PodsError::Find(Box::new(late))),
            // The list is too old to go on with; the next sweep starts it anew.
            Ok(Err(kube::Error::Api(status))) if status.code == 410 => return Ok(HeldPage::default()),
            Ok(found) => found.map_err(|error| PodsError::Find(Box::new(error)))?,
        };
        let next = found.metadata.continue_.filter(|token| !token.is_empty());
        Ok(HeldPage { held: found.items.iter().filter_map(held_of).collect(), next })
    }

    fn pods(&self, namespace: &str) -> Api<KubePod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn of_job(&self, job: &JobId, workload: &Workload) -> Result<Vec<KubePod>, Cause> {
        let selector = ListParams::default().labels(&format!("{LABEL_JOB_ID}={job}"));
        let found = limited(self.pods(&workload.namespace).list(&selector)).await?;
        Ok(found.items.into_iter().filter(|pod| belongs(pod, workload.job_uid.as_deref())).collect())
    }

    async fn open_log(
        &self,
        workload: &Workload,
        pod: &str,
        container: &str,
        read: LogRead,
    ) -> Result<LogStream, PodsError> {
        let parameters = LogParams {
            container: Some(container.to_owned()),
            timestamps: true,
            follow: read.follow,
            since_time: read.since,
            ..LogParams::default()
        };
        let name = container.to_owned();
        let client = if read.follow { &self.following } else { &self.client };
        let pods: Api<KubePod> = Api::namespaced(client.clone(), &workload.namespace);
        let opened = tokio::time::timeout(REQUEST_LIMIT, pods.log_stream(pod, &parameters)).await;
        let reader = match opened {
            Err(late) => return Err(PodsError::Log { container: name, source: Box::new(late) }),
            Ok(Err(kube::Error::Api(status))) if is_gone(&status) => {
                return Err(PodsError::LogGone { container: name, source: Box::new(kube::Error::Api(status)) });
            }
            Ok(Err(error)) => return Err(PodsError::Log { container: name, source: Box::new(error) }),
            Ok(Ok(reader)) => Box::pin(reader),
        };
        let log = Log {
            reader,
            buffer: vec![0; CHUNK],
            timestamps: Timestamps::default(),
            failure: None,
            container: name,
            stall: (!read.follow).then_some(STALL_LIMIT),
        };
        Ok(stream::try_unfold(log, Log::next).boxed())
    }

    async fn annotate(&self, workload: &Workload, annotations: &ResultAnnotations) -> Result<(), Cause> {
        let mut values = BTreeMap::new();
        if let Some(media_type) = &annotations.media_type {
            values.insert(ANNOTATION_RESULT_MIMETYPE, media_type);
        }
        if let Some(value) = &annotations.value {
            values.insert(ANNOTATION_RESULT_VALUE, value);
        }
        if values.is_empty() {
            return Ok(());
        }
        let mut metadata = json!({ "annotations": values });
        if let Some(uid) = &workload.job_uid {
            // Another Job of the same name is not ours to write on: the server answers with a conflict.
            metadata["uid"] = json!(uid);
        }
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &workload.namespace);
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        gone_is_done(limited(jobs.patch_metadata(&workload.job_name, &parameters, &patch)).await, &[404, 409])
    }

    async fn let_go(&self, pod: &KubePod, workload: &Workload) -> Result<(), Cause> {
        if !pod.finalizers().iter().any(|name| name == POD_FINALIZER) {
            return Ok(());
        }
        // A merge patch would replace the whole list, the Job controller's finalizer included.
        let patch = Patch::Strategic(json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": [POD_FINALIZER] } }));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let pods = self.pods(&workload.namespace);
        gone_is_done(limited(pods.patch_metadata(&pod.name_any(), &parameters, &patch)).await, &[404])
    }
}

impl PodSource for KubernetesPods {
    fn pods<'a>(&'a self, job: &'a JobId, workload: &'a Workload) -> BoxFuture<'a, Result<Vec<Pod>, PodsError>> {
        async move {
            let mut found = self.of_job(job, workload).await.map_err(PodsError::Find)?;
            found.sort_by_key(|pod| (pod.creation_timestamp(), pod.name_any()));
            Ok(found.iter().map(pod_of).collect())
        }
        .boxed()
    }

    fn log<'a>(
        &'a self,
        workload: &'a Workload,
        pod: &'a str,
        container: &'a str,
        read: LogRead,
    ) -> BoxFuture<'a, Result<LogStream, PodsError>> {
        self.open_log(workload, pod, container, read).boxed()
    }

    fn release<'a>(
        &'a self,
        job: &'a JobId,
        workload: &'a Workload,
        annotations: Option<&'a ResultAnnotations>,
    ) -> BoxFuture<'a, Result<(), PodsError>> {
        async move {
            if let Some(annotations) = annotations {
                self.annotate(workload, annotations).await.map_err(PodsError::Annotate)?;
            }
            for pod in self.of_job(job, workload).await.map_err(PodsError::Release)? {
                self.let_go(&pod, workload).await.map_err(PodsError::Release)?;
            }
            Ok(())
        }
        .boxed()
    }

    fn held<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Result<HeldPage, PodsError>> {
        async move {
            let (index, token) = place_in_list(after);
            let Some(namespace) = self.namespaces.get(index) else { return Ok(HeldPage::default()) };
            let further = (index + 1 < self.namespaces.len()).then(|| format!("{} ", index + 1));
            match (self.held_in(namespace, token).await, further) {
                (Ok(HeldPage { held, next }), further) => {
                    Ok(HeldPage { held, next: next.map(|token| format!("{index} {token}")).or(further) })
                }
                // One namespace that can't be looked through does not keep the others.
                (Err(error), Some(further)) => {
                    error!(%namespace, error = %platform::telemetry::chain(&error), "its held pods could not be swept");
                    Ok(HeldPage { held: Vec::new(), next: Some(further) })
                }
                (Err(error), None) => Err(error),
            }
        }
        .boxed()
    }
}

/// Which namespace comes next, and where in its list: the page before's [`HeldPage::next`].
fn place_in_list(after: Option<&str>) -> (usize, &str) {
    let (index, token) = after.and_then(|after| after.split_once(' ')).unwrap_or(("0", ""));
    (index.parse().unwrap_or(0), token)
}

async fn limited<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Cause> {
    Ok(tokio::time::timeout(REQUEST_LIMIT, request).await??)
}

/// What is answered for a pod that is not there any more, or a container. 400 is what the kubelet gives for whatever keeps it from a
/// log: only these words are those of a container that it knows nothing of any more, as after an eviction.
fn is_gone(status: &Status) -> bool {
    matches!(status.code, 404 | 410) || (status.code == 400 && status.message.ends_with("\" is terminated"))
}

fn gone_is_done<T>(answer: Result<T, Cause>, gone: &[u16]) -> Result<(), Cause> {
    match answer {
        Ok(_) => Ok(()),
        Err(cause) => match cause.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) if gone.contains(&status.code) => Ok(()),
            _ => Err(cause),
        },
    }
}

/// A log being read.
struct Log<R> {
    reader: Pin<Box<R>>,
    buffer: Vec<u8>,
    timestamps: Timestamps,
    /// What is told once the bytes before it were taken.
    failure: Option<Cause>,
    container: String,
    /// How long the next bytes may take.
    stall: Option<Duration>,
}

impl<R: AsyncBufRead> Log<R> {
    async fn next(mut self) -> Result<Option<(Chunk, Self)>, PodsError> {
        let (mut log, mut lines) = (Vec::new(), Vec::new());
        while log.is_empty() {
            if let Some(source) = self.failure.take() {
                return Err(PodsError::Log { container: self.container, source });
            }
            let reading = self.reader.read(&mut self.buffer);
            let read = match self.stall {
                Some(limit) => tokio::time::timeout(limit, reading).await,
                None => Ok(reading.await),
            };
            let read = match read {
                Err(late) => Err(Cause::from(late)),
                Ok(Err(error)) => Err(error.into()),
                Ok(Ok(0)) => match self.timestamps.finish() {
                    Ok(()) => return Ok(None),
                    Err(error) => Err(error.into()),
                },
                Ok(Ok(size)) => self.timestamps.push(&self.buffer[..size], &mut log, &mut lines).map_err(Cause::from),
            };
            self.failure = read.err();
        }
        Ok(Some((Chunk { bytes: log.into(), lines }, self)))
    }
}

fn belongs(pod: &KubePod, job_uid: Option<&str>) -> bool {
    let Some(uid) = job_uid else { return true };
    pod.owner_references().iter().any(|owner| owner.kind == "Job" && owner.uid == uid)
}

fn pod_of(pod: &KubePod) -> Pod {
    let status = pod.status.clone().unwrap_or_default();
    let pending = status.phase.as_deref().is_none_or(|phase| phase == "Pending");
    let started = |name: &str, statuses: Option<&Vec<ContainerStatus>>| {
        let own = statuses.into_iter().flatten().find(|status| status.name == name);
        // An evicted pod may have lost its containers' statuses: its log is asked for, and missed.
        own.map_or(!pending, has_started)
    };
    let may_run = may_run(pod);
    let running = |name: &str, statuses: Option<&Vec<ContainerStatus>>| {
        let own = statuses.into_iter().flatten().find(|status| status.name == name);
        may_run && own.and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some())
    };
    let ended = |name: &str, statuses: Option<&Vec<ContainerStatus>>| {
        let own = statuses.into_iter().flatten().find(|status| status.name == name)?;
        Some(own.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)
    };
    let spec = pod.spec.clone().unwrap_or_default();
    let container = |init: bool, main: bool, spec: ContainerSpec| {
        let statuses = if init { &status.init_container_statuses } else { &status.container_statuses };
        Container {
            started: started(&spec.name, statuses.as_ref()),
            running: running(&spec.name, statuses.as_ref()),
            ended: ended(&spec.name, statuses.as_ref()),
            name: spec.name,
            init,
            main,
        }
    };
    let init = spec.init_containers.unwrap_or_default().into_iter().map(|spec| container(true, false, spec));
    let main = spec.containers.into_iter().enumerate().map(|(index, spec)| container(false, index == 0, spec));
    let is_deleted = pod.metadata.deletion_timestamp.is_some();
    Pod {
        name: pod.name_any(),
        created: pod.creation_timestamp().map(|time| time.0),
        containers: init.chain(main).collect(),
        may_start: may_run && !is_deleted,
        is_deleted,
    }
}

/// False once the pod's phase is its last, or nobody will say any more that its containers ended: a grace period of 0 is
/// set by the kubelet when they did, and by whoever removes the pod by force.
fn may_run(pod: &KubePod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_done = pod.metadata.deletion_timestamp.is_some() && pod.metadata.deletion_grace_period_seconds == Some(0);
    !is_done && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn has_started(status: &ContainerStatus) -> bool {
    let ran = |state: Option<&ContainerState>| {
        state.is_some_and(|state| state.running.is_some() || state.terminated.as_ref().is_some_and(ran_before_its_end))
    };
    ran(status.state.as_ref()) || ran(status.last_state.as_ref())
}

fn ran_before_its_end(end: &ContainerStateTerminated) -> bool {
    match end.reason.as_deref() {
        // The runtime made the container, and could not run its command.
        Some("StartError" | "ContainerCannotRun") => false,
        // The kubelet lost sight of it, which says nothing about whether it ran: the log is asked for, and missed.
        Some("ContainerStatusUnknown") => true,
        _ => end.started_at.is_some() || end.container_id.as_deref().is_some_and(|id| !id.is_empty()),
    }
}

/// A pod that has ended, or is being deleted, and waits for us.
fn held_of(pod: &KubePod) -> Option<Held> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_over = matches!(phase, Some("Succeeded" | "Failed")) || pod.metadata.deletion_timestamp.is_some();
    if !is_over || !pod.finalizers().iter().any(|name| name == POD_FINALIZER) {
        return None;
    }
    let owner = pod.owner_references().iter().find(|owner| owner.kind == "Job");
    Some(Held {
        job: pod.labels().get(LABEL_JOB_ID)?.parse().ok()?,
        workload: Workload {
            executor: ExecutorKind::Kubernetes,
            namespace: pod.namespace()?,
            job_name: owner.map(|owner| owner.name.clone()).unwrap_or_default(),
            job_uid: owner.map(|owner| owner.uid.clone()),
            pod_name: Some(pod.name_any()),
            pod_uid: pod.uid(),
            uploads: None,
            unknown: protocol::Unknown::new(),
        },
        terminating: pod.metadata.deletion_timestamp.is_some(),
        created: pod.creation_timestamp().map(|time| time.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, value: serde_json::Value) -> KubePod {
        let mut pod = json!({
            "metadata": {
                "name": name, "namespace": "n", "uid": "pod-uid",
                "labels": { LABEL_JOB_ID: "01890a5d-ac96-774b-bcce-b302099a8057" },
                "finalizers": ["batch.kubernetes.io/job-tracking", POD_FINALIZER],
                "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "job-uid" }],
            },
            "spec": { "initContainers": [{ "name": "init" }], "containers": [{ "name": "main" }, { "name": "second" }] },
        });
        for (key, part) in value.as_object().unwrap() {
            match (&mut pod[key], part) {
                (serde_json::Value::Object(own), serde_json::Value::Object(more)) => own.extend(more.clone()),
                (own, part) => *own = part.clone(),
            }
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_page_of_held_pods_says_where_the_next_one_starts() {
        assert_eq!(place_in_list(None), (0, ""));
        assert_eq!(place_in_list(Some("1 ")), (1, ""));
        assert_eq!(place_in_list(Some("2 a token==")), (2, "a token=="));
    }

    #[test]
    fn init_containers_come_first_and_the_first_other_one_is_main() {
        let seen = pod_of(&pod("p", json!({})));
        let order: Vec<_> = seen.containers.iter().map(|c| (c.name.as_str(), c.init, c.main)).collect();
        assert_eq!(order, [("init", true, false), ("main", false, true), ("second", false, false)]);
    }

    #[test]
    fn a_container_whose_image_was_never_pulled_did_not_start() {
        let seen = pod_of(&pod(
            "p",
            json!({ "status": {
            "phase": "Failed",
            "initContainerStatuses": [{ "name": "init", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": { "terminated": { "exitCode": 0, "containerID": "containerd://1" } } }],
            "containerStatuses": [{ "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": "ImagePullBackOff" } } }],
        } }),
        ));
        assert_eq!(seen.containers.iter().map(|c| c.started).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn a_container_that_ended_ran_unless_it_could_not_be_started() {
        let ended = |end: serde_json::Value| {
            let status = json!({ "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "terminated": end } });
            has_started(&serde_json::from_value(status).unwrap())
        };
        let time = "2026-01-01T00:00:00Z";
        assert!(ended(json!({ "exitCode": 0, "startedAt": time })));
        assert!(ended(json!({ "exitCode": 137, "reason": "ContainerStatusUnknown" })));
        assert!(!ended(json!({ "exitCode": 128, "reason": "StartError", "startedAt": time, "containerID": "c://1" })));
        assert!(!ended(json!({ "exitCode": 1, "reason": "Error" })));
    }

    #[test]
    fn a_container_runs_until_its_state_its_phase_or_the_end_of_its_grace_period_says_otherwise() {
        let runs = |metadata: serde_json::Value, phase: &str| {
            let status = json!({ "phase": phase, "containerStatuses": [
                { "name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                    "state": { "running": {} } },
                { "name": "second", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "terminated": { "exitCode": 0 } } },
            ] });
            let seen = pod_of(&pod("p", json!({ "metadata": metadata, "status": status })));
            seen.containers.iter().map(|container| container.running).collect::<Vec<_>>()
        };
        let time = "2026-01-01T00:00:00Z";
        assert_eq!(runs(json!({}), "Running"), [false, true, false]);
        let deleted = |grace: i64| json!({ "deletionTimestamp": time, "deletionGracePeriodSeconds": grace });
        assert_eq!(runs(deleted(30), "Running"), [false, true, false]);
        assert_eq!(runs(deleted(0), "Running"), [false; 3]);
        assert_eq!(runs(json!({}), "Failed"), [false; 3]);
    }

    #[test]
    fn containers_may_start_until_their_pod_has_ended_or_is_to_be_deleted() {
        let may_start = |metadata: serde_json::Value, phase: &str| {
            pod_of(&pod("p", json!({ "metadata": metadata, "status": { "phase": phase } }))).may_start
        };
        assert!(may_start(json!({}), "Pending") && may_start(json!({}), "Running"));
        assert!(!may_start(json!({}), "Failed"));
        assert!(!may_start(json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }), "Pending"));
    }

    #[test]
    fn a_pending_pod_without_statuses_started_nothing() {
        let seen = pod_of(&pod("p", json!({ "status": { "phase": "Pending" } })));
        assert!(seen.containers.iter().all(|container| !container.started));
    }

    #[test]
    fn only_a_pod_or_container_that_is_not_there_has_no_log_for_ever() {
        let answer = |code: u16, words: &str| Status::failure(words, "").with_code(code);
        assert!([404, 410].into_iter().all(|code| is_gone(&answer(code, "any"))));
        assert!([400, 403, 409, 429, 500, 502, 503, 504].into_iter().all(|code| !is_gone(&answer(code, "any"))));
        assert!(is_gone(&answer(400, "container \"c\" in pod \"p\" is terminated")));
        assert!(!is_gone(&answer(400, "container \"c\" in pod \"p\" is waiting to start: PodInitializing")));
    }

    #[tokio::test]
    async fn a_log_ends_with_an_error_where_the_kubelet_speaks_itself() {
        let text = b"2026-01-31T12:00:00.000000001Z a\nfailed to read log file: input/output error".as_slice();
        let mut log = Log {
            reader: Box::pin(text),
            buffer: vec![0; 7],
            timestamps: Timestamps::default(),
            failure: None,
            container: "main".into(),
            stall: Some(STALL_LIMIT),
        };
        let mut bytes = Vec::new();
        let error = loop {
            match log.next().await {
                Ok(next) => {
                    let (chunk, rest) = next.unwrap();
                    bytes.extend_from_slice(&chunk.bytes);
                    log = rest;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(bytes, b"a\n");
        assert!(matches!(&error, PodsError::Log { .. }) && !error.is_lasting());
    }

    #[test]
    fn pods_of_another_job_of_the_same_name_are_not_ours() {
        let found = pod("p", json!({}));
        assert!(belongs(&found, Some("job-uid")) && belongs(&found, None) && !belongs(&found, Some("other")));
    }

    #[test]
    fn only_pods_that_are_over_and_have_our_finalizer_are_held() {
        assert!(held_of(&pod("p", json!({ "status": { "phase": "Running" } }))).is_none());
        let held = held_of(&pod("p", json!({ "status": { "phase": "Succeeded" } }))).unwrap();
        assert_eq!((held.workload.job_name.as_str(), held.workload.job_uid.as_deref()), ("j", Some("job-uid")));
        let released = json!({ "metadata": { "finalizers": [] }, "status": { "phase": "Failed" } });
        assert!(held_of(&pod("p", released)).is_none());
    }
}
