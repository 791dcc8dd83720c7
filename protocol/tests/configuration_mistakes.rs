//! What is reported: every mistake at once, each with path, place, what is wrong and what is allowed.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use protocol::configuration::{Configuration, Mistake, Warning};

const TEN_MISTAKES: &str = include_str!("data/ten-mistakes.yml");
const MINIMAL: &str = include_str!("data/minimal.yml");

fn mistakes(text: &str) -> Vec<Mistake> {
    Configuration::read(text, "test.yml", &|_| None).unwrap_err().mistakes
}

fn warnings(text: &str) -> Vec<Warning> {
    Configuration::read(text, "test.yml", &|_| None).unwrap().1
}

fn lines<T: ToString>(findings: &[T]) -> Vec<String> {
    findings.iter().map(T::to_string).collect()
}

/// The minimal file with this in place of one of its lines.
fn minimal_with(line: &str, replacement: &str) -> String {
    assert!(MINIMAL.contains(line), "{line:?}");
    MINIMAL.replacen(line, replacement, 1)
}

#[test]
fn ten_mistakes_are_all_reported_with_place_and_what_is_allowed() {
    assert_eq!(
        lines(&mistakes(TEN_MISTAKES)),
        [
            "server.bind.port (3:5): is the text \"http\"; allowed: a whole number from 0 to 65535",
            "server.url (4:3): is the text \"example.org\"; allowed: an http or https URL without user, query and \
             fragment",
            "server.limits.on_exceed (6:5): is the text \"explode\"; allowed: throttle, error",
            "server.manager.name (8:5): is the text \"TinyDB\"; allowed: a dotted name that ends in KubernetesManager",
            "logging.level (10:3): is the text \"LOUD\"; allowed: CRITICAL, ERROR, WARNING, INFO, DEBUG or NOTSET",
            "resources.own.processor.name (15:7): process own has the processor my_package.MyProcessor; own Python \
             processors can't be carried over; allowed: a name that ends in GenericImageProcessor or \
             HelloWorldK8sProcessor",
            "resources.generic.processor.default_image (18:5): is missing; allowed: an image",
            "resources.generic.processor.command (20:7): is the text \"run.sh --now\"; allowed: a list of texts",
            "resources.generic.processor.env[0] (22:11): has no value, or parts of two; allowed: name with value, or name with \
             secret_name and secret_key",
            "resources.generic.processor.metadata.inputs.count.maxOccurs (30:13): is the text \"many\"; allowed: a \
             whole number from 1, or unbounded",
        ]
    );
}

#[test]
fn the_message_lists_all_mistakes_one_a_line() {
    let error = Configuration::read(TEN_MISTAKES, "test.yml", &|_| None).unwrap_err();
    let text = error.to_string();
    assert_eq!(text.lines().count(), 11);
    assert!(text.starts_with("10 mistakes in test.yml\n"));
}

#[test]
fn a_minimal_file_is_read_without_warning() {
    assert_eq!(warnings(MINIMAL), []);
}

#[test]
fn unknown_keys_are_warned_of_and_the_likely_one_is_named() {
    let text =
        minimal_with("  url: http://example.org\n", "  url: http://example.org\n  pretty-print: true\n  icon: x\n")
            + "unheard_of: 1\n";
    assert_eq!(
        lines(&warnings(&text)),
        [
            "server.pretty-print (3:3): unknown key, ignored; did you mean pretty_print?",
            "server.icon (4:3): unknown key, ignored",
            "unheard_of (22:1): unknown key, ignored",
        ]
    );
}

#[test]
fn keys_of_pygeoapi_without_effect_here_are_read_quietly() {
    let quiet =
        "  url: http://example.org\n  mimetype: application/json\n  encoding: utf-8\n  map: {url: x}\n  admin: no\n";
    assert_eq!(warnings(&minimal_with("  url: http://example.org\n", quiet)), []);
}

#[test]
fn resources_of_other_types_are_skipped_with_a_warning() {
    let text = MINIMAL.to_owned() + "  lakes:\n    type: collection\n    providers: []\n";
    let (configuration, warnings) = Configuration::read(&text, "test.yml", &|_| None).unwrap();
    assert_eq!(configuration.processes.len(), 1);
    assert_eq!(
        lines(&warnings),
        ["resources.lakes (20:3): is of type collection and skipped; only processes are served"]
    );
}

#[test]
fn a_key_given_twice_is_warned_of_and_the_last_counts() {
    let text = minimal_with("  url: http://example.org\n", "  url: http://example.org\n  url: http://example.com\n");
    let (configuration, warnings) = Configuration::read(&text, "test.yml", &|_| None).unwrap();
    assert_eq!(configuration.server.url.as_str(), "http://example.com");
    assert_eq!(lines(&warnings), ["server.url (3:3): stands here again, after 2:3; the last one counts"]);
}

#[test]
fn a_text_that_is_no_yaml_is_one_mistake_with_its_place() {
    let found = mistakes("server:\n  url: 'http\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].message.starts_with("is no YAML: "), "{}", found[0]);
    assert!(found[0].position.is_some());
}

#[test]
fn an_unset_variable_is_one_mistake_not_two() {
    let text = minimal_with("      default_image: busybox:1\n", "      default_image: ${IMAGE}\n");
    assert_eq!(
        lines(&mistakes(&text)),
        ["resources.generic.processor.default_image (10:7): the environment variable IMAGE is not set; allowed: a \
             set variable, or ${IMAGE:-default}"]
    );
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let environment = |name: &str| match name {
        "CONTAINER_PORT" => Some("eighty".to_owned()),
        "SCRIPT_NAME" => Some("/a b".to_owned()),
        _ => None,
    };
    let error = Configuration::read(MINIMAL, "test.yml", &environment).unwrap_err();
    assert_eq!(
        lines(&error.mistakes),
        [
            "SCRIPT_NAME: is the text \"/a b\"; allowed: the path of a URL, such as /ogc",
            "CONTAINER_PORT: is the text \"eighty\"; allowed: a whole number from 0 to 65535",
        ]
    );
}

#[test]
fn ids_that_would_be_misread_in_a_path_are_quoted() {
    let text = minimal_with("  generic:\n", "  \"a.b/c\":\n");
    assert_eq!(
        lines(&mistakes(&text)),
        ["resources.\"a.b/c\" (6:3): a process id can't contain '/'; allowed: up to 128 bytes without slash"]
    );
}

#[test]
fn a_missing_section_is_a_mistake_of_its_own() {
    assert_eq!(
        lines(&mistakes("logging: {}\n")),
        ["server: is missing; allowed: a mapping", "resources: is missing; allowed: a mapping of id to resource",]
    );
}
