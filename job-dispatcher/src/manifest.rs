//! From a plan to the objects that run it: pure.

use k8s_openapi::api::batch::v1::Job;
use protocol::{
    names::{environment, kubernetes as names},
    process::{EnvValue, EnvVar, InitContainer, ProcessDefinition, Processor, Volume, VolumeSource, hello_world},
};
use serde_json::{Map, Value, json};

use crate::executor::JobPlan;

/// Linux's limit for one environment string, `NAME=value` and its end (MAX_ARG_STRLEN in `execve(2)`).
pub const ENVIRONMENT_STRING_LIMIT: usize = 128 * 1024;
/// `ttlSecondsAfterFinished`: 100 days, as the original sets it. The sweep deletes archived Jobs much earlier.
const TTL_SECONDS: i64 = 100 * 86_400;

/// A plan that can't become a Job.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// An environment string is too long for Linux.
    #[error(
        "the environment variable {name} would have {size} bytes, and Linux takes at most {ENVIRONMENT_STRING_LIMIT} in one"
    )]
    EnvironmentTooLong {
        /// Its name.
        name: String,
        /// Bytes of `NAME=value` and its end.
        size: usize,
    },
    /// Parts that are in Kubernetes' own form are not.
    #[error("the process definition makes no valid Job")]
    NotAJob(#[source] serde_json::Error),
}

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

/// The main container's environment: what is configured, then what Quayside sets.
///
/// # Errors
/// When a value is longer than Linux takes.
pub fn environment(plan: &JobPlan) -> Result<Vec<EnvVar>, ManifestError> {
    let variables = [plan.process.env.clone(), own_environment(plan)].concat();
    for variable in &variables {
        let EnvValue::Value(text) = &variable.value else { continue };
        let size = variable.name.len() + text.len() + 2;
        if size > ENVIRONMENT_STRING_LIMIT {
            return Err(ManifestError::EnvironmentTooLong { name: variable.name.clone(), size });
        }
    }
    Ok(variables)
}

fn own_environment(plan: &JobPlan) -> Vec<EnvVar> {
    let value = |name: &str, value: String| EnvVar { name: name.to_owned(), value: EnvValue::Value(value) };
    let mut variables = Vec::new();
    variables.push(value(environment::JOB_ID, plan.job_id.to_string()));
    variables.push(value(environment::PROCESS_ID, plan.process.id.as_str().to_owned()));
    match plan.process.kind {
        Processor::GenericImage if plan.inputs.is_empty() => {}
        Processor::GenericImage => {
            variables.push(value(environment::INPUTS, Value::Object(plan.inputs.clone()).to_string()));
        }
        Processor::HelloWorld => variables.push(value(environment::HELLO_WORLD_RESULT, greeting(&plan.inputs))),
    }
    variables
}

/// The result document of hello world.
fn greeting(inputs: &Map<String, Value>) -> String {
    let text = |input: &str| match inputs.get(input) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let (name, message) = (text(hello_world::NAME_INPUT), text(hello_world::MESSAGE_INPUT));
    let value = if message.is_empty() { format!("Hello '{name}'!") } else { format!("Hello '{name}': '{message}'") };
    // Written by hand for its spaces, which existing users compare with.
    format!("{{\"id\": {}, \"value\": {}}}", Value::from(hello_world::ECHO_OUTPUT), Value::from(value))
}

/// The Job of a plan, as the contract lists it.
///
/// # Errors
/// When an environment value is too long, or a part in Kubernetes' own form is none.
pub fn job(plan: &JobPlan, namespace: &str) -> Result<Job, ManifestError> {
    let process = &plan.process;
    let labels = json!({ names::LABEL_JOB_ID: plan.job_id, names::LABEL_MANAGED_BY: names::MANAGED_BY });
    let mut pod_metadata = json!({ "labels": labels });
    if plan.hold_pod {
        pod_metadata["finalizers"] = json!([names::POD_FINALIZER]);
    }
    let mut main = json!({
        "name": names::main_container(&process.kind),
        "image": process.image,
        "env": kubernetes_environment(plan)?,
        "resources": process.resources,
        "volumeMounts": process.storage.iter().map(mount).collect::<Vec<_>>(),
        "securityContext": { "allowPrivilegeEscalation": false },
    });
    let command = command(process);
    if !command.is_empty() {
        main["command"] = json!(command);
    }
    let mut pod = json!({
        "restartPolicy": "Never",
        "enableServiceLinks": false,
        "shareProcessNamespace": true,
        "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [main],
        "initContainers": process.init_containers.iter().map(|c| init_container(plan, c)).collect::<Vec<_>>(),
        "volumes": process.storage.iter().map(volume).collect::<Vec<_>>(),
        "tolerations": process.tolerations.iter().map(toleration).collect::<Vec<_>>(),
    });
    if let Some(secret) = &process.image_pull_secret {
        pod["imagePullSecrets"] = json!([{ "name": secret }]);
    }
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": plan.job_name,
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations(plan),
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": TTL_SECONDS,
            "template": { "metadata": pod_metadata, "spec": pod },
        },
    });
    serde_json::from_value(job).map_err(ManifestError::NotAJob)
}

/// The annotations of the contract; values above the limit are left out.
fn annotations(plan: &JobPlan) -> Map<String, Value> {
    let created = plan.created.strftime(names::ANNOTATION_TIME_FORMAT).to_string();
    let values = [
        (names::ANNOTATION_IDENTIFIER, Some(plan.job_id.to_string())),
        (names::ANNOTATION_PROCESS_ID, Some(plan.process.id.as_str().to_owned())),
        (names::ANNOTATION_STARTED, Some(created.clone())),
        (names::ANNOTATION_UPDATED, Some(created)),
        (names::ANNOTATION_MIMETYPE, plan.process.result_media_type().map(str::to_owned)),
        (names::ANNOTATION_JOB_NAME, Some(plan.job_name.clone())),
        (names::ANNOTATION_PARAMETERS, plan.masked_parameters.clone()),
    ];
    values
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .filter(|(_, value)| value.len() <= names::ANNOTATION_VALUE_LIMIT)
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

/// Kubernetes replaces `$(NAME)` in values by other variables, secrets among them
/// (<https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>). That is for
/// the operator's values; a client's inputs are data.
fn kubernetes_environment(plan: &JobPlan) -> Result<Vec<Value>, ManifestError> {
    let configured = plan.process.env.len();
    let literal = |variable: EnvVar| match variable.value {
        EnvValue::Value(text) => EnvVar { value: EnvValue::Value(text.replace('$', "$$")), ..variable },
        EnvValue::Secret { .. } => variable,
    };
    let variables = environment(plan)?.into_iter().enumerate();
    let variables = variables.map(|(index, it)| if index < configured { it } else { literal(it) });
    Ok(variables.map(|variable| env_var(&variable)).collect())
}

fn env_var(variable: &EnvVar) -> Value {
    match &variable.value {
        EnvValue::Value(value) => json!({ "name": variable.name, "value": value }),
        EnvValue::Secret { name, key } => {
            json!({ "name": variable.name, "valueFrom": { "secretKeyRef": { "name": name, "key": key } } })
        }
    }
}

fn init_container(plan: &JobPlan, container: &InitContainer) -> Value {
    let mut env = container.env.clone();
    env.push(json!({ "name": environment::JOB_ID, "value": plan.job_id }));
    env.push(json!({ "name": environment::PROCESS_ID, "value": plan.process.id }));
    let mut out = json!({
        "name": container.name,
        "image": container.image,
        "env": env,
        "volumeMounts": container.volume_mounts,
        "securityContext": { "allowPrivilegeEscalation": false },
    });
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

fn mount(volume: &Volume) -> Value {
    json!({ "name": volume.name, "mountPath": volume.mount_path })
}

fn volume(volume: &Volume) -> Value {
    match &volume.source {
        VolumeSource::PersistentVolumeClaim { name } => {
            json!({ "name": volume.name, "persistentVolumeClaim": { "claimName": name } })
        }
        VolumeSource::EmptyDir(options) => {
            let mut dir = Map::new();
            if let Some(limit) = &options.size_limit {
                dir.insert("sizeLimit".to_owned(), limit.as_str().into());
            }
            if !options.medium.as_str().is_empty() {
                dir.insert("medium".to_owned(), options.medium.as_str().into());
            }
            json!({ "name": volume.name, "emptyDir": dir })
        }
    }
}

fn toleration(toleration: &protocol::process::Toleration) -> Value {
    let fields = [
        ("key", toleration.key.clone().map(Value::from)),
        ("operator", toleration.operator.clone().map(Value::from)),
        ("value", toleration.value.clone().map(Value::from)),
        ("effect", toleration.effect.clone().map(Value::from)),
        ("tolerationSeconds", toleration.toleration_seconds.map(Value::from)),
    ];
    Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}
