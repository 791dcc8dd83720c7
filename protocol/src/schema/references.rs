//! `$ref` inside a configured schema: where it leads, and that it leads anywhere.

use std::collections::HashSet;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{SchemaMistake, bounding_box};

const REFERENCE: &str = "$ref";
/// Keywords whose schemas are held against the same value, so that going round through them never ends.
const SAME_VALUE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const SAME_VALUE: [&str; 4] = ["not", "if", "then", "else"];
/// How deep members are looked for.
const DEPTH: usize = 32;

/// Pointers of all that references in this schema lead to.
pub(super) fn targets(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    each_reference(schema, "", &mut |_, target| found.extend(local(target)));
    found
}

/// References to other documents, to nothing, and in circles.
pub(super) fn mistakes(schema: &Value) -> Vec<SchemaMistake> {
    let mut found = Vec::new();
    each_reference(schema, "", &mut |pointer, target| {
        let message = match local(target) {
            _ if bounding_box::URLS.contains(&target) => return,
            None if target.starts_with('#') => return,
            None => {
                "is a reference to another document, which is not fetched; allowed: one to a place inside this schema, such \
                 as #/definitions/name"
            }
            Some(place) if schema.pointer(&place).is_none() => {
                "leads to nothing; allowed: a place inside this schema, such as #/definitions/name"
            }
            Some(place) if returns_to(schema, &place) => {
                "leads back to itself without ever reaching a part of the value; allowed: a reference that ends"
            }
            Some(_) => return,
        };
        found.push(SchemaMistake { pointer: format!("{pointer}/{REFERENCE}"), message: message.to_owned() });
    });
    found
}

/// Whether objects may have a member of this name, as far as the schema names members itself.
pub(super) fn declares(schema: &Value, member: &str) -> bool {
    declares_at(schema, schema, member, DEPTH)
}

/// A name as part of a JSON pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Examples and constants are data: what looks like a reference there is none.
fn is_data(keyword: &str) -> bool {
    matches!(keyword, "default" | "example" | "examples" | "enum" | "const")
}

fn each_reference(value: &Value, pointer: &str, found: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get(REFERENCE) {
                found(pointer, target);
            }
            for (name, part) in members.iter().filter(|(name, _)| !is_data(name)) {
                each_reference(part, &format!("{pointer}/{}", escaped(name)), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                each_reference(item, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// The pointer of a reference into its own document.
fn local(target: &str) -> Option<String> {
    let fragment = target.strip_prefix('#')?;
    let pointer = percent_decode_str(fragment).decode_utf8().ok()?.into_owned();
    (pointer.is_empty() || pointer.starts_with('/')).then_some(pointer)
}

fn returns_to(schema: &Value, start: &str) -> bool {
    let mut seen = HashSet::new();
    let mut left = vec![start.to_owned()];
    while let Some(place) = left.pop() {
        let mut next = Vec::new();
        if let Some(node) = schema.pointer(&place) {
            of_same_value(node, &place, &mut next);
        }
        for place in next {
            if place == start {
                return true;
            }
            if seen.insert(place.clone()) {
                left.push(place);
            }
        }
    }
    false
}

/// Places of schemas that are held against the same value as this one: what it refers to, and its parts.
fn of_same_value(node: &Value, pointer: &str, found: &mut Vec<String>) {
    let Value::Object(members) = node else { return };
    found.extend(members.get(REFERENCE).and_then(Value::as_str).and_then(local));
    for keyword in SAME_VALUE.iter().filter(|keyword| members.contains_key(**keyword)) {
        found.push(format!("{pointer}/{keyword}"));
    }
    for keyword in SAME_VALUE_LISTS {
        let parts = members.get(keyword).and_then(Value::as_array).map_or(0, Vec::len);
        found.extend((0..parts).map(|index| format!("{pointer}/{keyword}/{index}")));
    }
    if let Some(Value::Object(parts)) = members.get("dependentSchemas") {
        found.extend(parts.keys().map(|name| format!("{pointer}/dependentSchemas/{}", escaped(name))));
    }
}

fn declares_at(root: &Value, node: &Value, member: &str, depth: usize) -> bool {
    let Value::Object(members) = node else { return false };
    let Some(depth) = depth.checked_sub(1) else { return false };
    let within = |node: &Value| declares_at(root, node, member, depth);
    names(members, member)
        || SAME_VALUE_LISTS
            .iter()
            .filter_map(|keyword| members.get(*keyword)?.as_array())
            .any(|parts| parts.iter().any(within))
        || members
            .get(REFERENCE)
            .and_then(Value::as_str)
            .and_then(local)
            .and_then(|place| root.pointer(&place))
            .is_some_and(within)
}

fn names(members: &Map<String, Value>, member: &str) -> bool {
    let is_property = members.get("properties").is_some_and(|properties| properties.get(member).is_some());
    let required = members.get("required").and_then(Value::as_array);
    is_property || required.is_some_and(|names| names.iter().any(|name| name == member))
}
