//! What runs jobs. The seam is level-based: an executor lists and observes, creates, and deletes by UID; what an
//! observation means is decided elsewhere, by pure functions ([`crate::outcome`]).

pub mod kubernetes;
pub mod local;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use protocol::{
    JobId, ProcessDefinition, ProcessId,
    job_record::{ExecutorKind, Reason, Uploads},
};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{kubernetes::KubernetesExecutor, local::LocalExecutor};
use crate::exchange::Exchange;

/// What runs jobs; cheap to clone.
#[derive(Clone)]
pub enum Executor {
    /// Kubernetes Jobs.
    Kubernetes(Arc<KubernetesExecutor>),
    /// Child processes of this machine, for trying Quayside out.
    Local(LocalExecutor),
}

/// Everything an executor needs to run one job.
#[derive(Debug, Clone)]
pub struct JobPlan {
    /// Id of the job.
    pub job_id: JobId,
    /// The process.
    pub process: ProcessDefinition,
    /// Namespace of the Kubernetes Job.
    pub namespace: String,
    /// Name of the Kubernetes Job, or of the local folder.
    pub job_name: String,
    /// When the job was created.
    pub created: Timestamp,
    /// The inputs, without the token; empty where they go into a file.
    pub inputs: Map<String, Value>,
    /// What goes another way than through environment and log.
    pub exchange: Exchange,
    /// The inputs as they may be shown.
    pub masked_parameters: Option<String>,
    /// Whether pods are kept until their log is stored.
    pub hold_pod: bool,
}

/// What an executor sees of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Id of the job.
    pub job_id: JobId,
    /// Process, as the object says.
    pub process_id: Option<ProcessId>,
    /// Namespace; `local` for the local executor.
    pub namespace: String,
    /// Name of the Kubernetes Job, or of the local folder.
    pub job_name: String,
    /// UID of this one incarnation.
    pub uid: String,
    /// True once its deletion was asked for.
    pub terminating: bool,
    /// When it was created.
    pub created: Timestamp,
    /// What the Job's conditions say.
    pub state: JobState,
    /// True while it may not run: no pod of it is made.
    pub suspended: bool,
    /// The queue that it waits in before it may run.
    pub queue: Option<String>,
    /// How many pods that fail are followed by another one.
    pub retries: u32,
    /// Where it puts its outputs itself, as the object says.
    pub uploads: Option<Uploads>,
    /// Its pods, oldest first.
    pub pods: Vec<PodObservation>,
    /// Why its pod was refused when one was to be made last, where that was asked for ([`Executor::refusal`]).
    pub refused: Option<String>,
}

/// What the conditions of a Job say.
#[derive(Debug, Clone, PartialEq)]
pub enum JobState {
    /// Neither of the others.
    Active,
    /// It succeeded.
    Complete,
    /// It failed.
    Failed {
        /// The condition's reason.
        reason: String,
        /// The condition's message.
        message: String,
    },
}

/// What is seen of one pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodObservation {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When it was created.
    pub created: Timestamp,
    /// True once its deletion was asked for.
    pub terminating: bool,
    /// When it ought to be gone, once its deletion was asked for.
    pub gone_by: Option<Timestamp>,
    /// True once its phase is its last: nothing more will be said of how it ended.
    pub phase_is_last: bool,
    /// Why Kubernetes itself ended it, if it did.
    pub disruption: Option<Disruption>,
    /// The pod's own reason, such as `Evicted`.
    pub reason: Option<String>,
    /// The pod's own message.
    pub message: Option<String>,
    /// Why no node takes it, while that is so.
    pub unschedulable: Option<String>,
    /// Its containers, init containers first, in the pod's order.
    pub containers: Vec<ContainerObservation>,
}

/// A pod was ended by Kubernetes itself
/// (<https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions>).
#[derive(Debug, Clone, PartialEq)]
pub struct Disruption {
    /// The condition's reason, such as `PreemptionByScheduler`.
    pub reason: String,
    /// The condition's message.
    pub message: String,
}

/// What is seen of one container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerObservation {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its limit of memory, as Kubernetes writes it.
    pub memory_limit: Option<String>,
    /// True of an init container.
    pub init: bool,
    /// Its state.
    pub state: ContainerState,
}

/// State of a container.
#[derive(Debug, Clone, PartialEq)]
pub enum ContainerState {
    /// Not started.
    Waiting {
        /// Such as `ImagePullBackOff`.
        reason: Option<String>,
        /// Details.
        message: Option<String>,
    },
    /// Running.
    Running {
        /// Since when.
        started: Option<Timestamp>,
    },
    /// Ended.
    Terminated {
        /// Its exit code; 128 + the signal's number when it was killed by one.
        exit_code: i32,
        /// Such as `OOMKilled`.
        reason: Option<String>,
        /// Details.
        message: Option<String>,
        /// When it started.
        started: Option<Timestamp>,
        /// When it ended.
        finished: Option<Timestamp>,
    },
}

/// What an executor's watch tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Everything there is in this namespace was told since the watch began: its level is known.
    Synced {
        /// The namespace.
        namespace: String,
    },
    /// This namespace can't be watched now. It is tried again, and nothing is launched there before it is known.
    Unwatched {
        /// The namespace.
        namespace: String,
        /// Why.
        why: String,
    },
    /// This is how one job looks now.
    Seen(Box<Observation>),
    /// A job's object is gone.
    Gone {
        /// Id of the job.
        job_id: JobId,
        /// UID of what is gone.
        uid: String,
    },
}

/// A job can't be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is an object of that name: whoever made it; look at it before anything else.
    #[error("there is a job of that name already")]
    Exists,
    /// It will never work: the job fails for this reason.
    #[error("{message}")]
    Refused {
        /// The reason.
        reason: Reason,
        /// The sentence for a person.
        message: String,
    },
    /// A quota forbids it: it will work once other jobs are gone, or the quota is raised.
    #[error("{0}")]
    Quota(String),
    /// The server asks to go slower, fails, or did not answer: it will work later, and the sooner the fewer ask at one time. Whether
    /// the job was created is not known.
    #[error("the job can't be created now, the server is under pressure")]
    Pressed {
        /// When to try again, as the server says.
        retry_after: Option<Duration>,
        /// What it answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It may work later.
    #[error("the job can't be created now")]
    Passing(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl CreateError {
    /// The API server's words, where it refuses a job for what can be mended and is not the server's own trouble.
    pub(crate) fn words(&self) -> Option<&str> {
        let Self::Passing(source) = self else { return None };
        match source.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Some(&status.message),
            _ => None,
        }
    }
}

/// The executor did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the executor did not answer")]
pub struct ExecutorError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What a look for the cause of a missing pod found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// The words of whoever refused the pod.
    Refused(String),
    /// Nobody has refused it, as far as can be told here.
    Nothing,
    /// The executor could not be asked now.
    NotNow,
}

impl Executor {
    /// Which one it is.
    pub fn kind(&self) -> ExecutorKind {
        match self {
            Self::Kubernetes(_) => ExecutorKind::Kubernetes,
            Self::Local(_) => ExecutorKind::Local,
        }
    }

    /// The namespace of a process's jobs.
    pub fn namespace_of<'a>(&'a self, process: &'a ProcessDefinition) -> &'a str {
        match self {
            Self::Kubernetes(executor) => process.pod.namespace.as_deref().unwrap_or(executor.namespace()),
            Self::Local(_) => local::NAMESPACE,
        }
    }

    /// Every namespace that it watches, that of processes without one first.
    pub fn namespaces(&self) -> Vec<&str> {
        match self {
            Self::Kubernetes(executor) => executor.namespaces().collect(),
            Self::Local(_) => vec![local::NAMESPACE],
        }
    }

    /// Creates the job and returns its UID. The name makes it unique.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn create(&self, plan: &JobPlan) -> Result<String, CreateError> {
        match self {
            Self::Kubernetes(executor) => executor.create(plan).await,
            Self::Local(executor) => executor.create(plan).await,
        }
    }

    /// Looks at one job now, not through the watch; `None` when there is no such object, or it is not ours.
    ///
    /// # Errors
    /// When the executor did not answer.
    pub async fn observe(&self, namespace: &str, job_name: &str) -> Result<Option<Observation>, ExecutorError> {
        match self {
            Self::Kubernetes(executor) => executor.observe(namespace, job_name).await,
            Self::Local(executor) => executor.observe(job_name).await,
        }
    }

    /// Why no pod of a job could be made.
    pub async fn refusal(&self, seen: &Observation) -> Looked {
        match self {
            Self::Kubernetes(executor) => executor.refusal(seen).await,
            Self::Local(_) => Looked::Nothing,
        }
    }

    /// Ends that one incarnation of a job in a way that leaves its log to be read; where there is none, deletes it.
    ///
    /// # Errors
    /// When the executor did not answer.
    pub async fn stop(&self, seen: &Observation) -> Result<(), ExecutorError> {
        match self {
            Self::Kubernetes(executor) => executor.stop(seen).await,
            // Its folder stays until it is released.
            Self::Local(executor) => executor.delete(&seen.job_name, &seen.uid).await,
        }
    }

    /// Deletes that one incarnation of a job, its pods with it. Success when it is gone already.
    ///
    /// # Errors
    /// When the executor did not answer.
    pub async fn delete(&self, namespace: &str, job_name: &str, uid: &str) -> Result<(), ExecutorError> {
        match self {
            Self::Kubernetes(executor) => executor.delete(namespace, job_name, uid).await,
            Self::Local(executor) => executor.delete(job_name, uid).await,
        }
    }

    /// Tells everything there is, then each change, until `stop`; starts over by itself after any failure.
    pub async fn watch(&self, changes: mpsc::Sender<Change>, stop: CancellationToken) {
        match self {
            Self::Kubernetes(executor) => executor.watch(changes, stop).await,
            Self::Local(executor) => executor.watch(changes, stop).await,
        }
    }
}

impl Observation {
    /// True while a pod of it ought to be made, and none is there.
    pub fn lacks_pod(&self) -> bool {
        self.state == JobState::Active && !self.suspended && !self.terminating && self.pods.is_empty()
    }

    /// True once a main container runs or ran.
    pub fn has_started(&self) -> bool {
        self.pods
            .iter()
            .flat_map(|pod| &pod.containers)
            .any(|container| !container.init && !matches!(container.state, ContainerState::Waiting { .. }))
    }

    /// True while a container runs.
    pub fn runs(&self) -> bool {
        let mut containers = self.pods.iter().flat_map(|pod| &pod.containers);
        containers.any(|container| matches!(container.state, ContainerState::Running { .. }))
    }
}

impl PodObservation {
    /// True once one of its containers runs or ran.
    pub fn has_log(&self) -> bool {
        !self.containers.iter().all(|container| matches!(container.state, ContainerState::Waiting { .. }))
    }

    /// True once all of its containers have ended.
    pub fn is_over(&self) -> bool {
        self.containers.iter().all(|container| matches!(container.state, ContainerState::Terminated { .. }))
    }
}
