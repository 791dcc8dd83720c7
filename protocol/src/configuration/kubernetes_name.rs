//! Names as Kubernetes has them. <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>

use config::ValueKind;
use indexmap::IndexMap;

use super::node::Node;

/// The longest name of a container, volume or namespace, the longest part of a label's key, and the longest value.
pub(super) const MAX_LABEL: usize = 63;
/// The longest name of most other objects.
const MAX_SUBDOMAIN: usize = 253;
/// What [`label`] allows.
pub(super) const LABEL: &str = "a name of at most 63 lower-case letters, digits and inner hyphens";
const OBJECT: &str = "a name of at most 253 lower-case letters, digits, and inner hyphens and dots";
const QUALIFIED: &str =
    "at most 63 letters, digits, and inner hyphens, underscores and dots, after a prefix with a slash or without";
const LABEL_VALUE: &str = "text of at most 63 letters, digits, and inner hyphens, underscores and dots";

/// The name of a container, volume or namespace.
pub(super) fn label(node: &Node<'_>) -> Option<String> {
    let name = node.text()?;
    if is_label(&name) { Some(name) } else { node.wrong(LABEL) }
}

/// The name of an object of most other kinds.
pub(super) fn object(node: &Node<'_>) -> Option<String> {
    let name = node.text()?;
    if is_subdomain(&name) { Some(name) } else { node.wrong(OBJECT) }
}

/// Labels: of nodes that are asked for, or of one's own.
pub(super) fn labels(node: &Node<'_>) -> Option<IndexMap<String, String>> {
    each(node, |node| match &node.value.kind {
        ValueKind::String(text) if is_label_value(text) => Some(text.clone()),
        ValueKind::String(_) | ValueKind::Table(_) | ValueKind::Array(_) => node.wrong(LABEL_VALUE),
        _ => node.wrong(&format!("{LABEL_VALUE}, so put it in quotes")),
    })
}

/// Annotations.
pub(super) fn annotations(node: &Node<'_>) -> Option<IndexMap<String, String>> {
    each(node, |node| match &node.value.kind {
        ValueKind::String(text) => Some(text.clone()),
        ValueKind::Table(_) | ValueKind::Array(_) => node.wrong("text"),
        _ => node.wrong("text, so put it in quotes"),
    })
}

fn each(node: &Node<'_>, value: impl Fn(&Node<'_>) -> Option<String>) -> Option<IndexMap<String, String>> {
    let entries = node.table()?;
    let entry = |(key, node): (&str, Node<'_>)| {
        if !is_qualified(key) {
            node.mistake(format!("is no key of a label or annotation; allowed: {QUALIFIED}"));
            return None;
        }
        Some((key.to_owned(), value(&node)?))
    };
    Some(entries.entries().filter_map(entry).collect())
}

fn is_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !name.is_empty()
        && name.len() <= MAX_LABEL
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= MAX_SUBDOMAIN && name.split('.').all(|part| !part.is_empty() && is_dns_part(part))
}

/// A label without its limit: parts of a longer name only have the whole's.
fn is_dns_part(part: &str) -> bool {
    part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !part.starts_with('-')
        && !part.ends_with('-')
}

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && !name.is_empty() && is_label_value(name),
        None => !key.is_empty() && is_label_value(key),
    }
}

fn is_label_value(text: &str) -> bool {
    let is_outer = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= MAX_LABEL
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && is_outer(text.chars().next())
        && is_outer(text.chars().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kubernetes() {
        assert!(is_label("a-1") && !is_label("A") && !is_label("-a") && !is_label("") && !is_label(&"a".repeat(64)));
        assert!(is_subdomain("a.b-c.d1") && !is_subdomain("a..b") && !is_subdomain("a_b") && !is_subdomain(""));
        assert!(is_label_value("") && is_label_value("A_b.c-1") && !is_label_value("a/b") && !is_label_value("_a"));
        assert!(is_qualified("a") && is_qualified("x.org/Some_name") && !is_qualified("x.org/") && !is_qualified("/a"));
        assert!(!is_qualified("") && !is_qualified("X/a") && !is_qualified("a/b/c"));
    }
}
