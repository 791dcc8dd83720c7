//! The inputs of an execution: which there must be, how many values of each, and the values themselves.

use std::sync::Arc;

use protocol::{
    ProcessDefinition,
    configuration::Warning,
    process::{InputDescription, MaxOccurs},
};
use serde_json::{Map, Value};

use super::{
    schemas::{InputSchema, ProcessSchemas},
    value::{self, Findings, Reference},
    violation::{Violation, Violations},
};
use crate::access;

/// Holds inputs against the process. What is somewhere else is returned, to be looked at when nothing is wrong.
pub(super) fn check(
    inputs: &Map<String, Value>,
    process: &ProcessDefinition,
    schemas: &ProcessSchemas,
    violations: &mut Violations,
) -> Vec<Reference> {
    let mut references = Vec::new();
    for (id, description) in &process.description.inputs {
        let Some(schema) = schemas.input(id) else { continue };
        match inputs.get(id) {
            Some(given) => {
                let mut findings = Findings { input: id, violations: &mut *violations, references: &mut references };
                values(given, description, schema, &mut findings);
            }
            None if description.is_required() && !is_token(process, id) => {
                violations.push(Violation::of_input(id, "", "this input is required"));
            }
            None => {}
        }
    }
    for id in inputs.keys().filter(|id| !process.description.inputs.contains_key(*id)) {
        violations.push(Violation::of_input(id, "", "the process has no such input"));
    }
    references
}

/// Gives inputs that are absent the default of their schema. Members of objects get none: what is sent is passed on as
/// it came.
pub(super) fn add_defaults(inputs: &mut Map<String, Value>, process: &ProcessDefinition) {
    for (id, description) in &process.description.inputs {
        if let Some(default) = description.schema.get("default")
            && !description.is_required()
            && !is_token(process, id)
            && !inputs.contains_key(id)
        {
            inputs.insert(id.clone(), default.clone());
        }
    }
}

/// A warning, if the inputs of a process's own example don't fit it.
pub(super) fn of_example(process: &ProcessDefinition, schemas: &ProcessSchemas) -> Option<Warning> {
    let example = process.description.example.as_ref()?;
    let mut inputs = match example.get("inputs") {
        Some(Value::Object(inputs)) => inputs.clone(),
        _ => Map::new(),
    };
    if process.check_auth {
        access::take_token(&mut inputs);
    }
    let mut violations = Violations::default();
    check(&inputs, process, schemas, &mut violations);
    let error = violations.into_result().err()?;
    Some(Warning {
        path: format!("resources.{}.processor.metadata.example", process.id),
        position: None,
        message: format!("would be refused as an execution: {error}"),
    })
}

/// The token of a protected process is taken out before, and needed by its door, not by its schema.
fn is_token(process: &ProcessDefinition, id: &str) -> bool {
    process.check_auth && id == access::TOKEN_INPUT
}

/// Requirement `/req/core/process-execute-input-array`: of an input that takes several values a list is the list of
/// them, and anything else is the only one. Where a list may be a value itself, it is one if only that fits.
fn values(given: &Value, description: &InputDescription, schema: &Arc<InputSchema>, findings: &mut Findings<'_>) {
    let (least, most) = (description.min_occurs, description.max_occurs);
    if !most.is_list() {
        return value::check(given, "", schema, findings);
    }
    let is_one = |items: &[Value]| schema.fits(given) && !items.iter().all(|item| value::is_plain_fit(item, schema));
    let count = match given {
        Value::Array(items) if !is_one(items) => {
            for (index, item) in items.iter().enumerate() {
                value::check(item, &format!("/{index}"), schema, findings);
            }
            items.len()
        }
        _ => {
            value::check(given, "", schema, findings);
            1
        }
    };
    if u32::try_from(count).is_ok_and(|count| count < least) || !most.allows(count) {
        let message = match most {
            MaxOccurs::Unbounded => format!("expected at least {least} values"),
            MaxOccurs::Count(most) if most == least => format!("expected {least} values"),
            MaxOccurs::Count(most) => format!("expected {least} to {most} values"),
        };
        findings.violations.push(Violation::of_input(findings.input, "", message));
    }
}
