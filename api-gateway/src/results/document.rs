//! The results document: output id → value (OGC 18-062r2, schema `results`).

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use protocol::job_record::{DeclaredOutput, StoredResult, WHOLE_RESULT};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::media_type;

/// Puts values together. JSON is copied byte for byte: numbers keep their digits, members their order.
pub(super) fn document(declared: &[DeclaredOutput], values: &[(&StoredResult, Bytes)]) -> Vec<u8> {
    if let [(whole, bytes)] = values
        && whole.id == WHOLE_RESULT
        && declared.len() > 1
        && media_type::is_json(&whole.media_type)
        && is_json_object(bytes)
    {
        // The container printed the document itself.
        return bytes.trim_ascii().to_vec();
    }
    let mut text = vec![b'{'];
    for (index, (result, bytes)) in values.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(Value::from(result.id.as_str()).to_string().as_bytes());
        text.push(b':');
        text.extend_from_slice(&member(&result.media_type, bytes));
    }
    text.push(b'}');
    text
}

/// One value: JSON as it is, plain text as a string, anything else qualified by its media type.
fn member(media_type: &str, bytes: &[u8]) -> Vec<u8> {
    if media_type::is_json(media_type) && is_json(bytes) {
        return bytes.trim_ascii().to_vec();
    }
    let value = match std::str::from_utf8(bytes) {
        Ok(text) if media_type::is_plain_text(media_type) => Value::from(text),
        Ok(text) => json!({"value": text, "mediaType": media_type}),
        Err(_) => json!({"value": BASE64_STANDARD.encode(bytes), "encoding": "base64", "mediaType": media_type}),
    };
    value.to_string().into_bytes()
}

fn is_json_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{') && is_json(bytes)
}

fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use protocol::job_record::Place;

    use super::*;

    fn shown(declared: &[&str], values: &[(&str, &str, &[u8])]) -> String {
        let output = |id: &&str| DeclaredOutput {
            id: (*id).to_owned(),
            media_type: "application/json".to_owned(),
            unknown: protocol::Unknown::new(),
        };
        let declared: Vec<DeclaredOutput> = declared.iter().map(output).collect();
        let stored: Vec<(StoredResult, Bytes)> = values
            .iter()
            .map(|(id, media_type, bytes)| {
                let place = Place::Stream("s".to_owned());
                let (id, media_type) = ((*id).to_owned(), (*media_type).to_owned());
                let size = bytes.len() as u64;
                (
                    StoredResult {
                        id,
                        media_type,
                        size,
                        sha256: String::new(),
                        place,
                        unknown: protocol::Unknown::new(),
                    },
                    Bytes::copy_from_slice(bytes),
                )
            })
            .collect();
        let values: Vec<(&StoredResult, Bytes)> =
            stored.iter().map(|(result, bytes)| (result, bytes.clone())).collect();
        String::from_utf8(document(&declared, &values)).unwrap()
    }

    #[test]
    fn no_value_is_an_empty_object() {
        assert_eq!(shown(&["a"], &[]), "{}");
    }

    #[test]
    fn json_is_copied_byte_for_byte() {
        let text = "{\"z\": 1.10, \"a\": 12345678901234567890123}";
        assert_eq!(
            shown(&["o"], &[("o", "application/json", format!("{text}\n").as_bytes())]),
            format!("{{\"o\":{text}}}")
        );
    }

    #[test]
    fn plain_text_is_a_bare_string_and_other_text_is_qualified() {
        assert_eq!(shown(&["o"], &[("o", "text/plain", b"a\n\"b\"\n")]), r#"{"o":"a\n\"b\"\n"}"#);
        assert_eq!(shown(&["o"], &[("o", "text/csv", b"a,b")]), r#"{"o":{"value":"a,b","mediaType":"text/csv"}}"#);
    }

    #[test]
    fn what_only_claims_to_be_json_is_qualified_text() {
        let expected = r#"{"o":{"value":"{oops","mediaType":"application/json"}}"#;
        assert_eq!(shown(&["o"], &[("o", "application/json", b"{oops")]), expected);
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        let expected = r#"{"o":{"value":"/wA=","encoding":"base64","mediaType":"image/tiff"}}"#;
        assert_eq!(shown(&["o"], &[("o", "image/tiff", b"\xff\x00")]), expected);
    }

    #[test]
    fn one_blob_for_several_outputs_is_the_document_itself() {
        let blob: (&str, &str, &[u8]) = (WHOLE_RESULT, "application/json", b" {\"a\": 1, \"b\": [2]}\n");
        assert_eq!(shown(&["a", "b"], &[blob]), r#"{"a": 1, "b": [2]}"#);
        let list: (&str, &str, &[u8]) = (WHOLE_RESULT, "application/json", b"[1]");
        assert_eq!(shown(&["a", "b"], &[list]), r#"{"result":[1]}"#);
        let undeclared: (&str, &str, &[u8]) = (WHOLE_RESULT, "application/json", b"{}");
        assert_eq!(shown(&[], &[undeclared]), r#"{"result":{}}"#);
    }
}
