use super::{Mistake, Position, Warning};

/// What was found so far, in the order of finding.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<Warning>,
    /// The text could not be read to its end: what is missing in it says nothing.
    pub(super) incomplete: bool,
    /// Each key that was asked for, with the path of its mapping.
    #[cfg(test)]
    pub(super) asked: std::collections::BTreeSet<(String, &'static str)>,
}

impl Findings {
    pub(super) fn mistake(&mut self, path: impl Into<String>, position: Option<Position>, message: impl Into<String>) {
        self.mistakes.push(Mistake { path: path.into(), position, message: message.into() });
    }

    pub(super) fn warning(&mut self, path: impl Into<String>, position: Option<Position>, message: impl Into<String>) {
        self.warnings.push(Warning { path: path.into(), position, message: message.into() });
    }
}

/// The path of a mapping's entry. A key that would be misread in a path is quoted.
pub(super) fn key_path(parent: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    let key = if is_plain { key.to_owned() } else { format!("{key:?}") };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

/// The path of a list's item.
pub(super) fn item_path(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}
