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

/// A document that is being put together. JSON is copied byte for byte: numbers keep their digits, members their order.
pub(super) struct Document(Vec<u8>);

impl Document {
    /// One without members.
    pub(super) fn new() -> Self {
        Self(vec![b'{'])
    }

    /// Adds a member: strings, numbers, booleans, arrays and bounding boxes as they are, everything else qualified by its
    /// media type (schema `inlineOrRefData`, which has no bare object). JSON's null is no value, and adds nothing.
    ///
    /// Before a value is copied, `room` is asked for so many bytes beside those of the member, for the text as it will be.
    pub(super) fn add<E>(
        &mut self,
        id: &str,
        member: &Member<'_>,
        room: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(form) = Form::of(member) else { return Ok(()) };
        let id = Value::from(id).to_string();
        let length = id.len() + 2 + form.length();
        room(self.0.len() + length + 1)?;
        self.0.reserve_exact(length + 1);
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.extend_from_slice(id.as_bytes());
        self.0.push(b':');
        form.write(&mut self.0);
        Ok(())
    }

    /// The text.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

/// How a member is written.
enum Form<'a> {
    /// As it is.
    Bare(&'a [u8]),
    /// A reference, written.
    Reference(String),
    /// JSON with its media type.
    Json(&'a [u8], &'a str),
    /// A bare string.
    Text(&'a str),
    /// A string with its media type.
    TypedText(&'a str, &'a str),
    /// Bytes with their media type.
    Bytes(&'a [u8], &'a str),
}

impl<'a> Form<'a> {
    fn of(member: &'a Member<'_>) -> Option<Self> {
        let (media_type, bytes) = match member {
            Member::Reference { media_type, href } => {
                return Some(Self::Reference(json!({"href": href, "type": media_type}).to_string()));
            }
            Member::Value { media_type, bytes } => (*media_type, bytes),
        };
        if media_type::is_json(media_type) && is_json(bytes) {
            let bytes = bytes.trim_ascii();
            return match bytes.first() {
                Some(b'n') => None,
                Some(b'{') if !is_bounding_box(bytes) => Some(Self::Json(bytes, media_type)),
                _ => Some(Self::Bare(bytes)),
            };
        }
        Some(match std::str::from_utf8(bytes) {
            // What is called JSON for want of a better word, and is none, is what a string output printed.
            Ok(text) if media_type::is_plain_text(media_type) || media_type::is_json(media_type) => Self::Text(text),
            Ok(text) if media_type::is_text(media_type) => Self::TypedText(text, media_type),
            _ => Self::Bytes(bytes, media_type),
        })
    }

    /// Bytes that [`Form::write`] writes at most.
    fn length(&self) -> usize {
        const QUALIFIED: usize = 64;
        match self {
            Self::Bare(bytes) => bytes.len(),
            Self::Reference(text) => text.len(),
            Self::Json(bytes, media_type) => bytes.len() + escaped(media_type) + QUALIFIED,
            Self::Text(text) => escaped(text),
            Self::TypedText(text, media_type) => escaped(text) + escaped(media_type) + QUALIFIED,
            Self::Bytes(bytes, media_type) => bytes.len().div_ceil(3) * 4 + escaped(media_type) + QUALIFIED,
        }
    }

    fn write(&self, text: &mut Vec<u8>) {
        match self {
            Self::Bare(bytes) => text.extend_from_slice(bytes),
            Self::Reference(written) => text.extend_from_slice(written.as_bytes()),
            Self::Text(string) => write_string(string, text),
            Self::Json(value, media_type) => {
                text.extend_from_slice(b"{\"value\":");
                text.extend_from_slice(value);
                write_end(media_type, text);
            }
            Self::TypedText(string, media_type) => {
                text.extend_from_slice(b"{\"value\":");
                write_string(string, text);
                write_end(media_type, text);
            }
            Self::Bytes(bytes, media_type) => {
                text.extend_from_slice(b"{\"value\":\"");
                let start = text.len();
                text.resize(start + bytes.len().div_ceil(3) * 4, 0);
                // There is room for all of it, which is the one thing that can fail.
                let written = BASE64_STANDARD.encode_slice(bytes, &mut text[start..]).unwrap_or(0);
                text.truncate(start + written);
                text.extend_from_slice(b"\",\"encoding\":\"base64\"");
                write_end(media_type, text);
            }
        }
    }
}

fn write_end(media_type: &str, text: &mut Vec<u8>) {
    text.extend_from_slice(b",\"mediaType\":");
    write_string(media_type, text);
    text.push(b'}');
}

fn write_string(string: &str, text: &mut Vec<u8>) {
    // Writing to memory can't fail.
    serde_json::to_writer(text, string).ok();
}

/// Bytes of a text as a JSON string (RFC 8259, 7), at most.
fn escaped(text: &str) -> usize {
    let of = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(of).sum::<usize>() + 2
}

/// Schema `bbox`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundingBox {
    bbox: Vec<f64>,
    #[serde(default, rename = "crs")]
    _crs: Option<String>,
}

/// The longest text of a bounding box: six numbers and the name of a system of coordinates.
const LONGEST_BOX: usize = 4096;

fn is_bounding_box(bytes: &[u8]) -> bool {
    bytes.len() <= LONGEST_BOX
        && serde_json::from_slice::<BoundingBox>(bytes).is_ok_and(|it| matches!(it.bbox.len(), 4 | 6))
}

fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document of these, which never took more room than it asked for.
    fn document(members: &[(&str, Member<'_>)]) -> Vec<u8> {
        let (mut document, mut room) = (Document::new(), 1);
        for (id, member) in members {
            let asked = document.add(id, member, |bytes| {
                room = bytes;
                Ok::<(), ()>(())
            });
            assert!(asked.is_ok() && document.0.len() <= room && document.0.capacity() <= room.max(8));
        }
        document.finish()
    }

    #[test]
    fn nothing_is_copied_that_there_is_no_room_for() {
        let mut document = Document::new();
        let bytes = Bytes::from(vec![1; 100]);
        let refused = document.add("o", &Member::Value { media_type: "text/plain", bytes }, Err);
        assert_eq!(refused, Err(1 + 4 + 2 + 2 + 600));
        assert_eq!(document.finish(), b"{}");
    }

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
