use protocol::{ProcessDefinition, configuration::Configuration};
use serde_json::json;

use super::*;
use crate::validate::{inputs, schemas::Schemas};

/// A configuration with one process `p` that has these inputs.
fn configuration(inputs: &Value) -> Configuration {
    let text = format!(
        "{{server: {{url: 'http://x.example', manager: {{name: KubernetesManager}}}}, resources: {{p: {{type: process,
          processor: {{name: GenericImageProcessor, default_image: a, check_auth: false, metadata: {{version: '1',
          title: t, description: d, outputs: {{}}, inputs: {inputs}}}}}}}}}}}"
    );
    Configuration::read(&text, "test", &|_| None).unwrap().0
}

/// What is said of inputs, one violation a line, and where references lead.
fn check(description: &Value, sent: &Value) -> (Vec<String>, Vec<String>) {
    let configuration = configuration(description);
    let schemas = Schemas::compile(&configuration).unwrap().0;
    let process: &ProcessDefinition = &configuration.processes["p"];
    let mut violations = Violations::default();
    let sent = sent.as_object().unwrap();
    let references = inputs::check(sent, process, schemas.of(process).unwrap(), &mut violations);
    let told = match violations.into_result() {
        Ok(()) => Vec::new(),
        Err(error) => error.to_string().split("; ").map(str::to_owned).collect(),
    };
    (told, references.into_iter().map(|reference| format!("{}{}", reference.input, reference.place)).collect())
}

/// Asserts what is said of a value of the input `a`: empty if it is taken.
fn assert_told(description: &Value, cases: &[(Value, &str)]) {
    for (value, expected) in cases {
        let (told, references) = check(&json!({"a": description}), &json!({"a": value}));
        assert_eq!(told.join("; "), *expected, "{value} as {description}");
        assert!(references.is_empty());
    }
}

#[test]
fn a_literal_is_held_against_its_schema() {
    assert_told(
        &json!({"schema": {"type": "integer", "minimum": 0}}),
        &[
            (json!(3), ""),
            (json!(-3), "inputs.a: expected at least 0"),
            (json!("3"), "inputs.a: expected a whole number"),
            (json!([3]), "inputs.a: expected a whole number"),
            (json!(null), "inputs.a: expected a whole number"),
            (json!({"value": 3}), ""),
            (json!({"value": "3"}), "inputs.a/value: expected a whole number"),
            (json!({"value": 3, "unit": "m"}), "inputs.a: expected a whole number"),
        ],
    );
}

#[test]
fn several_values_are_a_list_and_a_bare_value_is_the_only_one() {
    assert_told(
        &json!({"schema": {"type": "integer"}, "minOccurs": 1, "maxOccurs": 2}),
        &[
            (json!([1, 2]), ""),
            (json!([1]), ""),
            (json!(1), ""),
            (json!([{"value": 1}, 2]), ""),
            (json!([]), "inputs.a: expected 1 to 2 values"),
            (json!([1, 2, 3]), "inputs.a: expected 1 to 2 values"),
            (json!([1, "x"]), "inputs.a/1: expected a whole number"),
        ],
    );
    assert_told(
        &json!({"schema": {"type": "integer"}, "minOccurs": 2, "maxOccurs": "unbounded"}),
        &[(json!([1, 2, 3]), ""), (json!(1), "inputs.a: expected at least 2 values")],
    );
}

#[test]
fn a_list_is_one_value_where_the_schema_says_so() {
    let numbers = json!({"type": "array", "items": {"type": "integer"}, "minItems": 2});
    let one = json!({"schema": numbers});
    assert_told(&one, &[(json!([1, 2]), ""), (json!([1]), "inputs.a: expected at least 2 items")]);
    let several = json!({"schema": numbers, "minOccurs": 1, "maxOccurs": 3});
    assert_told(
        &several,
        &[
            (json!([[1, 2], [3, 4]]), ""),
            (json!([1, 2]), ""),
            (json!([1, 2, 3, 4]), ""),
            (json!([[1, 2], 3]), "inputs.a/1: expected a list"),
        ],
    );
}

#[test]
fn an_object_is_plain_or_qualified_as_its_schema_decides() {
    let measure = json!({"schema": {"type": "object", "required": ["value"], "additionalProperties": false,
        "properties": {"value": {"type": "number"}}}});
    assert_told(
        &measure,
        &[
            (json!({"value": 1}), ""),
            (json!({"value": {"value": 1}}), ""),
            (json!({"value": {"value": "x"}}), "inputs.a/value/value: expected a number"),
        ],
    );
    let any_object = json!({"schema": {"type": "object"}});
    assert_told(
        &any_object,
        &[
            (json!({"b": 1}), ""),
            (json!({"value": {"b": 1}, "mediaType": "application/json"}), ""),
            (json!({"value": 5}), ""),
            (json!({"value": 5, "mediaType": "application/json"}), "inputs.a/value: expected an object"),
        ],
    );
}

#[test]
fn the_media_type_chooses_among_alternatives_and_those_offered_are_named() {
    let geometry = json!({"schema": {"oneOf": [
        {"type": "string", "contentMediaType": "application/gml+xml; version=3.2"},
        {"allOf": [{"format": "geojson-geometry"}, {"type": "object", "required": ["coordinates"]}]}
    ]}});
    let offered = "this media type is not offered; allowed: application/gml+xml; version=3.2, application/json";
    assert_told(
        &geometry,
        &[
            (json!("<gml/>"), ""),
            (json!({"coordinates": []}), ""),
            (json!({"value": "<gml/>", "mediaType": "application/gml+xml; version=3.2"}), ""),
            (json!({"value": "<gml/>", "format": {"mediaType": "application/gml+xml"}}), ""),
            (json!({"value": {"coordinates": []}, "mediaType": "application/geo+json"}), ""),
            (
                json!({"value": {"coordinates": []}, "mediaType": "application/gml+xml"}),
                "inputs.a/value: expected text",
            ),
            (
                json!({"value": {}, "mediaType": "application/json"}),
                "inputs.a/value: the member coordinates is missing",
            ),
            (json!({"value": "x", "mediaType": "text/csv"}), &format!("inputs.a/mediaType: {offered}")),
            (
                json!({"value": "x", "format": {"mediaType": "text/csv"}}),
                &format!("inputs.a/format/mediaType: {offered}"),
            ),
            (json!({"value": "x", "mediaType": 1}), "inputs.a/mediaType: expected a media type"),
            (json!({"value": "x", "format": "gml"}), "inputs.a/format: expected an object"),
            (json!({"value": "x", "schema": 1}), "inputs.a/schema: expected the URL of a schema, or an object"),
        ],
    );
}

#[test]
fn binary_values_are_base64_and_their_encoding_is_known() {
    let image = |media_type| json!({"type": "string", "contentEncoding": "binary", "contentMediaType": media_type});
    let images = json!({"schema": {"oneOf": [image("image/tiff"), image("image/jp2")]}});
    assert_told(
        &images,
        &[
            (json!("TWFu"), ""),
            (json!({"value": "TWFu", "encoding": "base64", "mediaType": "image/jp2"}), ""),
            (
                json!({"value": "?", "encoding": "base64", "mediaType": "image/jp2"}),
                "inputs.a/value: expected text in base64, as its encoding says",
            ),
            (json!({"value": "?", "mediaType": "image/jp2"}), "inputs.a/value: expected text in base64"),
            (json!({"value": "TWFu", "encoding": "hex"}), "inputs.a/encoding: expected base64, binary or UTF-8"),
        ],
    );
}

#[test]
fn a_bounding_box_is_a_plain_object_or_qualified() {
    assert_told(
        &json!({"schema": {"allOf": [{"format": "ogc-bbox"}]}}),
        &[
            (json!({"bbox": [1, 2, 3, 4]}), ""),
            (json!({"value": {"bbox": [1, 2, 3, 4]}}), ""),
            (json!({"bbox": [1, 2, 3]}), "inputs.a/bbox: expected 4 or 6 numbers"),
            (json!({"bbox": [1, 2, 3, "4"]}), "inputs.a/bbox/3: expected a number"),
        ],
    );
}

#[test]
fn a_link_is_a_reference_unless_the_schema_describes_links() {
    let text = json!({"a": {"schema": {"type": "string"}, "maxOccurs": 2, "minOccurs": 0}});
    let link = json!({"href": "https://example.org/", "rel": "r", "title": "t", "hreflang": "en"});
    assert_eq!(check(&text, &json!({"a": link})), (vec![], vec!["a".to_owned()]));
    assert_eq!(check(&text, &json!({"a": ["x", link]})), (vec![], vec!["a/1".to_owned()]));
    let (told, references) = check(&text, &json!({"a": {"href": 1}}));
    assert_eq!((told.join("; ").as_str(), references.len()), ("inputs.a/href: expected a URL", 0));
    let (told, _) = check(&text, &json!({"a": {"href": "x", "other": 1}}));
    assert_eq!(told, ["inputs.a: expected text"]);
    let links = json!({"a": {"schema": {"type": "object", "properties": {"href": {"type": "string"}}}}});
    assert_eq!(check(&links, &json!({"a": link})), (vec![], vec![]));
    let image = json!({"a": {"schema": {"type": "string", "contentMediaType": "image/tiff"}}});
    let (told, references) =
        check(&image, &json!({"a": {"href": "https://example.org/", "format": {"mediaType": "image/tiff"}}}));
    assert_eq!((told.len(), references.len()), (0, 1));
    let (told, references) = check(&image, &json!({"a": {"href": "https://example.org/", "type": "image/png"}}));
    assert_eq!(told, ["inputs.a/type: this media type is not offered", "allowed: image/tiff"]);
    assert!(references.is_empty());
}

#[test]
fn no_message_shows_a_value() {
    let description =
        json!({"a": {"schema": {"type": "integer"}}, "b": {"schema": {"type": "string", "pattern": "^x$"}}});
    let sent = json!({"a": "SENSITIVE", "b": {"value": "SENSITIVE", "mediaType": "SENSITIVE"}, "c": "SENSITIVE"});
    let (told, _) = check(&description, &sent);
    assert!(told.len() >= 3 && !told.join("").contains("SENSITIVE"), "{told:?}");
}
