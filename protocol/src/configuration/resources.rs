//! `resources`: the processes.

use config::ValueKind;
use indexmap::IndexMap;

use super::{
    node::Node,
    process_container::{env, init_containers, resources as resource_amounts, storage, tolerations},
    process_description::description,
    process_exchange::exchange,
    process_pod,
    table::Table,
};
use crate::{
    names::kubernetes::main_container,
    process::{Exchange, ProcessDefinition, ProcessId, Processor, Resources, hello_world},
};

const GENERIC_IMAGE: &str = "GenericImageProcessor";
const HELLO_WORLD: &str = "HelloWorldK8sProcessor";

/// Reads the entries that are processes, in the file's order; others are skipped with a warning.
pub(super) fn processes(node: &Node<'_>) -> Option<IndexMap<ProcessId, ProcessDefinition>> {
    let mut processes = IndexMap::new();
    for (key, entry) in node.table()?.entries() {
        if let Some(definition) = resource(key, &entry) {
            processes.insert(definition.id.clone(), definition);
        }
    }
    Some(processes)
}

fn resource(key: &str, node: &Node<'_>) -> Option<ProcessDefinition> {
    let table = node.table()?;
    let kind = table.require("type", "process (other types are skipped)")?.text()?;
    if kind != "process" {
        node.warning(format!("is of type {kind} and skipped; only processes are served"));
        return None;
    }
    let id = match ProcessId::try_from(key.to_owned()) {
        Ok(id) => Some(id),
        Err(error) => {
            node.mistake(format!("{error}; allowed: up to {} bytes without slash", ProcessId::MAX_BYTES));
            None
        }
    };
    let processor = table.require("processor", "a mapping").and_then(|node| node.table());
    table.finish();
    let processor = processor?;
    let kind = processor_kind(key, &processor.require("name", "the processor's dotted name")?)?;
    let definition = definition(id, kind, &processor);
    processor.finish();
    definition
}

fn processor_kind(process: &str, node: &Node<'_>) -> Option<Processor> {
    let name = node.text()?;
    let (kind, known) = if name.ends_with(GENERIC_IMAGE) {
        (Processor::GenericImage, GENERIC_IMAGE)
    } else if name.ends_with(HELLO_WORLD) {
        (Processor::HelloWorld, HELLO_WORLD)
    } else {
        node.mistake(format!(
            "process {process} has the processor {name}; own Python processors can't be carried over; allowed: a name \
             that ends in {GENERIC_IMAGE} or {HELLO_WORLD}"
        ));
        return None;
    };
    if name.rsplit('.').next() != Some(known) {
        node.warning(format!("is run as {known}; Python code of its own is not carried over"));
    }
    Some(kind)
}

fn definition(id: Option<ProcessId>, kind: Processor, table: &Table<'_>) -> Option<ProcessDefinition> {
    let mimetype = table.optional_text("mimetype");
    let image_pull_secret = image_pull_secret(table);
    let max_live =
        table.read("max_live", |node| node.integer(1, i64::from(u32::MAX))).and_then(|max| max.try_into().ok());
    let tolerations = table.read("tolerations", tolerations).unwrap_or_default();
    match kind {
        Processor::GenericImage => {
            let check_auth = table.read("check_auth", Node::boolean).unwrap_or(true);
            let description = table.require("metadata", "a mapping").and_then(|node| description(&node, id.as_ref()));
            let image = table.require("default_image", "an image").and_then(|node| node.text());
            let command = table.read("command", Node::scalar_texts).unwrap_or_default();
            let env = table.read("env", env).unwrap_or_default();
            let resources = table.read("resources", resource_amounts).unwrap_or_default();
            let storage = table.read("storage", storage).unwrap_or_default();
            let init_containers = table
                .read("init_containers", |node| init_containers(node, &storage, main_container(&kind)))
                .unwrap_or_default();
            let exchange = exchange(table, description.as_ref());
            Some(ProcessDefinition {
                id: id?,
                description: description?,
                kind,
                check_auth,
                mimetype,
                image: image?,
                command,
                image_pull_secret,
                env,
                resources,
                storage,
                init_containers,
                tolerations,
                pod: process_pod::container(table),
                max_live,
                exchange,
            })
        }
        Processor::HelloWorld => {
            if let Some(node) = table.get("check_auth")
                && node.boolean() == Some(true)
            {
                node.warning("has no effect: hello world never asks for the token");
            }
            for key in [
                "metadata",
                "env",
                "resources",
                "storage",
                "init_containers",
                "args",
                "working_dir",
                "workingDir",
                "inputs_as",
                "results",
                "results_limit",
                "collect_seconds",
            ] {
                if let Some(node) = table.get(key) {
                    node.warning(format!("has no effect for {HELLO_WORLD}"));
                }
            }
            let image = table.optional_text("default_image");
            Some(ProcessDefinition {
                id: id?,
                description: hello_world::description(),
                kind,
                check_auth: false,
                mimetype,
                image: image.unwrap_or_else(|| hello_world::DEFAULT_IMAGE.to_owned()),
                command: table.read("command", shell_lines).unwrap_or_default(),
                image_pull_secret,
                env: Vec::new(),
                resources: Resources::default(),
                storage: Vec::new(),
                init_containers: Vec::new(),
                tolerations,
                pod: process_pod::pod(table),
                max_live,
                exchange: Exchange::default(),
            })
        }
    }
}

/// `image_pull_secrets`, or `image_pull_secret` as a comment in pygeoapi-k8s-manager's deployed example has it.
fn image_pull_secret(table: &Table<'_>) -> Option<String> {
    let documented = table.optional_text("image_pull_secrets");
    let Some(alias) = table.get("image_pull_secret") else { return documented };
    if documented.is_some() {
        alias.warning("has no effect beside image_pull_secrets");
        return documented;
    }
    alias.warning("is read as image_pull_secrets; write that");
    table.optional_text("image_pull_secret")
}

/// A list of lines; one text counts as a list of one.
fn shell_lines(node: &Node<'_>) -> Option<Vec<String>> {
    match &node.value.kind {
        ValueKind::String(line) => Some(vec![line.clone()]),
        _ => node.scalar_texts(),
    }
}
