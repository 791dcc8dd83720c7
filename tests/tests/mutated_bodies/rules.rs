//! What the processes of this story take, written by hand.

use serde_json::{Map, Value};

const CRS: [&str; 2] = ["http://www.opengis.net/def/crs/OGC/1.3/CRS84", "http://www.opengis.net/def/crs/OGC/0/CRS84h"];
const QUALIFIED: [&str; 5] = ["value", "mediaType", "encoding", "schema", "format"];

type Fits = fn(&Value) -> bool;

/// One input.
struct Rule {
    id: &'static str,
    least: usize,
    most: usize,
    fits: Fits,
    /// Media types that a qualified value may have, and what a value of each must be.
    media_types: &'static [(&'static str, Fits)],
}

/// Whether a process takes these inputs.
pub(super) fn check(process: &str, inputs: &Value) -> Result<(), String> {
    let Value::Object(inputs) = inputs else { return Err("no object".to_owned()) };
    let rules = match process {
        "echo" => echo(),
        "kinds" => kinds(),
        other => return Err(format!("no process {other}")),
    };
    if let Some(unknown) = inputs.keys().find(|id| !rules.iter().any(|rule| rule.id == *id)) {
        return Err(format!("there is no input {unknown}"));
    }
    for rule in rules {
        match inputs.get(rule.id) {
            None if rule.least > 0 => return Err(format!("{} is missing", rule.id)),
            Some(given) if !rule.takes(given) => return Err(format!("{} does not fit", rule.id)),
            _ => {}
        }
    }
    Ok(())
}

impl Rule {
    fn takes(&self, given: &Value) -> bool {
        match given {
            Value::Array(items) if self.most > 1 => {
                (self.least..=self.most).contains(&items.len()) && items.iter().all(|item| self.takes_one(item))
            }
            one => self.least <= 1 && self.takes_one(one),
        }
    }

    /// Plain or qualified; what is a link was never fetched here, so none may have been taken.
    fn takes_one(&self, value: &Value) -> bool {
        let Value::Object(members) = value else { return (self.fits)(value) };
        let only = |names: &[&str]| members.keys().all(|name| names.contains(&name.as_str()));
        if members.contains_key("href") && only(&["href", "type", "rel", "title", "hreflang", "format"]) {
            return false;
        }
        match members.get("value") {
            Some(inner) if only(&QUALIFIED) => {
                self.takes_qualified(members, inner) || (members.len() == 1 && (self.fits)(value))
            }
            _ => (self.fits)(value),
        }
    }

    fn takes_qualified(&self, members: &Map<String, Value>, inner: &Value) -> bool {
        let of = |name: &str| members.get(name).or_else(|| members.get("format")?.get(name));
        if of("encoding").is_some_and(|name| matches!(name.as_str(), Some("base64" | "binary")) && !base64(inner)) {
            return false;
        }
        match of("mediaType") {
            None => (self.fits)(inner),
            Some(Value::String(name)) if self.media_types.is_empty() => name.contains('/') && (self.fits)(inner),
            Some(Value::String(name)) => self.media_types.iter().any(|(known, fits)| known == name && fits(inner)),
            Some(_) => false,
        }
    }
}

fn echo() -> Vec<Rule> {
    let rule = |id, fits, media_types| Rule { id, least: 0, most: 1, fits, media_types };
    vec![
        Rule { id: "echoInput", least: 1, most: 1, fits: Value::is_string, media_types: &[] },
        rule("arrayInput", |value| list(value, 1, 1000, whole), &[]),
        rule("bboxInput", bounding_box, &[]),
        rule("mixedInput", |value| value.is_string() || value.is_object(), &[]),
        rule("objectInput", |value| object(value, &[("name", Value::is_string), ("size", Value::is_number)]), &[]),
        rule("binaryInput", base64, &[("image/tiff", base64)]),
        rule("pause", |value| whole(value) && value.as_f64().is_some_and(|n| (0.0..=300.0).contains(&n)), &[]),
    ]
}

fn kinds() -> Vec<Rule> {
    let rule = |id, fits, media_types| Rule { id, least: 0, most: 1, fits, media_types };
    vec![
        Rule {
            id: "words",
            least: 1,
            most: 3,
            fits: |value| matches!(value.as_str(), Some("red" | "green" | "blue")),
            media_types: &[],
        },
        rule(
            "count",
            |value| value.is_null() || whole(value) && value.as_f64().is_some_and(|n| (0.0..10.0).contains(&n)),
            &[],
        ),
        rule(
            "name",
            |value| {
                value.as_str().is_some_and(|t| (1..=8).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_lowercase()))
            },
            &[],
        ),
        rule("ratio", |value| value.as_f64().is_some_and(|n| n >= -4.0 && (n * 2.0).fract() == 0.0), &[]),
        rule("flag", Value::is_boolean, &[]),
        rule("rows", |value| list(value, 0, 3, |row| list(row, 0, usize::MAX, whole) && all_differ(row)), &[]),
        rule("part", part, &[]),
        Rule {
            id: "geometry",
            least: 0,
            most: usize::MAX,
            fits: |value| value.is_string() || value.get("coordinates").is_some(),
            media_types: &[
                ("application/gml+xml", Value::is_string),
                ("application/gml+xml; version=3.2", Value::is_string),
            ],
        },
        rule("image", base64, &[("image/tiff", base64), ("image/jp2", base64)]),
        rule("box", bounding_box, &[]),
        rule("anything", |_| true, &[]),
    ]
}

fn whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn list(value: &Value, least: usize, most: usize, fits: Fits) -> bool {
    value.as_array().is_some_and(|items| (least..=most).contains(&items.len()) && items.iter().all(fits))
}

fn all_differ(value: &Value) -> bool {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().enumerate().all(|(at, item)| items[..at].iter().all(|other| other.as_f64() != item.as_f64()))
}

fn object(value: &Value, members: &[(&str, Fits)]) -> bool {
    value.is_object() && members.iter().all(|(name, fits)| value.get(name).is_none_or(fits))
}

fn part(value: &Value) -> bool {
    let Value::Object(members) = value else { return false };
    members.get("id").and_then(Value::as_str).is_some_and(|id| id.chars().count() >= 2)
        && members.keys().all(|name| name == "id" || name == "next")
        && members.get("next").is_none_or(part)
}

fn bounding_box(value: &Value) -> bool {
    let coordinates = value.get("bbox").and_then(Value::as_array);
    coordinates.is_some_and(|numbers| matches!(numbers.len(), 4 | 6) && numbers.iter().all(Value::is_number))
        && value.get("crs").is_none_or(|crs| crs.as_str().is_some_and(|crs| CRS.contains(&crs)))
}

/// Base64 without a decoder: groups of four, the last one perhaps shorter or padded.
fn base64(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = &text[..text.len() - padding];
    digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        && digits.len() % 4 != 1
        && (padding == 0 || (padding <= 2 && text.len().is_multiple_of(4)))
}
