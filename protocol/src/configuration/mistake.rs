use std::fmt;

/// A place in the configuration file, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Something in the file (or in an environment variable that overrides it) that keeps Quayside from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where in the tree, such as `resources.hello.processor.env[0].name`; an environment variable's name if the
    /// mistake is there.
    pub path: String,
    /// Where in the text: the key, or the list's item; none for what is not in the text.
    pub position: Option<Position>,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Something in the file that works, but perhaps not as its author thinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// As [`Mistake::path`].
    pub path: String,
    /// As [`Mistake::position`].
    pub position: Option<Position>,
    /// What happens, and what to write instead.
    pub message: String,
}

/// Every mistake of a configuration file, in the file's order. Displayed one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct ConfigurationErrors {
    /// What the text was read from, as the caller named it.
    pub source_name: String,
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

impl ConfigurationErrors {
    fn text(&self) -> String {
        let many = if self.mistakes.len() == 1 { "mistake" } else { "mistakes" };
        let mut text = format!("{} {many} in {}", self.mistakes.len(), self.source_name);
        for mistake in &self.mistakes {
            text.push_str("\n  ");
            text.push_str(&mistake.to_string());
        }
        text
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        located(f, &self.path, self.position, &self.message)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        located(f, &self.path, self.position, &self.message)
    }
}

fn located(f: &mut fmt::Formatter<'_>, path: &str, position: Option<Position>, message: &str) -> fmt::Result {
    match position {
        Some(position) => write!(f, "{path} ({position}): {message}"),
        None => write!(f, "{path}: {message}"),
    }
}
