//! `resources`: how processes are read.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use protocol::{
    configuration::Configuration,
    process::{EnvValue, ImagePullPolicy, MaxOccurs, Medium, ProcessDefinition, Processor, VolumeSource},
};
use serde_json::json;

const HEAD: &str = "
server:
  url: http://example.org
  manager: {name: a.KubernetesManager}
resources:
";

const METADATA: &str = "
      metadata:
        version: 1.0.0
        title: T
        description: D
        outputs: {out: {schema: {type: object}}}
";

fn read(resources: &str) -> (Configuration, Vec<String>) {
    let (configuration, warnings) = Configuration::read(&format!("{HEAD}{resources}"), "test.yml", &|_| None)
        .unwrap_or_else(|error| panic!("{error}"));
    (configuration, warnings.into_iter().map(|warning| format!("{}: {}", warning.path, warning.message)).collect())
}

fn mistakes(resources: &str) -> Vec<String> {
    let errors = Configuration::read(&format!("{HEAD}{resources}"), "test.yml", &|_| None).unwrap_err();
    errors.mistakes.into_iter().map(|mistake| format!("{}: {}", mistake.path, mistake.message)).collect()
}

/// A generic process `p` with these further lines under `processor`.
fn generic(lines: &str) -> String {
    format!(
        "  p:
    type: process
    processor:
      name: x.GenericImageProcessor
      default_image: busybox:1{METADATA}{lines}"
    )
}

fn read_generic(lines: &str) -> (ProcessDefinition, Vec<String>) {
    let (configuration, warnings) = read(&generic(lines));
    (configuration.processes["p"].clone(), warnings)
}

fn hello(lines: &str) -> (ProcessDefinition, Vec<String>) {
    let text = format!("  h:\n    type: process\n    processor:\n      name: x.y.HelloWorldK8sProcessor\n{lines}");
    let (configuration, warnings) = read(&text);
    (configuration.processes["h"].clone(), warnings)
}

#[test]
fn hello_world_describes_itself() {
    let (process, warnings) = hello("");
    assert_eq!(warnings, [""; 0]);
    assert_eq!(process.kind, Processor::HelloWorld);
    assert_eq!(process.image, "busybox:1");
    assert!(!process.check_auth);
    let description = &process.description;
    assert_eq!(description.inputs.keys().collect::<Vec<_>>(), ["name", "message"]);
    assert!(description.inputs["name"].is_required() && !description.inputs["message"].is_required());
    assert_eq!(description.outputs["echo"].schema["type"], "object");
    assert_eq!(process.result_media_type(), Some("application/json"));
    assert_eq!(description.example.as_ref().unwrap()["inputs"]["name"], "John Doe");
    let options: Vec<_> = description.job_control_options.names().collect();
    assert_eq!(options, ["sync-execute", "async-execute", "dismiss"]);
}

#[test]
fn hello_world_never_asks_for_the_token_and_takes_no_volumes() {
    let (process, warnings) = hello("      check_auth: true\n      storage: []\n      command: [echo a, echo b]\n");
    assert!(!process.check_auth);
    assert_eq!(process.command, ["echo a", "echo b"]);
    assert_eq!(
        warnings,
        [
            "resources.h.processor.check_auth: has no effect: hello world never asks for the token",
            "resources.h.processor.storage: has no effect for HelloWorldK8sProcessor",
        ]
    );
}

#[test]
fn a_generic_process_asks_for_the_token_unless_told_otherwise() {
    assert!(read_generic("").0.check_auth);
    assert!(read_generic("      check_auth:\n").0.check_auth);
    assert!(!read_generic("      check_auth: False\n").0.check_auth);
    assert_eq!(
        mistakes(&generic("      check_auth: 'False'\n")),
        ["resources.p.processor.check_auth: is the text \"False\"; allowed: true or false"]
    );
}

#[test]
fn environment_values_become_text_as_python_writes_it() {
    let values = [
        ("True", "True"),
        ("yes", "True"),
        ("false", "False"),
        ("1024", "1024"),
        ("0x10", "16"),
        ("1.50", "1.5"),
        ("2.0", "2.0"),
        ("1.0e+16", "1e+16"),
        ("1.0e-5", "1e-05"),
        ("0.0001", "0.0001"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        (".inf", "inf"),
        ("-.inf", "-inf"),
        (".nan", "nan"),
        ("'007'", "007"),
        ("''", ""),
        ("some text", "some text"),
    ];
    for (written, expected) in values {
        let (process, _) = read_generic(&format!("      env: [{{name: A, value: {written}}}]\n"));
        assert_eq!(process.env[0].value, EnvValue::Value(expected.to_owned()), "{written}");
    }
}

#[test]
fn an_empty_environment_value_becomes_none_with_a_warning() {
    let (process, warnings) = read_generic("      env:\n        - name: A\n          value:\n");
    assert_eq!(process.env[0].value, EnvValue::Value("None".to_owned()));
    assert_eq!(warnings.len(), 1);
}

#[test]
fn environment_values_may_come_from_secrets() {
    let (process, _) = read_generic("      env: [{name: A, secret_name: s, secret_key: k}]\n");
    assert_eq!(process.env[0].value, EnvValue::Secret { name: "s".to_owned(), key: "k".to_owned() });
    assert_eq!(mistakes(&generic("      env: [{name: A, value: 1, secret_name: s, secret_key: k}]\n")).len(), 1);
    assert_eq!(mistakes(&generic("      env: [{name: A=B, value: 1}]\n")).len(), 1);
    assert_eq!(mistakes(&generic("      env: {A: B}\n")), ["resources.p.processor.env: is a mapping; allowed: a list"]);
}

#[test]
fn variables_that_quayside_sets_itself_are_warned_of() {
    let (_, warnings) = read_generic("      env: [{name: PYGEOAPI_JOB_ID, value: 1}]\n");
    assert!(warnings[0].contains("is set for each job"), "{warnings:?}");
}

#[test]
fn the_media_type_of_results_follows_the_outputs() {
    let cases = [
        ("{}", "", None),
        ("{a: {schema: {}}}", "", Some("application/json")),
        ("{a: {schema: {}}}", "text/csv", Some("text/csv")),
        ("{a: {schema: {contentMediaType: image/tiff}}}", "text/csv", Some("image/tiff")),
        ("{a: {schema: {contentMediaType: image/tiff}}, b: {schema: {}}}", "text/csv", Some("application/json")),
    ];
    for (outputs, mimetype, expected) in cases {
        let text = generic(&format!("      mimetype: '{mimetype}'\n"))
            .replace("outputs: {out: {schema: {type: object}}}", &format!("outputs: {outputs}"));
        let (configuration, _) = read(&text);
        assert_eq!(configuration.processes["p"].result_media_type(), expected, "{outputs} {mimetype}");
    }
}

#[test]
fn job_control_options_are_obeyed_with_a_warning_where_sync_is_missing() {
    let with = |options: &str| {
        generic("").replace("description: D", &format!("description: D\n        jobControlOptions: {options}"))
    };
    let (configuration, warnings) = read(&with("[async-execute]"));
    let options = configuration.processes["p"].description.job_control_options;
    assert!(!options.allows_sync() && options.allows_async() && !options.allows_dismiss());
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("has no sync-execute"), "{warnings:?}");
    assert_eq!(read(&with("[sync-execute, dismiss]")).1, [""; 0]);
    assert!(mistakes(&with("[dismiss]"))[0].contains("names no way to execute"));
    assert_eq!(
        mistakes(&with("[sync]")),
        ["resources.p.processor.metadata.jobControlOptions[0]: is the text \"sync\"; allowed: sync-execute, \
          async-execute, dismiss"]
    );
}

#[test]
fn the_key_is_the_id_and_a_differing_one_is_warned_of() {
    let text = generic("").replace("version: 1.0.0", "id: other\n        version: 1.0.0");
    let (configuration, warnings) = read(&text);
    assert_eq!(configuration.processes["p"].id.as_str(), "p");
    assert_eq!(
        warnings,
        ["resources.p.processor.metadata.id: differs from the key in resources; the process is known as p"]
    );
}

#[test]
fn image_pull_secret_is_taken_with_a_warning() {
    let (process, warnings) = read_generic("      image_pull_secret: regcred\n");
    assert_eq!(process.image_pull_secret.as_deref(), Some("regcred"));
    assert_eq!(warnings, ["resources.p.processor.image_pull_secret: is read as image_pull_secrets; write that"]);
    let (process, warnings) = read_generic("      image_pull_secrets: regcred\n");
    assert_eq!((process.image_pull_secret.as_deref(), warnings.len()), (Some("regcred"), 0));
}

#[test]
fn tolerations_may_be_written_in_the_style_of_python_or_kubernetes() {
    let (process, warnings) = read_generic(
        "      tolerations:
        - {key: a, operator: Equal, value: b, effect: NoExecute, toleration_seconds: 60}
        - {key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 61}
        - {operator: Exists}
",
    );
    assert_eq!(warnings, [""; 0]);
    assert_eq!(process.tolerations[0].toleration_seconds, Some(60));
    assert_eq!(process.tolerations[1].toleration_seconds, Some(61));
    assert_eq!(process.tolerations[2].key, None);
    assert_eq!(mistakes(&generic("      tolerations: [{key: a, effect: Never}]\n")).len(), 1);
    assert_eq!(mistakes(&generic("      tolerations: [{effect: NoSchedule}]\n")).len(), 1);
}

#[test]
fn resources_are_optional_and_take_numbers() {
    let process = read_generic("").0;
    assert_eq!(process.resources.limits["memory"].as_str(), "512Mi");
    assert_eq!(process.resources.requests["cpu"].as_str(), "100m");
    let process = read_generic("      resources: {limits: {cpu: 1.5, memory: 1Gi}}\n").0;
    assert_eq!(process.resources.limits["cpu"].as_str(), "1.5");
    assert!(process.resources.requests.is_empty());
    assert_eq!(
        mistakes(&generic("      resources: {limits: {memory: 1GB}}\n")),
        ["resources.p.processor.resources.limits.memory: is the text \"1GB\"; allowed: an amount such as 500m, 2, \
          128Mi or 1.5G"]
    );
}

#[test]
fn storage_is_a_claim_or_an_empty_folder() {
    let (process, warnings) = read_generic(
        "      storage:
        - {name: data, mount_path: /data, persistent_volume_claim_name: lakes}
        - {name: tmp, mount_path: /tmp, empty_dir: {}}
        - {name: null-tmp, mount_path: scratch, empty_dir: }
        - {name: fast, mount_path: /fast, empty_dir: {size_limit: 1Gi, medium: Memory}}
",
    );
    assert_eq!(process.storage[0].source, VolumeSource::PersistentVolumeClaim { name: "lakes".to_owned() });
    assert_eq!(process.storage[2].mount_path, "/scratch");
    assert_eq!(warnings, ["resources.p.processor.storage[2].mount_path: is relative and taken as /scratch"]);
    let VolumeSource::EmptyDir(fast) = &process.storage[3].source else { panic!() };
    assert_eq!((fast.size_limit.as_ref().unwrap().as_str(), &fast.medium), ("1Gi", &Medium::Memory));
    for wrong in [
        "{name: a, mount_path: /a}",
        "{name: a, mount_path: /a, empty_dir: {}, persistent_volume_claim_name: b}",
        "{name: A_B, mount_path: /a, empty_dir: {}}",
        "{name: a, empty_dir: {}}",
        "{name: a, mount_path: /a, empty_dir: {medium: Disk}}",
    ] {
        assert_eq!(mistakes(&generic(&format!("      storage: [{wrong}]\n"))).len(), 1, "{wrong}");
    }
}

#[test]
fn init_containers_keep_what_is_in_kubernetes_own_form() {
    let (process, warnings) = read_generic(
        "      storage: [{name: data, mount_path: /data, empty_dir: {}}]
      init_containers:
        - name: fetch
          image: busybox:1
          imagePullPolicy: IfNotPresent
          command: [sh, -c]
          args: [sleep 1]
          env:
            - name: KEY
              valueFrom: {secretKeyRef: {name: s3, key: key}}
          volumeMounts: [{name: data, mountPath: /inputs/}]
          resources: {limits: {cpu: 1}}
",
    );
    assert_eq!(warnings, [""; 0]);
    let init = &process.init_containers[0];
    assert_eq!(init.image_pull_policy, Some(ImagePullPolicy::IfNotPresent));
    assert_eq!((init.command.join(" "), init.args.join(" ")), ("sh -c".to_owned(), "sleep 1".to_owned()));
    assert_eq!(init.env, [json!({"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "key"}}})]);
    assert_eq!(init.volume_mounts, [json!({"name": "data", "mountPath": "/inputs/"})]);
    assert_eq!(init.resources, Some(json!({"limits": {"cpu": "1"}})));
}

#[test]
fn init_containers_with_unknown_volumes_or_taken_names_are_noticed() {
    let lines = "      init_containers: [{name: a, image: b, volumeMounts: [{name: gone, mountPath: /x}]}]\n";
    assert!(read_generic(lines).1[0].contains("storage has no volume gone"));
    let lines = "      init_containers: [{name: generic-image-processor, image: b}]\n";
    assert!(mistakes(&generic(lines))[0].contains("is taken"));
}

#[test]
fn inputs_keep_order_cardinality_and_schema() {
    let text = generic("").replace(
        "outputs:",
        "inputs:
          z: {schema: {type: array, items: {type: integer}}, minOccurs: 0, maxOccurs: unbounded, title: {en: Z, de: Zett}}
          a: {schema: {type: string}, minOccurs: 2, maxOccurs: 3}
          m: {schema: {type: string}}
        outputs:",
    );
    let (configuration, warnings) = read(&text);
    assert_eq!(warnings, [""; 0]);
    let inputs = &configuration.processes["p"].description.inputs;
    assert_eq!(inputs.keys().collect::<Vec<_>>(), ["z", "a", "m"]);
    assert_eq!((inputs["z"].min_occurs, inputs["z"].max_occurs), (0, MaxOccurs::Unbounded));
    assert_eq!((inputs["a"].min_occurs, inputs["a"].max_occurs), (2, MaxOccurs::Count(3)));
    assert_eq!((inputs["m"].min_occurs, inputs["m"].max_occurs), (1, MaxOccurs::Count(1)));
    assert_eq!(inputs["m"].title.text("en"), "m");
    assert_eq!(inputs["z"].title.text("de"), "Zett");
    assert_eq!(inputs["z"].schema, json!({"type": "array", "items": {"type": "integer"}}));
}

fn with_input(input: &str) -> String {
    generic("").replace("outputs:", &format!("inputs:\n          a: {input}\n        outputs:"))
}

#[test]
fn a_broken_schema_names_process_input_and_the_place_inside_it() {
    let cases = [
        ("{schema: {type: objekt}}", "inputs.a.schema.type: is no type; allowed: array"),
        ("{schema: {properties: {b: {minimum: low}}}}", "inputs.a.schema.properties.b.minimum: does not belong here"),
        ("{schema: {items: {pattern: '['}}}", "inputs.a.schema.items.pattern: is no regular expression"),
        (
            "{schema: {oneOf: [{type: string}, {$ref: 'https://example.org/a.json'}]}}",
            "inputs.a.schema.oneOf[1].\"$ref\": is a reference to another document",
        ),
        (
            "{schema: {type: integer, default: many}}",
            "inputs.a.schema.default: is refused by its own schema: expected a whole number",
        ),
    ];
    for (input, expected) in cases {
        let found = mistakes(&with_input(input));
        let expected = format!("resources.p.processor.metadata.{expected}");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{expected}: {found:?}");
    }
    let output = generic("").replace("{type: object}", "{type: 1}");
    let found = mistakes(&output);
    assert!(found[0].starts_with("resources.p.processor.metadata.outputs.out.schema.type: "), "{found:?}");
}

#[test]
fn a_default_may_be_the_list_of_an_input_of_several_values() {
    assert_eq!(read(&with_input("{schema: {type: integer, default: [1, 2]}, maxOccurs: 2}")).1, [""; 0]);
    assert_eq!(mistakes(&with_input("{schema: {type: integer, default: [1, 2]}}")).len(), 1);
}

#[test]
fn several_entries_may_share_one_anchored_mapping() {
    let text = "  a: &shared
    type: process
    processor:
      name: x.HelloWorldK8sProcessor
  b: *shared
  c:
    <<: *shared
";
    let (configuration, warnings) = read(text);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(configuration.processes.keys().map(|id| id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_definition_is_serialised_the_same_each_time() {
    let first = serde_json::to_string(&read_generic("      env: [{name: A, value: 1}]\n").0).unwrap();
    let second = serde_json::to_string(&read_generic("      env: [{name: A, value: 1}]\n").0).unwrap();
    assert_eq!(first, second);
    assert!(first.contains("\"jobControlOptions\":[\"sync-execute\",\"async-execute\",\"dismiss\"]"));
}
