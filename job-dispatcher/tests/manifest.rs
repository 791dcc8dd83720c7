//! The Job of each configuration in `tests/manifest`, field by field.
//!
//! A case is a configuration (`<case>.yaml`) and the whole Job that it makes (`<case>.json`). A story sends every one of these
//! Jobs to a real API server.

// Helpers outside of `#[test]` functions fail a test by panicking, too.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use job_dispatcher::{
    exchange::{Exchange, InputsFile, UploadPlan},
    executor::JobPlan,
    manifest,
};
use platform::secret::Secret;
use protocol::{JobId, ProcessDefinition, configuration::Configuration, job_record::Uploads};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const ID: &str = "018f0000-0000-7000-8000-000000000001";

const HEAD: &str = "server:
  url: http://127.0.0.1:5000
  manager: {name: pygeoapi_k8s_manager.manager.KubernetesManager}
";

/// The part of a case's file that is not its configuration.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    case: Case,
}

/// What a job has that its process has not.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    inputs: Map<String, Value>,
    parameters: Option<String>,
    /// Parameters of so many bytes.
    parameters_length: Option<usize>,
    hold_pod: bool,
    prefix: String,
    /// The inputs go into a file: they are these, or in the bucket.
    inputs_file: Option<InputsAt>,
    /// How many warnings the configuration gives.
    warnings: usize,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum InputsAt {
    Text(String),
    Stored,
}

impl InputsAt {
    fn file(&self) -> InputsFile {
        match self {
            Self::Text(text) => InputsFile::Text(text.clone()),
            Self::Stored => InputsFile::Stored { url: url("inputs"), size: 300_000, sha256: "00".repeat(32) },
        }
    }
}

/// A presigned URL: with what Kubernetes would replace, if it were not taken care of.
fn url(of: &str) -> Secret {
    Secret::new(format!("https://s3.example.org/{of}?X-Amz-Signature=$(HOME)"))
}

fn exchange(process: &ProcessDefinition, case: &Case) -> Exchange {
    let uploads = process.exchange.results.map(|by| UploadPlan {
        uploads: Uploads { epoch: serde_json::from_value(json!("0f".repeat(16))).unwrap(), ..Uploads::new(by) },
        outputs: process.declared_outputs().into_iter().map(|output| (output.clone(), Some(url(&output.id)))).collect(),
        collect_seconds: process.exchange.collect_seconds,
    });
    Exchange {
        inputs_file: case.inputs_file.as_ref().map(InputsAt::file),
        uploads,
        companion_image: "quayside/companion:1".to_owned(),
    }
}

impl Default for Case {
    fn default() -> Self {
        Self {
            inputs: Map::new(),
            parameters: None,
            parameters_length: None,
            hold_pod: true,
            prefix: "pygeoapi-job-".to_owned(),
            inputs_file: None,
            warnings: 0,
        }
    }
}

fn read(text: &str) -> (ProcessDefinition, Vec<String>) {
    let (configuration, warnings) = Configuration::read(&format!("{HEAD}{text}"), "case", &|_| None).unwrap();
    let warnings = warnings.iter().filter(|warning| warning.path != "case").map(ToString::to_string).collect();
    (configuration.processes.into_values().next().unwrap(), warnings)
}

fn plan(process: ProcessDefinition, case: &Case) -> JobPlan {
    let job_id: JobId = ID.parse().unwrap();
    JobPlan {
        exchange: exchange(&process, case),
        job_id,
        namespace: process.pod.namespace.clone().unwrap_or_else(|| "ns".to_owned()),
        process,
        job_name: format!("{}{job_id}", case.prefix),
        created: "2026-01-02T03:04:05.678901Z".parse().unwrap(),
        inputs: case.inputs.clone(),
        masked_parameters: case.parameters.clone().or(case.parameters_length.map(|length| "x".repeat(length))),
        hold_pod: case.hold_pod,
    }
}

fn made(text: &str) -> (Value, Vec<String>, usize) {
    let case = serde_saphyr::from_str::<File>(text).unwrap().case;
    let (process, warnings) = read(text);
    let job = manifest::job(&plan(process, &case)).unwrap();
    (serde_json::to_value(job).unwrap(), warnings, case.warnings)
}

#[test]
fn each_configuration_makes_the_whole_job_that_is_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifest");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let (made, warnings, expected_warnings) = made(&fs::read_to_string(&file).unwrap());
        if warnings.len() != expected_warnings {
            wrong.push(format!("{name}: {warnings:?}"));
        }
        let expected = fs::read_to_string(file.with_extension("json")).unwrap_or_default();
        if serde_json::from_str(&expected).ok().as_ref() != Some(&made) {
            wrong.push(format!("{name} makes\n{made:#}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 25, "only {count} cases were found");
}

#[test]
fn inputs_too_long_for_one_environment_string_are_refused_with_the_limit() {
    let (process, _) = read(include_str!("manifest/generic_smallest.yaml"));
    let mut plan = plan(process, &Case::default());
    plan.inputs = json!({ "a": "x".repeat(131_072) }).as_object().unwrap().clone();
    let text = manifest::job(&plan).unwrap_err().to_string();
    assert!(text.contains("PYGEOAPI_K8S_MANAGER_INPUTS") && text.contains("131072"), "{text}");
}

#[test]
fn parameters_of_just_32_kib_are_written_on_the_job() {
    let (process, _) = read(include_str!("manifest/generic_smallest.yaml"));
    let parameters = "x".repeat(32 * 1024);
    let case = Case { parameters: Some(parameters.clone()), ..Case::default() };
    let job = manifest::job(&plan(process, &case)).unwrap();
    assert_eq!(job.metadata.annotations.unwrap()["pygeoapi.io/parameters"], parameters);
}
