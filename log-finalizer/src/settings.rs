//! Settings of the finalizer: section `finalizer`, variables `QUAYSIDE_FINALIZER__…`.

use std::{path::PathBuf, time::Duration};

use platform::config::{list, seconds};
use serde::Deserialize;

use crate::retention::RetentionSettings;

/// What can be set.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FinalizerSettings {
    /// Folder of the local executor. When it is set, its jobs are read, and no cluster is asked for.
    pub local_dir: Option<PathBuf>,
    /// Namespaces that the sweep looks through for pods that are held, beside its own: those that processes name in the
    /// configuration file. Separated by commas.
    #[serde(deserialize_with = "list")]
    pub namespaces: Vec<String>,
    /// Jobs that one replica stores at once. Each takes up to four parts of an upload (`store.part_size`) of memory, and up to three times
    /// `finalizer.split_limit` where its process has several outputs.
    pub max_here: usize,
    /// Jobs in hand over all replicas.
    pub max_in_hand: usize,
    /// Bytes of a result that one job may hold in memory to tell several outputs apart; a larger one stays whole. At most
    /// three times as many are used.
    pub split_limit: usize,
    /// Containers whose logs one replica follows while they run. The log of any other is read once its job has ended.
    pub max_followed: usize,
    /// Bytes of a followed log from which on a part is stored, 64 KiB to 8 MiB. Up to twice as many wait in memory for each
    /// log.
    pub log_part_size: usize,
    /// How long what was read of a followed log waits for a part to be full, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub log_part_age: Duration,
    /// Folder for what waits for the bucket and has no room in memory: of all followed logs together, in one file without a name.
    /// The system's folder for temporary files where none is named.
    pub log_disk_dir: Option<PathBuf>,
    /// Bytes that this file may have; 0 for none. What does not fit is not read from its pod until there is room.
    pub log_disk_size: u64,
    /// How long storing is tried before the job fails with `StoreUnavailable`, in seconds: counted from its end and from this
    /// process's first failed try, whichever is later.
    #[serde(deserialize_with = "seconds")]
    pub seal_deadline: Duration,
    /// How long a log that can't be read is tried before it is given up as a gap, in seconds, counted in the same way.
    #[serde(deserialize_with = "seconds")]
    pub log_deadline: Duration,
    /// Longest pause between two tries, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub retry_limit: Duration,
    /// Time between two sweeps, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub sweep_every: Duration,
    /// Age of a record from which the sweep takes its message for lost, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub sweep_after: Duration,
    /// How long the stream tells that a job was removed, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub forget_removed_after: Duration,
    /// How long jobs that are done are kept.
    pub retention: RetentionSettings,
}

impl Default for FinalizerSettings {
    fn default() -> Self {
        Self {
            local_dir: None,
            namespaces: Vec::new(),
            max_here: 8,
            max_in_hand: 1000,
            split_limit: 8 * 1024 * 1024,
            max_followed: 100,
            log_part_size: 512 * 1024,
            log_part_age: Duration::from_secs(5),
            log_disk_dir: None,
            log_disk_size: 256 * 1024 * 1024,
            seal_deadline: Duration::from_secs(24 * 3600),
            log_deadline: Duration::from_secs(600),
            retry_limit: Duration::from_secs(60),
            sweep_every: Duration::from_secs(60),
            sweep_after: Duration::from_secs(600),
            forget_removed_after: Duration::from_secs(2 * 86_400),
            retention: RetentionSettings::default(),
        }
    }
}

/// The longest life of an idempotency key, and an hour.
const LEAST_REMEMBERED: Duration = Duration::from_secs(90_000);

impl FinalizerSettings {
    /// What is not allowed, all of it.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (name, number) in [("max_here", self.max_here), ("max_in_hand", self.max_in_hand)] {
            if number == 0 {
                mistakes.push(format!("finalizer.{name}: expected 1 or more"));
            }
        }
        if self.split_limit > 64 * 1024 * 1024 {
            mistakes.push("finalizer.split_limit: expected at most 64 MiB, in bytes".to_owned());
        }
        if !(64 * 1024..=8 * 1024 * 1024).contains(&self.log_part_size) {
            mistakes.push("finalizer.log_part_size: expected 65536 to 8388608 bytes".to_owned());
        }
        for (name, time) in [("retry_limit", self.retry_limit), ("sweep_every", self.sweep_every)] {
            if time < Duration::from_secs(1) {
                mistakes.push(format!("finalizer.{name}: expected 1 second or more"));
            }
        }
        // An idempotency key, which lives for up to a day, must find that its job was removed.
        if self.forget_removed_after < LEAST_REMEMBERED {
            mistakes.push("finalizer.forget_removed_after: expected 90000 seconds or more".to_owned());
        }
        mistakes.extend(self.retention.mistakes());
        if self.log_deadline > self.seal_deadline {
            mistakes.push("finalizer.log_deadline: expected no more than finalizer.seal_deadline".to_owned());
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_remembered_for_longer_than_any_idempotency_key() {
        assert!(FinalizerSettings::default().mistakes().is_empty());
        let short = FinalizerSettings { forget_removed_after: Duration::from_secs(86_400), ..Default::default() };
        assert!(short.mistakes().concat().contains("forget_removed_after"));
    }

    #[test]
    fn mistakes_of_a_part_are_told_with_the_others() {
        let retention = RetentionSettings { max_jobs: Some(0), ..RetentionSettings::default() };
        let wrong = FinalizerSettings { max_here: 0, retention, ..Default::default() };
        assert_eq!(wrong.mistakes().len(), 2, "{:?}", wrong.mistakes());
    }
}
