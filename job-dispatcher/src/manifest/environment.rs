//! The environment of a job's containers: what is configured, then what Quayside sets.

use protocol::{
    job_record::ResultsBy,
    names::{
        environment,
        kubernetes::{INPUTS_PATH, RESULTS_PATH},
    },
    process::{EnvValue, EnvVar, InitContainer, Processor, hello_world},
};
use serde_json::{Map, Value, json};

use super::ManifestError;
use crate::executor::JobPlan;

/// Linux's limit for one environment string, `NAME=value` and its end (MAX_ARG_STRLEN in `execve(2)`).
pub const ENVIRONMENT_STRING_LIMIT: usize = 128 * 1024;

/// Where a container finds the files that go between it and us.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The inputs.
    pub inputs_file: String,
    /// The folder for a file of each output.
    pub results: String,
}

impl Paths {
    /// In a pod.
    pub fn in_pod() -> Self {
        Self { inputs_file: INPUTS_PATH.to_owned(), results: RESULTS_PATH.to_owned() }
    }
}

/// The main container's environment.
///
/// # Errors
/// When a value is longer than Linux takes.
pub fn environment(plan: &JobPlan, paths: &Paths) -> Result<Vec<EnvVar>, ManifestError> {
    let variables = [plan.process.env.clone(), own_environment(plan, paths)].concat();
    for variable in &variables {
        let EnvValue::Value(text) = &variable.value else { continue };
        let size = variable.name.len() + text.len() + 2;
        if size > ENVIRONMENT_STRING_LIMIT {
            return Err(ManifestError::EnvironmentTooLong { name: variable.name.clone(), size });
        }
    }
    Ok(variables)
}

fn own_environment(plan: &JobPlan, paths: &Paths) -> Vec<EnvVar> {
    let value = |name: &str, value: String| EnvVar { name: name.to_owned(), value: EnvValue::Value(value) };
    let mut variables = Vec::new();
    variables.push(value(environment::JOB_ID, plan.job_id.to_string()));
    variables.push(value(environment::PROCESS_ID, plan.process.id.as_str().to_owned()));
    match plan.process.kind {
        Processor::GenericImage if plan.exchange.inputs_file.is_some() => {
            variables.push(value(environment::INPUTS_FILE, paths.inputs_file.clone()));
        }
        Processor::GenericImage if plan.inputs.is_empty() => {}
        Processor::GenericImage => {
            variables.push(value(environment::INPUTS, Value::Object(plan.inputs.clone()).to_string()));
        }
        Processor::HelloWorld => variables.push(value(environment::HELLO_WORLD_RESULT, greeting(&plan.inputs))),
    }
    if let Some(plan) = &plan.exchange.uploads {
        match plan.uploads.by {
            ResultsBy::Files => variables.push(value(environment::RESULTS, paths.results.clone())),
            ResultsBy::Upload | ResultsBy::Other(_) => {
                let urls = plan.outputs.iter().filter_map(|(output, url)| Some((output, url.as_ref()?)));
                variables.extend(
                    urls.map(|(output, url)| value(&environment::output_url(&output.id), url.reveal().to_owned())),
                );
            }
        }
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

/// Kubernetes replaces `$(NAME)` in values by other variables, secrets among them
/// (<https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>). That is for
/// the operator's values; a client's inputs are data.
pub(super) fn of_main_container(plan: &JobPlan) -> Result<Vec<Value>, ManifestError> {
    let configured = plan.process.env.len();
    let literal = |variable: EnvVar| match variable.value {
        EnvValue::Value(text) => EnvVar { value: EnvValue::Value(text.replace('$', "$$")), ..variable },
        EnvValue::Secret { .. } => variable,
    };
    let variables = environment(plan, &Paths::in_pod())?.into_iter().enumerate();
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

/// What is configured in Kubernetes' own form, and which job it is.
pub(super) fn of_init_container(plan: &JobPlan, container: &InitContainer) -> Vec<Value> {
    let mut env = container.env.clone();
    env.push(json!({ "name": environment::JOB_ID, "value": plan.job_id }));
    env.push(json!({ "name": environment::PROCESS_ID, "value": plan.process.id }));
    env
}
