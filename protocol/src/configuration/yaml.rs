//! YAML 1.1 as PyYAML's safe loader and pygeoapi's variables read it, as a format of the `config` crate.
//!
//! text → parser events (serde-saphyr's parser) → `typed` scalars (`expand` variables, then `scalar` types) → `compose`
//! (nesting, anchors; `merge` keys) → `config` values, each with its place as origin.

mod compose;
mod expand;
mod merge;
mod scalar;
mod typed;

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};

use config::{FileStoredFormat, Format, Map, Value, ValueKind};

use super::{ConfigurationErrors, Position, findings::Findings};

/// The configuration file's format. Kept differences to PyYAML: keys stay as written (`no: …` is the key `no`), and
/// timestamps stay text.
///
/// A value's origin is `source:line:column`: the place of its key, or of the list's item.
#[derive(Debug, Clone)]
pub struct Yaml11 {
    source_name: String,
    environment: BTreeMap<String, String>,
    /// Where findings go instead of into an error, if the caller goes on in spite of them.
    report: Option<Arc<Mutex<Findings>>>,
}

impl Yaml11 {
    /// A format for one text, with the environment variables that the text names.
    pub fn new(source_name: &str, text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let environment = expand::variable_names(text)
            .into_iter()
            .filter_map(|name| environment(name).map(|value| (name.to_owned(), value)))
            .collect();
        Self { source_name: source_name.to_owned(), environment, report: None }
    }

    /// The same, but mistakes and warnings are put aside and what could be read is returned.
    pub(super) fn reporting_to(self, report: &Arc<Mutex<Findings>>) -> Self {
        Self { report: Some(Arc::clone(report)), ..self }
    }
}

impl Format for Yaml11 {
    fn parse(&self, _: Option<&String>, text: &str) -> Result<Map<String, Value>, Box<dyn Error + Send + Sync>> {
        let environment = |name: &str| self.environment.get(name).cloned();
        let (root, findings) = compose::compose(&self.source_name, text, &environment);
        let root = match root.kind {
            ValueKind::Table(table) => table,
            _ => Map::new(),
        };
        match &self.report {
            Some(report) => *report.lock().unwrap_or_else(PoisonError::into_inner) = findings,
            None if findings.mistakes.is_empty() => {}
            None => {
                let source_name = self.source_name.clone();
                return Err(Box::new(ConfigurationErrors { source_name, mistakes: findings.mistakes }));
            }
        }
        Ok(root)
    }
}

impl FileStoredFormat for Yaml11 {
    fn file_extensions(&self) -> &'static [&'static str] {
        &["yml", "yaml"]
    }
}

/// The origin of a value, see [`position_of`].
fn origin(source_name: &str, position: Position) -> String {
    format!("{source_name}:{position}")
}

/// The place of a value that was read by [`Yaml11`].
pub(super) fn position_of(value: &Value) -> Option<Position> {
    let mut parts = value.origin()?.rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    Some(Position { line, column })
}
