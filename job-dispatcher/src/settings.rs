//! Settings of the dispatcher: section `dispatcher`, variables `QUAYSIDE_DISPATCHER__…`.

use std::{path::PathBuf, time::Duration};

use platform::config::{list, seconds};
use serde::Deserialize;

/// What can be set.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DispatcherSettings {
    /// `kubernetes` or `local`.
    pub executor: ExecutorChoice,
    /// Folder of the local executor, seen by all replicas on the machine.
    pub local_dir: PathBuf,
    /// Namespaces that are watched beside the dispatcher's own and those that processes name: of jobs that are still there when a
    /// process has moved. Separated by commas.
    #[serde(deserialize_with = "list")]
    pub namespaces: Vec<String>,
    /// How long a pod may take to start, in seconds; once its init containers run it is not counted, and begins anew when the last one has
    /// ended.
    #[serde(deserialize_with = "seconds")]
    pub start_deadline: Duration,
    /// How long a quota may keep a job from being launched, or its pod from being made, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub quota_deadline: Duration,
    /// Image of the companion, which puts inputs into files and stores files of outputs.
    pub companion_image: String,
    /// How long the URLs under which containers fetch inputs and put outputs are valid, in seconds: from the creation of the Job on.
    #[serde(deserialize_with = "seconds")]
    pub presigned_expiry: Duration,
    /// Cap on all live jobs, over all replicas. With one process it is exact; with several it may be passed by a few
    /// while launches wait for long, by what other replicas create in the moment that the watch is behind.
    pub max_live: usize,
    /// Cap on the live jobs of each process that has none of its own (`max_live`), over all replicas.
    pub max_live_per_process: usize,
    /// Jobs that each replica creates at one time, at most; while the API server refuses or fails, it is fewer.
    pub max_creating: usize,
    /// How long a Job stays after its job is done and archived, in seconds. Not kept: those of dismissed jobs, and of jobs that failed with
    /// `ImagePull`, `Unschedulable`, `Deadline`, `ConfigError`, `StartError`, `NodeLost`, `QuotaExceeded` or `AdmissionRejected`. A Job that
    /// never started, or whose node was lost, is
    /// deleted when it fails, unless its init containers have a log and it has no retries.
    #[serde(deserialize_with = "seconds")]
    pub keep_jobs: Duration,
    /// Whether Jobs and pods that pygeoapi-k8s-manager left in the namespace are taken over.
    pub adopt: bool,
    /// How long an execution may wait for its process to be configured, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub unconfigured_after: Duration,
    /// Time between two sweeps, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub sweep_every: Duration,
}

/// The executor to use. The local one starts only when asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutorChoice {
    /// Kubernetes Jobs.
    Kubernetes,
    /// Child processes of this machine, for trying Quayside out.
    Local,
}

/// Signatures of version 4 are valid for a week at most.
const LONGEST_PRESIGNED: Duration = Duration::from_secs(7 * 86_400);

impl Default for DispatcherSettings {
    fn default() -> Self {
        Self {
            executor: ExecutorChoice::Kubernetes,
            local_dir: PathBuf::from("/var/lib/quayside/local"),
            namespaces: Vec::new(),
            start_deadline: Duration::from_secs(300),
            quota_deadline: Duration::from_secs(86_400),
            companion_image: concat!("quayside/companion:", env!("CARGO_PKG_VERSION")).to_owned(),
            presigned_expiry: LONGEST_PRESIGNED,
            max_live: 1000,
            max_live_per_process: 200,
            max_creating: 32,
            keep_jobs: Duration::from_secs(3600),
            adopt: true,
            unconfigured_after: Duration::from_secs(900),
            sweep_every: Duration::from_secs(60),
        }
    }
}

impl DispatcherSettings {
    /// What is not allowed, all of it.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.max_live == 0 {
            mistakes.push("dispatcher.max_live: expected 1 or more".to_owned());
        }
        if self.max_live_per_process == 0 {
            mistakes.push("dispatcher.max_live_per_process: expected 1 or more".to_owned());
        }
        if self.max_creating == 0 {
            mistakes.push("dispatcher.max_creating: expected 1 or more".to_owned());
        }
        if self.companion_image.is_empty() {
            mistakes.push("dispatcher.companion_image: expected an image".to_owned());
        }
        if !(Duration::from_secs(60)..=LONGEST_PRESIGNED).contains(&self.presigned_expiry) {
            mistakes.push("dispatcher.presigned_expiry: expected 60 to 604800 seconds".to_owned());
        }
        if self.start_deadline < Duration::from_secs(1) {
            mistakes.push("dispatcher.start_deadline: expected 1 second or more".to_owned());
        }
        if self.sweep_every < Duration::from_secs(1) {
            mistakes.push("dispatcher.sweep_every: expected 1 second or more".to_owned());
        }
        mistakes
    }
}
