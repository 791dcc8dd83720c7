//! Settings `gateway.limits`.

use serde::Deserialize;

/// How often somebody may ask. Nothing is limited unless it is said here: pygeoapi-k8s-manager limits nothing, and behind a proxy that
/// `gateway.trusted_proxies` does not name everybody has one address, so that one client would use up what is all others', too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Executions, dismissals and removals in a minute; 0: as many as come.
    pub executions: u32,
    /// How many of them at once; 0: those of a minute.
    pub executions_burst: u32,
    /// Everything else in a minute; 0: as many as come.
    pub reads: u32,
    /// How many of that at once; 0: that of a minute.
    pub reads_burst: u32,
    /// Wrong tokens from one address in a minute; 0: as many as come.
    pub failures: u32,
    /// How many of them at once; 0: those of a minute.
    pub failures_burst: u32,
    /// Callers, and addresses, that one gateway keeps in mind for each of these.
    pub max_keys: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            executions: 0,
            executions_burst: 0,
            reads: 0,
            reads_burst: 0,
            failures: 0,
            failures_burst: 0,
            max_keys: 100_000,
        }
    }
}

impl LimitSettings {
    /// The most of a number: beyond, nobody would notice a limit.
    const MOST: u32 = 1_000_000;

    /// What is not allowed.
    pub fn mistakes(&self) -> Vec<String> {
        let pairs = [
            ("executions", self.executions, self.executions_burst),
            ("reads", self.reads, self.reads_burst),
            ("failures", self.failures, self.failures_burst),
        ];
        let mut mistakes = Vec::new();
        for (name, per_minute, burst) in pairs {
            if per_minute > Self::MOST {
                mistakes.push(format!("gateway.limits.{name}: expected at most {} a minute", Self::MOST));
            }
            if burst > Self::MOST {
                mistakes.push(format!("gateway.limits.{name}_burst: expected at most {}", Self::MOST));
            }
            if burst > 0 && per_minute == 0 {
                mistakes.push(format!("gateway.limits.{name}_burst: expected only beside gateway.limits.{name}"));
            }
        }
        if !(1000..=10_000_000).contains(&self.max_keys) {
            mistakes.push("gateway.limits.max_keys: expected 1000 to 10000000".to_owned());
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_mistakes_come_together() {
        assert!(LimitSettings::default().mistakes().is_empty());
        let (executions_burst, reads, max_keys) = (1, 2_000_000, 1);
        let mistakes = LimitSettings { executions_burst, reads, max_keys, ..LimitSettings::default() }.mistakes();
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        for (mistake, name) in mistakes.iter().zip(["executions_burst", "reads", "max_keys"]) {
            assert!(mistake.starts_with(&format!("gateway.limits.{name}: ")), "{mistake}");
        }
    }
}
