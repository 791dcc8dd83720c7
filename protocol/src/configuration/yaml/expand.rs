//! `${NAME}` and `${NAME:-default}`, as pygeoapi expands them: in unquoted scalars, a set variable wins even if it is
//! empty, a default ends at the first `}`, and a value is not expanded again.

use config::ValueKind;

use super::scalar;

/// Outcome of expanding one scalar.
#[derive(Debug, PartialEq)]
pub(super) enum Expansion {
    /// There was nothing to expand.
    Untouched,
    /// The text with every variable replaced.
    Text(String),
    /// These variables are neither set nor have a default.
    Unset(Vec<String>),
}

/// Expands one scalar's text.
pub(super) fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Expansion {
    let mut expanded = String::new();
    let mut unset = Vec::new();
    let mut rest = text;
    while let Some((before, variable, after)) = next_variable(rest) {
        expanded.push_str(before);
        match environment(variable.name).or_else(|| variable.default.map(str::to_owned)) {
            Some(value) => expanded.push_str(&value),
            None => unset.push(variable.name.to_owned()),
        }
        rest = after;
    }
    if !unset.is_empty() {
        Expansion::Unset(unset)
    } else if rest.len() == text.len() {
        Expansion::Untouched
    } else {
        expanded.push_str(rest);
        Expansion::Text(expanded)
    }
}

/// Types an expanded text: words for booleans and null as in YAML, numbers as pygeoapi does it, which keeps `0123`,
/// `1_000` and `12:30` as the texts that they most likely are.
pub(super) fn retype(text: String) -> ValueKind {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let number_like = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if text.is_empty() {
        return ValueKind::String(text);
    }
    if let Some(word) = scalar::word(&text) {
        return word;
    }
    if number_like && text.contains('.') {
        return text.parse().map_or(ValueKind::String(text), ValueKind::Float);
    }
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if !leading_zero && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return scalar::integer(&text).unwrap_or(ValueKind::String(text));
    }
    ValueKind::String(text)
}

/// Every variable that the text names, in quoted scalars and comments too.
pub(super) fn variable_names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, variable, after)) = next_variable(rest) {
        names.push(variable.name);
        rest = after;
    }
    names
}

struct Variable<'a> {
    name: &'a str,
    default: Option<&'a str>,
}

/// The first variable of a text, between what is before and what is after it.
fn next_variable(text: &str) -> Option<(&str, Variable<'_>, &str)> {
    text.match_indices("${").find_map(|(start, opening)| {
        let body = text.get(start + opening.len()..)?;
        let name_end = body.find(|c: char| !c.is_alphanumeric() && c != '_').filter(|end| *end > 0)?;
        let (name, tail) = body.split_at(name_end);
        let before = text.get(..start)?;
        if let Some(after) = tail.strip_prefix('}') {
            return Some((before, Variable { name, default: None }, after));
        }
        let (default, after) = tail.strip_prefix(":-")?.split_once('}')?;
        Some((before, Variable { name, default: Some(default) }, after))
    })
}
