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
mod tests;
