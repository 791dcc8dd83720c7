//! Masking of inputs whose name says that they are secret, and of what signs a URL.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

const SECRET_WORDS: [&str; 4] = ["secret", "key", "password", "token"];
/// What a signed URL calls its signature and its signer, beside [`SECRET_WORDS`].
const SIGNING_WORDS: [&str; 2] = ["sig", "credential"];
const MASK: &str = "*";

/// The inputs as they may be shown, as JSON of at most `limit` bytes; `None` where it would be more. Every value whose key
/// contains `secret`, `key`, `password` or `token`, in any case and at any depth, is `*` (the original's rule). So are the
/// users of a URL, and parameters of its query with such names, or with `sig` or `credential` in them.
pub fn masked(inputs: &Map<String, Value>, limit: usize) -> Option<String> {
    let mut text = Limited { text: Vec::new(), limit };
    serde_json::to_writer(&mut text, &MaskedMembers(inputs)).ok()?;
    String::from_utf8(text.text).ok()
}

/// Written as it is read: a large value is not copied before it is known to be too large.
struct MaskedMembers<'a>(&'a Map<String, Value>);

impl Serialize for MaskedMembers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            match is_secret(key) {
                true => members.serialize_entry(key, MASK)?,
                false => members.serialize_entry(key, &MaskedValue(value))?,
            }
        }
        members.end()
    }
}

struct MaskedValue<'a>(&'a Value);

impl Serialize for MaskedValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => MaskedMembers(members).serialize(serializer),
            Value::Array(items) => serializer.collect_seq(items.iter().map(MaskedValue)),
            Value::String(text) => serializer.serialize_str(&masked_text(text)),
            other => other.serialize(serializer),
        }
    }
}

/// Takes bytes until they are too many.
struct Limited {
    text: Vec<u8>,
    limit: usize,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A text, without the secrets of the URL that it is.
fn masked_text(text: &str) -> Cow<'_, str> {
    let is_scheme = |scheme: &str| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme.trim_start())) else {
        return Cow::Borrowed(text);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    // A user without a password is often a token.
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => authority.to_owned(),
    };
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let query = query.map(|query| {
        let (query, fragment) = query.split_once('#').map_or((query, None), |(query, end)| (query, Some(end)));
        let shown: Vec<String> = query.split('&').map(masked_parameter).collect();
        let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
        format!("?{}{fragment}", shown.join("&"))
    });
    Cow::Owned(format!("{scheme}://{authority}{path}{}", query.unwrap_or_default()))
}

fn masked_parameter(parameter: &str) -> String {
    let Some((name, _)) = parameter.split_once('=') else { return parameter.to_owned() };
    let plain = percent_encoding::percent_decode_str(name).decode_utf8_lossy().to_lowercase();
    let is_signing = SIGNING_WORDS.iter().any(|word| plain.contains(word));
    if is_signing || is_secret(&plain) { format!("{name}={MASK}") } else { parameter.to_owned() }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(inputs: &Value) -> Value {
        serde_json::from_str(&masked(inputs.as_object().unwrap(), 1000).unwrap()).unwrap()
    }

    #[test]
    fn what_would_be_too_long_is_left_out() {
        let inputs = serde_json::json!({"a": "x".repeat(20), "token": "t".repeat(20)});
        let whole = masked(inputs.as_object().unwrap(), 40).unwrap();
        assert_eq!(whole, format!("{{\"a\":\"{}\",\"token\":\"*\"}}", "x".repeat(20)));
        assert_eq!(whole.len(), 40);
        assert_eq!(masked(inputs.as_object().unwrap(), 39), None);
    }

    #[test]
    fn secrets_are_masked_at_any_depth_and_in_any_case() {
        let inputs = serde_json::json!({
            "a": 1, "API_Token": "t", "list": [{"userPassword": {"x": 1}}], "o": {"deep": {"sshKey": [1]}}, "SECRETS": null
        });
        let expected = serde_json::json!({
            "a": 1, "API_Token": "*", "list": [{"userPassword": "*"}], "o": {"deep": {"sshKey": "*"}}, "SECRETS": "*"
        });
        assert_eq!(shown(&inputs), expected);
    }

    #[test]
    fn a_signed_url_is_shown_without_what_signs_it() {
        for (url, expected) in [
            (
                "https://s3.example.org/b/k.tif?X-Amz-Credential=A%2F1&X-Amz-Expires=60&X-Amz-Signature=abc#x",
                "https://s3.example.org/b/k.tif?X-Amz-Credential=*&X-Amz-Expires=60&X-Amz-Signature=*#x",
            ),
            ("HTTPS://me:hush@example.org?a=1&to%6Ben=t", "HTTPS://*@example.org?a=1&to%6Ben=*"),
            ("http://example.org/a@b:c?flag&=&x=%zz", "http://example.org/a@b:c?flag&=&x=%zz"),
            ("not https://example.org?token=t", "not https://example.org?token=t"),
            ("häß://?token=t", "häß://?token=t"),
            (" https://ghp_1@example.org/o/r.git", " https://*@example.org/o/r.git"),
            ("postgres://u:p@example.org/db", "postgres://*@example.org/db"),
        ] {
            let inputs = serde_json::json!({"image": {"href": url}, "list": [url]});
            assert_eq!(shown(&inputs), serde_json::json!({"image": {"href": expected}, "list": [expected]}));
        }
    }
}
