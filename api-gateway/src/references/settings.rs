use std::time::Duration;

use platform::config::{list, seconds};
use serde::Deserialize;

use crate::guard::Policy;

/// Settings `gateway.references`: what may be fetched for inputs by reference.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReferenceSettings {
    /// Whether `http` is allowed beside `https`.
    pub allow_http: bool,
    /// Networks (CIDR) and names of hosts that may be reached although their addresses are not public. In the
    /// environment separated by commas.
    #[serde(deserialize_with = "list")]
    pub allow_private: Vec<String>,
    /// The most bytes that are read of a value.
    pub max_bytes: u64,
    /// The most bytes of a value that is not read but passed on as a link.
    pub max_linked_bytes: u64,
    /// How long one reference may take in all, redirects included, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub timeout: Duration,
    /// Redirects that are followed for one reference.
    pub max_redirects: usize,
    /// References in one execution.
    pub max_per_request: usize,
    /// Executions whose references are looked at, at one time.
    pub max_executions: usize,
}

impl Default for ReferenceSettings {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            allow_http: false,
            allow_private: Vec::new(),
            max_bytes: 8 * MIB,
            max_linked_bytes: 10 * 1024 * MIB,
            timeout: Duration::from_secs(15),
            max_redirects: 5,
            max_per_request: 16,
            max_executions: 32,
        }
    }
}

impl ReferenceSettings {
    /// What may be connected to.
    ///
    /// # Errors
    /// When an entry of `allow_private` is neither a network nor the name of a host.
    pub fn policy(&self) -> Result<Policy, String> {
        Policy::new("gateway.references", self.allow_http, &self.allow_private)
    }

    /// What is not allowed.
    pub fn mistakes(&self) -> Vec<String> {
        const MIB: u64 = 1024 * 1024;
        let mut mistakes = Vec::new();
        if !(1..=64 * MIB).contains(&self.max_bytes) {
            mistakes.push("gateway.references.max_bytes: expected 1 byte to 64 MiB, in bytes".to_owned());
        }
        if self.timeout.is_zero() || self.timeout > Duration::from_secs(300) {
            mistakes.push("gateway.references.timeout: expected more than 0 and at most 300 seconds".to_owned());
        }
        if self.max_redirects > 20 {
            mistakes.push("gateway.references.max_redirects: expected at most 20".to_owned());
        }
        if !(1..=10_000).contains(&self.max_executions) {
            mistakes.push("gateway.references.max_executions: expected 1 to 10000".to_owned());
        }
        if self.max_per_request > 1000 {
            mistakes.push("gateway.references.max_per_request: expected at most 1000".to_owned());
        }
        mistakes.extend(self.policy().err());
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn private_networks_are_a_list_or_separated_by_commas() {
        let read = |value| serde_json::from_value::<ReferenceSettings>(value).unwrap().allow_private;
        assert_eq!(read(json!({"allow_private": ["10.0.0.0/8"]})), ["10.0.0.0/8"]);
        assert_eq!(read(json!({"allow_private": "10.0.0.0/8, data.internal"})), ["10.0.0.0/8", "data.internal"]);
        assert!(read(json!({})).is_empty());
    }

    #[test]
    fn the_defaults_are_allowed_and_mistakes_come_together() {
        assert!(ReferenceSettings::default().mistakes().is_empty());
        let wrong = ReferenceSettings {
            max_bytes: 0,
            timeout: Duration::ZERO,
            allow_private: vec!["10.0.0.0/99".to_owned()],
            ..ReferenceSettings::default()
        };
        let mistakes = wrong.mistakes().join("; ");
        for part in ["max_bytes", "timeout", "allow_private"] {
            assert!(mistakes.contains(part), "{mistakes}");
        }
    }
}
