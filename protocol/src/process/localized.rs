use indexmap::IndexMap;
use serde::Serialize;

/// A text (or list of keywords) that is the same in every language, or has one value a language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Localized<T> {
    /// One value for all.
    Same(T),
    /// By language tag (`en`, `de-AT`), in the file's order; never empty.
    ByLanguage(IndexMap<String, T>),
}

impl<T> Localized<T> {
    /// The value for a language tag: that of the same tag, else of the same language, else the first.
    pub fn pick(&self, language: &str) -> Option<&T> {
        let values = match self {
            Self::Same(value) => return Some(value),
            Self::ByLanguage(values) => values,
        };
        let same_tag = values.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(language));
        let same_language = || values.iter().find(|(tag, _)| primary(tag).eq_ignore_ascii_case(primary(language)));
        same_tag.or_else(same_language).or_else(|| values.first()).map(|(_, value)| value)
    }

    /// Every value, in the file's order.
    pub fn values(&self) -> Box<dyn Iterator<Item = &T> + '_> {
        match self {
            Self::Same(value) => Box::new(std::iter::once(value)),
            Self::ByLanguage(values) => Box::new(values.values()),
        }
    }
}

impl Localized<String> {
    /// The text for a language tag, see [`Localized::pick`].
    pub fn text(&self, language: &str) -> &str {
        self.pick(language).map_or("", String::as_str)
    }
}

impl Localized<Vec<String>> {
    /// The keywords for a language tag, see [`Localized::pick`].
    pub fn list(&self, language: &str) -> &[String] {
        self.pick(language).map_or(&[], Vec::as_slice)
    }
}

impl From<&str> for Localized<String> {
    fn from(text: &str) -> Self {
        Self::Same(text.to_owned())
    }
}

impl<T: Default> Default for Localized<T> {
    fn default() -> Self {
        Self::Same(T::default())
    }
}

fn primary(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or(tag)
}
