//! The configuration file of pygeoapi-k8s-manager, as strict types.
//!
//! text → [`yaml`] (YAML 1.1 as PyYAML reads it, plugged into the `config` crate) → [`Configuration`], or every mistake
//! at once.

mod findings;
mod kubernetes_form;
mod kubernetes_name;
mod metadata;
mod mistake;
mod node;
mod process_container;
mod process_description;
mod process_exchange;
mod process_pod;
mod process_retries;
mod python;
mod read_server;
pub mod reference;
mod resources;
mod server;
mod table;
mod tokens;
mod variables;
pub mod yaml;

use std::{
    cell::RefCell,
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use config::{File, Map, Source, Value};
use indexmap::IndexMap;
use serde::Serialize;

use self::{findings::Findings, table::Table, yaml::Yaml11};
pub use self::{
    metadata::{Contact, Identification, License, Metadata, Provider},
    mistake::{ConfigurationErrors, Mistake, Position, Warning},
    server::{Bind, InvalidPublicUrl, LibraryLevels, Limits, LogLevel, Logging, Manager, OnExceed, PublicUrl, Server},
    tokens::{NamedToken, read_tokens},
};
use crate::process::{ProcessDefinition, ProcessId};

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

impl Configuration {
    /// Reads a configuration file's text. `source_name` stands for it in messages; `environment` looks a variable up,
    /// both for `${…}` in the text and for `SCRIPT_NAME`, `CONTAINER_HOST` and `CONTAINER_PORT`.
    ///
    /// # Errors
    /// All mistakes at once, each with path, place, what is wrong and what is allowed.
    pub fn read(
        text: &str,
        source_name: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Warning>), ConfigurationErrors> {
        let report = Arc::new(Mutex::new(Findings::default()));
        let format = Yaml11::new(source_name, text, environment).reporting_to(&report);
        let tree = File::from_str(text, format).collect();
        let mut of_text = std::mem::take(&mut *report.lock().unwrap_or_else(PoisonError::into_inner));
        let root = tree.unwrap_or_else(|error| {
            of_text.mistake("document", None, error.to_string());
            of_text.incomplete = true;
            Map::new()
        });
        let of_tree = RefCell::new(Findings::default());
        let overrides = variables::overrides(environment, &mut of_tree.borrow_mut());
        let configuration = if of_text.incomplete { None } else { read_tree(&root, &overrides, &of_tree) };
        let Findings { mistakes, mut warnings, .. } = joined(of_text, of_tree.into_inner());
        warnings.sort_by_key(|warning| warning.position);
        match configuration {
            Some(configuration) if mistakes.is_empty() => Ok((configuration, warnings)),
            _ => Err(ConfigurationErrors { source_name: source_name.to_owned(), mistakes }),
        }
    }
}

/// Nothing if a part is missing; then there is a mistake.
fn read_tree(
    root: &Map<String, Value>,
    overrides: &variables::Overrides,
    findings: &RefCell<Findings>,
) -> Option<Configuration> {
    let root = Table::new(root, String::new(), None, findings);
    let server = root.require("server", "a mapping").and_then(|node| node.table()).and_then(|table| {
        let server = read_server::server(&table, overrides);
        table.finish();
        server
    });
    let logging = root.section("logging").map(read_server::logging).unwrap_or_default();
    let metadata = root.section("metadata").map(Metadata::read).unwrap_or_default();
    let processes = root.require("resources", "a mapping of id to resource");
    let processes = processes.and_then(|node| resources::processes(&node));
    root.finish();
    Some(Configuration { server: server?, logging, metadata, processes: processes? })
}

/// The mistakes in the file's order. What the text phase could not read, such as a variable that is not set, leaves
/// holes; what the tree phase says of a hole is left out.
fn joined(of_text: Findings, of_tree: Findings) -> Findings {
    let holes: HashSet<String> = of_text.mistakes.iter().map(|mistake| mistake.path.clone()).collect();
    let mut joined = of_text;
    joined.mistakes.extend(of_tree.mistakes.into_iter().filter(|mistake| !holes.contains(&mistake.path)));
    joined.warnings.extend(of_tree.warnings);
    joined.mistakes.sort_by_key(|mistake| mistake.position);
    joined
}
