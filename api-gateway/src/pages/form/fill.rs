//! From an execution request to the fields of a form that would send it: defaults, examples.

use protocol::ProcessDefinition;
use serde_json::{Map, Value};

use super::{
    control::{Control, Count, Field, TextKind},
    fields::{FLAT, Fields, Part, SIDES},
};

/// The fields of a form that nobody has filled in yet: each default.
pub(crate) fn defaults(process: &ProcessDefinition) -> Fields {
    let mut fields = Fields::default();
    for (id, description) in &process.description.inputs {
        if let Some(default) = description.schema.get("default") {
            fill(id, &Field::of(description), default, &mut fields);
        }
    }
    fields
}

/// The fields of the process's example; defaults where it has no value.
pub(crate) fn example(process: &ProcessDefinition) -> Fields {
    let example = process.description.example.as_ref().and_then(|example| example.get("inputs")?.as_object());
    let mut fields = Fields::default();
    for (id, description) in &process.description.inputs {
        let value = example.and_then(|inputs| inputs.get(id)).or_else(|| description.schema.get("default"));
        if let Some(value) = value {
            fill(id, &Field::of(description), value, &mut fields);
        }
    }
    fields
}

/// Fills one input in; false where its field can't show the value.
pub(crate) fn fill(id: &str, field: &Field, value: &Value, fields: &mut Fields) -> bool {
    if field.by_reference
        && let Some(link) = link(value)
    {
        fields.push(Part::Href, id, link.href);
        if let Some(media_type) = link.media_type {
            fields.push(Part::MediaType, id, media_type);
        }
        return true;
    }
    if let Count::Several { .. } = field.count {
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let texts: Option<Vec<String>> = items.iter().map(|item| simple(&field.control, item)).collect();
        return texts.map(|texts| texts.into_iter().for_each(|text| fields.push(Part::Value, id, text))).is_some();
    }
    match &field.control {
        Control::Bounds(_) => bounds(id, value, fields),
        Control::Bytes { .. } => match value.as_str() {
            Some(text) => {
                fields.push(Part::Value, id, text);
                true
            }
            None => false,
        },
        Control::Typed(media_types) => typed(id, media_types, value, fields),
        Control::Json { may_be_text } => {
            fields.push(Part::Value, id, json_text(value, *may_be_text));
            true
        }
        control => simple(control, value).map(|text| fields.push(Part::Value, id, text)).is_some(),
    }
}

struct Link<'a> {
    href: &'a str,
    media_type: Option<&'a str>,
}

fn link(value: &Value) -> Option<Link<'_>> {
    let members = value.as_object()?;
    let is_link = members.keys().all(|name| name == "href" || name == "type");
    let href = members.get("href").filter(|_| is_link)?.as_str()?;
    Some(Link { href, media_type: members.get("type").and_then(Value::as_str) })
}

fn simple(control: &Control, value: &Value) -> Option<String> {
    match (control, value) {
        (Control::Text(text), Value::String(value)) => {
            // A field of one line would lose the ends of lines.
            let fits = text.kind == TextKind::Lines || !value.contains(['\n', '\r']);
            (fits && !value.is_empty()).then(|| value.clone())
        }
        (Control::Number(_), Value::Number(number)) => Some(number.to_string()),
        (Control::Flag, Value::Bool(flag)) => Some(flag.to_string()),
        (Control::Choice(options), value) => options.contains(value).then(|| value.to_string()),
        _ => None,
    }
}

fn bounds(id: &str, value: &Value, fields: &mut Fields) -> bool {
    let Some(numbers) = value.get("bbox").and_then(Value::as_array) else { return false };
    let sides = match numbers.len() {
        4 => FLAT.to_vec(),
        6 => (0..SIDES.len()).collect(),
        _ => return false,
    };
    for (side, number) in sides.into_iter().zip(numbers) {
        fields.push(Part::Side(side), id, number.to_string());
    }
    if let Some(system) = value.get("crs").and_then(Value::as_str) {
        fields.push(Part::System, id, system);
    }
    true
}

fn typed(id: &str, media_types: &[String], value: &Value, fields: &mut Fields) -> bool {
    let qualified = |members: &Map<String, Value>| {
        let value = members.get("value")?.clone();
        Some((value, members.get("mediaType").and_then(Value::as_str).map(str::to_owned)))
    };
    let (value, media_type) = value.as_object().and_then(qualified).unwrap_or_else(|| (value.clone(), None));
    let Some(media_type) = media_type.or_else(|| media_types.first().cloned()) else { return false };
    let text = match (protocol::media_type::is_json(&media_type), value.as_str()) {
        (true, _) => json_text(&value, true),
        (false, Some(text)) => text.to_owned(),
        (false, None) => return false,
    };
    fields.push(Part::Value, id, text);
    fields.push(Part::MediaType, id, media_type);
    true
}

/// JSON for people, or the text itself where it can't be taken for anything else.
fn json_text(value: &Value, may_be_text: bool) -> String {
    match value {
        Value::String(text)
            if may_be_text
                && !text.trim().is_empty()
                && !text.contains('\r')
                && !text.trim_start().starts_with(['{', '['])
                && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() =>
        {
            text.clone()
        }
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}
