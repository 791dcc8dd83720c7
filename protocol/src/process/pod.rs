//! What a process's pod is given beside its containers: where it runs, as whom, for how long, and what stands on it.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::{ImagePullPolicy, Retries};

/// Options of a process that pygeoapi-k8s-manager does not have. Without any, a Job is what it was there.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PodOptions {
    /// `namespace`: where the Jobs of this process are; none: the dispatcher's.
    pub namespace: Option<String>,
    /// `queue_name`: the queue of Kueue that Jobs wait in; they are created suspended.
    pub queue_name: Option<String>,
    /// `active_deadline_seconds`: how long a Job may be active, from its start to its end.
    pub active_deadline_seconds: Option<i64>,
    /// `retries` and `fail_on_exit_codes`.
    pub retries: Retries,
    /// `pod_security`, `run_as_user`, `run_as_group` and `fs_group`.
    pub security: PodSecurity,
    /// `node_selector`: labels that a node must have.
    pub node_selector: IndexMap<String, String>,
    /// `affinity`: an `Affinity` object of Kubernetes.
    pub affinity: Option<Value>,
    /// `priority_class_name`.
    pub priority_class_name: Option<String>,
    /// `runtime_class_name`.
    pub runtime_class_name: Option<String>,
    /// `service_account_name`; none: no token of a service account is mounted.
    pub service_account_name: Option<String>,
    /// `labels` of Job and pod, beside ours.
    pub labels: IndexMap<String, String>,
    /// `annotations` of Job and pod, beside ours.
    pub annotations: IndexMap<String, String>,
    /// `args` of the main container; empty: the image's own.
    pub args: Vec<String>,
    /// `working_dir` of the main container.
    pub working_dir: Option<String>,
    /// `image_pull_policy` of the main container.
    pub image_pull_policy: Option<ImagePullPolicy>,
}

/// As whom the containers of a pod run, and what they may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PodSecurity {
    /// `pod_security`.
    pub level: SecurityLevel,
    /// `run_as_user`: the number of the user; none: the image's.
    pub run_as_user: Option<i64>,
    /// `run_as_group`: the number of the group; none: the image's.
    pub run_as_group: Option<i64>,
    /// `fs_group`: the number of the group that volumes belong to.
    pub fs_group: Option<i64>,
}

/// What containers may do. Each level also does what the one before it does; `baseline` and `restricted` fit the standards of
/// these names. <https://kubernetes.io/docs/concepts/security/pod-security-standards/>
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityLevel {
    /// No privilege escalation, seccomp `RuntimeDefault`: images run as before, as root too.
    #[default]
    Compatible,
    /// Not privileged, and without the one usual capability that the standard does not allow: `NET_RAW`.
    Baseline,
    /// Not as root, and without any capability.
    Restricted,
}

impl SecurityLevel {
    /// Each level, as it is written in the configuration file.
    pub const WORDS: [(&'static str, Self); 3] =
        [("compatible", Self::Compatible), ("baseline", Self::Baseline), ("restricted", Self::Restricted)];
}
