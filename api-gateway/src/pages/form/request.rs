//! From the fields of a form to the execution request that a client would have sent as JSON.

use protocol::ProcessDefinition;
use serde_json::{Map, Value, json};

use super::{
    control::{Control, Count, Field, TextKind},
    fields::{self, CHOOSES_OUTPUTS, FLAT, Fields, OUTPUT, Part, SIDES},
};
use crate::{access, validate::Violation};

/// What a form asks for.
pub(crate) struct Asked {
    /// The body of the execution.
    pub(crate) body: Value,
    /// What can't be said as JSON.
    pub(crate) violations: Vec<Violation>,
}

/// Reads a form. What does not fit its input is passed on as far as it can be: the request is held against the process
/// as any other.
pub(crate) fn request(process: &ProcessDefinition, fields: &Fields) -> Asked {
    let mut inputs = Map::new();
    let mut violations = Vec::new();
    for (id, description) in &process.description.inputs {
        if process.check_auth && id == access::TOKEN_INPUT {
            continue;
        }
        match value(id, &Field::of(description), fields) {
            Ok(Some(value)) => {
                inputs.insert(id.clone(), value);
            }
            Ok(None) => {}
            Err(message) => violations.push(Violation::of_input(id, "", message)),
        }
    }
    if let Some(token) = fields.one(fields::TOKEN).filter(|token| process.check_auth && !token.is_empty()) {
        inputs.insert(access::TOKEN_INPUT.to_owned(), token.into());
    }
    let mut body = json!({"inputs": inputs});
    if fields.one(CHOOSES_OUTPUTS).is_some() {
        let chosen: Vec<&str> = fields.all(OUTPUT).collect();
        if chosen.is_empty() {
            violations.push("outputs: choose at least one".to_owned().into());
        } else if !process.description.outputs.keys().all(|id| chosen.contains(&id.as_str())) {
            body["outputs"] = chosen.into_iter().map(|id| (id.to_owned(), json!({}))).collect::<Map<_, _>>().into();
        }
    }
    Asked { body, violations }
}

/// The value of an input; `None`: nothing was filled in.
fn value(id: &str, field: &Field, fields: &Fields) -> Result<Option<Value>, String> {
    let href = fields.first(Part::Href, id).trim();
    let value = match field.count {
        Count::Several { .. } => {
            let rows = fields.of_input(Part::Value, id);
            let values: Vec<Value> = rows.into_iter().filter_map(|text| simple(&field.control, text)).collect();
            (!values.is_empty()).then(|| Value::Array(values))
        }
        Count::One => one(id, &field.control, fields)?,
    };
    if !field.by_reference || href.is_empty() {
        return Ok(value);
    }
    if value.is_some() {
        return Err("give either a value or a link to one, not both".to_owned());
    }
    let mut link = json!({"href": href});
    let media_type = fields.first(Part::MediaType, id).trim();
    if !media_type.is_empty() {
        link["type"] = media_type.into();
    }
    Ok(Some(link))
}

fn one(id: &str, control: &Control, fields: &Fields) -> Result<Option<Value>, String> {
    let text = fields.first(Part::Value, id);
    match control {
        Control::Bounds(_) => Ok(bounds(id, fields)),
        Control::Bytes { .. } => {
            let text = text.trim();
            Ok((!text.is_empty()).then(|| text.into()))
        }
        Control::Typed(media_types) => typed(id, media_types, fields),
        Control::Json { may_be_text } => json_value(text, *may_be_text),
        simple_control => Ok(simple(simple_control, text)),
    }
}

/// The value of a simple control; what it can't be stays text, to be refused with the reason.
fn simple(control: &Control, text: &str) -> Option<Value> {
    if text.is_empty() {
        return None;
    }
    Some(match control {
        Control::Number(_) => number(text),
        Control::Flag | Control::Choice(_) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        Control::Text(it) if it.kind == TextKind::Lines => plain_lines(text).into(),
        _ => text.into(),
    })
}

/// Browsers send two characters for each end of a line.
fn plain_lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// Digits stay as they were typed where JSON allows them.
fn number(text: &str) -> Value {
    let text = text.trim();
    let is_number = |value: &Value| value.is_number();
    if let Some(value) = serde_json::from_str(text).ok().filter(is_number) {
        return value;
    }
    let looks_like_one = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let parsed = text.parse().ok().filter(|_| looks_like_one).and_then(serde_json::Number::from_f64);
    parsed.map_or_else(|| text.into(), Value::Number)
}

fn bounds(id: &str, fields: &Fields) -> Option<Value> {
    let side = |side: usize| fields.first(Part::Side(side), id).trim();
    let sides: Vec<usize> = match (0..SIDES.len()).filter(|it| !FLAT.contains(it)).any(|it| !side(it).is_empty()) {
        true => (0..SIDES.len()).collect(),
        false => FLAT.to_vec(),
    };
    if sides.iter().all(|it| side(*it).is_empty()) {
        return None;
    }
    let mut value = json!({"bbox": sides.into_iter().map(|it| number(side(it))).collect::<Vec<_>>()});
    let system = fields.first(Part::System, id);
    if !system.is_empty() {
        value["crs"] = system.into();
    }
    Some(value)
}

fn typed(id: &str, media_types: &[String], fields: &Fields) -> Result<Option<Value>, String> {
    let text = plain_lines(fields.first(Part::Value, id));
    if text.trim().is_empty() {
        return Ok(None);
    }
    let chosen = fields.first(Part::MediaType, id);
    let media_type = if chosen.is_empty() { media_types.first().map_or("", String::as_str) } else { chosen };
    let value = match protocol::media_type::is_json(media_type) {
        true => json_value(&text, true)?.unwrap_or_default(),
        false => text.into(),
    };
    Ok(Some(json!({"value": value, "mediaType": media_type})))
}

/// JSON, or text where that is allowed.
fn json_value(text: &str, may_be_text: bool) -> Result<Option<Value>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok(Some(value)),
        Err(_) if may_be_text && !text.trim_start().starts_with(['{', '[']) => Ok(Some(plain_lines(text).into())),
        // The error's own text could repeat what was sent.
        Err(error) => Err(format!("this is not JSON: line {}, column {}", error.line(), error.column())),
    }
}
