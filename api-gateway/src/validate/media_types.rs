//! Media types that an input is offered in.
//!
//! A schema offers what its `contentMediaType` names, and each alternative of a `oneOf` (or `anyOf`) what that one names.
//! Where none is named, what is no text is JSON.

use std::fmt;

use serde_json::Value;

/// How deep parts of a schema are looked through for what they are.
const DEPTH: usize = 16;

/// What a value may come as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// The media type that the schema names.
    Named(MediaType),
    /// JSON, whatever it is called.
    Json,
    /// Text that the schema says nothing more of.
    Text,
    /// The schema does not tell.
    Any,
}

impl Media {
    /// What a configured schema says of its values; `root` is the document that references in it lead into.
    pub fn of(root: &Value, schema: &Value) -> Self {
        named(root, schema, DEPTH).or_else(|| kind(root, schema, DEPTH)).unwrap_or(Self::Any)
    }

    /// Whether a value of this media type is what is offered. `has_named`: something else that is offered names its
    /// media type; then text is plain text.
    pub fn takes(&self, media_type: &MediaType, has_named: bool) -> bool {
        match self {
            Self::Named(own) => own.agrees_with(media_type),
            Self::Json => media_type.is_json(),
            Self::Text => !has_named || media_type.essence == "text/plain",
            Self::Any => true,
        }
    }

    /// Whether what a reference leads to can be held against the schema.
    pub fn is_value(&self) -> bool {
        match self {
            Self::Named(media_type) => media_type.is_json(),
            Self::Json | Self::Text => true,
            Self::Any => false,
        }
    }
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(media_type) => f.write_str(&media_type.text),
            Self::Json => f.write_str("application/json"),
            Self::Text => f.write_str("text/plain"),
            Self::Any => f.write_str("any"),
        }
    }
}

/// A media type that can be compared with another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    text: String,
    essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads one; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let essence = parts.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        let is_token = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_ascii_lowercase()))
        };
        let parameters = parts.filter_map(parameter).collect();
        Some(Self { text: text.trim().to_owned(), essence, parameters })
    }

    /// Whether it is JSON.
    pub fn is_json(&self) -> bool {
        self.essence == "application/json" || self.essence.ends_with("+json")
    }

    /// Whether it says nothing of what it is.
    pub fn is_unspecific(&self) -> bool {
        self.essence == "application/octet-stream"
    }

    /// Whether both can be the same: a parameter that only one of them has does not count.
    fn agrees_with(&self, other: &Self) -> bool {
        self.essence == other.essence
            && self.parameters.iter().all(|(name, value)| {
                other.parameters.iter().filter(|(theirs, _)| theirs == name).all(|(_, theirs)| theirs == value)
            })
    }
}

fn named(root: &Value, schema: &Value, depth: usize) -> Option<Media> {
    let depth = depth.checked_sub(1)?;
    if let Some(text) = schema.get("contentMediaType").and_then(Value::as_str) {
        return MediaType::parse(text).map(Media::Named);
    }
    parts(root, schema).into_iter().find_map(|part| named(root, part, depth))
}

fn kind(root: &Value, schema: &Value, depth: usize) -> Option<Media> {
    let depth = depth.checked_sub(1)?;
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    let of_type = match schema.get("type") {
        Some(Value::String(name)) if name == "string" => Some(Media::Text),
        Some(Value::String(_)) => Some(Media::Json),
        _ if format == "ogc-bbox" || format.starts_with("geojson") => Some(Media::Json),
        _ if schema.get("properties").is_some() || schema.get("items").is_some() => Some(Media::Json),
        _ => None,
    };
    of_type.or_else(|| parts(root, schema).into_iter().find_map(|part| kind(root, part, depth)))
}

/// What else the same value must meet.
fn parts<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let all = schema.get("allOf").and_then(Value::as_array);
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    all.into_iter().flatten().chain(target.and_then(|pointer| root.pointer(pointer))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn media_type(text: &str) -> MediaType {
        MediaType::parse(text).unwrap()
    }

    #[test]
    fn what_a_schema_offers_is_told_by_what_it_names_or_is() {
        for (schema, expected) in [
            (
                json!({"type": "string", "contentMediaType": "image/tiff; application=geotiff"}),
                "image/tiff; application=geotiff",
            ),
            (json!({"allOf": [{"format": "ogc-bbox"}]}), "application/json"),
            (json!({"allOf": [{"format": "geojson-geometry"}]}), "application/json"),
            (json!({"type": "integer"}), "application/json"),
            (json!({"type": "string"}), "text/plain"),
            (json!({"$ref": "#/d", "d": {"type": "array"}}), "application/json"),
            (json!({"$ref": "#"}), "any"),
            (json!({}), "any"),
        ] {
            assert_eq!(Media::of(&schema, &schema).to_string(), expected, "{schema}");
        }
    }

    #[test]
    fn media_types_agree_unless_they_contradict() {
        let offered = Media::Named(media_type("application/gml+xml; version=3.2"));
        for (sent, taken) in [
            ("application/gml+xml; version=3.2", true),
            ("Application/GML+XML;version=\"3.2\"", true),
            ("application/gml+xml", true),
            ("application/gml+xml; version=3.1", false),
            ("application/xml", false),
        ] {
            assert_eq!(offered.takes(&media_type(sent), false), taken, "{sent}");
        }
        assert!(Media::Json.takes(&media_type("application/geo+json"), false));
        assert!(!Media::Json.takes(&media_type("text/xml"), false));
        assert!(Media::Text.takes(&media_type("text/csv"), false));
        assert!(!Media::Text.takes(&media_type("text/csv"), true), "something else is offered by name");
    }

    #[test]
    fn what_is_no_media_type_is_none() {
        for text in ["", "json", "a/", "/b", "a b/c", "a/b c"] {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
    }
}
