//! The companions of a process's container: one writes its inputs into a file, one stores the files of its outputs.

use protocol::{
    companion::{self, Upload},
    job_record::ResultsBy,
    names::{
        environment,
        kubernetes::{COMPANION_INPUTS, COMPANION_RESULTS, INPUTS_PATH, RESULTS_PATH},
    },
    process::{PodSecurity, SecurityLevel},
};
use serde_json::{Value, json};

use super::{ENVIRONMENT_STRING_LIMIT, ManifestError};
use crate::{
    exchange::{InputsFile, UploadPlan, pieces},
    executor::JobPlan,
};

/// A user that is not root, where the level asks for one and the process names none.
const NOBODY: i64 = 65_532;
/// What a pod may take to end besides what storing files takes.
const GRACE_SECONDS: u32 = 30;

/// Puts the companions, and what they share with the main container, into the pod.
pub(super) fn join(plan: &JobPlan, pod: &mut Value) -> Result<(), ManifestError> {
    if let Some(file) = &plan.exchange.inputs_file {
        let volume = (COMPANION_INPUTS, INPUTS_PATH.rsplit_once('/').map_or(INPUTS_PATH, |(folder, _)| folder));
        share(pod, volume, true, &json!({}));
        let fetch = container(plan, COMPANION_INPUTS, companion::INPUTS, volume, inputs_environment(file))?;
        push(pod, "initContainers", fetch, Place::First);
    }
    let files = plan.exchange.uploads.as_ref().filter(|uploads| uploads.uploads.by == ResultsBy::Files);
    if let Some(uploads) = files {
        let volume = (COMPANION_RESULTS, RESULTS_PATH);
        let limit = plan.process.exchange.results_limit.as_ref();
        share(pod, volume, false, &limit.map_or_else(|| json!({}), |limit| json!({ "sizeLimit": limit })));
        let mut collect = container(plan, COMPANION_RESULTS, companion::COLLECT, volume, results_environment(uploads))?;
        // A sidecar: it ends after the main container, and the Job completes after it
        // (<https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>).
        collect["restartPolicy"] = "Always".into();
        push(pod, "initContainers", collect, Place::Last);
        pod["terminationGracePeriodSeconds"] = (uploads.collect_seconds + GRACE_SECONDS).into();
    }
    Ok(())
}

enum Place {
    First,
    Last,
}

fn push(pod: &mut Value, member: &str, item: Value, place: Place) {
    if pod[member].is_null() {
        pod[member] = json!([]);
    }
    if let Some(list) = pod[member].as_array_mut() {
        let at = match place {
            Place::First => 0,
            Place::Last => list.len(),
        };
        list.insert(at, item);
    }
}

/// A volume that the main container sees, too.
fn share(pod: &mut Value, (name, path): (&str, &str), read_only: bool, options: &Value) {
    push(pod, "volumes", json!({ "name": name, "emptyDir": options }), Place::Last);
    let mut mount = json!({ "name": name, "mountPath": path });
    if read_only {
        mount["readOnly"] = true.into();
    }
    push(&mut pod["containers"][0], "volumeMounts", mount, Place::Last);
}

fn container(
    plan: &JobPlan,
    name: &str,
    argument: &str,
    (volume, path): (&str, &str),
    mut variables: Vec<(String, String)>,
) -> Result<Value, ManifestError> {
    variables.push((environment::JOB_ID.to_owned(), plan.job_id.to_string()));
    variables.push((environment::PROCESS_ID.to_owned(), plan.process.id.to_string()));
    for (name, value) in &variables {
        let size = name.len() + value.len() + 2;
        if size > ENVIRONMENT_STRING_LIMIT {
            return Err(ManifestError::EnvironmentTooLong { name: name.clone(), size });
        }
    }
    // A `$` would begin a reference to another variable.
    let variables = variables.iter().map(|(name, value)| json!({ "name": name, "value": value.replace('$', "$$") }));
    Ok(json!({
        "name": name,
        "image": plan.exchange.companion_image,
        "args": [argument],
        "env": variables.collect::<Vec<_>>(),
        "resources": {
            "requests": { "cpu": "10m", "memory": "16Mi" },
            "limits": { "cpu": "1", "memory": "64Mi" },
        },
        "securityContext": security(&plan.process.pod.security),
        "volumeMounts": [{ "name": volume, "mountPath": path }],
    }))
}

/// As root it reads files of whichever user the process runs as; at the level where it can't be root, files have to be readable for
/// others, or for the volumes' group.
fn security(security: &PodSecurity) -> Value {
    let mut context = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    });
    match security.level {
        SecurityLevel::Restricted if security.run_as_user.is_none() => context["runAsUser"] = NOBODY.into(),
        SecurityLevel::Restricted => {}
        SecurityLevel::Compatible | SecurityLevel::Baseline => {
            context["capabilities"]["add"] = json!(["DAC_OVERRIDE"]);
            context["runAsUser"] = 0.into();
        }
    }
    context
}

fn inputs_environment(file: &InputsFile) -> Vec<(String, String)> {
    let mut variables = vec![(companion::INPUTS_PATH.to_owned(), INPUTS_PATH.to_owned())];
    match file {
        InputsFile::Text(text) => {
            let pieces = pieces(text).into_iter().enumerate();
            variables.extend(pieces.map(|(n, piece)| (format!("{}{n}", companion::INPUTS_PIECE), piece.to_owned())));
        }
        InputsFile::Stored { url, size, sha256 } => {
            variables.push((companion::INPUTS_URL.to_owned(), url.reveal().to_owned()));
            variables.push((companion::INPUTS_SIZE.to_owned(), size.to_string()));
            variables.push((companion::INPUTS_SHA256.to_owned(), sha256.clone()));
        }
    }
    variables
}

fn results_environment(plan: &UploadPlan) -> Vec<(String, String)> {
    let outputs = plan.outputs.iter().filter_map(|(output, url)| {
        Some(Upload {
            output: output.id.clone(),
            file: output.id.clone(),
            url: url.as_ref()?.reveal().to_owned(),
            media_type: output.media_type.clone(),
        })
    });
    vec![
        (companion::RESULTS.to_owned(), RESULTS_PATH.to_owned()),
        (companion::UPLOADS.to_owned(), json!(outputs.collect::<Vec<_>>()).to_string()),
        (companion::COLLECT_SECONDS.to_owned(), plan.collect_seconds.to_string()),
    ]
}
