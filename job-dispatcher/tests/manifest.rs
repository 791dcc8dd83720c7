//! The Job of the contract, member by member.

// Helpers outside of `#[test]` functions fail a test by panicking, too.
#![allow(clippy::unwrap_used)]

use indexmap::IndexMap;
use job_dispatcher::{executor::JobPlan, manifest};
use protocol::{JobId, ProcessDefinition, ProcessId, configuration::Configuration};
use serde_json::{Value, json};

const FILE: &str = "server:
  bind: {host: 127.0.0.1, port: 5000}
  url: http://127.0.0.1:5000
  manager: {name: pygeoapi_k8s_manager.manager.KubernetesManager, finalizer_controller: true}
resources:
  hello: {type: process, processor: {name: x.HelloWorldK8sProcessor, command: [echo before]}}
  generic:
    type: process
    processor:
      name: x.GenericImageProcessor
      default_image: image:1
      command: [run, --fast]
      image_pull_secrets: pull-me
      env:
        - {name: FLAG, value: True}
        - {name: PASSWORD, secret_name: s, secret_key: k}
      resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 100m, memory: 64Mi}}
      storage:
        - {name: data, mount_path: /data, persistent_volume_claim_name: claim}
        - {name: tmp, mount_path: /tmp2, empty_dir: {size_limit: 1Gi, medium: Memory}}
      tolerations:
        - {key: gpu, operator: Equal, value: yes-please, effect: NoExecute, toleration_seconds: 60}
      init_containers:
        - {name: fetch, image: fetch:1, imagePullPolicy: Always, command: [get], args: [it],
           env: [{name: A, value: b}], volumeMounts: [{name: data, mountPath: /d}], resources: {limits: {cpu: 10m}}}
      metadata:
        version: 1.2.3
        title: Generic
        description: Generic
        outputs: {out: {title: Out, schema: {type: object, contentMediaType: application/geo+json}}}
";

fn processes() -> IndexMap<ProcessId, ProcessDefinition> {
    Configuration::read(FILE, "test", &|_| None).unwrap().0.processes
}

fn plan(process: &str, inputs: Value) -> JobPlan {
    let job_id: JobId = "018f0000-0000-7000-8000-000000000001".parse().unwrap();
    JobPlan {
        job_id,
        process: processes()[process].clone(),
        job_name: format!("pygeoapi-job-{job_id}"),
        created: "2026-01-02T03:04:05.678901Z".parse().unwrap(),
        inputs: inputs.as_object().unwrap().clone(),
        masked_parameters: Some(r#"{"a":1}"#.into()),
        hold_pod: true,
    }
}

fn job(plan: &JobPlan) -> Value {
    serde_json::to_value(manifest::job(plan, "ns").unwrap()).unwrap()
}

#[test]
fn the_job_of_a_generic_process_is_what_the_contract_lists() {
    let id = "018f0000-0000-7000-8000-000000000001";
    let labels = json!({ "quayside.dev/job-id": id, "app.kubernetes.io/managed-by": "quayside" });
    let expected = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": format!("pygeoapi-job-{id}"),
            "namespace": "ns",
            "labels": labels,
            "annotations": {
                "pygeoapi.io/identifier": id,
                "pygeoapi.io/process_id": "generic",
                "pygeoapi.io/started": "2026-01-02T03:04:05.678901Z",
                "pygeoapi.io/updated": "2026-01-02T03:04:05.678901Z",
                "pygeoapi.io/mimetype": "application/geo+json",
                "pygeoapi.io/job-name": format!("pygeoapi-job-{id}"),
                "pygeoapi.io/parameters": r#"{"a":1}"#,
            },
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 8_640_000,
            "template": {
                "metadata": { "labels": labels, "finalizers": ["pygeoapi.io/finalizer-log-retrieval"] },
                "spec": {
                    "restartPolicy": "Never",
                    "enableServiceLinks": false,
                    "shareProcessNamespace": true,
                    "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
                    "imagePullSecrets": [{ "name": "pull-me" }],
                    "tolerations": [{
                        "key": "gpu", "operator": "Equal", "value": "yes-please", "effect": "NoExecute",
                        "tolerationSeconds": 60,
                    }],
                    "volumes": [
                        { "name": "data", "persistentVolumeClaim": { "claimName": "claim" } },
                        { "name": "tmp", "emptyDir": { "sizeLimit": "1Gi", "medium": "Memory" } },
                    ],
                    "initContainers": [{
                        "name": "fetch", "image": "fetch:1", "imagePullPolicy": "Always",
                        "command": ["get"], "args": ["it"],
                        "env": [
                            { "name": "A", "value": "b" },
                            { "name": "PYGEOAPI_JOB_ID", "value": id },
                            { "name": "PYGEOAPI_PROCESS_ID", "value": "generic" },
                        ],
                        "volumeMounts": [{ "name": "data", "mountPath": "/d" }],
                        "resources": { "limits": { "cpu": "10m" } },
                        "securityContext": { "allowPrivilegeEscalation": false },
                    }],
                    "containers": [{
                        "name": "generic-image-processor",
                        "image": "image:1",
                        "command": ["run", "--fast"],
                        "env": [
                            { "name": "FLAG", "value": "True" },
                            { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } },
                            { "name": "PYGEOAPI_JOB_ID", "value": id },
                            { "name": "PYGEOAPI_PROCESS_ID", "value": "generic" },
                            { "name": "PYGEOAPI_K8S_MANAGER_INPUTS", "value": r#"{"b":"$$(x)","a":[1]}"# },
                        ],
                        "resources": {
                            "limits": { "cpu": "1", "memory": "1Gi" },
                            "requests": { "cpu": "100m", "memory": "64Mi" },
                        },
                        "volumeMounts": [
                            { "name": "data", "mountPath": "/data" },
                            { "name": "tmp", "mountPath": "/tmp2" },
                        ],
                        "securityContext": { "allowPrivilegeEscalation": false },
                    }],
                },
            },
        },
    });
    let made = job(&plan("generic", json!({ "b": "$(x)", "a": [1] })));
    // What the types add for members that are absent is no difference to the API server.
    assert_eq!(without_empty(made), without_empty(expected));
}

fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, member)| (name, without_empty(member)))
            .filter(|(_, member)| !member.is_null() && member != &json!([]) && member != &json!({}))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_empty).collect(),
        other => other,
    }
}

#[test]
fn no_input_is_part_of_a_shell_text_of_hello_world() {
    let made = job(&plan("hello", json!({ "name": "$(id) `id` \"'; rm -rf /", "message": "\\ \n %s" })));
    let container = &made["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["name"], "hello-world-k8s");
    assert_eq!(container["image"], "busybox:1");
    let script = container["command"][2].as_str().unwrap();
    assert!(script.starts_with("echo before\n"), "{script}");
    assert!(!script.contains("rm -rf") && !script.contains("$(id)"), "{script}");
    let variables = container["env"].as_array().unwrap();
    let result = variables.iter().find(|it| it["name"] == "QUAYSIDE_HELLO_WORLD_RESULT").unwrap();
    let result: Value = serde_json::from_str(&result["value"].as_str().unwrap().replace("$$", "$")).unwrap();
    assert_eq!(result, json!({ "id": "echo", "value": "Hello '$(id) `id` \"'; rm -rf /': '\\ \n %s'" }));
}

#[test]
fn a_process_without_inputs_gets_no_inputs_variable_and_a_pod_that_is_not_held_no_finalizer() {
    let mut plan = plan("generic", json!({}));
    plan.hold_pod = false;
    let made = job(&plan);
    assert!(!made.to_string().contains("PYGEOAPI_K8S_MANAGER_INPUTS"));
    assert!(made["spec"]["template"]["metadata"].get("finalizers").is_none());
}

#[test]
fn inputs_too_long_for_one_environment_string_are_refused_with_the_limit() {
    let error = manifest::job(&plan("generic", json!({ "a": "x".repeat(131_072) })), "ns").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("PYGEOAPI_K8S_MANAGER_INPUTS") && text.contains("131072"), "{text}");
}

#[test]
fn long_parameters_are_left_out_of_the_annotations() {
    let mut plan = plan("generic", json!({}));
    plan.masked_parameters = Some("x".repeat(32 * 1024 + 1));
    assert!(job(&plan)["metadata"]["annotations"].get("pygeoapi.io/parameters").is_none());
}
