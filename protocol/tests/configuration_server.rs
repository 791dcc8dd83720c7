//! `server`, `logging` and `metadata`, and what the environment overrides.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use protocol::{
    configuration::{Configuration, LogLevel, OnExceed},
    process::Localized,
};

fn read_in(text: &str, environment: &[(&str, &str)]) -> Configuration {
    let look_up = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let text = format!("{text}\nresources: {{}}\n");
    Configuration::read(&text, "test.yml", &look_up).unwrap_or_else(|error| panic!("{error}")).0
}

fn read(text: &str) -> Configuration {
    read_in(text, &[])
}

const MANAGER: &str = "  manager: {name: a.b.KubernetesManager}\n";

#[test]
fn what_is_not_set_has_its_default() {
    let configuration = read(&format!("server:\n{MANAGER}"));
    let server = configuration.server;
    assert_eq!((server.bind.host.as_str(), server.bind.port), ("0.0.0.0", 5000));
    assert_eq!(server.url.as_str(), "http://localhost:5000");
    assert_eq!(server.base_path, "");
    assert_eq!(server.languages, ["en-US"]);
    assert!(!server.cors && !server.pretty_print && !server.gzip);
    assert_eq!((server.limits.default_items, server.limits.max_items), (10, 10));
    assert_eq!(server.limits.on_exceed, OnExceed::Throttle);
    assert!(!server.manager.finalizer_controller);
    assert!(server.manager.sync_link && server.manager.protect_dismiss);
    assert_eq!(server.manager.protect_jobs, None);
    assert_eq!(configuration.logging.level, None);
    assert!(configuration.processes.is_empty());
}

#[test]
fn what_is_set_counts() {
    let text = "
server:
  bind: {host: '::1', port: '8081'}
  url: https://example.org/ogc///
  languages: [de-DE, en-US]
  cors: on
  pretty_print: yes
  gzip: True
  limits: {default_items: 20, max_items: 50, on_exceed: error}
  manager:
    name: own.fork.KubernetesManager
    finalizer_controller: yes
    sync_link: no
    protect_dismiss: no
    protect_jobs: yes
    logging:
      kubernetes: warning
      pygeoapi.process: DEBUG
logging:
  level: info
  logfile: /var/log/quayside.log
  logformat: '%(message)s'
  dateformat: '%Y'
";
    let configuration = read(text);
    let server = configuration.server;
    assert_eq!((server.bind.host.as_str(), server.bind.port), ("::1", 8081));
    assert_eq!(server.url.as_str(), "https://example.org/ogc");
    assert_eq!(server.languages, ["de-DE", "en-US"]);
    assert!(server.cors && server.pretty_print && server.gzip);
    assert_eq!((server.limits.default_items, server.limits.max_items), (20, 50));
    assert_eq!(server.limits.on_exceed, OnExceed::Error);
    assert!(server.manager.finalizer_controller && !server.manager.sync_link && !server.manager.protect_dismiss);
    assert_eq!(server.manager.protect_jobs, Some(true));
    assert_eq!(server.manager.logging["kubernetes"], LogLevel::Warning);
    assert_eq!(server.manager.logging["pygeoapi.process"].as_tracing(), "debug");
    assert_eq!(configuration.logging.level, Some(LogLevel::Info));
    assert_eq!(configuration.logging.logfile.as_deref(), Some("/var/log/quayside.log"));
}

#[test]
fn the_container_variables_override_the_file() {
    let text = format!("server:\n  bind: {{host: 10.0.0.1, port: 1}}\n  url: http://example.org\n{MANAGER}");
    let environment = [("CONTAINER_HOST", "0.0.0.0"), ("CONTAINER_PORT", "80"), ("SCRIPT_NAME", "/ogc/v1/")];
    let server = read_in(&text, &environment).server;
    assert_eq!((server.bind.host.as_str(), server.bind.port), ("0.0.0.0", 80));
    assert_eq!(server.base_path, "/ogc/v1");
    assert_eq!(server.url.as_str(), "http://example.org");
    let server = read_in(&text, &[("SCRIPT_NAME", "/"), ("CONTAINER_HOST", ""), ("CONTAINER_PORT", "")]).server;
    assert_eq!((server.bind.host.as_str(), server.bind.port, server.base_path.as_str()), ("10.0.0.1", 1, ""));
}

#[test]
fn metadata_is_a_text_or_a_text_a_language() {
    let text = format!(
        "server:\n{MANAGER}
metadata:
  identification:
    title: {{en: Lakes, de-DE: Seen}}
    description: One for all
    keywords: {{en: [lake], de: [See, Wasser]}}
  contact: {{postalcode: 48155, name: Doe}}
"
    );
    let metadata = read(&text).metadata;
    let title = metadata.identification.title;
    assert_eq!(title.text("de-DE"), "Seen");
    assert_eq!(title.text("de-AT"), "Seen");
    assert_eq!(title.text("en-US"), "Lakes");
    assert_eq!(title.text("fr"), "Lakes");
    assert_eq!(metadata.identification.description.text("fr"), "One for all");
    assert_eq!(metadata.identification.keywords.list("de"), ["See", "Wasser"]);
    assert_eq!(metadata.contact.postal_code, Some(Localized::Same("48155".to_owned())));
    assert_eq!(metadata.license.name, None);
}
