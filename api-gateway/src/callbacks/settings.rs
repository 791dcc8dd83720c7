//! Settings `gateway.callbacks`.

use std::time::Duration;

use platform::{
    config::{list, seconds},
    secret::Secret,
};
use serde::Deserialize;

use super::{schedule::Schedule, signature::Signer};
use crate::guard::Policy;

/// Who may be called, and how persistently.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackSettings {
    /// False: an execution with a subscriber is refused, and nothing is delivered.
    pub enabled: bool,
    /// Whether `http` is allowed beside `https`.
    pub allow_http: bool,
    /// Networks (CIDR) and names of hosts that may be called although their addresses are not public. In the environment
    /// separated by commas.
    #[serde(deserialize_with = "list")]
    pub allow_private: Vec<String>,
    /// Signs every delivery: `whsec_` and 24 to 64 bytes in base64.
    pub secret: Option<Secret>,
    /// The secret before that, as long as receivers still know only it: both sign.
    pub previous_secret: Option<Secret>,
    /// How long an attempt may take, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub timeout: Duration,
    /// The pause after the first attempt, in seconds; each further one is twice as long.
    #[serde(deserialize_with = "seconds")]
    pub first_pause: Duration,
    /// The longest pause, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub max_pause: Duration,
    /// How long a delivery is tried, counted from its first attempt, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub retry_for: Duration,
    /// How long it is told what became of a delivery, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub keep_done: Duration,
    /// Pause between two sweeps, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub sweep_every: Duration,
    /// The sweep looks at what is older than this, in seconds: until then messages do their work.
    #[serde(deserialize_with = "seconds")]
    pub sweep_after: Duration,
    /// First attempts of one gateway at one time; beside them half as many of those that failed before.
    pub at_once: usize,
    /// Of these the most to one host.
    pub per_host: usize,
}

impl Default for CallbackSettings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            enabled: true,
            allow_http: false,
            allow_private: Vec::new(),
            secret: None,
            previous_secret: None,
            timeout: Duration::from_secs(10),
            first_pause: Duration::from_secs(5),
            max_pause: Duration::from_secs(3600),
            retry_for: DAY,
            keep_done: DAY,
            sweep_every: Duration::from_secs(60),
            sweep_after: Duration::from_secs(600),
            at_once: 64,
            per_host: 8,
        }
    }
}

impl CallbackSettings {
    /// What may be connected to.
    ///
    /// # Errors
    /// When an entry of `allow_private` is neither a network nor the name of a host.
    pub fn policy(&self) -> Result<Policy, String> {
        Policy::new("gateway.callbacks", self.allow_http, &self.allow_private)
    }

    /// When what failed is tried again.
    pub(super) fn schedule(&self) -> Schedule {
        Schedule { first_pause: self.first_pause, max_pause: self.max_pause, retry_for: self.retry_for }
    }

    /// What signs.
    ///
    /// # Errors
    /// When a secret is none.
    pub(super) fn signer(&self) -> Result<Signer, String> {
        let secrets = [("secret", &self.secret), ("previous_secret", &self.previous_secret)];
        let given = secrets.into_iter().filter_map(|(name, secret)| Some((name, secret.as_ref()?)));
        Signer::new(given.map(|(name, secret)| (format!("gateway.callbacks.{name}"), secret)))
    }

    /// What is not allowed.
    pub fn mistakes(&self) -> Vec<String> {
        let week = Duration::from_secs(7 * 86_400);
        let rules = [
            (
                !self.timeout.is_zero() && self.timeout <= Duration::from_secs(120),
                "timeout: expected more than 0 and at most 120 seconds",
            ),
            (!self.first_pause.is_zero(), "first_pause: expected more than 0 seconds"),
            (
                self.max_pause >= self.first_pause && self.max_pause <= Duration::from_secs(86_400),
                "max_pause: expected at least gateway.callbacks.first_pause and at most 86400 seconds",
            ),
            (self.retry_for <= week, "retry_for: expected at most 604800 seconds"),
            ((Duration::from_secs(1)..=week).contains(&self.keep_done), "keep_done: expected 1 to 604800 seconds"),
            (!self.sweep_every.is_zero(), "sweep_every: expected more than 0 seconds"),
            ((1..=1024).contains(&self.at_once), "at_once: expected 1 to 1024"),
            ((1..=self.at_once).contains(&self.per_host), "per_host: expected 1 to gateway.callbacks.at_once"),
            (
                self.previous_secret.is_none() || self.secret.is_some(),
                "previous_secret: expected only beside gateway.callbacks.secret",
            ),
        ];
        let broken = rules.into_iter().filter(|(holds, _)| !holds);
        let mut mistakes: Vec<String> = broken.map(|(_, rule)| format!("gateway.callbacks.{rule}")).collect();
        mistakes.extend(self.policy().err());
        mistakes.extend(self.signer().err());
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_mistakes_come_together_without_a_secret() {
        assert!(CallbackSettings::default().mistakes().is_empty());
        let wrong = CallbackSettings {
            timeout: Duration::ZERO,
            per_host: 100,
            secret: Some(Secret::new("hush")),
            allow_private: vec!["10.0.0.0/99".to_owned()],
            ..CallbackSettings::default()
        };
        let mistakes = wrong.mistakes().join("; ");
        for part in ["timeout", "per_host", "gateway.callbacks.secret", "allow_private"] {
            assert!(mistakes.contains(part), "{part} is not in: {mistakes}");
        }
        assert!(!mistakes.contains("hush"), "{mistakes}");
        let alone = CallbackSettings { previous_secret: Some(Secret::new("whsec_x")), ..CallbackSettings::default() };
        assert!(alone.mistakes().join("; ").contains("previous_secret: expected only"));
    }
}
