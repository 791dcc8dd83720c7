//! The parts of `processor` that say where a pod runs, as whom, for how long, and what stands on it.

use indexmap::IndexMap;
use k8s_openapi::api::core::v1::Affinity;

use super::{
    kubernetes_form::{self, either},
    kubernetes_name::{MAX_LABEL, annotations, label, labels, object},
    node::Node,
    process_retries::retries,
    table::Table,
};
use crate::{
    names::kubernetes::is_reserved,
    process::{ImagePullPolicy, PodOptions, PodSecurity, SecurityLevel},
};

/// What Kubernetes takes for the number of a user or group.
const MOST_ID: i64 = i32::MAX as i64;
/// Annotations have 256 KiB together in Kubernetes, and ours need room.
const MOST_ANNOTATIONS: usize = 128 * 1024;

/// Reads the options that both processors have. `args` and `working_dir` are read by [`container`].
pub(super) fn pod(table: &Table<'_>) -> PodOptions {
    let name = |key, of_kubernetes| either(table, key, of_kubernetes).and_then(|node| object(&node));
    PodOptions {
        namespace: table.read("namespace", label),
        queue_name: either(table, "queue_name", "queueName").and_then(|node| queue(&node)),
        active_deadline_seconds: either(table, "active_deadline_seconds", "activeDeadlineSeconds")
            .and_then(|node| node.integer(1, MOST_ID)),
        retries: retries(table),
        security: security(table),
        node_selector: either(table, "node_selector", "nodeSelector")
            .and_then(|node| labels(&node))
            .unwrap_or_default(),
        affinity: table.read("affinity", kubernetes_form::object::<Affinity>),
        priority_class_name: name("priority_class_name", "priorityClassName"),
        runtime_class_name: name("runtime_class_name", "runtimeClassName"),
        service_account_name: name("service_account_name", "serviceAccountName"),
        labels: table.read("labels", |node| own(node, labels)).unwrap_or_default(),
        annotations: table.read("annotations", own_annotations).unwrap_or_default(),
        args: Vec::new(),
        working_dir: None,
        image_pull_policy: either(table, "image_pull_policy", "imagePullPolicy")
            .and_then(|node| node.word(&ImagePullPolicy::WORDS)),
    }
}

/// With what only a generic image's container has.
pub(super) fn container(table: &Table<'_>) -> PodOptions {
    let working_dir = either(table, "working_dir", "workingDir").and_then(|node| match node.text()? {
        path if path.starts_with('/') => Some(path),
        _ => node.wrong("an absolute path in the container"),
    });
    PodOptions { args: table.read("args", Node::scalar_texts).unwrap_or_default(), working_dir, ..pod(table) }
}

/// The name of an object that is also the value of a label.
fn queue(node: &Node<'_>) -> Option<String> {
    match object(node)? {
        name if name.len() <= MAX_LABEL => Some(name),
        _ => node.wrong("a name of at most 63 characters"),
    }
}

fn security(table: &Table<'_>) -> PodSecurity {
    let id = |key, of_kubernetes| either(table, key, of_kubernetes).and_then(|node| node.integer(0, MOST_ID));
    let level = table.read("pod_security", |node| node.word(&SecurityLevel::WORDS)).unwrap_or_default();
    let run_as_user = id("run_as_user", "runAsUser");
    if level == SecurityLevel::Restricted
        && run_as_user == Some(0)
        && let Some(node) = table.get("run_as_user").or_else(|| table.get("runAsUser"))
    {
        node.mistake("is 0, which is root, and pod_security is restricted; allowed: 1 or more, or another level");
    }
    PodSecurity {
        level,
        run_as_user,
        run_as_group: id("run_as_group", "runAsGroup"),
        fs_group: id("fs_group", "fsGroup"),
    }
}

/// Labels or annotations of one's own, without those that mean something to Quayside or Kubernetes.
fn own(
    node: &Node<'_>,
    read: impl Fn(&Node<'_>) -> Option<IndexMap<String, String>>,
) -> Option<IndexMap<String, String>> {
    let mut entries = read(node)?;
    for (key, entry) in node.table()?.entries() {
        if is_reserved(key) {
            entry
                .mistake("is kept for Quayside or Kubernetes; allowed: keys with a prefix of your own, or without one");
            entries.shift_remove(key);
        }
    }
    Some(entries)
}

fn own_annotations(node: &Node<'_>) -> Option<IndexMap<String, String>> {
    let entries = own(node, annotations)?;
    let size: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MOST_ANNOTATIONS {
        node.mistake(format!("are {size} bytes together; allowed: at most {MOST_ANNOTATIONS}"));
    }
    Some(entries)
}
