//! The results document: output id → value (OGC 18-062r2, schema `results`).

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use protocol::media_type;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

/// One member of a document.
pub(super) enum Member<'a> {
    /// A value.
    Value {
        /// Its media type.
        media_type: &'a str,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A link to a value.
    Reference {
        /// Its media type.
        media_type: &'a str,
        /// Its URL.
        href: String,
    },
}

/// Puts values together. JSON is copied byte for byte: numbers keep their digits, members their order.
pub(super) fn document(members: &[(&str, Member<'_>)]) -> Vec<u8> {
    let mut text = vec![b'{'];
    for (id, member) in members {
        let Some(member) = shown(member) else { continue };
        if text.len() > 1 {
            text.push(b',');
        }
        text.extend_from_slice(Value::from(*id).to_string().as_bytes());
        text.push(b':');
        text.extend_from_slice(&member);
    }
    text.push(b'}');
    text
}

/// One member: strings, numbers, booleans, arrays and bounding boxes as they are, everything else qualified by its media
/// type (schema `inlineOrRefData`, which has no bare object). JSON's null is no value.
fn shown(member: &Member<'_>) -> Option<Vec<u8>> {
    let (media_type, bytes) = match member {
        Member::Reference { media_type, href } => {
            return Some(json!({"href": href, "type": media_type}).to_string().into_bytes());
        }
        Member::Value { media_type, bytes } => (*media_type, bytes),
    };
    if media_type::is_json(media_type) && is_json(bytes) {
        let bytes = bytes.trim_ascii();
        return match bytes.first() {
            Some(b'n') => None,
            Some(b'{') if !is_bounding_box(bytes) => Some(qualified(bytes, media_type)),
            _ => Some(bytes.to_vec()),
        };
    }
    let value = match std::str::from_utf8(bytes) {
        // What is called JSON for want of a better word, and is none, is what a string output printed.
        Ok(text) if media_type::is_plain_text(media_type) || media_type::is_json(media_type) => Value::from(text),
        Ok(text) if media_type::is_text(media_type) => json!({"value": text, "mediaType": media_type}),
        _ => json!({"value": BASE64_STANDARD.encode(bytes), "encoding": "base64", "mediaType": media_type}),
    };
    Some(value.to_string().into_bytes())
}

fn qualified(value: &[u8], media_type: &str) -> Vec<u8> {
    let media_type = Value::from(media_type).to_string();
    [b"{\"value\":", value, b",\"mediaType\":", media_type.as_bytes(), b"}"].concat()
}

/// Schema `bbox`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundingBox {
    bbox: Vec<f64>,
    #[serde(default, rename = "crs")]
    _crs: Option<String>,
}

fn is_bounding_box(bytes: &[u8]) -> bool {
    serde_json::from_slice::<BoundingBox>(bytes).is_ok_and(|it| matches!(it.bbox.len(), 4 | 6))
}

fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(media_type: &str, bytes: &[u8]) -> String {
        let bytes = Bytes::copy_from_slice(bytes);
        String::from_utf8(document(&[("o", Member::Value { media_type, bytes })])).unwrap()
    }

    #[test]
    fn no_value_is_an_empty_object() {
        assert_eq!(document(&[]), b"{}");
        assert_eq!(one("application/json", b" null\n"), "{}");
    }

    #[test]
    fn json_is_copied_byte_for_byte() {
        let text = "{\"z\": 1.10, \"a\": 12345678901234567890123}";
        let expected = format!("{{\"o\":{{\"value\":{text},\"mediaType\":\"application/geo+json\"}}}}");
        assert_eq!(one("application/geo+json", format!("{text}\n").as_bytes()), expected);
        for bare in ["1.10", "true", "\"a\\u0062\"", "[1, {\"a\": 2}]"] {
            assert_eq!(one("application/json", bare.as_bytes()), format!("{{\"o\":{bare}}}"));
        }
    }

    #[test]
    fn a_bounding_box_is_the_one_object_that_stands_bare() {
        let crs = r#"{"bbox": [1, 2.5, 3, 4], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}"#;
        assert_eq!(one("application/json", crs.as_bytes()), format!("{{\"o\":{crs}}}"));
        for other in [r#"{"bbox": [1, 2]}"#, r#"{"bbox": [1, 2, 3, 4], "x": 1}"#, r#"{"bbox": "x"}"#] {
            assert!(one("application/json", other.as_bytes()).contains("mediaType"), "{other}");
        }
    }

    #[test]
    fn plain_text_is_a_bare_string_and_other_text_is_qualified() {
        assert_eq!(one("text/plain", b"a\n\"b\"\n"), r#"{"o":"a\n\"b\"\n"}"#);
        assert_eq!(one("text/csv", b"a,b"), r#"{"o":{"value":"a,b","mediaType":"text/csv"}}"#);
    }

    #[test]
    fn what_only_claims_to_be_json_is_a_string() {
        assert_eq!(one("application/json", b"{oops"), r#"{"o":"{oops"}"#);
    }

    #[test]
    fn bytes_are_base64_even_where_they_could_be_text() {
        let expected = r#"{"o":{"value":"/wA=","encoding":"base64","mediaType":"image/tiff"}}"#;
        assert_eq!(one("image/tiff", b"\xff\x00"), expected);
        assert!(one("image/tiff", b"abc").contains(r#""value":"YWJj","encoding":"base64""#));
        assert!(one("text/plain", b"\xff").contains("base64"));
    }

    #[test]
    fn a_reference_is_a_link_with_its_type() {
        let reference = |href: &str| Member::Reference { media_type: "image/tiff", href: href.into() };
        let value = Member::Value { media_type: "application/json", bytes: Bytes::from_static(b"1") };
        let text = document(&[("a", reference("http://x/a?b=\"c\"")), ("b", value)]);
        let expected = r#"{"a":{"href":"http://x/a?b=\"c\"","type":"image/tiff"},"b":1}"#;
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
