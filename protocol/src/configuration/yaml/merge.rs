//! A mapping from its entries: merge keys and duplicate keys.

use std::collections::HashMap;

use config::{Map, Value, ValueKind};

use crate::configuration::{
    Position,
    findings::{Findings, key_path},
};

/// One entry as written.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) value: Value,
}

/// The key of an entry.
pub(super) struct Key {
    /// None if it is no scalar: reported, and its value is dropped.
    pub(super) text: Option<String>,
    pub(super) position: Position,
    pub(super) is_merge: bool,
}

/// Merged entries come first, as PyYAML orders them; a later key takes an earlier one's place. `path` is the mapping's.
pub(super) fn merge(entries: Vec<Entry>, path: &str, findings: &mut Findings) -> Map<String, Value> {
    let (merged, own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.key.is_merge);
    let mut table = Map::new();
    for Entry { key, value } in merged {
        // Of several mappings the first wins.
        let mut sources = match value.kind {
            ValueKind::Array(items) => items,
            _ => vec![value],
        };
        sources.reverse();
        for source in sources {
            match source.kind {
                ValueKind::Table(entries) => table.extend(entries),
                _ => {
                    let message = "is no mapping; allowed: a mapping, or a list of mappings";
                    findings.mistake(key_path(path, "<<"), Some(key.position), message);
                }
            }
        }
    }
    let mut seen: HashMap<String, Position> = HashMap::new();
    for Entry { key, value } in own {
        let Some(text) = key.text else { continue };
        if let Some(earlier) = seen.insert(text.clone(), key.position) {
            let message = format!("stands here again, after {earlier}; the last one counts");
            findings.warning(key_path(path, &text), Some(key.position), message);
        }
        table.insert(text, value);
    }
    table
}
