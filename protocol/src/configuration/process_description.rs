//! `processor.metadata`: what clients see of a process.

use config::ValueKind;
use indexmap::IndexMap;
use serde_json::Value as Json;

use super::{node::Node, table::Table};
use crate::{
    process::{
        InputDescription, JobControlOptions, Link, Localized, MaxOccurs, OutputDescription, ProcessDescription,
        ProcessId,
    },
    schema::Schema,
};

const TEXT: &str = "text, or a mapping of language to text";

/// Reads `processor.metadata` of the process with this id.
pub(super) fn description(node: &Node<'_>, id: Option<&ProcessId>) -> Option<ProcessDescription> {
    let table = node.table()?;
    if let (Some(own), Some(id)) = (table.get("id"), id)
        && own.scalar_text().is_some_and(|own| own != id.as_str())
    {
        own.warning(format!("differs from the key in resources; the process is known as {id}"));
    }
    let version = table.require("version", "text").and_then(|node| version(&node));
    let title = table.require("title", TEXT).and_then(|node| node.localized());
    let description = table.require("description", TEXT).and_then(|node| node.localized());
    let keywords = table.read("keywords", Node::localized_list).unwrap_or_default();
    let links = table.read("links", links).unwrap_or_default();
    let inputs = table.read("inputs", |node| each(node, input)).unwrap_or_default();
    let outputs = table.read("outputs", |node| each(node, output)).unwrap_or_default();
    let example = table.read("example", Node::json);
    let job_control_options = table.read("jobControlOptions", job_control_options).unwrap_or(JobControlOptions::ALL);
    let metadata = table.read("metadata", Node::json);
    let additional_parameters = table.read("additionalParameters", Node::json);
    table.ignore(&["outputTransmission"]);
    table.finish();
    Some(ProcessDescription {
        version: version?,
        title: title?,
        description: description?,
        keywords,
        links,
        inputs,
        outputs,
        example,
        job_control_options,
        metadata,
        additional_parameters,
    })
}

fn version(node: &Node<'_>) -> Option<String> {
    let version = node.scalar_text()?;
    if matches!(node.value.kind, ValueKind::Float(_)) {
        node.warning(format!("is a number, read as {version}; put a version in quotes"));
    }
    if version.is_empty() { node.wrong("text that is not empty") } else { Some(version) }
}

fn each<T>(node: &Node<'_>, read: impl Fn(&str, &Node<'_>) -> Option<T>) -> Option<IndexMap<String, T>> {
    let ValueKind::Table(_) = node.value.kind else { return node.wrong("a mapping of id to description") };
    let entry = |(id, node): (&str, Node<'_>)| Some((id.to_owned(), read(id, &node)?));
    Some(node.table()?.entries().filter_map(entry).collect())
}

fn input(id: &str, node: &Node<'_>) -> Option<InputDescription> {
    let table = node.table()?;
    let min_occurs = table.read("minOccurs", |node| whole(node, 0)).unwrap_or(1);
    let max_occurs = table.read("maxOccurs", max_occurs).unwrap_or(MaxOccurs::Count(min_occurs.max(1)));
    if let MaxOccurs::Count(most) = max_occurs
        && most < min_occurs
    {
        table.mistake(format!(
            "has minOccurs {min_occurs} above maxOccurs {most} (1 if absent); allowed: at most maxOccurs"
        ));
    }
    let (schema, compiled) = schema(node, &table)?;
    if let (Some(compiled), Some(default)) = (compiled, schema.get("default")) {
        check_default(&compiled, default, max_occurs, &table);
    }
    let input = InputDescription {
        title: title(id, &table),
        description: table.read("description", Node::localized),
        schema,
        min_occurs,
        max_occurs,
        keywords: table.read("keywords", Node::localized_list),
        metadata: table.read("metadata", Node::json),
        additional_parameters: table.read("additionalParameters", Node::json),
    };
    table.finish();
    Some(input)
}

fn output(id: &str, node: &Node<'_>) -> Option<OutputDescription> {
    let table = node.table()?;
    let output = OutputDescription {
        title: title(id, &table),
        description: table.read("description", Node::localized),
        schema: schema(node, &table)?.0,
        keywords: table.read("keywords", Node::localized_list),
        metadata: table.read("metadata", Node::json),
        additional_parameters: table.read("additionalParameters", Node::json),
    };
    table.finish();
    Some(output)
}

fn title(id: &str, table: &Table<'_>) -> Localized<String> {
    table.read("title", Node::localized).unwrap_or_else(|| id.into())
}

/// The standard requires a schema, pygeoapi does not: without one, every value is taken. What is wrong with a schema is
/// told at its place inside it; then there is none that values could be held against.
fn schema(node: &Node<'_>, table: &Table<'_>) -> Option<(Json, Option<Schema>)> {
    let Some(written) = table.get("schema") else {
        node.warning("has no schema, so that every value is taken; write one");
        return Some((Json::Object(serde_json::Map::new()), None));
    };
    let schema = written.json_object()?;
    if schema.get("contentMediaType").is_some_and(|media_type| !media_type.is_string()) {
        node.mistake("has a schema whose contentMediaType is no text; allowed: a media type");
        return Some((schema, None));
    }
    match Schema::compile(&schema) {
        Ok(compiled) => Some((schema, Some(compiled))),
        Err(mistakes) => {
            for mistake in mistakes {
                written.at(&mistake.pointer).mistake(mistake.message);
            }
            Some((schema, None))
        }
    }
}

/// A default is given to jobs as it stands, so it must be what a client could have sent. Of an input that takes several
/// values it may be the list of them.
fn check_default(schema: &Schema, default: &Json, max_occurs: MaxOccurs, table: &Table<'_>) {
    let is_list_of_values =
        || max_occurs.is_list() && default.as_array().is_some_and(|values| values.iter().all(|one| schema.fits(one)));
    if schema.fits(default) || is_list_of_values() {
        return;
    }
    let reasons: Vec<String> = schema.misfits(default).into_iter().map(|misfit| misfit.message).collect();
    if let Some(written) = table.get("schema") {
        written.at("/default").mistake(format!("is refused by its own schema: {}", reasons.join("; ")));
    }
}

fn max_occurs(node: &Node<'_>) -> Option<MaxOccurs> {
    match &node.value.kind {
        ValueKind::String(word) if word == "unbounded" => Some(MaxOccurs::Unbounded),
        ValueKind::I64(_) => whole(node, 1).map(MaxOccurs::Count),
        _ => node.wrong("a whole number from 1, or unbounded"),
    }
}

fn whole(node: &Node<'_>, least: i64) -> Option<u32> {
    node.integer(least, i64::from(u32::MAX)).and_then(|number| u32::try_from(number).ok())
}

fn links(node: &Node<'_>) -> Option<Vec<Link>> {
    Some(node.items()?.iter().filter_map(link).collect())
}

fn link(node: &Node<'_>) -> Option<Link> {
    let table = node.table()?;
    let href = table.require("href", "a URL").and_then(|node| node.text());
    let rel = table.optional_text("rel");
    let media_type = table.optional_text("type");
    let title = table.read("title", Node::localized);
    let hreflang = table.optional_text("hreflang");
    table.finish();
    Some(Link { href: href?, rel, media_type, title, hreflang })
}

/// pygeoapi-k8s-manager ignored the list; here it is obeyed.
fn job_control_options(node: &Node<'_>) -> Option<JobControlOptions> {
    let words = JobControlOptions::NAMES.map(|name| (name, name));
    let items = node.items()?;
    let named: Vec<&str> = items.iter().filter_map(|item| item.word(&words)).collect();
    if named.len() < items.len() {
        return None;
    }
    let [sync_execute, async_execute, dismiss] = JobControlOptions::NAMES.map(|name| named.contains(&name));
    let Some(options) = JobControlOptions::new(sync_execute, async_execute, dismiss) else {
        node.mistake("names no way to execute; allowed: sync-execute, async-execute or both, and dismiss");
        return None;
    };
    if !options.allows_sync() {
        node.warning(
            "has no sync-execute, so that executions without Prefer are asynchronous; pygeoapi-k8s-manager answered \
             them synchronously all the same",
        );
    }
    Some(options)
}
