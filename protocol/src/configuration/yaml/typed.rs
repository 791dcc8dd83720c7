//! A scalar's value, from its style and tag.

use config::ValueKind;
use serde_saphyr::granit_parser::{ScalarStyle, Tag};

use super::{
    expand::{self, Expansion},
    scalar,
};

const YAML_TAGS: &str = "tag:yaml.org,2002:";

/// What a scalar is.
pub(super) struct Typed {
    pub(super) kind: ValueKind,
    /// Its text, as which it would be a key.
    pub(super) text: String,
    /// Whether as a key it merges.
    pub(super) is_merge: bool,
    /// With a mistake the value is null.
    pub(super) mistakes: Vec<String>,
}

/// Types a scalar. Only what is not quoted and has no tag (or pygeoapi's `!env`) has its variables expanded.
pub(super) fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Typed {
    let is_plain = style == ScalarStyle::Plain;
    let Some(tag) = tag else {
        return if is_plain { plain(text, environment) } else { as_text(text) };
    };
    match tag.suffix_in_namespace(YAML_TAGS) {
        Some(name) => tagged(text, &name),
        None => match (tag.handle(), tag.suffix()) {
            ("!", "env") => plain(text, environment),
            ("!", "") | ("", "!") if is_plain => plain(text, environment),
            ("!", "") | ("", "!") => as_text(text),
            (handle, suffix) => mistaken(text, vec![format!("the tag {handle}{suffix} is unknown; allowed: no tag")]),
        },
    }
}

/// What is wrong with the tag of a list (`seq`) or mapping (`map`).
pub(super) fn collection(tag: Option<&Tag>, expected: &str) -> Option<String> {
    let tag = tag?;
    let is_unspecific = matches!((tag.handle(), tag.suffix()), ("!", "") | ("", "!"));
    if is_unspecific || tag.suffix_in_namespace(YAML_TAGS).is_some_and(|name| name == expected) {
        return None;
    }
    Some(format!("the tag {}{} doesn't fit; allowed: no tag", tag.original_handle(), tag.suffix()))
}

fn tagged(text: &str, name: &str) -> Typed {
    let kind = match name {
        "str" | "timestamp" => Some(ValueKind::String(text.to_owned())),
        "int" => scalar::integer(text),
        "float" => scalar::float(text).or_else(|| text.parse().ok().map(ValueKind::Float)),
        "bool" => scalar::word(&text.to_lowercase()).filter(|kind| matches!(kind, ValueKind::Boolean(_))),
        "null" => Some(ValueKind::Nil),
        "merge" => return Typed { is_merge: true, ..as_text(text) },
        _ => None,
    };
    match kind {
        Some(kind) => Typed { kind, ..as_text(text) },
        None => mistaken(text, vec![format!("the tag !!{name} doesn't fit; allowed: no tag, or !!str before a text")]),
    }
}

fn plain(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Typed {
    match expand::expand(text, environment) {
        Expansion::Untouched => Typed { kind: scalar::resolve(text), is_merge: text == "<<", ..as_text(text) },
        Expansion::Text(expanded) => Typed { kind: expand::retype(expanded.clone()), ..as_text(&expanded) },
        Expansion::Unset(names) => {
            let message = |name| {
                format!("the environment variable {name} is not set; allowed: a set variable, or ${{{name}:-default}}")
            };
            mistaken(text, names.into_iter().map(message).collect())
        }
    }
}

fn as_text(text: &str) -> Typed {
    Typed { kind: ValueKind::String(text.to_owned()), text: text.to_owned(), is_merge: false, mistakes: Vec::new() }
}

fn mistaken(text: &str, mistakes: Vec<String>) -> Typed {
    Typed { kind: ValueKind::Nil, mistakes, ..as_text(text) }
}
