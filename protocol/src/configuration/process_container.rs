//! The parts of `processor` that its pod is made of.

use std::collections::HashSet;

use config::ValueKind;
use indexmap::IndexMap;

use k8s_openapi::api::core::v1::{EnvVar as KubernetesEnvVar, KeyToPath, ResourceRequirements, VolumeMount};

use super::{kubernetes_form, kubernetes_name, node::Node, table::Table};
use crate::{
    names::{
        environment,
        kubernetes::{OWN_PATH, OWN_PREFIX},
    },
    process::{
        EmptyDir, EnvValue, EnvVar, ImagePullPolicy, InitContainer, Medium, Quantity, Resources, Toleration, Volume,
        VolumeSource,
    },
};

/// `tolerations`.
pub(super) fn tolerations(node: &Node<'_>) -> Option<Vec<Toleration>> {
    Some(node.items()?.iter().filter_map(toleration).collect())
}

fn toleration(node: &Node<'_>) -> Option<Toleration> {
    let table = node.table()?;
    let operators = [("Equal", "Equal"), ("Exists", "Exists")];
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"].map(|effect| (effect, effect));
    let seconds = |node: &Node<'_>| node.integer(i64::MIN, i64::MAX);
    let python_seconds = table.read("toleration_seconds", seconds);
    let toleration = Toleration {
        key: table.optional_text("key"),
        operator: table.read("operator", |node| node.word(&operators)).map(str::to_owned),
        value: table.optional_text("value"),
        effect: table.read("effect", |node| node.word(&effects)).map(str::to_owned),
        toleration_seconds: table.read("tolerationSeconds", seconds).or(python_seconds),
    };
    let exists = toleration.operator.as_deref() == Some("Exists");
    if exists && toleration.value.is_some() {
        node.mistake("has the operator Exists and a value; allowed: one of them");
    }
    if toleration.key.is_none() && !exists {
        node.mistake("has no key; allowed: a key, or the operator Exists");
    }
    if toleration.toleration_seconds.is_some() && toleration.effect.as_deref() != Some("NoExecute") {
        node.mistake("has toleration_seconds with another effect; allowed: with the effect NoExecute");
    }
    table.finish();
    Some(toleration)
}

/// `env`.
pub(super) fn env(node: &Node<'_>) -> Option<Vec<EnvVar>> {
    let ours = [
        environment::JOB_ID,
        environment::PROCESS_ID,
        environment::INPUTS,
        environment::INPUTS_FILE,
        environment::RESULTS,
    ];
    let mut seen = HashSet::new();
    let mut variables = Vec::new();
    for item in node.items()? {
        let Some(variable) = env_var(&item) else { continue };
        if ours.contains(&variable.name.as_str()) || variable.name.starts_with(environment::OUTPUT_PREFIX) {
            item.warning(format!("{} is set for each job; this value has no effect", variable.name));
        } else if !seen.insert(variable.name.clone()) {
            item.warning(format!("{} is given twice; the last one counts", variable.name));
        }
        variables.push(variable);
    }
    Some(variables)
}

fn env_var(node: &Node<'_>) -> Option<EnvVar> {
    let table = node.table()?;
    let name = table.require("name", "the variable's name").and_then(|node| env_name(&node));
    let plain = table.get_even_null("value");
    let secret_name = table.get("secret_name");
    let secret_key = table.get("secret_key");
    let value = match (plain, secret_name, secret_key) {
        (Some(value), None, None) => {
            if matches!(value.value.kind, ValueKind::Nil) {
                value.warning("is empty, which becomes the text None; write \"\" for an empty value");
            }
            value.scalar_text().map(EnvValue::Value)
        }
        (None, Some(name), Some(key)) => match (name.text(), key.text()) {
            (Some(name), Some(key)) => Some(EnvValue::Secret { name, key }),
            _ => None,
        },
        _ => {
            node.mistake(
                "has no value, or parts of two; allowed: name with value, or name with secret_name and secret_key",
            );
            None
        }
    };
    table.finish();
    Some(EnvVar { name: name?, value: value? })
}

fn env_name(node: &Node<'_>) -> Option<String> {
    let name = node.text()?;
    if name.chars().any(|c| c == '=' || !(' '..='~').contains(&c)) {
        return node.wrong("ASCII characters other than =");
    }
    Some(name)
}

/// `resources`.
pub(super) fn resources(node: &Node<'_>) -> Option<Resources> {
    let table = node.table()?;
    let resources = Resources {
        limits: table.read("limits", quantities).unwrap_or_default(),
        requests: table.read("requests", quantities).unwrap_or_default(),
    };
    table.finish();
    let is_empty = resources.limits.is_empty() && resources.requests.is_empty();
    Some(if is_empty { Resources::default() } else { resources })
}

fn quantities(node: &Node<'_>) -> Option<IndexMap<String, Quantity>> {
    let amount = |(name, node): (&str, Node<'_>)| Some((name.to_owned(), quantity(&node)?));
    Some(node.table()?.entries().filter_map(amount).collect())
}

pub(super) fn quantity(node: &Node<'_>) -> Option<Quantity> {
    let allowed = "an amount such as 500m, 2, 128Mi or 1.5G";
    if matches!(node.value.kind, ValueKind::Nil | ValueKind::Boolean(_)) {
        return node.wrong(allowed);
    }
    Quantity::parse(&node.scalar_text()?).ok().or_else(|| node.wrong(allowed))
}

/// `storage`.
pub(super) fn storage(node: &Node<'_>) -> Option<Vec<Volume>> {
    let mut names = HashSet::new();
    let mut volumes = Vec::new();
    for item in node.items()? {
        let Some(volume) = volume(&item) else { continue };
        if !names.insert(volume.name.clone()) {
            item.mistake(format!("has the name {} again; allowed: each name once", volume.name));
        }
        volumes.push(volume);
    }
    Some(volumes)
}

fn volume(node: &Node<'_>) -> Option<Volume> {
    let table = node.table()?;
    let name = table.require("name", kubernetes_name::LABEL).and_then(|node| free_label(&node));
    let mount_path = table.require("mount_path", "an absolute path in the container").and_then(|node| path(&node));
    let read_only = kubernetes_form::either(&table, "read_only", "readOnly").and_then(|node| node.boolean());
    let source = volume_source(node, &table);
    table.finish();
    Some(Volume { name: name?, mount_path: mount_path?, read_only: read_only.unwrap_or(false), source: source? })
}

/// A name that is none of ours.
fn free_label(node: &Node<'_>) -> Option<String> {
    let name = kubernetes_name::label(node)?;
    if name.starts_with(OWN_PREFIX) {
        node.mistake(format!("begins with {OWN_PREFIX}, which is kept for Quayside; allowed: another name"));
    }
    Some(name)
}

fn volume_source(node: &Node<'_>, table: &Table<'_>) -> Option<VolumeSource> {
    let allowed = "persistent_volume_claim_name, empty_dir, secret_name or config_map_name";
    let items = table.get("items");
    let claim = table.get("persistent_volume_claim_name");
    let (dir, secret) = (table.get_even_null("empty_dir"), table.get("secret_name"));
    let source = match (claim, dir, secret, table.get("config_map_name")) {
        (Some(claim), None, None, None) => claim.text().map(|name| VolumeSource::PersistentVolumeClaim { name }),
        (None, Some(options), None, None) => empty_dir(&options).map(VolumeSource::EmptyDir),
        (None, None, Some(name), None) => {
            let (name, items) = (kubernetes_name::object(&name), key_paths(items.as_ref()));
            return Some(VolumeSource::Secret { name: name?, items: items? });
        }
        (None, None, None, Some(name)) => {
            let (name, items) = (kubernetes_name::object(&name), key_paths(items.as_ref()));
            return Some(VolumeSource::ConfigMap { name: name?, items: items? });
        }
        (None, None, None, None) => {
            node.mistake(format!("has no volume behind it; allowed: {allowed}"));
            None
        }
        _ => {
            node.mistake(format!("has two volumes behind it; allowed: {allowed}"));
            None
        }
    };
    if let Some(items) = items {
        items.mistake("are of no use here; allowed: beside secret_name or config_map_name");
    }
    source
}

/// The keys that become files; none named: all of them.
fn key_paths(items: Option<&Node<'_>>) -> Option<Vec<serde_json::Value>> {
    items.map_or_else(|| Some(Vec::new()), |items| kubernetes_form::list::<KeyToPath>(items))
}

fn empty_dir(node: &Node<'_>) -> Option<EmptyDir> {
    if matches!(node.value.kind, ValueKind::Nil) {
        return Some(EmptyDir::default());
    }
    let table = node.table()?;
    let size_limit = table.read("size_limit", quantity);
    let medium = table.read("medium", medium).unwrap_or_default();
    table.finish();
    Some(EmptyDir { size_limit, medium })
}

fn medium(node: &Node<'_>) -> Option<Medium> {
    match &node.value.kind {
        ValueKind::String(word) if word.is_empty() => Some(Medium::Default),
        ValueKind::String(word) if word == "Memory" => Some(Medium::Memory),
        ValueKind::String(word) if word.starts_with("HugePages") => Some(Medium::HugePages(word.clone())),
        _ => node.wrong("\"\", Memory, HugePages or HugePages-<size>"),
    }
}

/// `init_containers`. `volumes` are those of `storage`, `taken` is the main container's name.
pub(super) fn init_containers(node: &Node<'_>, volumes: &[Volume], taken: &str) -> Option<Vec<InitContainer>> {
    let mut names = HashSet::from([taken.to_owned()]);
    let mut containers = Vec::new();
    for item in node.items()? {
        let Some(container) = init_container(&item, volumes) else { continue };
        if !names.insert(container.name.clone()) {
            item.mistake(format!("has the name {}, which is taken; allowed: each name once", container.name));
        }
        containers.push(container);
    }
    Some(containers)
}

fn init_container(node: &Node<'_>, volumes: &[Volume]) -> Option<InitContainer> {
    let table = node.table()?;
    let name = table.require("name", kubernetes_name::LABEL).and_then(|node| free_label(&node));
    let image = table.require("image", "an image").and_then(|node| node.text());
    let image_pull_policy = table.read("imagePullPolicy", |node| node.word(&ImagePullPolicy::WORDS));
    let command = table.read("command", Node::scalar_texts).unwrap_or_default();
    let args = table.read("args", Node::scalar_texts).unwrap_or_default();
    let env = table.read("env", kubernetes_form::list::<KubernetesEnvVar>).unwrap_or_default();
    let volume_mounts = table.read("volumeMounts", |node| volume_mounts(node, volumes)).unwrap_or_default();
    let resources = table.read("resources", kubernetes_form::resources::<ResourceRequirements>);
    table.finish();
    Some(InitContainer { name: name?, image: image?, image_pull_policy, command, args, env, volume_mounts, resources })
}

fn volume_mounts(node: &Node<'_>, volumes: &[Volume]) -> Option<Vec<serde_json::Value>> {
    let mounts = kubernetes_form::list::<VolumeMount>(node)?;
    for (item, mount) in node.items()?.iter().zip(&mounts) {
        let name = mount["name"].as_str().unwrap_or_default();
        if !volumes.iter().any(|volume| volume.name == name) {
            item.warning(format!("storage has no volume {name}; Kubernetes will refuse the pods of this process"));
        }
    }
    Some(mounts)
}

fn path(node: &Node<'_>) -> Option<String> {
    let path = node.text()?;
    if path.contains(':') {
        return node.wrong("a path without colon");
    }
    if path == OWN_PATH || path.strip_prefix(OWN_PATH).is_some_and(|rest| rest.starts_with('/')) {
        node.mistake(format!("is in {OWN_PATH}, which is kept for Quayside; allowed: another path"));
    }
    if path.starts_with('/') {
        return Some(path);
    }
    node.warning(format!("is relative and taken as /{path}"));
    Some(format!("/{path}"))
}
