//! How inputs reach a process's container, and how its results come out of it.

use serde::Serialize;

use super::Quantity;
use crate::job_record::ResultsBy;

/// Options that pygeoapi-k8s-manager does not have. Without any, inputs are in the environment as long as they fit there, and results are
/// printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// `inputs_as`.
    pub inputs: InputsAs,
    /// `results`; none: `markers`.
    pub results: Option<ResultsBy>,
    /// `results_limit`: the most that the files of all outputs together may take on the node.
    pub results_limit: Option<Quantity>,
    /// `collect_seconds`: how long storing the files may take after the main container has ended. A dismissed job's container that does not
    /// end when asked to is killed after this time, too.
    pub collect_seconds: u32,
}

impl Default for Exchange {
    fn default() -> Self {
        Self { inputs: InputsAs::default(), results: None, results_limit: None, collect_seconds: 120 }
    }
}

/// How inputs reach the main container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputsAs {
    /// In the environment if they fit, else in a file.
    #[default]
    Auto,
    /// In the environment; an execution whose inputs do not fit fails.
    Environment,
    /// In a file.
    File,
}

impl InputsAs {
    /// Each way, as it is written in the configuration file.
    pub const WORDS: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("environment", Self::Environment), ("file", Self::File)];
}
