//! Settings `gateway.audit`.

use std::time::Duration;

use platform::config::seconds;
use serde::Deserialize;

/// What is kept of who did what.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// False: nothing is kept, and there is no stream for it.
    pub enabled: bool,
    /// How long entries are kept, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub max_age: Duration,
    /// What all of them may take, in bytes; beyond, the oldest are forgotten.
    pub max_bytes: i64,
    /// Entries of one gateway that wait to be written.
    pub queue: usize,
    /// How long it is tried to write one, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub retry_for: Duration,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            max_age: Duration::from_secs(90 * 86_400),
            max_bytes: 1 << 30,
            queue: 10_000,
            retry_for: Duration::from_secs(600),
        }
    }
}

impl AuditSettings {
    /// What is not allowed.
    pub fn mistakes(&self) -> Vec<String> {
        let hour = Duration::from_secs(3600);
        let rules = [
            (self.max_age >= hour, "max_age: expected at least 3600 seconds"),
            (self.max_bytes >= 1 << 20, "max_bytes: expected at least 1 MiB, in bytes"),
            ((1..=1_000_000).contains(&self.queue), "queue: expected 1 to 1000000"),
            // For so long the stream knows an entry that is written again.
            (self.retry_for <= Duration::from_secs(600), "retry_for: expected at most 600 seconds"),
        ];
        let broken = rules.into_iter().filter(|(holds, _)| !holds);
        broken.map(|(_, rule)| format!("gateway.audit.{rule}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_mistakes_come_together() {
        assert!(AuditSettings::default().mistakes().is_empty());
        let wrong = AuditSettings {
            max_age: Duration::ZERO,
            max_bytes: 0,
            queue: 0,
            retry_for: Duration::from_secs(601),
            ..AuditSettings::default()
        };
        let mistakes = wrong.mistakes();
        assert_eq!(mistakes.len(), 4, "{mistakes:?}");
        assert!(mistakes.iter().all(|mistake| mistake.starts_with("gateway.audit.")), "{mistakes:?}");
    }
}
