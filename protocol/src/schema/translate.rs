//! From JSON Schema as OpenAPI 3.0 writes it, with the standard's additions, to draft 2020-12.
//!
//! What is written in a newer way already (`exclusiveMinimum: 0`, `type: [string, "null"]`, `const`, `$defs`) stays.

use std::collections::HashSet;

use jsonschema::draft202012;
use serde_json::{Map, Value};

use super::{SchemaMistake, bounding_box, explain, references};

/// Keywords with a schema.
const ONE: [&str; 11] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords with a list of schemas.
const LISTS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords with schemas by name.
const MAPS: [&str; 5] = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];

/// Translates a schema.
///
/// # Errors
/// What is wrong with it, as far as it shows without compiling it.
pub(super) fn translate(configured: &Value) -> Result<Value, Vec<SchemaMistake>> {
    let mut mistakes = references::mistakes(configured);
    let mut document = configured.clone();
    let mut translation = Translation::default();
    translation.node(&mut document, "", false);
    // What references lead to is a schema, wherever it stands.
    for target in references::targets(configured) {
        if !translation.seen.contains(&target)
            && let Some(node) = document.pointer_mut(&target)
        {
            translation.node(node, &target, false);
        }
    }
    mistakes.append(&mut translation.mistakes);
    // Held against the rules of the draft before anything is put elsewhere, so that places stay those of the file.
    mistakes.extend(draft202012::meta::validator().iter_errors(&document).map(|error| explain::schema_mistake(&error)));
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    for rewrite in translation.rewrites.iter().rev() {
        rewrite.apply(&mut document);
    }
    Ok(document)
}

/// What is put elsewhere at the end, innermost first.
enum Rewrite {
    /// A bounding box.
    Box { pointer: String, lists_reference_systems: bool },
    /// Alternatives that differ in the media types of texts.
    Alternatives { pointer: String },
}

#[derive(Default)]
struct Translation {
    mistakes: Vec<SchemaMistake>,
    rewrites: Vec<Rewrite>,
    seen: HashSet<String>,
}

impl Translation {
    fn node(&mut self, node: &mut Value, pointer: &str, lists_reference_systems: bool) {
        let Value::Object(members) = node else { return };
        if !self.seen.insert(pointer.to_owned()) {
            return;
        }
        // The whole is one document of one draft, whatever it says of itself.
        members.shift_remove("$schema");
        members.shift_remove("$id");
        bound(members, "exclusiveMinimum", "minimum");
        bound(members, "exclusiveMaximum", "maximum");
        self.nullable(members, pointer);
        let lists_reference_systems = lists_reference_systems || bounding_box::lists_reference_systems(members);
        let is_named_box =
            members.get("$ref").and_then(Value::as_str).is_some_and(|url| bounding_box::URLS.contains(&url));
        if is_named_box {
            members.shift_remove("$ref");
        }
        if is_named_box || members.get("format").and_then(Value::as_str) == Some(bounding_box::FORMAT) {
            self.rewrites.push(Rewrite::Box { pointer: pointer.to_owned(), lists_reference_systems });
        }
        if differ_in_media_types(members) {
            self.rewrites.push(Rewrite::Alternatives { pointer: pointer.to_owned() });
        }
        for (keyword, value) in members {
            let place = format!("{pointer}/{keyword}");
            match value {
                Value::Object(_) if ONE.contains(&keyword.as_str()) => self.node(value, &place, false),
                Value::Array(parts) if LISTS.contains(&keyword.as_str()) => {
                    let inherited = lists_reference_systems && keyword == "allOf";
                    for (index, part) in parts.iter_mut().enumerate() {
                        self.node(part, &format!("{place}/{index}"), inherited);
                    }
                }
                Value::Object(parts) if MAPS.contains(&keyword.as_str()) => {
                    for (name, part) in parts {
                        self.node(part, &format!("{place}/{}", references::escaped(name)), false);
                    }
                }
                _ => {}
            }
        }
    }

    /// `nullable: true` adds null to the type beside it, and to an enumeration; without a type it says nothing (OpenAPI
    /// 3.0.3, Schema Object).
    fn nullable(&mut self, members: &mut Map<String, Value>, pointer: &str) {
        match members.shift_remove("nullable") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => {
                match members.get_mut("type") {
                    Some(Value::String(name)) if name != "null" => {
                        let name = std::mem::take(name);
                        members.insert("type".to_owned(), Value::from(vec![name, "null".to_owned()]));
                    }
                    Some(Value::Array(names)) if !names.iter().any(|name| name == "null") => names.push("null".into()),
                    _ => return,
                }
                if let Some(Value::Array(words)) = members.get_mut("enum")
                    && !words.contains(&Value::Null)
                {
                    words.push(Value::Null);
                }
            }
            Some(_) => self.mistakes.push(SchemaMistake {
                pointer: format!("{pointer}/nullable"),
                message: "is neither true nor false; allowed: true or false".to_owned(),
            }),
        }
    }
}

/// `exclusiveMinimum: true` makes `minimum` exclusive.
fn bound(members: &mut Map<String, Value>, exclusive: &str, bound: &str) {
    let Some(Value::Bool(is_exclusive)) = members.get(exclusive) else { return };
    let is_exclusive = *is_exclusive;
    members.shift_remove(exclusive);
    if is_exclusive && let Some(limit) = members.shift_remove(bound) {
        members.insert(exclusive.to_owned(), limit);
    }
}

/// Whether `oneOf` offers one text in several media types: JSON Schema can't tell them apart, and would refuse a text for
/// fitting more than one. Which one is meant is told by a qualified value's media type.
fn differ_in_media_types(members: &Map<String, Value>) -> bool {
    let Some(Value::Array(alternatives)) = members.get("oneOf") else { return false };
    !members.contains_key("anyOf")
        && alternatives.iter().filter(|alternative| alternative.get("contentMediaType").is_some()).count() > 1
}

impl Rewrite {
    fn apply(&self, document: &mut Value) {
        match self {
            Self::Box { pointer, lists_reference_systems } => {
                let Some(Value::Object(members)) = document.pointer_mut(pointer) else { return };
                let schema = bounding_box::schema(*lists_reference_systems);
                match members.get_mut("allOf") {
                    Some(Value::Array(parts)) => parts.push(schema),
                    _ => {
                        members.insert("allOf".to_owned(), Value::Array(vec![schema]));
                    }
                }
            }
            Self::Alternatives { pointer } => {
                let Some(Value::Object(members)) = document.pointer_mut(pointer) else { return };
                if let Some(alternatives) = members.shift_remove("oneOf") {
                    members.insert("anyOf".to_owned(), alternatives);
                }
            }
        }
    }
}
