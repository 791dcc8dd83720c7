//! A place in the tree that reads itself as a type, or notes down what is wrong and what is allowed.

use std::cell::RefCell;

use config::{Value, ValueKind};
use indexmap::IndexMap;

use super::{
    Position,
    findings::{Findings, item_path, key_path},
    python,
    table::Table,
    yaml::position_of,
};
use crate::process::Localized;

/// One value, its path, and where findings go. Readers return nothing where they noted a mistake.
pub(super) struct Node<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
    pub(super) findings: &'a RefCell<Findings>,
}

impl<'a> Node<'a> {
    pub(super) fn position(&self) -> Option<Position> {
        position_of(self.value)
    }

    pub(super) fn mistake(&self, message: impl Into<String>) {
        self.findings.borrow_mut().mistake(self.path.clone(), self.position(), message);
    }

    pub(super) fn warning(&self, message: impl Into<String>) {
        self.findings.borrow_mut().warning(self.path.clone(), self.position(), message);
    }

    /// Notes that the value is of the wrong type, or not one of those allowed.
    pub(super) fn wrong<T>(&self, allowed: &str) -> Option<T> {
        self.mistake(format!("is {}; allowed: {allowed}", describe(self.value)));
        None
    }

    pub(super) fn table(&self) -> Option<Table<'a>> {
        match &self.value.kind {
            ValueKind::Table(entries) => Some(Table::new(entries, self.path.clone(), self.position(), self.findings)),
            _ => self.wrong("a mapping"),
        }
    }

    pub(super) fn items(&self) -> Option<Vec<Node<'a>>> {
        let ValueKind::Array(items) = &self.value.kind else { return self.wrong("a list") };
        let node = |(index, value)| Node { value, path: item_path(&self.path, index), findings: self.findings };
        Some(items.iter().enumerate().map(node).collect())
    }

    /// Text that is not empty.
    pub(super) fn text(&self) -> Option<String> {
        match &self.value.kind {
            ValueKind::String(text) if text.trim().is_empty() => self.wrong("text that is not empty"),
            ValueKind::String(text) => Some(text.clone()),
            ValueKind::Table(_) | ValueKind::Array(_) => self.wrong("text"),
            _ => self.wrong("text, so put it in quotes"),
        }
    }

    /// Any scalar, as the text that Python makes of it.
    pub(super) fn scalar_text(&self) -> Option<String> {
        match python::text(&self.value.kind) {
            Some(text) => Some(text),
            None => self.wrong("text, a number, true or false"),
        }
    }

    /// A list of scalars, each as the text that Python makes of it.
    pub(super) fn scalar_texts(&self) -> Option<Vec<String>> {
        if !matches!(self.value.kind, ValueKind::Array(_)) {
            return self.wrong("a list of texts");
        }
        Some(self.items()?.iter().filter_map(Node::scalar_text).collect())
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value.kind {
            ValueKind::Boolean(value) => Some(value),
            _ => self.wrong("true or false"),
        }
    }

    pub(super) fn integer(&self, least: i64, most: i64) -> Option<i64> {
        match self.value.kind {
            ValueKind::I64(number) if (least..=most).contains(&number) => Some(number),
            _ if most == i64::MAX => self.wrong(&format!("a whole number, {least} or more")),
            _ => self.wrong(&format!("a whole number from {least} to {most}")),
        }
    }

    /// One of several words, in exactly this case.
    pub(super) fn word<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        let found = match &self.value.kind {
            ValueKind::String(text) => words.iter().find(|(word, _)| word == text),
            _ => None,
        };
        match found {
            Some((_, meaning)) => Some(meaning.clone()),
            None => {
                let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                self.wrong(&allowed.join(", "))
            }
        }
    }

    /// A scalar, or a mapping of language to scalar.
    pub(super) fn localized(&self) -> Option<Localized<String>> {
        self.by_language("text, or a mapping of language to text", |node| match node.value.kind {
            ValueKind::Table(_) | ValueKind::Array(_) | ValueKind::Nil => node.wrong("text"),
            _ => node.scalar_text(),
        })
    }

    /// A list of scalars, or a mapping of language to such a list.
    pub(super) fn localized_list(&self) -> Option<Localized<Vec<String>>> {
        self.by_language("a list of texts, or a mapping of language to such a list", Node::scalar_texts)
    }

    fn by_language<T>(&self, allowed: &str, read: impl Fn(&Node<'a>) -> Option<T>) -> Option<Localized<T>> {
        match &self.value.kind {
            ValueKind::Table(languages) if languages.is_empty() => self.wrong(allowed),
            ValueKind::Table(_) => {
                let values: IndexMap<String, T> = self
                    .table()?
                    .entries()
                    .filter_map(|(language, node)| read(&node).map(|value| (language.to_owned(), value)))
                    .collect();
                (!values.is_empty()).then_some(Localized::ByLanguage(values))
            }
            ValueKind::Nil => self.wrong(allowed),
            _ => read(self).map(Localized::Same),
        }
    }

    /// The part at a JSON pointer, or the innermost one on the way to it that there is.
    pub(super) fn at(&self, pointer: &str) -> Node<'a> {
        let mut node = Node { value: self.value, path: self.path.clone(), findings: self.findings };
        for part in pointer.split('/').skip(1) {
            let key = part.replace("~1", "/").replace("~0", "~");
            let (value, path) = match &node.value.kind {
                ValueKind::Table(entries) => (entries.get(&key), key_path(&node.path, &key)),
                ValueKind::Array(items) => match key.parse::<usize>() {
                    Ok(index) => (items.get(index), item_path(&node.path, index)),
                    Err(_) => break,
                },
                _ => break,
            };
            let Some(value) = value else { break };
            node = Node { value, path, ..node };
        }
        node
    }

    /// The value as JSON, in the file's order.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        json(self.value).or_else(|| self.wrong("numbers that JSON has, so neither .nan nor .inf"))
    }

    /// A mapping as JSON.
    pub(super) fn json_object(&self) -> Option<serde_json::Value> {
        match self.value.kind {
            ValueKind::Table(_) => self.json(),
            _ => self.wrong("a mapping"),
        }
    }
}

fn json(value: &Value) -> Option<serde_json::Value> {
    use serde_json::{Number, Value as Json};
    Some(match &value.kind {
        ValueKind::Nil => Json::Null,
        ValueKind::Boolean(value) => Json::Bool(*value),
        ValueKind::I64(number) => Json::from(*number),
        ValueKind::U64(number) => Json::from(*number),
        ValueKind::I128(number) => Json::Number(Number::from_f64(*number as f64)?),
        ValueKind::U128(number) => Json::Number(Number::from_f64(*number as f64)?),
        ValueKind::Float(number) => Json::Number(Number::from_f64(*number)?),
        ValueKind::String(text) => Json::String(text.clone()),
        ValueKind::Array(items) => Json::Array(items.iter().map(json).collect::<Option<_>>()?),
        ValueKind::Table(entries) => {
            let members = entries.iter().map(|(key, value)| Some((key.clone(), json(value)?)));
            Json::Object(members.collect::<Option<_>>()?)
        }
    })
}

/// What a value is, for a message.
fn describe(value: &Value) -> String {
    const LONGEST: usize = 40;
    match &value.kind {
        ValueKind::Nil => "empty".to_owned(),
        ValueKind::Boolean(value) => format!("the boolean {value}"),
        ValueKind::Array(_) => "a list".to_owned(),
        ValueKind::Table(_) => "a mapping".to_owned(),
        ValueKind::String(text) if text.chars().count() > LONGEST => {
            format!("the text {:?}…", text.chars().take(LONGEST).collect::<String>())
        }
        ValueKind::String(text) => format!("the text {text:?}"),
        kind => format!("the number {}", python::text(kind).unwrap_or_default()),
    }
}
