//! Query strings.

use protocol::configuration::{Limits, OnExceed};

use crate::error::GatewayError;

/// A parameter that is no list is there more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected once")]
pub struct Repeated;

/// The parameters of a query string, in their order.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string and holds its parameter `f` against what is offered of nearly everything.
    ///
    /// # Errors
    /// When another form than JSON or HTML is asked for.
    pub fn parse(text: &str) -> Result<Self, GatewayError> {
        Self::of_forms(text, &["json", "html"])
    }

    /// The same for a resource that has these forms.
    ///
    /// # Errors
    /// When another form is asked for.
    pub fn of_forms(text: &str, forms: &[&str]) -> Result<Self, GatewayError> {
        let query = Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect());
        match query.one("f") {
            None => Ok(query),
            Some(form) if forms.contains(&form) => Ok(query),
            Some(_) => Err(GatewayError::invalid(format!("f: expected {}", forms.join(" or ")))),
        }
    }

    /// Without parameters that are empty, as forms send the fields that nobody has filled in.
    pub fn filled_in(mut self) -> Self {
        self.0.retain(|(_, value)| !value.is_empty());
        self
    }

    /// The first value of a parameter.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that is no list.
    ///
    /// # Errors
    /// When it is there more than once: nobody can tell which value is meant.
    pub fn only(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values = self.pairs().filter(|(key, _)| *key == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Repeated),
        }
    }

    /// Every parameter, in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All values of a parameter that is a list: repeated, or separated by commas.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.words(name).into_iter().filter(|value| !value.is_empty()).collect()
    }

    /// The same, of a list whose members can't be empty: one that is shows as such.
    pub fn words(&self, name: &str) -> Vec<&str> {
        let values = self.0.iter().filter(|(key, _)| key == name);
        values.flat_map(|(_, value)| value.split(',')).map(str::trim).collect()
    }

    /// `limit` and `offset` of a list.
    ///
    /// # Errors
    /// When one is no number, or `limit` is 0 or above a maximum that is an error.
    pub fn page(&self, limits: &Limits) -> Result<Page, GatewayError> {
        let number = |name: &str, least: usize| match self.one(name) {
            None => Ok(None),
            Some(text) => match text.parse::<usize>() {
                Ok(number) if number >= least => Ok(Some(number)),
                _ => Err(GatewayError::invalid(format!("{name}: expected a whole number from {least} on"))),
            },
        };
        let most = usize::try_from(limits.max_items).unwrap_or(usize::MAX);
        let default = usize::try_from(limits.default_items).unwrap_or(usize::MAX).min(most);
        let limit = match number("limit", 1)? {
            Some(limit) if limit > most && limits.on_exceed == OnExceed::Error => {
                return Err(GatewayError::invalid(format!("limit: expected at most {most}")));
            }
            limit => limit.unwrap_or(default).min(most),
        };
        Ok(Page { offset: number("offset", 0)?.unwrap_or(0), limit })
    }

    /// The query string of another page of the same list.
    pub fn of_page(&self, page: Page) -> String {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.0.iter().filter(|(name, _)| name != "limit" && name != "offset") {
            text.append_pair(name, value);
        }
        text.append_pair("limit", &page.limit.to_string());
        if page.offset > 0 {
            text.append_pair("offset", &page.offset.to_string());
        }
        text.finish()
    }
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Items left out at the beginning.
    pub offset: usize,
    /// Items at most.
    pub limit: usize,
}

impl Page {
    /// The page after this one.
    pub fn next(self) -> Self {
        Self { offset: self.offset.saturating_add(self.limit), ..self }
    }

    /// The page before this one; `None` at the beginning.
    pub fn previous(self) -> Option<Self> {
        (self.offset > 0).then(|| Self { offset: self.offset.saturating_sub(self.limit), ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str, on_exceed: OnExceed) -> Option<(usize, usize)> {
        let limits = Limits { default_items: 5, max_items: 10, on_exceed };
        Query::parse(query).ok()?.page(&limits).ok().map(|page| (page.offset, page.limit))
    }

    #[test]
    fn limits_are_clamped_or_refused_as_configured() {
        use OnExceed::{Error, Throttle};
        assert_eq!(page("", Throttle), Some((0, 5)));
        assert_eq!(page("limit=1&offset=3", Throttle), Some((3, 1)));
        assert_eq!(page("limit=11", Throttle), Some((0, 10)));
        assert_eq!(page("limit=11", Error), None);
        for wrong in ["limit=", "offset=", "limit=0", "limit=-1", "limit=x", "offset=-1", "limit=1.5"] {
            assert_eq!(page(wrong, Throttle), None, "{wrong}");
        }
    }

    #[test]
    fn forms_that_are_not_offered_are_refused() {
        assert!(Query::parse("f=json").is_ok() && Query::parse("f=html").is_ok());
        assert!(matches!(Query::parse("f=xml"), Err(GatewayError::InvalidParameters(_))));
        assert!(matches!(Query::parse("f="), Err(GatewayError::InvalidParameters(_))));
    }

    #[test]
    fn a_list_is_repeated_or_separated_by_commas() {
        let query = Query::parse("status=failed,running&status=accepted&x=1").unwrap();
        assert_eq!(query.list("status"), ["failed", "running", "accepted"]);
    }

    #[test]
    fn another_page_keeps_the_other_parameters() {
        let query = Query::parse("status=failed&limit=2&offset=2&processID=a%26b").unwrap();
        let page = Page { offset: 2, limit: 2 };
        assert_eq!(query.of_page(page.next()), "status=failed&processID=a%26b&limit=2&offset=4");
        assert_eq!(query.of_page(page.previous().unwrap()), "status=failed&processID=a%26b&limit=2");
    }
}
