//! Every key of the configuration file, in one table: the page `docs/configuration.md` is made from it. Tests hold it against
//! what the reader asks for, and against what it takes when a key is absent.

mod general;
mod page;
mod process;
#[cfg(test)]
mod tests;

pub use self::page::page;

/// One mapping of the file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its place: `<id>` stands for any key, `[]` for each item of a list. Empty: the whole file.
    pub path: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its keys, in the order of the page.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// How it is written.
    pub name: &'static str,
    /// How it may be written, too.
    pub also: Option<&'static str>,
    /// What its value is, and what is allowed.
    pub value: &'static str,
    /// What holds when it is absent.
    pub default: Default,
    /// What it does.
    pub meaning: &'static str,
}

/// What holds when a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// It has to be there.
    Required,
    /// Nothing.
    Nothing,
    /// The same as with this value, in YAML.
    Value(&'static str),
    /// Something that no value says.
    Said(&'static str),
}

impl Key {
    const fn new(name: &'static str, value: &'static str, default: Default, meaning: &'static str) -> Self {
        Self { name, also: None, value, default, meaning }
    }

    const fn or(self, also: &'static str) -> Self {
        Self { also: Some(also), ..self }
    }
}

/// The sections, in the order of the page.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    general::SECTIONS.iter().chain(process::SECTIONS)
}
