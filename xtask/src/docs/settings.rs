//! The settings of the services, from their types.

use api_gateway::settings::GatewaySettings;
use job_dispatcher::settings::DispatcherSettings;
use log_finalizer::settings::FinalizerSettings;
use schemars::{Schema, schema_for};
use serde_json::Value;

const HEAD: &str = "# Service settings

Made from the code by `cargo xtask docs`; change the doc comments of the settings instead of this page.

Defaults, then a TOML file named by `QUAYSIDE_SETTINGS`, then the environment: the setting `nats.url` is `QUAYSIDE_NATS__URL`, two underscores
between section and name. An empty variable counts as unset. Times are numbers of seconds, whole or not. A list is a list in the file, and a
text of parts separated by commas in a variable. An unknown name in a section and an unknown section are errors.
";

/// The page, in Markdown.
pub(super) fn page() -> String {
    let parts = [
        ("All services", "", platform::config::schema()),
        ("Gateway", "gateway", schema_for!(GatewaySettings)),
        ("Dispatcher", "dispatcher", schema_for!(DispatcherSettings)),
        ("Finalizer", "finalizer", schema_for!(FinalizerSettings)),
    ];
    let section = |(title, prefix, schema): &(&str, &str, Schema)| {
        let mut rows = String::new();
        members(schema.as_value(), schema.as_value(), prefix, &mut rows);
        format!("\n## {title}\n\n| setting | value | default | meaning |\n|---|---|---|---|\n{rows}")
    };
    HEAD.to_owned() + &parts.iter().map(section).collect::<String>()
}

fn members(root: &Value, schema: &Value, prefix: &str, rows: &mut String) {
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let kind = resolved(root, member);
        if kind["properties"].is_object() && !is_time(kind) {
            members(root, kind, &path, rows);
            continue;
        }
        let meaning = member["description"].as_str().or(kind["description"].as_str()).unwrap_or_default();
        let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        rows.push_str(&format!("| `{path}` | {} | {} | {meaning} |\n", value(kind), default(&member["default"])));
    }
}

/// What a member refers to, leaving out that it may be absent.
fn resolved<'a>(root: &'a Value, member: &'a Value) -> &'a Value {
    let mut choices = member["anyOf"].as_array().into_iter().flatten();
    let member = choices.find(|choice| choice["type"] != "null").unwrap_or(member);
    match member["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => root.pointer(pointer).unwrap_or(member),
        None => member,
    }
}

fn is_time(kind: &Value) -> bool {
    kind["properties"]["secs"].is_object()
}

fn value(kind: &Value) -> String {
    let words: Vec<&str> = match (kind["enum"].as_array(), kind["oneOf"].as_array()) {
        (Some(words), _) => words.iter().filter_map(Value::as_str).collect(),
        (None, Some(words)) => words.iter().filter_map(|word| word["const"].as_str()).collect(),
        (None, None) => Vec::new(),
    };
    if !words.is_empty() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if is_time(kind) {
        return "seconds".to_owned();
    }
    let types = kind["type"].as_array().map_or_else(|| vec![&kind["type"]], |types| types.iter().collect());
    let named = types.into_iter().filter_map(Value::as_str).find(|name| *name != "null");
    match named {
        Some("integer") => "whole number",
        Some("number") => "number",
        Some("boolean") => "true or false",
        Some("array") => "list",
        _ => "text",
    }
    .to_owned()
}

fn default(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) if text.is_empty() => "–".to_owned(),
        Value::Array(items) if items.is_empty() => "–".to_owned(),
        Value::Object(time) => {
            let part = |name: &str| time.get(name).and_then(Value::as_f64).unwrap_or_default();
            let seconds = part("secs") + part("nanos") / 1e9;
            format!("{seconds}")
        }
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_words_lists_and_sections_are_told_as_they_are_written() {
        let page = page();
        for row in [
            "| `dispatcher.start_deadline` | seconds | 300 |",
            "| `dispatcher.executor` | `kubernetes`, `local` | `kubernetes` |",
            "| `finalizer.namespaces` | list | – |",
            "| `gateway.callbacks.secret` | text | – |",
            "| `nats.replicas` | whole number | 1 |",
            "| `probe.bind` | text | `0.0.0.0:8081` |",
            "| `shutdown_limit` | seconds | – |",
        ] {
            assert!(page.contains(row), "{row} in {page}");
        }
        assert_eq!(default(&json!({ "secs": 1, "nanos": 500_000_000 })), "1.5");
    }
}
