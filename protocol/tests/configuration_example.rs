//! The example configuration at the project's root.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;

use protocol::{
    configuration::Configuration,
    process::{EnvValue, ProcessDefinition, Processor, VolumeSource},
};

const ECHO: &str = include_str!("../../deploy/examples/echo.yaml");
const EXAMPLE: &str = include_str!("../../quayside-config.yaml");

fn example() -> Configuration {
    let (configuration, warnings) = Configuration::read(EXAMPLE, "quayside-config.yaml", &|_| None).unwrap();
    assert_eq!(warnings, []);
    configuration
}

fn generic(configuration: &Configuration) -> &ProcessDefinition {
    &configuration.processes["generic-image-processor-example"]
}

#[test]
fn it_is_read_without_mistake_and_without_warning() {
    let configuration = example();
    assert_eq!(configuration.server.url.as_str(), "http://127.0.0.1:5000");
    assert_eq!(configuration.server.bind.port, 5000);
    assert!(configuration.server.manager.finalizer_controller);
    assert!(configuration.server.manager.sync_link);
    let ids: Vec<_> = configuration.processes.keys().map(|id| id.as_str()).collect();
    assert_eq!(ids, ["hello-world-k8s", "generic-image-processor-example", "echo"]);
}

#[test]
fn its_port_and_url_come_from_the_environment() {
    let environment = |name: &str| match name {
        "QUAYSIDE_PORT" => Some("8080".to_owned()),
        "QUAYSIDE_URL" => Some("https://example.org/ogc/".to_owned()),
        _ => None,
    };
    let (configuration, _) = Configuration::read(EXAMPLE, "quayside-config.yaml", &environment).unwrap();
    assert_eq!(configuration.server.bind.port, 8080);
    assert_eq!(configuration.server.url.as_str(), "https://example.org/ogc");
}

#[test]
fn its_generic_process_shows_the_options() {
    let configuration = example();
    let process = generic(&configuration);
    assert_eq!(process.kind, Processor::GenericImage);
    assert!(process.check_auth);
    assert_eq!(process.image, "bash:5");
    assert_eq!(process.result_media_type(), Some("application/json"));
    assert_eq!(process.env[1].value, EnvValue::Value("1024".to_owned()));
    assert!(matches!(process.storage[0].source, VolumeSource::EmptyDir(_)));
    assert_eq!(process.description.inputs.keys().collect::<Vec<_>>(), ["text", "count"]);
}

#[test]
fn variables_in_its_script_are_left_to_the_shell() {
    let configuration = example();
    assert!(generic(&configuration).command[2].contains("${PYGEOAPI_JOB_ID:-unknown}"));
}

#[test]
fn its_script_runs_under_a_plain_shell_and_echoes_inputs_as_data() {
    let inputs = r#"{"text":"$(touch pwned) `id` 'q' \\n %s }","count":3}"#;
    let configuration = example();
    let process = generic(&configuration);
    let output = Command::new("sh")
        .args(["-c", &process.command[2]])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("PYGEOAPI_PROCESS_ID", process.id.as_str())
        .env("PYGEOAPI_K8S_MANAGER_INPUTS", inputs)
        .output()
        .unwrap();
    assert!(output.status.success());
    let log = String::from_utf8(output.stdout).unwrap();
    let (before, result) = log.split_once("PYGEOAPI_K8S_MANAGER_RESULT_START\n").unwrap();
    assert!(before.contains("PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: application/json\n"));
    assert_eq!(result, format!("{{\"id\": \"{}\", \"value\": {inputs}}}\n", process.id));
}

#[test]
fn the_echo_process_is_the_same_in_the_example_of_its_own() {
    let (alone, warnings) = Configuration::read(ECHO, "echo.yaml", &|_| None).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(alone.processes.len(), 1);
    assert_eq!(alone.processes["echo"], example().processes["echo"]);
    assert!(!alone.server.manager.sync_link);
}

#[test]
fn the_echo_process_has_inputs_of_every_kind_and_outputs_of_the_same_ids() {
    let configuration = example();
    let echo = &configuration.processes["echo"];
    let inputs = &echo.description.inputs;
    let ids: Vec<_> = inputs.keys().collect();
    assert_eq!(ids, ["echoInput", "arrayInput", "bboxInput", "mixedInput", "objectInput", "binaryInput", "pause"]);
    assert_eq!(ids, echo.description.outputs.keys().collect::<Vec<_>>());
    let required: Vec<_> = inputs.iter().filter(|(_, input)| input.is_required()).map(|(id, _)| id).collect();
    assert_eq!(required, ["echoInput"]);
    assert!(!echo.check_auth);
}

#[test]
fn the_echo_process_pauses_and_answers_with_its_inputs() {
    let configuration = example();
    let echo = &configuration.processes["echo"];
    for (inputs, pause) in [
        (r#"{"echoInput":"a"}"#, 0),
        (r#"{"pause":1}"#, 1),
        (r#"{"echoInput":"\"pause\":300,{","mixedInput":{"pause":300,"a":[{"b":"}"}]},"pause":1,"objectInput":{}}"#, 1),
        (r#"{"echoInput":"$(sleep 300) `sleep 300` @300 \\","arrayInput":[1,2],"pause":0}"#, 0),
    ] {
        let output = Command::new("bash")
            .args(&echo.command[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("PYGEOAPI_K8S_MANAGER_INPUTS", inputs)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let log = String::from_utf8(output.stdout).unwrap();
        let (before, result) = log.split_once("PYGEOAPI_K8S_MANAGER_RESULT_START\n").unwrap();
        assert!(before.contains(&format!("pausing for {pause} s\n")), "{inputs}: {before}");
        assert_eq!(result, format!("{inputs}\n"));
    }
}
