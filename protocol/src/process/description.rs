//! What clients see of a process: `processor.metadata` of the configuration file.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Localized;

/// The process description of OGC API - Processes, class `ogc-process-description`, before links and language are
/// chosen for a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessDescription {
    /// The author's version of the process.
    pub version: String,
    /// What the process is called.
    pub title: Localized<String>,
    /// What the process does.
    pub description: Localized<String>,
    /// Words to find it by.
    pub keywords: Localized<Vec<String>>,
    /// Links of the author; those of the server are not among them.
    pub links: Vec<Link>,
    /// Inputs by id, in the file's order.
    pub inputs: IndexMap<String, InputDescription>,
    /// Outputs by id, in the file's order.
    pub outputs: IndexMap<String, OutputDescription>,
    /// An execution request to try, as written.
    pub example: Option<Value>,
    /// How clients may execute it.
    pub job_control_options: JobControlOptions,
    /// `metadata` of the standard's description type, as written.
    pub metadata: Option<Value>,
    /// `additionalParameters` of the standard's description type, as written.
    pub additional_parameters: Option<Value>,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InputDescription {
    /// What it is called; its id where the file has none.
    pub title: Localized<String>,
    /// What it means.
    pub description: Option<Localized<String>>,
    /// The JSON schema (an object, as in OpenAPI 3.0) that a value must meet.
    pub schema: Value,
    /// How many values there must be; 0 makes the input optional, 1 is the default.
    pub min_occurs: u32,
    /// How many values there may be; 1 is the default.
    pub max_occurs: MaxOccurs,
    /// Words to find it by.
    pub keywords: Option<Localized<Vec<String>>>,
    /// As written.
    pub metadata: Option<Value>,
    /// As written.
    pub additional_parameters: Option<Value>,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputDescription {
    /// What it is called; its id where the file has none.
    pub title: Localized<String>,
    /// What it means.
    pub description: Option<Localized<String>>,
    /// The JSON schema (an object) of the value.
    pub schema: Value,
    /// Words to find it by.
    pub keywords: Option<Localized<Vec<String>>>,
    /// As written.
    pub metadata: Option<Value>,
    /// As written.
    pub additional_parameters: Option<Value>,
}

impl InputDescription {
    /// Whether a request without this input is refused.
    pub fn is_required(&self) -> bool {
        self.min_occurs > 0
    }
}

impl OutputDescription {
    /// The media type that the schema names as `contentMediaType`.
    pub fn media_type(&self) -> Option<&str> {
        self.schema.get("contentMediaType").and_then(Value::as_str)
    }

    /// The encoding that the schema names as `contentEncoding`, or as the formats `byte` and `binary` of OpenAPI.
    pub fn encoding(&self) -> Option<&str> {
        let named = self.schema.get("contentEncoding").and_then(Value::as_str);
        named.or_else(|| match self.schema.get("format").and_then(Value::as_str) {
            Some("byte") => Some("base64"),
            Some("binary") => Some("binary"),
            _ => None,
        })
    }

    /// The media type of its value among those of several outputs: that of the schema, else plain text or bytes for a
    /// string, else JSON.
    pub fn media_type_or_default(&self) -> &str {
        self.media_type().unwrap_or_else(|| default_media_type(&self.schema))
    }

    /// The media types that the schema offers, or else its branches (`oneOf`, `anyOf`, `allOf`), each once; `fallback`
    /// where none is named.
    pub fn media_types<'a>(&'a self, fallback: &'a str) -> Vec<&'a str> {
        let branches =
            |keys: &'static [&'static str]| keys.iter().filter_map(|key| self.schema.get(*key)?.as_array()).flatten();
        let named = |schema: &'a Value| schema.get("contentMediaType").and_then(Value::as_str);
        let mut offered: Vec<&str> = self.media_type().into_iter().collect();
        offered.extend(branches(&["allOf"]).filter_map(named));
        if branches(&["oneOf", "anyOf"]).any(|branch| named(branch).is_some()) {
            let each = branches(&["oneOf", "anyOf"]);
            offered.extend(each.map(|branch| named(branch).unwrap_or_else(|| default_media_type(branch))));
        }
        if offered.is_empty() {
            offered.push(fallback);
        }
        let mut seen = HashSet::new();
        offered.retain(|media_type| seen.insert(*media_type));
        offered
    }
}

/// The media type of a schema that names none.
fn default_media_type(schema: &Value) -> &'static str {
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => match schema.get("format").and_then(Value::as_str) {
            Some("byte" | "binary") => "application/octet-stream",
            _ => "text/plain",
        },
        _ => super::DEFAULT_RESULT_MEDIA_TYPE,
    }
}

/// Upper end of an input's cardinality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxOccurs {
    /// So many values at most.
    Count(u32),
    /// Any number of values.
    Unbounded,
}

impl MaxOccurs {
    /// Whether a request may give so many values.
    pub fn allows(self, count: usize) -> bool {
        match self {
            Self::Count(most) => u32::try_from(count).is_ok_and(|count| count <= most),
            Self::Unbounded => true,
        }
    }

    /// Whether values come as a list.
    pub fn is_list(self) -> bool {
        self != Self::Count(1)
    }
}

impl Serialize for MaxOccurs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Unbounded => serializer.serialize_str("unbounded"),
        }
    }
}

/// A link as configured. Members that are absent stay absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Link {
    /// Target.
    pub href: String,
    /// Relation type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rel: Option<String>,
    /// Media type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Human name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Localized<String>>,
    /// Language of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hreflang: Option<String>,
}

/// `jobControlOptions`: how clients may execute a process. At least one of the two execution modes is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobControlOptions {
    sync_execute: bool,
    async_execute: bool,
    dismiss: bool,
}

impl JobControlOptions {
    /// All three, the default of pygeoapi-k8s-manager.
    pub const ALL: Self = Self { sync_execute: true, async_execute: true, dismiss: true };
    /// The words of the standard, in the order they are listed in.
    pub const NAMES: [&str; 3] = ["sync-execute", "async-execute", "dismiss"];

    /// None if there is no execution mode among them.
    pub fn new(sync_execute: bool, async_execute: bool, dismiss: bool) -> Option<Self> {
        (sync_execute || async_execute).then_some(Self { sync_execute, async_execute, dismiss })
    }

    /// Whether the client may wait for the result.
    pub fn allows_sync(self) -> bool {
        self.sync_execute
    }

    /// Whether the client may come back for the result.
    pub fn allows_async(self) -> bool {
        self.async_execute
    }

    /// Whether a job can be cancelled.
    pub fn allows_dismiss(self) -> bool {
        self.dismiss
    }

    /// The words of the standard for what is allowed.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let allowed = [self.sync_execute, self.async_execute, self.dismiss];
        Self::NAMES.into_iter().zip(allowed).filter_map(|(name, allowed)| allowed.then_some(name))
    }
}

impl Serialize for JobControlOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn output(schema: Value) -> OutputDescription {
        let title = "Output".into();
        let (description, keywords, metadata, additional_parameters) = (None, None, None, None);
        OutputDescription { title, description, schema, keywords, metadata, additional_parameters }
    }

    #[test]
    fn an_output_offers_the_media_types_of_its_schema_and_of_its_branches() {
        let offered = |schema: Value| {
            let output = output(schema);
            output.media_types("a/fallback").iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(offered(json!({"type": "object"})), ["a/fallback"]);
        assert_eq!(offered(json!({"contentMediaType": "image/tiff"})), ["image/tiff"]);
        let one_of = json!({"oneOf": [
            {"type": "string", "contentMediaType": "image/tiff"}, {"type": "string", "contentMediaType": "image/png"},
            {"type": "object"}, {"type": "string", "contentMediaType": "image/png"},
        ]});
        assert_eq!(offered(one_of), ["image/tiff", "image/png", "application/json"]);
        assert_eq!(offered(json!({"oneOf": [{"type": "string"}, {"type": "object"}]})), ["a/fallback"]);
    }

    #[test]
    fn a_string_is_plain_text_or_bytes_where_its_schema_says_no_more() {
        let told = |schema: Value| {
            let output = output(schema);
            (output.media_type_or_default().to_owned(), output.encoding().map(str::to_owned))
        };
        assert_eq!(told(json!({"type": "string"})), ("text/plain".into(), None));
        assert_eq!(told(json!({"type": "integer"})), ("application/json".into(), None));
        let bytes = ("application/octet-stream".into(), Some("base64".into()));
        assert_eq!(told(json!({"type": "string", "format": "byte"})), bytes);
        let tiff = json!({"type": "string", "contentMediaType": "image/tiff", "contentEncoding": "binary"});
        assert_eq!(told(tiff), ("image/tiff".into(), Some("binary".into())));
    }
}
