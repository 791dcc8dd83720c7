//! The fields of a form as they were sent, or as they are to be filled in.
//!
//! A field of an input is called `<part>:<input id>`; what follows the first colon is the id, so that no id can be taken for
//! another field. Fields of the form itself have no colon.

use crate::error::GatewayError;

/// Whether a body of this content type is a form.
pub(crate) fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// More fields than this are refused: each takes memory.
const MOST: usize = 10_000;

/// The token, where the process needs one.
pub(crate) const TOKEN: &str = "token";
/// Whether to wait for the results: `wait` or `start`.
pub(crate) const MODE: &str = "mode";
/// The value of [`MODE`] of who waits.
pub(crate) const WAIT: &str = "wait";
/// Ids of the outputs that are wanted.
pub(crate) const OUTPUT: &str = "output";
/// Says that outputs could be chosen.
pub(crate) const CHOOSES_OUTPUTS: &str = "chooses-outputs";
/// The form is wanted again, with more rows for the input of this id.
pub(crate) const MORE: &str = "more";

/// A part of an input's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The value, or each value of a list.
    Value,
    /// Its media type, where that can be chosen.
    MediaType,
    /// A link to it.
    Href,
    /// The reference system of a bounding box.
    System,
    /// A side of a bounding box.
    Side(usize),
}

/// The sides of a bounding box in the order of its six numbers.
pub(crate) const SIDES: [&str; 6] = ["west", "south", "bottom", "east", "north", "top"];
/// Those of a box without heights, in the order of its four numbers.
pub(crate) const FLAT: [usize; 4] = [0, 1, 3, 4];

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::MediaType => "type",
            Self::Href => "href",
            Self::System => "crs",
            Self::Side(side) => SIDES.get(side).copied().unwrap_or_default(),
        }
    }

    /// The name of the field.
    pub(crate) fn name(self, input: &str) -> String {
        format!("{}:{input}", self.word())
    }
}

/// Fields and their values, in their order.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads the body of a form.
    ///
    /// # Errors
    /// When it has too many fields.
    pub(crate) fn read(body: &[u8]) -> Result<Self, GatewayError> {
        let fields: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().take(MOST + 1).collect();
        if fields.len() > MOST {
            return Err(GatewayError::invalid(format!("the form has more than {MOST} fields")));
        }
        Ok(Self(fields))
    }

    /// What they take of memory, with the JSON and the page that are made of them: each text may be escaped in both.
    pub(crate) fn memory(&self) -> usize {
        let texts: usize = self.0.iter().map(|(name, value)| name.len() + value.len()).sum();
        texts.saturating_mul(12) + self.0.len().saturating_mul(std::mem::size_of::<(String, String)>() * 2)
    }

    /// The first value of a field of the form itself.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a field of the form itself.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a part of an input's field.
    pub(crate) fn of_input(&self, part: Part, input: &str) -> Vec<&str> {
        let is_of = |name: &str| name.split_once(':').is_some_and(|(word, id)| word == part.word() && id == input);
        self.0.iter().filter(|(name, _)| is_of(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The first value of a part of an input's field; empty where there is none.
    pub(crate) fn first(&self, part: Part, input: &str) -> &str {
        self.of_input(part, input).first().copied().unwrap_or_default()
    }

    /// Fills a part of an input's field in.
    pub(crate) fn push(&mut self, part: Part, input: &str, value: impl Into<String>) {
        self.0.push((part.name(input), value.into()));
    }

    /// Fills a field of the form itself in.
    #[cfg(test)]
    pub(crate) fn push_own(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// As the body of a form.
    #[cfg(test)]
    pub(crate) fn written(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_can_be_taken_for_another_field() {
        let mut fields = Fields::default();
        for id in ["token", "mode", "a:b", "value:a", "", "ü &=+%"] {
            fields.push(Part::Value, id, id);
        }
        fields.push_own(TOKEN, "secret");
        let read = Fields::read(fields.written().as_bytes()).unwrap();
        for id in ["token", "mode", "a:b", "value:a", "", "ü &=+%"] {
            assert_eq!(read.of_input(Part::Value, id), [id]);
        }
        assert_eq!((read.one(TOKEN), read.one(MODE)), (Some("secret"), None));
        assert!(read.of_input(Part::Href, "a").is_empty());
    }

    #[test]
    fn a_form_of_very_many_fields_is_refused() {
        assert!(Fields::read("a&".repeat(MOST).as_bytes()).is_ok());
        assert!(Fields::read("a&".repeat(MOST + 1).as_bytes()).is_err());
    }
}
