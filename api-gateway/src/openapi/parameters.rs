//! Parameters, each described once.

use serde_json::{Value, json};

use super::Context;
use crate::job_list::OFFSET_LIMIT;

/// References to shared parameters, by name in `components`.
pub(super) fn shared(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"$ref": format!("#/components/parameters/{name}")})).collect()
}

/// The shared parameters.
pub(super) fn components(context: &Context<'_>) -> Value {
    let limits = context.configuration.server.limits;
    let limit = json!({
        "type": "integer", "minimum": 1, "maximum": 10_000, "default": limits.default_items.min(limits.max_items),
    });
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let statuses = json!({
        "type": "array",
        "items": {"type": "string", "enum": ["accepted", "running", "successful", "failed", "dismissed"]},
    });
    let duration = json!({"type": "array", "maxItems": 1, "items": {"type": "integer", "minimum": 0}});
    // To clients no more than a text that links have; empty is absent, as with each filter.
    let job = json!({"type": "string"});
    json!({
        "f": query("f", json!({"type": "string", "enum": ["json", "html"]}), "Form of the answer, instead of the header Accept"),
        "lang": query("lang", json!({"type": "string"}), "Language of the texts, instead of the header Accept-Language"),
        "limit": query(
            "limit", limit,
            &format!("How many items at most; the server gives no more than {}", limits.max_items),
        ),
        "offset": query("offset", json!({"type": "integer", "minimum": 0}), "How many items to leave out first"),
        "jobsOffset": query(
            "offset", json!({"type": "integer", "minimum": 0, "maximum": OFFSET_LIMIT}),
            "How many jobs to leave out first; the links next and prev lead further",
        ),
        "after": query("after", job.clone(), "Only jobs older than this one: as the link next has it"),
        "before": query(
            "before", job, "The jobs right before this one, which are newer: as the link prev has it; not beside `after`",
        ),
        "processID": path("processID", json!({"type": "string"}), "Id of a process"),
        "jobID": path("jobID", json!({"type": "string"}), "Id of a job"),
        "outputID": path("outputID", json!({"type": "string"}), "Id of an output"),
        "outputs": query("outputs", texts.clone(), "Only these outputs"),
        "processes": query("processID", texts, "Only jobs of these processes"),
        "type": query(
            "type", json!({"type": "array", "items": {"type": "string", "enum": ["process"]}}),
            "Only jobs of this kind; there is one",
        ),
        "status": query("status", statuses, "Only jobs in one of these"),
        "datetime": query(
            "datetime", json!({"type": "string"}),
            "Only jobs created at this time or within this interval: RFC 3339 date-times, one or two with a slash between, \
             one of which may be '..' or empty",
        ),
        "minDuration": query("minDuration", duration.clone(), "Only jobs that have run for at least so many seconds"),
        "maxDuration": query("maxDuration", duration, "Only jobs that have run for at most so many seconds"),
        "Idempotency-Key": header(
            "Idempotency-Key",
            "1 to 255 visible ASCII characters, which may be quoted: a request that is sent again with the same key and body \
             makes no second job",
        ),
        "Range": header("Range", "Which bytes are wanted: one range is answered, several are not"),
        "If-Range": header("If-Range", "Only if the entity tag is still this one; else everything is wanted"),
        "If-None-Match": header("If-None-Match", "Only if the entity tag is none of these"),
        "Prefer": header(
            "Prefer",
            "`respond-async` for a job to come back for; `wait=N` for the longest time to wait for results, in seconds",
        ),
    })
}

fn query(name: &str, schema: Value, description: &str) -> Value {
    let mut parameter = json!({"name": name, "in": "query", "required": false, "description": description});
    if schema["type"] == "array" {
        parameter["style"] = "form".into();
        parameter["explode"] = false.into();
    }
    parameter["schema"] = schema;
    parameter
}

fn path(name: &str, schema: Value, description: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema})
}

fn header(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "header", "required": false, "description": description, "schema": {"type": "string"}})
}
