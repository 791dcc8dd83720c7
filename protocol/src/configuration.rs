//! The configuration file of pygeoapi-k8s-manager, as strict types.
//!
//! text → `yaml` (YAML 1.1 as PyYAML reads it, plugged into the `config` crate) → [`Configuration`], or every mistake
//! at once.

mod metadata;
mod mistake;
mod server;

use indexmap::IndexMap;
use serde::Serialize;

pub use self::{
    metadata::{Contact, Identification, License, Metadata, Provider},
    mistake::{ConfigurationErrors, Mistake, Position, Warning},
    server::{Bind, LibraryLevels, Limits, LogLevel, Logging, Manager, OnExceed, PublicUrl, Server},
};
use crate::process::{ProcessDefinition, ProcessId};

/// Environment variable with the path of the configuration file.
pub const PATH_VARIABLE: &str = "PYGEOAPI_CONFIG";
/// Path of the configuration file where [`PATH_VARIABLE`] is unset.
pub const DEFAULT_PATH: &str = "/pygeoapi/local.config.yml";

/// A configuration file that has passed every check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Configuration {
    /// `server`, with `SCRIPT_NAME`, `CONTAINER_HOST` and `CONTAINER_PORT` applied.
    pub server: Server,
    /// `logging`.
    pub logging: Logging,
    /// `metadata`.
    pub metadata: Metadata,
    /// The processes of `resources`, in the file's order.
    pub processes: IndexMap<ProcessId, ProcessDefinition>,
}
