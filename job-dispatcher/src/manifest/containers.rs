//! The containers of a job's pod.

use protocol::{
    names::{environment, kubernetes as names},
    process::{InitContainer, ProcessDefinition, Processor, Resources},
};
use serde_json::{Value, json};

use super::{ManifestError, environment as variables, security, volumes};
use crate::executor::JobPlan;

/// The main container's command; empty: the image's own. No input is ever part of it.
pub fn command(process: &ProcessDefinition) -> Vec<String> {
    match process.kind {
        Processor::GenericImage => process.command.clone(),
        Processor::HelloWorld => vec!["sh".to_owned(), "-c".to_owned(), hello_world_script(&process.command)],
    }
}

/// What the configured lines print is in the log, before the markers, and so never in the result.
fn hello_world_script(lines: &[String]) -> String {
    let mut script = lines.to_vec();
    script.push("echo 'PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: application/json'".to_owned());
    script.push("echo PYGEOAPI_K8S_MANAGER_RESULT_START".to_owned());
    script.push(format!("printf %s \"${}\"", environment::HELLO_WORLD_RESULT));
    script.join("\n")
}

/// The container that runs the process.
pub(super) fn main(plan: &JobPlan) -> Result<Value, ManifestError> {
    let process = &plan.process;
    let mut container = json!({
        "name": names::main_container(&process.kind),
        "image": process.image,
        "env": variables::of_main_container(plan)?,
        "resources": resources(&process.resources),
        "securityContext": security::of_container(&process.pod.security),
    });
    if !process.storage.is_empty() {
        container["volumeMounts"] = process.storage.iter().map(volumes::mount).collect();
    }
    let command = command(process);
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    if !process.pod.args.is_empty() {
        container["args"] = json!(process.pod.args);
    }
    if let Some(dir) = &process.pod.working_dir {
        container["workingDir"] = json!(dir);
    }
    if let Some(policy) = process.pod.image_pull_policy {
        container["imagePullPolicy"] = policy.as_str().into();
    }
    Ok(container)
}

/// A container that runs to its end before the main one.
pub(super) fn init(plan: &JobPlan, container: &InitContainer) -> Value {
    let mut out = json!({
        "name": container.name,
        "image": container.image,
        "env": variables::of_init_container(plan, container),
        "securityContext": security::of_container(&plan.process.pod.security),
    });
    if !container.volume_mounts.is_empty() {
        out["volumeMounts"] = json!(container.volume_mounts);
    }
    if let Some(policy) = container.image_pull_policy {
        out["imagePullPolicy"] = policy.as_str().into();
    }
    if !container.command.is_empty() {
        out["command"] = json!(container.command);
    }
    if !container.args.is_empty() {
        out["args"] = json!(container.args);
    }
    if let Some(resources) = &container.resources {
        out["resources"] = resources.clone();
    }
    out
}

fn resources(resources: &Resources) -> Value {
    let maps = [("limits", &resources.limits), ("requests", &resources.requests)];
    maps.into_iter().filter(|(_, amounts)| !amounts.is_empty()).map(|(name, amounts)| (name, json!(amounts))).collect()
}
