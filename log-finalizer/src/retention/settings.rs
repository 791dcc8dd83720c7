//! Settings `finalizer.retention`.

use std::time::Duration;

use platform::config::{optional_seconds, seconds};
use serde::Deserialize;

/// How long jobs that are done are kept.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionSettings {
    /// How long a job is kept after it is done, with its results and its archive, in seconds; without it, until a client
    /// removes it.
    #[serde(deserialize_with = "optional_seconds")]
    pub max_age: Option<Duration>,
    /// How many jobs that are done are kept, of all processes together; without it, all of them.
    pub max_jobs: Option<u64>,
    /// How long the stream keeps the earlier events of a job that is done, in seconds. The last one stays for as long as the
    /// job does.
    #[serde(deserialize_with = "seconds")]
    pub keep_events: Duration,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { max_age: None, max_jobs: None, keep_events: Duration::from_secs(86_400) }
    }
}

impl RetentionSettings {
    /// What is not allowed, all of it.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let least = Duration::from_secs(1);
        for (name, time) in [("max_age", self.max_age.unwrap_or(least)), ("keep_events", self.keep_events)] {
            if time < least {
                mistakes.push(format!("finalizer.retention.{name}: expected 1 second or more"));
            }
        }
        if self.max_jobs == Some(0) {
            mistakes.push("finalizer.retention.max_jobs: expected 1 or more".to_owned());
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_unless_it_is_asked_for_and_never_everything_at_once() {
        let settings = RetentionSettings::default();
        assert!(settings.mistakes().is_empty() && settings.max_age.is_none() && settings.max_jobs.is_none());
        let none_kept =
            RetentionSettings { max_age: Some(Duration::ZERO), max_jobs: Some(0), keep_events: Duration::ZERO };
        let mistakes = none_kept.mistakes();
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        assert!(mistakes.iter().all(|mistake| mistake.starts_with("finalizer.retention.")), "{mistakes:?}");
    }
}
