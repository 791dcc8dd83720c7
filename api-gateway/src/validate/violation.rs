//! What in a request is not allowed, as the client is told: none of it shows a value that was sent.

use std::fmt;

use serde::Serialize;

use super::shortened;
use crate::error::GatewayError;

/// Violations that are told; of the others their number is.
const TOLD: usize = 32;
/// The longest rest of a pointer that is told, in characters.
const POINTER: usize = 256;

/// One thing that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The input, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    /// JSON pointer into the request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// What is allowed.
    message: String,
}

impl Violation {
    /// Something about an input: `rest` is the JSON pointer from the input's value on.
    pub fn of_input(id: &str, rest: &str, message: impl Into<String>) -> Self {
        let id = shortened(id);
        let rest = rest.char_indices().nth(POINTER).map_or(rest, |(end, _)| &rest[..end]);
        let pointer = format!("/inputs/{}{rest}", id.replace('~', "~0").replace('/', "~1"));
        Self { input: Some(id.to_owned()), pointer: Some(pointer), message: message.into() }
    }

    /// The input, where it is one; a long id is cut.
    pub fn input(&self) -> Option<&str> {
        self.input.as_deref()
    }

    /// What is allowed, with the place inside of the input's value, for who sees the input beside it.
    pub fn of_value(&self) -> String {
        let place = self.pointer.as_deref().and_then(|pointer| pointer.strip_prefix("/inputs/")?.split_once('/'));
        match place {
            Some((_, place)) => match place.parse::<usize>() {
                Ok(item) => format!("value {}: {}", item.saturating_add(1), self.message),
                Err(_) => format!("{place}: {}", self.message),
            },
            None => self.message.clone(),
        }
    }

    /// Whether a client can find its place.
    pub fn has_place(&self) -> bool {
        self.pointer.is_some()
    }
}

impl From<String> for Violation {
    fn from(message: String) -> Self {
        Self { input: None, pointer: None, message }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pointer) = &self.pointer {
            write!(f, "{}: ", pointer.trim_start_matches('/').replacen('/', ".", 1))?;
        }
        f.write_str(&self.message)
    }
}

/// All that was found, in a bounded place.
#[derive(Debug, Default)]
pub struct Violations {
    told: Vec<Violation>,
    more: usize,
}

impl Violations {
    /// Takes one more.
    pub fn push(&mut self, violation: impl Into<Violation>) {
        if self.told.len() < TOLD {
            self.told.push(violation.into());
        } else {
            self.more += 1;
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// The answer.
    ///
    /// # Errors
    /// When there is any.
    pub fn into_result(mut self) -> Result<(), GatewayError> {
        if self.more > 0 {
            self.told.push(Violation::from(format!("and {} more", self.more)));
        }
        if self.told.is_empty() { Ok(()) } else { Err(GatewayError::InvalidParameters(self.told)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_reads_as_a_path_and_points_into_the_body() {
        let violation = Violation::of_input("a/b", "/0", "expected text");
        assert_eq!(violation.pointer.as_deref(), Some("/inputs/a~1b/0"));
        assert_eq!(violation.to_string(), "inputs.a~1b/0: expected text");
    }

    #[test]
    fn no_more_than_a_screen_is_told() {
        let mut violations = Violations::default();
        for index in 0..1000 {
            violations.push(Violation::of_input(&"x".repeat(1000), &format!("/{index}"), "expected text"));
        }
        let text = violations.into_result().unwrap_err().to_string();
        assert!(text.ends_with("; and 968 more"), "{text}");
        assert!(text.len() < 8_000);
    }
}
