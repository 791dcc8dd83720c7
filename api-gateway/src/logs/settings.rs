//! Settings `gateway.logs`.

use std::time::Duration;

use platform::config::seconds;
use serde::Deserialize;

/// Does for one reader.
const LEAST_MEMORY: usize = 8 << 20;

/// Who may read the logs of jobs that run.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Logs of running jobs that are read at one time; beyond them clients are told to come back.
    pub max_readers: usize,
    /// How long one answer follows a log, in seconds; then it ends, and the client may go on with another one.
    #[serde(deserialize_with = "seconds")]
    pub follow_limit: Duration,
    /// Bytes of memory that all readers may take: each 1 MiB, and 6 MiB while it begins.
    pub memory: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { max_readers: 64, follow_limit: Duration::from_secs(3600), memory: 96 << 20 }
    }
}

impl LogSettings {
    /// What is not allowed.
    pub fn mistakes(&self) -> Vec<String> {
        let rules = [
            ((1..=100_000).contains(&self.max_readers), "max_readers: expected 1 to 100000"),
            (!self.follow_limit.is_zero(), "follow_limit: expected more than 0 seconds"),
            (self.memory >= LEAST_MEMORY, "memory: expected at least 8 MiB, in bytes"),
        ];
        let broken = rules.into_iter().filter(|(holds, _)| !holds);
        broken.map(|(_, rule)| format!("gateway.logs.{rule}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{MOST_PARTS, PART, READER},
        *,
    };

    #[test]
    fn the_defaults_are_allowed_and_mistakes_come_together() {
        assert!(LogSettings::default().mistakes().is_empty());
        let wrong = LogSettings { max_readers: 0, follow_limit: Duration::ZERO, memory: 1 };
        let mistakes = wrong.mistakes();
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        assert!(mistakes.iter().all(|mistake| mistake.starts_with("gateway.logs.")), "{mistakes:?}");
    }

    #[test]
    fn the_least_memory_does_for_one_reader_of_the_largest_log() {
        const { assert!(READER + MOST_PARTS * PART <= LEAST_MEMORY) }
    }
}
