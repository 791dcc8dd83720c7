//! One value of an input, in each of the forms that the standard has (schema `inlineOrRefData`): plain, qualified, or a
//! reference. A bounding box is a plain object, binary is plain text; their schemas say what they must be.
//!
//! An object may look like more than one form. The schema decides:
//! - `{value: …}` with nothing but `mediaType`, `encoding`, `schema` and `format` beside is qualified, and `{href: …}` with
//!   nothing but `type`, `rel`, `title`, `hreflang` and `format` beside is a reference;
//! - unless the schema itself names a member `value`, or `href`, and the object as a whole fits it;
//! - and unless all there is is `value`, and only the object as a whole fits.
//!
//! Every other object is plain.

use std::sync::Arc;

use protocol::schema::binary;
use serde_json::{Map, Value};

use super::{
    media_types::MediaType,
    schemas::InputSchema,
    violation::{Violation, Violations},
};

const VALUE: &str = "value";
const FORMAT: &str = "format";
const MEDIA_TYPE: &str = "mediaType";
const ENCODING: &str = "encoding";
const SCHEMA: &str = "schema";
const HREF: &str = "href";
const TYPE: &str = "type";
const QUALIFIED: [&str; 5] = [VALUE, MEDIA_TYPE, ENCODING, SCHEMA, FORMAT];
/// `format` is no member of the standard's link, but its certification suite sends it.
const LINK: [&str; 6] = [HREF, TYPE, "rel", "title", "hreflang", FORMAT];

/// A value that is somewhere else.
#[derive(Debug)]
pub struct Reference {
    /// The input.
    pub input: String,
    /// JSON pointer from the input's value on.
    pub place: String,
    /// Where the value is, as sent.
    pub href: String,
    /// What the client says it is.
    pub media_type: Option<MediaType>,
    /// What it must be.
    pub schema: Arc<InputSchema>,
}

/// Where what is found goes.
pub(super) struct Findings<'a> {
    pub(super) input: &'a str,
    pub(super) violations: &'a mut Violations,
    pub(super) references: &'a mut Vec<Reference>,
}

impl Findings<'_> {
    fn violation(&mut self, place: &str, message: impl Into<String>) {
        self.violations.push(Violation::of_input(self.input, place, message));
    }
}

/// Holds one value against its schema; `place` is the JSON pointer from the input's value to it.
pub(super) fn check(value: &Value, place: &str, schema: &Arc<InputSchema>, findings: &mut Findings<'_>) {
    match form(value, schema) {
        Form::Plain => {
            if schema.fits(value) {
                return;
            }
            match schema.choose(None) {
                Ok(choice) => {
                    for misfit in choice.misfits(value) {
                        findings.violation(&format!("{place}{}", misfit.pointer), misfit.message);
                    }
                }
                Err(message) => findings.violation(place, message),
            }
        }
        Form::Qualified(members) => qualified(members, place, schema, findings),
        Form::Reference(members) => reference(members, place, schema, findings),
    }
}

/// Whether [`check`] would find nothing, and no reference, in a value.
pub(super) fn is_plain_fit(value: &Value, schema: &Arc<InputSchema>) -> bool {
    matches!(form(value, schema), Form::Plain) && schema.fits(value)
}

enum Form<'a> {
    Plain,
    Qualified(&'a Map<String, Value>),
    Reference(&'a Map<String, Value>),
}

fn form<'a>(value: &'a Value, schema: &InputSchema) -> Form<'a> {
    let Value::Object(members) = value else { return Form::Plain };
    let only = |known: &[&str]| members.keys().all(|name| known.contains(&name.as_str()));
    if members.contains_key(HREF) && only(&LINK) && !(schema.declares_href() && schema.fits(value)) {
        return Form::Reference(members);
    }
    let Some(inner) = members.get(VALUE) else { return Form::Plain };
    if !only(&QUALIFIED) || (schema.declares_value() && schema.fits(value)) {
        return Form::Plain;
    }
    if members.len() == 1 && !schema.fits(inner) && schema.fits(value) {
        return Form::Plain;
    }
    Form::Qualified(members)
}

fn qualified(members: &Map<String, Value>, place: &str, schema: &InputSchema, findings: &mut Findings<'_>) {
    let Some(value) = members.get(VALUE) else { return };
    let nested = match members.get(FORMAT) {
        None => None,
        Some(Value::Object(format)) => Some(format),
        Some(_) => return findings.violation(&format!("{place}/{FORMAT}"), "expected an object"),
    };
    // Version 1.0 has these members beside the value, earlier drafts and their clients inside of `format`.
    let member = |name: &str| match (members.get(name), nested.and_then(|format| format.get(name))) {
        (Some(member), _) => Some((member, format!("{place}/{name}"))),
        (None, Some(member)) => Some((member, format!("{place}/{FORMAT}/{name}"))),
        (None, None) => None,
    };
    if let Some((schema, place)) = member(SCHEMA)
        && !schema.is_string()
        && !schema.is_object()
    {
        findings.violation(&place, "expected the URL of a schema, or an object");
    }
    let media_type = match member(MEDIA_TYPE) {
        None => None,
        Some((text, place)) => match text.as_str().and_then(MediaType::parse) {
            Some(media_type) => Some((media_type, place)),
            None => return findings.violation(&place, "expected a media type"),
        },
    };
    let choice = match schema.choose(media_type.as_ref().map(|(media_type, _)| media_type)) {
        Ok(choice) => choice,
        Err(message) => {
            let place = media_type.map_or_else(|| place.to_owned(), |(_, place)| place);
            return findings.violation(&place, message);
        }
    };
    let value_place = format!("{place}/{VALUE}");
    if let Some((name, place)) = member(ENCODING) {
        match name.as_str() {
            Some(name) if binary::names_base64(name) => {
                if !value.as_str().is_some_and(binary::is_base64) {
                    return findings.violation(&value_place, "expected text in base64, as its encoding says");
                }
            }
            Some(name) if name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("utf8") => {}
            _ => findings.violation(&place, "expected base64, binary or UTF-8"),
        }
    }
    for misfit in choice.misfits(value) {
        findings.violation(&format!("{value_place}{}", misfit.pointer), misfit.message);
    }
}

fn reference(members: &Map<String, Value>, place: &str, schema: &Arc<InputSchema>, findings: &mut Findings<'_>) {
    let is_wrong = |name: &str, member: &Value| if name == FORMAT { !member.is_object() } else { !member.is_string() };
    if let Some((name, _)) = members.iter().find(|(name, member)| is_wrong(name, member)) {
        let expected = match name.as_str() {
            HREF => "expected a URL",
            FORMAT => "expected an object",
            _ => "expected text",
        };
        return findings.violation(&format!("{place}/{name}"), expected);
    }
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let nested = members.get(FORMAT).and_then(|format| format.get(MEDIA_TYPE));
    let (said, said_at) = match members.get(TYPE) {
        Some(said) => (Some(said), TYPE.to_owned()),
        None => (nested, format!("{FORMAT}/{MEDIA_TYPE}")),
    };
    let media_type = match said.map(|said| said.as_str().and_then(MediaType::parse)) {
        None => None,
        Some(Some(media_type)) => Some(media_type),
        Some(None) => return findings.violation(&format!("{place}/{said_at}"), "expected a media type"),
    };
    if let Err(message) = schema.choose(media_type.as_ref()) {
        return findings.violation(&format!("{place}/{said_at}"), message);
    }
    findings.references.push(Reference {
        input: findings.input.to_owned(),
        place: place.to_owned(),
        href: text(HREF).unwrap_or_default().to_owned(),
        media_type,
        schema: schema.clone(),
    });
}

#[cfg(test)]
mod tests {
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
}
