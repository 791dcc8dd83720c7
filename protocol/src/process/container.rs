//! What a process's pod is made of, as far as the configuration file says.

use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

/// One environment variable of the main container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvVar {
    /// Its name: not empty, without `=`.
    pub name: String,
    /// Where its value comes from.
    pub value: EnvValue,
}

/// Where an environment variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// `value`, turned to text as Python's `str` does it (`True`, `1024`, `1.5`, `None`).
    Value(String),
    /// `secret_name` and `secret_key`.
    Secret {
        /// Name of the Kubernetes secret.
        name: String,
        /// Key in it.
        key: String,
    },
}

/// An amount in Kubernetes' notation (`500m`, `128Mi`), its form checked.
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Quantity(String);

/// A text that is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no quantity of Kubernetes, such as 500m, 2, 128Mi or 1.5G")]
pub struct InvalidQuantity(String);

impl Quantity {
    const SUFFIXES: [&str; 16] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

    /// Checks the form: a number, then one of Kubernetes' suffixes or a decimal exponent.
    pub fn parse(text: &str) -> Result<Self, InvalidQuantity> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let is_number = number.bytes().any(|b| b.is_ascii_digit()) && number.matches('.').count() <= 1;
        let exponent = suffix.strip_prefix(['e', 'E']).map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
        let is_exponent = exponent.is_some_and(|e| !e.is_empty() && e.bytes().all(|b| b.is_ascii_digit()));
        if is_number && (is_exponent || Self::SUFFIXES.contains(&suffix)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidQuantity(text.to_owned()))
        }
    }

    /// The amount as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `resources` of the main container: name (`cpu`, `memory`, …) → amount.
///
/// pygeoapi-k8s-manager refuses to execute without both maps. Here a process without `resources` has
/// [`Resources::default`]; where only one map is given, the other stays empty (Kubernetes then takes requests from
/// limits).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// The most it may use.
    pub limits: IndexMap<String, Quantity>,
    /// What is reserved for it.
    pub requests: IndexMap<String, Quantity>,
}

impl Default for Resources {
    /// Requests 100m CPU and 128Mi memory, limits 1 CPU and 512Mi memory.
    fn default() -> Self {
        let amounts = |cpu: &str, memory: &str| {
            IndexMap::from([
                ("cpu".to_owned(), Quantity(cpu.to_owned())),
                ("memory".to_owned(), Quantity(memory.to_owned())),
            ])
        };
        Self { limits: amounts("1", "512Mi"), requests: amounts("100m", "128Mi") }
    }
}

/// One entry of `storage`: a volume and where the main container sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Volume {
    /// The volume's name in the pod, a DNS label, unique among the process's volumes.
    pub name: String,
    /// Absolute path in the main container.
    pub mount_path: String,
    /// `read_only`: whether the main container may only read it.
    pub read_only: bool,
    /// What is behind it.
    pub source: VolumeSource,
}

/// What is behind a volume.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeSource {
    /// `persistent_volume_claim_name`: an existing claim.
    PersistentVolumeClaim {
        /// The claim's name.
        name: String,
    },
    /// `empty_dir`: a folder that lives as long as the pod.
    EmptyDir(EmptyDir),
    /// `secret_name`: the keys of a secret as files.
    Secret {
        /// The secret's name.
        name: String,
        /// `items`: those keys that become files, each a `KeyToPath` object of Kubernetes; empty: all, under their names.
        items: Vec<Value>,
    },
    /// `config_map_name`: the keys of a ConfigMap as files.
    ConfigMap {
        /// The ConfigMap's name.
        name: String,
        /// `items`, as of a secret.
        items: Vec<Value>,
    },
}

/// Options of an `empty_dir`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EmptyDir {
    /// `size_limit`.
    pub size_limit: Option<Quantity>,
    /// `medium`.
    pub medium: Medium,
}

/// Where an `empty_dir` is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub enum Medium {
    /// The node's disk.
    #[default]
    Default,
    /// The node's memory, counted against the container's limit.
    Memory,
    /// Huge pages; the whole word, such as `HugePages-2Mi`.
    HugePages(String),
}

impl Medium {
    /// Kubernetes' word for it; empty for the default.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Default => "",
            Self::Memory => "Memory",
            Self::HugePages(word) => word,
        }
    }
}

/// One entry of `init_containers`. What is in Kubernetes' own form is kept as written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InitContainer {
    /// A DNS label, unique in the pod.
    pub name: String,
    /// Its image.
    pub image: String,
    /// `imagePullPolicy`.
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Its command; empty: the image's own.
    pub command: Vec<String>,
    /// Its arguments; empty: the image's own.
    pub args: Vec<String>,
    /// Each an `EnvVar` object of Kubernetes.
    pub env: Vec<Value>,
    /// Each a `VolumeMount` object of Kubernetes.
    pub volume_mounts: Vec<Value>,
    /// A `ResourceRequirements` object of Kubernetes.
    pub resources: Option<Value>,
}

/// When the node pulls an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ImagePullPolicy {
    /// Before each start.
    Always,
    /// If the node lacks it.
    IfNotPresent,
    /// Not at all.
    Never,
}

impl ImagePullPolicy {
    /// Each policy, as it is written in the configuration file.
    pub const WORDS: [(&'static str, Self); 3] =
        [("Always", Self::Always), ("IfNotPresent", Self::IfNotPresent), ("Never", Self::Never)];

    /// Kubernetes' word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// One entry of `tolerations`, with Kubernetes' meaning.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Toleration {
    /// The taint's key; none: every key (operator `Exists`).
    pub key: Option<String>,
    /// `Equal` (the default) or `Exists`.
    pub operator: Option<String>,
    /// The taint's value.
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; none: every effect.
    pub effect: Option<String>,
    /// `toleration_seconds` (or `tolerationSeconds`): how long a taint `NoExecute` is borne.
    pub toleration_seconds: Option<i64>,
}
