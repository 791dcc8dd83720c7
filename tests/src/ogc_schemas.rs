//! Answers held against the schemas of OGC API - Processes - Part 1.

use std::{collections::BTreeMap, sync::LazyLock};

use anyhow::{Context, Result, bail, ensure};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

const SCHEMAS: &str = include_str!("../data/ogc-schemas.yaml");

static VALIDATORS: LazyLock<Result<BTreeMap<String, Validator>, String>> =
    LazyLock::new(|| validators().map_err(|error| format!("{error:#}")));

/// Holds a document against the schema of this name, and against a rule of ours: no member is null but inside of values that
/// clients or containers wrote.
///
/// # Errors
/// When it does not fit: every violation with its place.
pub fn check(schema: &str, document: &Value) -> Result<()> {
    let validators = VALIDATORS.as_ref().map_err(|error| anyhow::anyhow!(error.clone()))?;
    let validator = validators.get(schema).with_context(|| format!("there is no schema {schema}"))?;
    let violations: Vec<String> = validator
        .iter_errors(document)
        .map(|violation| format!("{}: {violation}", violation.instance_path()))
        .collect();
    ensure!(violations.is_empty(), "no {schema}: {}\n{document:#}", violations.join("; "));
    if schema != "results" && has_null(document) {
        bail!("a member is null: {document:#}");
    }
    Ok(())
}

fn has_null(document: &Value) -> bool {
    match document {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        // What a default or an example is, is its author's affair.
        Value::Object(members) => {
            members.iter().any(|(name, it)| name != "default" && name != "example" && has_null(it))
        }
        _ => false,
    }
}

fn validators() -> Result<BTreeMap<String, Validator>> {
    let definitions: Map<String, Value> = serde_saphyr::from_str(SCHEMAS)?;
    let mut validators = BTreeMap::new();
    for name in definitions.keys() {
        let schema = json!({"$ref": format!("#/$defs/{name}"), "$defs": definitions});
        let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema);
        validators.insert(name.clone(), validator.map_err(|error| anyhow::anyhow!("{name}: {error}"))?);
    }
    Ok(validators)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_tell_right_from_wrong() {
        let status = json!({"jobID": "a", "status": "running", "processID": "p", "created": "2026-01-02T03:04:05Z"});
        check("statusInfo", &status).unwrap();
        for (member, wrong) in [
            ("status", json!("finished")),
            ("created", json!("yesterday")),
            ("progress", json!(101)),
            ("message", Value::Null),
            ("links", json!([{"rel": "self"}])),
            ("parameters", Value::Null),
        ] {
            let mut document = status.clone();
            document[member] = wrong;
            check("statusInfo", &document).unwrap_err();
        }
        check("results", &json!({"a": "text", "b": 1, "c": {"value": {}, "mediaType": "a/b"}, "d": {"href": "x"}}))
            .unwrap();
        check("results", &json!({"a": {"neither": "of them"}})).unwrap_err();
        check("schema", &json!({"type": "string", "contentMediaType": "a/b"})).unwrap();
        check("schema", &json!({"type": ["string", "null"]})).unwrap_err();
        check("exception", &json!({"title": "no type"})).unwrap_err();
    }
}
