//! What of a log is wanted: pure.

use jiff::Timestamp;

use crate::{error::GatewayError, query::Query, validate::Violation};

/// What of a log is wanted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// All that comes until the log ends.
    pub follow: bool,
    /// What was written then or later.
    pub since: Option<Timestamp>,
    /// Of this container alone.
    pub container: Option<String>,
    /// Of this pod alone.
    pub pod: Option<String>,
}

impl Asked {
    /// Reads the query.
    ///
    /// # Errors
    /// All mistakes at once.
    pub(crate) fn of(query: &Query) -> Result<Self, GatewayError> {
        let mut mistakes = Vec::new();
        let mut only = |name: &'static str| match query.only(name) {
            Ok(value) => value.map(str::to_owned),
            Err(error) => {
                mistakes.push(Violation::from(format!("{name}: {error}")));
                None
            }
        };
        let (follow, since) = (only("follow"), only("since"));
        let (container, pod) = (only("container"), only("pod"));
        let follow = match follow.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                mistakes.push(Violation::from("follow: expected true or false".to_owned()));
                false
            }
        };
        let since = since.and_then(|text| {
            let time = text.parse().ok();
            if time.is_none() {
                let text = "since: expected a time as RFC 3339 has it, such as 2026-01-31T12:00:00Z".to_owned();
                mistakes.push(Violation::from(text));
            }
            time
        });
        if mistakes.is_empty() {
            Ok(Self { follow, since, container, pod })
        } else {
            Err(GatewayError::InvalidParameters(mistakes))
        }
    }

    /// Whether the log of one container or pod is wanted.
    pub(crate) fn is_part(&self) -> bool {
        self.container.is_some() || self.pod.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Asked, String> {
        let query = Query::of_forms(text, &["txt"]).unwrap();
        Asked::of(&query).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_asks_for_all_there_is_now() {
        assert_eq!(asked(""), Ok(Asked::default()));
        assert_eq!(asked("follow=false&f=txt"), Ok(Asked::default()));
    }

    #[test]
    fn everything_can_be_asked_for() {
        let expected = Asked {
            follow: true,
            since: Some("2026-01-31T11:00:00Z".parse().unwrap()),
            container: Some("main".into()),
            pod: Some("p-1".into()),
        };
        assert_eq!(asked("follow=true&since=2026-01-31T12:00:00%2B01:00&container=main&pod=p-1"), Ok(expected));
    }

    #[test]
    fn mistakes_come_together_and_name_what_is_allowed() {
        let text = asked("follow=yes&since=yesterday&container=a&container=b").unwrap_err();
        for part in ["follow: expected true or false", "since: expected a time", "container: expected once"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("yesterday"), "{text}");
    }
}
