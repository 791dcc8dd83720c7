//! The pod of a job.

use protocol::{names::kubernetes as names, process::Toleration};
use serde_json::{Map, Value, json};

use super::{ManifestError, companion, containers, security, volumes};
use crate::executor::JobPlan;

/// The pod's template.
pub(super) fn template(
    plan: &JobPlan,
    labels: &Map<String, Value>,
    annotations: &Map<String, Value>,
) -> Result<Value, ManifestError> {
    let mut metadata = json!({ "labels": labels });
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    if plan.hold_pod {
        metadata["finalizers"] = json!([names::POD_FINALIZER]);
    }
    Ok(json!({ "metadata": metadata, "spec": spec(plan)? }))
}

fn spec(plan: &JobPlan) -> Result<Value, ManifestError> {
    let process = &plan.process;
    let options = &process.pod;
    let mut pod = json!({
        "restartPolicy": "Never",
        "enableServiceLinks": false,
        "shareProcessNamespace": true,
        "securityContext": security::of_pod(&options.security),
        "containers": [containers::main(plan)?],
    });
    let lists: [(&str, Vec<Value>); 3] = [
        ("initContainers", process.init_containers.iter().map(|it| containers::init(plan, it)).collect()),
        ("volumes", process.storage.iter().map(volumes::volume).collect()),
        ("tolerations", process.tolerations.iter().map(toleration).collect()),
    ];
    for (member, list) in lists {
        if !list.is_empty() {
            pod[member] = list.into();
        }
    }
    match &options.service_account_name {
        Some(name) => pod["serviceAccountName"] = json!(name),
        // Nobody who can execute a process gets to use the account `default` by it.
        None => pod["automountServiceAccountToken"] = false.into(),
    }
    if let Some(secret) = &process.image_pull_secret {
        pod["imagePullSecrets"] = json!([{ "name": secret }]);
    }
    if !options.node_selector.is_empty() {
        pod["nodeSelector"] = json!(options.node_selector);
    }
    if let Some(affinity) = &options.affinity {
        pod["affinity"] = affinity.clone();
    }
    let names =
        [("priorityClassName", &options.priority_class_name), ("runtimeClassName", &options.runtime_class_name)];
    for (member, name) in names {
        if let Some(name) = name {
            pod[member] = json!(name);
        }
    }
    companion::join(plan, &mut pod)?;
    Ok(pod)
}

fn toleration(toleration: &Toleration) -> Value {
    let fields = [
        ("key", toleration.key.clone().map(Value::from)),
        ("operator", toleration.operator.clone().map(Value::from)),
        ("value", toleration.value.clone().map(Value::from)),
        ("effect", toleration.effect.clone().map(Value::from)),
        ("tolerationSeconds", toleration.toleration_seconds.map(Value::from)),
    ];
    Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}
