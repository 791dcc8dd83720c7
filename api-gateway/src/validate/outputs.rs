//! `outputs` of an execution: which ones are wanted, how, and of which media type (OGC 18-062r2, schema `output`).

use protocol::{
    ProcessDefinition, Unknown,
    job_record::{RequestedOutput, TransmissionMode},
    media_type::essence,
};
use serde_json::Value;

use super::shortened;

/// Encodings of which nothing is asked that is not done anyway.
const ENCODINGS: [&str; 3] = ["base64", "binary", "utf-8"];

/// Holds the member `outputs` against the process. Without it, or with an empty one, all outputs are wanted by value,
/// which is an empty list.
pub(super) fn check(
    outputs: Option<&Value>,
    process: &ProcessDefinition,
    mistakes: &mut Vec<String>,
) -> Vec<RequestedOutput> {
    match outputs {
        None => Vec::new(),
        Some(Value::Object(outputs)) => {
            outputs.iter().filter_map(|(id, form)| one(id, form, process, mistakes)).collect()
        }
        Some(_) => {
            mistakes.push("outputs: expected an object of output id to its form".to_owned());
            Vec::new()
        }
    }
}

fn one(id: &str, form: &Value, process: &ProcessDefinition, mistakes: &mut Vec<String>) -> Option<RequestedOutput> {
    let name = shortened(id);
    let offered = process.offered_media_types(id);
    if offered.is_none() {
        mistakes.push(format!("outputs.{name}: the process has no such output"));
    }
    let Value::Object(form) = form else {
        mistakes.push(format!("outputs.{name}: expected an object"));
        return None;
    };
    let transmission_mode = match form.get("transmissionMode").map(Value::as_str) {
        None | Some(Some("value")) => TransmissionMode::Value,
        Some(Some("reference")) => TransmissionMode::Reference,
        Some(_) => {
            mistakes.push(format!("outputs.{name}.transmissionMode: expected value or reference"));
            TransmissionMode::Value
        }
    };
    let media_type = form.get("format").and_then(|format| self::format(name, format, offered.as_deref(), mistakes));
    Some(RequestedOutput { id: id.to_owned(), transmission_mode, media_type, unknown: Unknown::new() })
}

/// The media type that a format names, as the output offers it.
fn format(name: &str, format: &Value, offered: Option<&[&str]>, mistakes: &mut Vec<String>) -> Option<String> {
    let Value::Object(format) = format else {
        mistakes.push(format!("outputs.{name}.format: expected an object"));
        return None;
    };
    if let Some(encoding) = format.get("encoding")
        && !encoding.as_str().is_some_and(|it| ENCODINGS.iter().any(|word| it.eq_ignore_ascii_case(word)))
    {
        mistakes.push(format!("outputs.{name}.format.encoding: expected one of {}", ENCODINGS.join(", ")));
    }
    if format.get("schema").is_some_and(|schema| !schema.is_string() && !schema.is_object()) {
        mistakes.push(format!("outputs.{name}.format.schema: expected a URL or an object"));
    }
    let (wanted, offered) = (format.get("mediaType")?, offered?);
    let found = wanted.as_str().and_then(|it| offered.iter().find(|offered| essence(offered) == essence(it)));
    if found.is_none() {
        mistakes.push(format!("outputs.{name}.format.mediaType: expected one of {}", offered.join(", ")));
    }
    found.map(|it| (*it).to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing;

    fn checked(outputs: Value) -> Result<Vec<RequestedOutput>, Vec<String>> {
        let configuration = testing::configuration();
        let mut mistakes = Vec::new();
        let requested = check(Some(&outputs), configuration.processes.get("open").unwrap(), &mut mistakes);
        if mistakes.is_empty() { Ok(requested) } else { Err(mistakes) }
    }

    #[test]
    fn what_is_asked_for_is_taken_in_its_order() {
        let [out] = checked(json!({"out": {"transmissionMode": "reference"}})).unwrap().try_into().unwrap();
        assert_eq!((out.id.as_str(), out.transmission_mode), ("out", TransmissionMode::Reference));
        let format =
            json!({"mediaType": "Text/Plain; charset=utf-8", "encoding": "UTF-8", "schema": {"type": "string"}});
        let [out] = checked(json!({"out": {"format": format}})).unwrap().try_into().unwrap();
        assert_eq!((out.transmission_mode, out.media_type.as_deref()), (TransmissionMode::Value, Some("text/plain")));
        assert_eq!(checked(json!({})), Ok(Vec::new()), "an empty object asks for all");
    }

    #[test]
    fn each_mistake_says_what_is_allowed_and_repeats_no_value() {
        for (outputs, expected) in [
            (json!([]), "outputs: expected an object of output id to its form"),
            (json!({"nope": {}}), "outputs.nope: the process has no such output"),
            (json!({"out": null}), "outputs.out: expected an object"),
            (
                json!({"out": {"transmissionMode": "SECRET"}}),
                "outputs.out.transmissionMode: expected value or reference",
            ),
            (json!({"out": {"transmissionMode": 1}}), "outputs.out.transmissionMode: expected value or reference"),
            (json!({"out": {"format": "SECRET"}}), "outputs.out.format: expected an object"),
            (
                json!({"out": {"format": {"mediaType": "x/SECRET"}}}),
                "outputs.out.format.mediaType: expected one of text/plain",
            ),
            (json!({"out": {"format": {"mediaType": 1}}}), "outputs.out.format.mediaType: expected one of text/plain"),
            (
                json!({"out": {"format": {"encoding": "gzip"}}}),
                "outputs.out.format.encoding: expected one of base64, binary, utf-8",
            ),
            (json!({"out": {"format": {"schema": 1}}}), "outputs.out.format.schema: expected a URL or an object"),
        ] {
            assert_eq!(checked(outputs.clone()), Err(vec![expected.to_owned()]), "{outputs}");
        }
    }
}
