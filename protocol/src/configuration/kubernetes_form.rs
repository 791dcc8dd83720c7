//! Parts of the configuration that are in Kubernetes' own form: held against Kubernetes' own types.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

use super::{node::Node, table::Table};

/// The value of a key that may also be written as Kubernetes does.
pub(super) fn either<'a>(table: &Table<'a>, key: &'static str, of_kubernetes: &'static str) -> Option<Node<'a>> {
    let (ours, theirs) = (table.get(key), table.get(of_kubernetes));
    if let (Some(_), Some(theirs)) = (&ours, &theirs) {
        theirs.mistake(format!("is {key} once more; allowed: one of them"));
    }
    ours.or(theirs)
}

/// A mapping that is a `T` of Kubernetes. What is not known there is warned of, and left out.
pub(super) fn object<T: DeserializeOwned + Serialize>(node: &Node<'_>) -> Option<Json> {
    checked::<T>(node, node.json_object()?)
}

/// A list of such mappings.
pub(super) fn list<T: DeserializeOwned + Serialize>(node: &Node<'_>) -> Option<Vec<Json>> {
    let items = node.items()?;
    let objects: Vec<Json> = items.iter().filter_map(object::<T>).collect();
    (objects.len() == items.len()).then_some(objects)
}

/// A mapping with amounts below `limits` and `requests`, which Kubernetes takes as numbers, too.
pub(super) fn resources<T: DeserializeOwned + Serialize>(node: &Node<'_>) -> Option<Json> {
    let mut json = node.json_object()?;
    for amounts in ["limits", "requests"] {
        for (_, amount) in json.get_mut(amounts).and_then(Json::as_object_mut).into_iter().flatten() {
            if amount.is_number() {
                *amount = Json::String(amount.to_string());
            }
        }
    }
    checked::<T>(node, json)
}

fn checked<T: DeserializeOwned + Serialize>(node: &Node<'_>, json: Json) -> Option<Json> {
    let typed: T = match serde_path_to_error::deserialize(&json) {
        Ok(typed) => typed,
        Err(error) => {
            let pointer: String = error.path().iter().map(pointer_part).collect();
            // The text before it may show the value.
            let message = error.inner().to_string();
            let expected = message.rsplit_once("expected ").map_or("another type", |(_, expected)| expected);
            node.at(&pointer).mistake(format!("does not fit Kubernetes; allowed: {expected}"));
            return None;
        }
    };
    let written = serde_json::to_value(&typed).ok()?;
    let is_whole = compare(node, "", &json, &written);
    is_whole.then_some(written)
}

fn pointer_part(part: &serde_path_to_error::Segment) -> String {
    use serde_path_to_error::Segment;
    match part {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => pointer_to(key),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    }
}

/// What was read and what its type makes of it: the type drops what it does not know, and adds what it must have. False when
/// something is missing.
fn compare(root: &Node<'_>, pointer: &str, read: &Json, typed: &Json) -> bool {
    match (read, typed) {
        (Json::Object(read), Json::Object(typed)) => {
            let mut is_whole = true;
            for (key, value) in read {
                let pointer = format!("{pointer}{}", pointer_to(key));
                match typed.get(key) {
                    Some(typed) => is_whole &= compare(root, &pointer, value, typed),
                    None if value.is_null() => {}
                    None => root.at(&pointer).warning("is not known to Kubernetes, ignored"),
                }
            }
            for key in typed.keys().filter(|key| !read.contains_key(*key)) {
                root.at(pointer).mistake(format!("has no {key}; allowed: with {key}"));
                is_whole = false;
            }
            is_whole
        }
        (Json::Array(read), Json::Array(typed)) => {
            let mut is_whole = true;
            for (index, (read, typed)) in read.iter().zip(typed).enumerate() {
                is_whole &= compare(root, &format!("{pointer}/{index}"), read, typed);
            }
            is_whole
        }
        _ => true,
    }
}

fn pointer_to(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}
