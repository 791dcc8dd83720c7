//! What is said of options that pygeoapi-k8s-manager does not have, and of parts in Kubernetes' own form.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use protocol::configuration::Configuration;

const HEAD: &str = "
server:
  url: http://example.org
  manager: {name: a.KubernetesManager}
resources:
  p:
    type: process
    processor:
      name: x.GenericImageProcessor
      default_image: busybox:1
      metadata: {version: 1.0.0, title: T, description: D}
";
const PATH: &str = "resources.p.processor.";

fn findings(lines: &str) -> (Vec<String>, Vec<String>) {
    let of = |path: &str, message: &str| format!("{}: {message}", path.strip_prefix(PATH).unwrap_or(path));
    match Configuration::read(&format!("{HEAD}{lines}"), "test.yml", &|_| None) {
        Ok((_, warnings)) => (Vec::new(), warnings.iter().map(|it| of(&it.path, &it.message)).collect()),
        Err(errors) => (errors.mistakes.iter().map(|it| of(&it.path, &it.message)).collect(), Vec::new()),
    }
}

#[test]
fn every_mistake_in_them_is_told_at_once_with_what_is_allowed() {
    let (mistakes, _) = findings(
        "      namespace: Not_A_Name
      queue_name: a/b
      active_deadline_seconds: 0
      pod_security: strict
      run_as_user: -1
      fs_group: root
      node_selector: {disk: [ssd], gpu: true, a b: c}
      priority_class_name: High
      service_account_name: ''
      labels: {quayside.dev/job-id: x, long: x y}
      annotations: {kubernetes.io/a: b, n: 1}
      args: all
      working_dir: work
      image_pull_policy: Sometimes
      storage:
        - {name: a, mount_path: /a, secret_name: s, config_map_name: c}
        - {name: b, mount_path: /b, empty_dir: {}, items: [{key: k, path: p}], read_only: 1}
        - {name: c, mount_path: /c, secret_name: s, items: [{key: k}]}
",
    );
    let allowed_label = "text of at most 63 letters, digits, and inner hyphens, underscores and dots";
    let object = "a name of at most 253 lower-case letters, digits, and inner hyphens and dots";
    assert_eq!(
        mistakes,
        [
            "namespace: is the text \"Not_A_Name\"; allowed: a name of at most 63 lower-case letters, digits and inner \
             hyphens",
            &format!("queue_name: is the text \"a/b\"; allowed: {object}"),
            "active_deadline_seconds: is the number 0; allowed: a whole number from 1 to 2147483647",
            "pod_security: is the text \"strict\"; allowed: compatible, baseline, restricted",
            "run_as_user: is the number -1; allowed: a whole number from 0 to 2147483647",
            "fs_group: is the text \"root\"; allowed: a whole number from 0 to 2147483647",
            &format!("node_selector.disk: is a list; allowed: {allowed_label}"),
            &format!("node_selector.gpu: is the boolean true; allowed: {allowed_label}, so put it in quotes"),
            "node_selector.\"a b\": is no key of a label or annotation; allowed: at most 63 letters, digits, and inner \
             hyphens, underscores and dots, after a prefix with a slash or without",
            &format!("priority_class_name: is the text \"High\"; allowed: {object}"),
            "service_account_name: is the text \"\"; allowed: text that is not empty",
            "labels.\"quayside.dev/job-id\": is kept for Quayside or Kubernetes; allowed: keys with a prefix of your own, \
             or without one",
            &format!("labels.long: is the text \"x y\"; allowed: {allowed_label}"),
            "annotations.\"kubernetes.io/a\": is kept for Quayside or Kubernetes; allowed: keys with a prefix of your own, \
             or without one",
            "annotations.n: is the number 1; allowed: text, so put it in quotes",
            "args: is the text \"all\"; allowed: a list of texts",
            "working_dir: is the text \"work\"; allowed: an absolute path in the container",
            "image_pull_policy: is the text \"Sometimes\"; allowed: Always, IfNotPresent, Never",
            "storage[0]: has two volumes behind it; allowed: persistent_volume_claim_name, empty_dir, secret_name or \
             config_map_name",
            "storage[1].items: are of no use here; allowed: beside secret_name or config_map_name",
            "storage[1].read_only: is the number 1; allowed: true or false",
            "storage[2].items[0]: has no path; allowed: with path",
        ]
    );
}

#[test]
fn an_affinity_that_kubernetes_does_not_know_is_told_with_its_place() {
    let affinity = |text: &str| findings(&format!("      affinity: {text}\n"));
    let (mistakes, _) =
        affinity("{nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: heavy}]}}");
    assert_eq!(
        mistakes,
        ["affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: does not fit Kubernetes; \
          allowed: i32"]
    );
    let (mistakes, _) = affinity("{podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{}]}}");
    assert_eq!(
        mistakes,
        ["affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]: has no topologyKey; allowed: with \
          topologyKey"]
    );
    let (mistakes, _) = affinity("near the window");
    assert_eq!(mistakes, ["affinity: is the text \"near the window\"; allowed: a mapping"]);
    let (mistakes, warnings) = affinity("{nodeAfinity: {}}");
    assert!(mistakes.is_empty());
    assert_eq!(warnings, ["affinity.nodeAfinity: is not known to Kubernetes, ignored"]);
}

#[test]
fn values_in_kubernetes_own_form_are_not_shown() {
    let (mistakes, _) =
        findings("      init_containers: [{name: a, image: b, env: [{name: PASSWORD, value: 4711}]}]\n");
    assert_eq!(mistakes, ["init_containers[0].env[0].value: does not fit Kubernetes; allowed: a string"]);
}

#[test]
fn root_contradicts_restricted_in_either_spelling() {
    for key in ["run_as_user", "runAsUser"] {
        let (mistakes, _) = findings(&format!("      pod_security: restricted\n      {key}: 0\n"));
        assert_eq!(
            mistakes,
            [format!(
                "{key}: is 0, which is root, and pod_security is restricted; allowed: 1 or more, or another level"
            )]
        );
    }
    assert_eq!(findings("      pod_security: restricted\n      run_as_user: 1\n"), (vec![], vec![]));
    assert_eq!(findings("      pod_security: baseline\n      run_as_user: 0\n"), (vec![], vec![]));
}

#[test]
fn one_thing_in_both_spellings_is_a_mistake() {
    let (mistakes, _) = findings("      node_selector: {a: b}\n      nodeSelector: {a: c}\n");
    assert_eq!(mistakes, ["nodeSelector: is node_selector once more; allowed: one of them"]);
}

#[test]
fn annotations_leave_room_for_those_of_each_job_and_a_queue_is_the_value_of_a_label() {
    let (mistakes, _) = findings(&format!("      annotations: {{a: {}}}\n", "x".repeat(128 * 1024)));
    assert_eq!(mistakes, ["annotations: are 131073 bytes together; allowed: at most 131072"]);
    let (mistakes, _) = findings(&format!("      queue_name: {}\n", "a".repeat(64)));
    assert!(mistakes[0].ends_with("allowed: a name of at most 63 characters"), "{mistakes:?}");
}
