use std::cell::RefCell;

use config::{Map, Value, ValueKind};

use super::{
    Position,
    findings::{Findings, key_path},
    node::Node,
};

/// A mapping with known keys. [`Table::finish`] warns of the others.
pub(super) struct Table<'a> {
    entries: &'a Map<String, Value>,
    pub(super) path: String,
    position: Option<Position>,
    findings: &'a RefCell<Findings>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        entries: &'a Map<String, Value>,
        path: String,
        position: Option<Position>,
        findings: &'a RefCell<Findings>,
    ) -> Self {
        Self { entries, path, position, findings, known: RefCell::default() }
    }

    /// The value of a key that may be absent; null counts as absent.
    pub(super) fn get(&self, key: &'static str) -> Option<Node<'a>> {
        self.get_even_null(key).filter(|node| !matches!(node.value.kind, ValueKind::Nil))
    }

    /// The value of a key that may be absent.
    pub(super) fn get_even_null(&self, key: &'static str) -> Option<Node<'a>> {
        self.ask(&[key]);
        self.entries.get(key).map(|value| self.node(key, value))
    }

    /// The value of a key that must be there and not null.
    pub(super) fn require(&self, key: &'static str, allowed: &str) -> Option<Node<'a>> {
        let node = self.get(key);
        if node.is_none() {
            let path = key_path(&self.path, key);
            self.findings.borrow_mut().mistake(path, self.position, format!("is missing; allowed: {allowed}"));
        }
        node
    }

    /// The mapping under a key that may be absent.
    pub(super) fn section(&self, key: &'static str) -> Option<Table<'a>> {
        self.get(key).and_then(|node| node.table())
    }

    /// What a reader makes of a key that may be absent.
    pub(super) fn read<T>(&self, key: &'static str, read: impl FnOnce(&Node<'a>) -> Option<T>) -> Option<T> {
        self.get(key).and_then(|node| read(&node))
    }

    /// Like [`Table::read`], with the empty text counting as absent: what a variable without value leaves.
    pub(super) fn optional_text(&self, key: &'static str) -> Option<String> {
        let node = self.get(key)?;
        if matches!(&node.value.kind, ValueKind::String(text) if text.is_empty()) { None } else { node.text() }
    }

    /// Every entry, in the file's order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), self.node(key, value)))
    }

    /// Known keys that are read without effect.
    pub(super) fn ignore(&self, keys: &[&'static str]) {
        self.ask(keys);
    }

    fn ask(&self, keys: &[&'static str]) {
        self.known.borrow_mut().extend(keys);
        #[cfg(test)]
        self.findings.borrow_mut().asked.extend(keys.iter().map(|key| (self.path.clone(), *key)));
    }

    pub(super) fn mistake(&self, message: impl Into<String>) {
        self.findings.borrow_mut().mistake(self.path.clone(), self.position, message);
    }

    pub(super) fn warning(&self, message: impl Into<String>) {
        self.findings.borrow_mut().warning(self.path.clone(), self.position, message);
    }

    /// Warns of each key that nothing asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        for (key, node) in self.entries().filter(|(key, _)| !known.contains(key)) {
            match meant(key, &known) {
                Some(known) => node.warning(format!("unknown key, ignored; did you mean {known}?")),
                None => node.warning("unknown key, ignored"),
            }
        }
    }

    /// Tells each key that nothing asked for as a mistake.
    pub(super) fn finish_strictly(self) {
        let known = self.known.borrow();
        for (key, node) in self.entries().filter(|(key, _)| !known.contains(key)) {
            match meant(key, &known) {
                Some(known) => node.mistake(format!("is not known; did you mean {known}?")),
                None => node.mistake(format!("is not known; allowed: {}", known.join(", "))),
            }
        }
    }

    fn node(&self, key: &str, value: &'a Value) -> Node<'a> {
        Node { value, path: key_path(&self.path, key), findings: self.findings }
    }
}

/// The known key that an unknown one is a slip of: at most two letters off, and at most one in three. Case, hyphens and
/// underscores don't count.
fn meant(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let plain = |key: &str| key.to_lowercase().replace(['_', '-'], "");
    let key = plain(key);
    let most = (key.chars().count() / 3).min(2);
    let distance = |known: &&'static str| strsim::damerau_levenshtein(&plain(known), &key);
    known.iter().copied().min_by_key(distance).filter(|known| distance(known) <= most)
}
