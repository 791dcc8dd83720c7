//! Several outputs in one result: the members of its JSON object by output id.

use std::{collections::HashMap, fmt};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{job_record::DeclaredOutput, log_markers, media_type, process::DEFAULT_RESULT_MEDIA_TYPE};

/// Base64 with or without padding, as programs print it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The value of one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Id of the output.
    pub id: String,
    /// Media type of the bytes.
    pub media_type: String,
    /// The value: JSON exactly as it was printed, or the text or bytes that a JSON string stood for.
    pub bytes: Vec<u8>,
}

/// Takes the declared outputs out of a result, in the order of their declaration. `None` when the result is no JSON
/// object, or has no member of any of these ids: then it is to be taken as a whole. A member that is null counts as
/// absent; one that is not declared is left out.
pub fn split(result: &[u8], declared: &[DeclaredOutput]) -> Option<Vec<Member>> {
    let mut reader = serde_json::Deserializer::from_slice(result);
    let members = reader.deserialize_map(Declared(declared)).ok()?;
    reader.end().ok()?;
    let found: Vec<Member> = declared
        .iter()
        .filter_map(|output| {
            let value = members.get(&output.id).filter(|value| value.get() != "null")?;
            Some(member(output, value))
        })
        .collect();
    (!found.is_empty()).then_some(found)
}

/// Reads an object, and keeps of it what is declared: nobody knows how many other members there are.
struct Declared<'d>(&'d [DeclaredOutput]);

impl<'de> Visitor<'de> for Declared<'_> {
    type Value = HashMap<String, &'de RawValue>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = HashMap::new();
        while let Some(id) = object.next_key::<String>()? {
            if self.0.iter().any(|output| output.id == id) {
                members.insert(id, object.next_value()?);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(members)
    }
}

/// A qualified value (OGC 18-062r2, schema `qualifiedInputValue`): nothing but a value and its format.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Qualified<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(rename = "mediaType")]
    media_type: String,
    #[serde(default)]
    encoding: Option<String>,
    #[serde(default, rename = "schema")]
    _schema: Option<IgnoredAny>,
}

fn member(output: &DeclaredOutput, value: &RawValue) -> Member {
    let qualified = serde_json::from_str::<Qualified<'_>>(value.get()).ok();
    let (media_type, bytes) = match qualified.filter(|it| log_markers::is_media_type(&it.media_type)) {
        Some(it) => content(&it.media_type, it.encoding.as_deref(), it.value),
        None => content(&output.media_type, output.encoding.as_deref(), value),
    };
    Member { id: output.id.clone(), media_type, bytes }
}

/// Media type and bytes of a JSON value that is said to be of this media type and encoding.
fn content(media_type: &str, encoding: Option<&str>, value: &RawValue) -> (String, Vec<u8>) {
    let is_encoded = encoding.is_some_and(|it| ["base64", "binary"].iter().any(|word| it.eq_ignore_ascii_case(word)));
    if let Ok(text) = serde_json::from_str::<String>(value.get()) {
        if !is_encoded && media_type::is_text(media_type) {
            return (media_type.to_owned(), text.into_bytes());
        }
        if (is_encoded || !media_type::is_json(media_type))
            && let Some(bytes) = decoded(text)
        {
            return (media_type.to_owned(), bytes);
        }
    }
    let is_json = media_type::is_json(media_type) && !is_encoded;
    let media_type = if is_json { media_type } else { DEFAULT_RESULT_MEDIA_TYPE };
    (media_type.to_owned(), value.get().as_bytes().to_vec())
}

/// Line breaks are what `base64` puts between lines.
fn decoded(mut text: String) -> Option<Vec<u8>> {
    text.retain(|c| !c.is_ascii_whitespace());
    BASE64.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(outputs: &[(&str, &str, Option<&str>)]) -> Vec<DeclaredOutput> {
        let output = |(id, media_type, encoding): &(&str, &str, Option<&str>)| DeclaredOutput {
            encoding: encoding.map(str::to_owned),
            ..DeclaredOutput::new(*id, *media_type)
        };
        outputs.iter().map(output).collect()
    }

    /// Media type and bytes of the only output `o`.
    fn one(media_type: &str, encoding: Option<&str>, value: &str) -> (String, Vec<u8>) {
        let members = split(format!("{{\"o\": {value}}}").as_bytes(), &declared(&[("o", media_type, encoding)]));
        let [member] = members.unwrap().try_into().unwrap();
        (member.media_type, member.bytes)
    }

    fn shown(media_type: &str, encoding: Option<&str>, value: &str) -> (String, String) {
        let (media_type, bytes) = one(media_type, encoding, value);
        (media_type, String::from_utf8(bytes).unwrap())
    }

    fn pair(media_type: &str, text: &str) -> (String, String) {
        (media_type.to_owned(), text.to_owned())
    }

    #[test]
    fn declared_members_are_found_in_the_order_of_the_declaration() {
        let outputs = declared(&[("b", "application/json", None), ("a", "text/plain", None), ("c", "text/csv", None)]);
        let found = split(br#" {"a": "x", "other": 1, "b": {"n": 1.10}, "c": null} "#, &outputs).unwrap();
        let ids: Vec<&str> = found.iter().map(|member| member.id.as_str()).collect();
        assert_eq!(ids, ["b", "a"]);
    }

    #[test]
    fn what_has_no_declared_member_stays_whole() {
        let outputs = declared(&[("a", "text/plain", None)]);
        for whole in ["[1]", "text", "", "{\"b\": 1}", "{\"a\": null}", "{\"a\": 1} {\"a\": 2}", "{\"a\": 1"] {
            assert_eq!(split(whole.as_bytes(), &outputs), None, "{whole}");
        }
        assert_eq!(split(b"\xff", &outputs), None);
    }

    #[test]
    fn json_keeps_every_byte() {
        let text = "{\"z\":  1.10, \"a\": [12345678901234567890123]}";
        assert_eq!(shown("application/geo+json", None, text), pair("application/geo+json", text));
        assert_eq!(shown("application/json", None, "\"a\\u0062\""), pair("application/json", "\"a\\u0062\""));
    }

    #[test]
    fn a_string_of_a_text_is_the_text() {
        assert_eq!(shown("text/csv", None, r#""a,b\n1,2\n""#), pair("text/csv", "a,b\n1,2\n"));
        assert_eq!(shown("application/gml+xml", None, r#""<a/>""#), pair("application/gml+xml", "<a/>"));
    }

    #[test]
    fn what_is_no_string_of_a_text_or_of_bytes_is_json() {
        assert_eq!(shown("text/csv", None, "5"), pair("application/json", "5"));
        assert_eq!(shown("image/png", None, "[1]"), pair("application/json", "[1]"));
        assert_eq!(shown("image/png", None, r#""no base64!""#), pair("application/json", r#""no base64!""#));
    }

    #[test]
    fn a_string_of_bytes_is_decoded() {
        for (media_type, encoding, value) in [
            ("image/tiff", Some("binary"), r#""/wA=""#),
            ("image/tiff", None, r#""/wA""#),
            ("text/plain", Some("Base64"), r#""/w\nA=\n""#),
            ("application/json", Some("base64"), r#""/wA=""#),
        ] {
            assert_eq!(one(media_type, encoding, value), (media_type.to_owned(), vec![0xff, 0]), "{media_type}");
        }
    }

    #[test]
    fn a_qualified_value_says_its_own_media_type() {
        let csv = r#"{"value": "a,b", "mediaType": "text/csv", "schema": "http://example.org/s"}"#;
        assert_eq!(shown("application/json", None, csv), pair("text/csv", "a,b"));
        let tiff = r#"{"value": "/wA=", "mediaType": "image/tiff", "encoding": "base64"}"#;
        assert_eq!(one("application/json", None, tiff), ("image/tiff".to_owned(), vec![0xff, 0]));
        let json = r#"{"value": {"x": 1}, "mediaType": "application/geo+json"}"#;
        assert_eq!(shown("text/plain", None, json), pair("application/geo+json", r#"{"x": 1}"#));
    }

    #[test]
    fn an_object_that_is_more_than_a_qualified_value_is_itself() {
        for object in [
            r#"{"value": 1, "mediaType": "text/csv", "more": 1}"#,
            r#"{"value": 1}"#,
            r#"{"value": 1, "mediaType": "no media type"}"#,
            r#"{"id": "echo", "value": "x"}"#,
        ] {
            assert_eq!(shown("application/json", None, object), pair("application/json", object));
        }
    }
}
