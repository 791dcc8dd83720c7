//! A configured schema as a Schema Object of OpenAPI 3.0: that dialect knows fewer words than configuration files use.

use serde_json::{Map, Value, json};

/// The words that a Schema Object may have.
const WORDS: [&str; 34] = [
    "title",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxProperties",
    "minProperties",
    "required",
    "enum",
    "type",
    "not",
    "allOf",
    "oneOf",
    "anyOf",
    "items",
    "properties",
    "additionalProperties",
    "description",
    "format",
    "default",
    "nullable",
    "readOnly",
    "writeOnly",
    "example",
    "deprecated",
    "externalDocs",
    "xml",
];

/// Translates the schema that stands at `place` in the definition; `place` is what its own references are relative to.
pub(super) fn schema(configured: &Value, place: &str) -> Value {
    let Value::Object(members) = configured else { return json!({}) };
    if let Some(Value::String(reference)) = members.get("$ref") {
        return match reference.strip_prefix('#') {
            Some(pointer) => {
                let pointer = pointer.replace("/definitions/", "/x-definitions/").replace("/$defs/", "/x-defs/");
                json!({"$ref": format!("{place}{pointer}")})
            }
            None => json!({}),
        };
    }
    let mut document = Map::new();
    for (word, value) in members {
        match word.as_str() {
            "not" | "items" => insert(&mut document, word, one(value, place)),
            "allOf" | "oneOf" | "anyOf" => insert(&mut document, word, each(value, place)),
            "properties" => insert(&mut document, word, named(value, place)),
            "additionalProperties" => insert(&mut document, word, one(value, place)),
            "type" => types(&mut document, value),
            "const" => insert(&mut document, "enum", json!([value])),
            // OpenAPI 3.0 says so of base64; of other encodings it knows nothing.
            "contentEncoding"
                if matches!(value.as_str(), Some("base64" | "binary")) && !members.contains_key("format") =>
            {
                insert(&mut document, "format", "byte".into());
            }
            "exclusiveMinimum" | "exclusiveMaximum" if value.is_number() => {
                let bound = if word == "exclusiveMinimum" { "minimum" } else { "maximum" };
                insert(&mut document, bound, value.clone());
                insert(&mut document, word, true.into());
            }
            "required" if value.as_array().is_none_or(Vec::is_empty) => {}
            "enum" if value.as_array().is_none_or(Vec::is_empty) => {}
            "contentMediaType" | "contentSchema" => insert(&mut document, &format!("x-{word}"), value.clone()),
            // Definitions keep their place, so that references to them stay right.
            "definitions" | "$defs" => {
                insert(&mut document, &format!("x-{}", word.trim_start_matches('$')), named(value, place))
            }
            word if WORDS.contains(&word) || word.starts_with("x-") => insert(&mut document, word, value.clone()),
            _ => {}
        }
    }
    Value::Object(document)
}

fn insert(document: &mut Map<String, Value>, word: &str, value: Value) {
    document.insert(word.to_owned(), value);
}

fn one(value: &Value, place: &str) -> Value {
    if value.is_boolean() { value.clone() } else { schema(value, place) }
}

fn each(value: &Value, place: &str) -> Value {
    value.as_array().map_or(Value::Null, |items| items.iter().map(|item| schema(item, place)).collect())
}

fn named(value: &Value, place: &str) -> Value {
    let entries = value.as_object().into_iter().flatten();
    Value::Object(entries.map(|(name, value)| (name.clone(), schema(value, place))).collect())
}

/// A list of types is one type, nullable where `null` is among them, or several alternatives.
fn types(document: &mut Map<String, Value>, value: &Value) {
    let Value::Array(words) = value else { return insert(document, "type", value.clone()) };
    let others: Vec<&Value> = words.iter().filter(|word| *word != "null").collect();
    if others.len() < words.len() {
        insert(document, "nullable", true.into());
    }
    match others.as_slice() {
        [] => {}
        [only] => insert(document, "type", (*only).clone()),
        several => insert(document, "anyOf", several.iter().map(|word| json!({"type": word})).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_openapi_does_not_know_are_translated_or_left_out() {
        let configured = json!({
            "$schema": "http://json-schema.org/draft-07/schema#", "type": ["integer", "null"], "exclusiveMinimum": 0,
            "contentMediaType": "image/tiff", "contentEncoding": "binary", "const": 3, "required": [],
            "properties": {"a": {"$ref": "#/definitions/b"}}, "definitions": {"b": {"type": "string", "examples": [1]}},
        });
        let expected = json!({
            "type": "integer", "nullable": true, "minimum": 0, "exclusiveMinimum": true, "x-contentMediaType": "image/tiff",
            "format": "byte", "enum": [3], "properties": {"a": {"$ref": "#/components/schemas/x/x-definitions/b"}},
            "x-definitions": {"b": {"type": "string"}},
        });
        assert_eq!(schema(&configured, "#/components/schemas/x"), expected);
    }

    #[test]
    fn a_foreign_reference_allows_anything() {
        assert_eq!(schema(&json!({"$ref": "https://example.org/s.json"}), "#/x"), json!({}));
    }
}
