//! What the key of a part says.

use super::LogOf;
use crate::{JobId, digest, job_id::Epoch, names::objects};

/// Where a part's bytes belong. In the order of epochs, logs and places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartKey {
    /// The follower that wrote it.
    pub epoch: Epoch,
    /// Whose log it is: a [`LogName`].
    pub log: LogName,
    /// Place of its first byte in the container's log.
    pub start: u64,
    /// Bytes of the log in it.
    pub size: u64,
}

/// A short name for the log of one container: the first 16 digits of the SHA-256 of `<pod>/<container>`. Both names in full would make
/// keys longer than servers that keep objects in files take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName(String);

impl LogName {
    /// Digits of a name.
    const DIGITS: usize = 16;

    /// The name of the log of a container.
    pub fn of(pod: &str, container: &str) -> Self {
        let mut digest = digest::sha256(format!("{pod}/{container}").as_bytes());
        digest.truncate(Self::DIGITS);
        Self(digest)
    }

    /// As it stands in keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        (text.len() == Self::DIGITS && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }
}

impl LogOf {
    /// Its name in keys.
    pub fn name(&self) -> LogName {
        LogName::of(&self.pod, &self.container)
    }
}

impl PartKey {
    /// Place of the byte after its last.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }

    /// The key of its object.
    pub fn object(&self, prefix: &str, job: &JobId) -> String {
        objects::log_part(prefix, job, &self.epoch, &self.log, self.start, self.size)
    }

    /// What a key says; `None` where it is none of a part of this job.
    pub fn parse(prefix: &str, job: &JobId, key: &str) -> Option<Self> {
        let (epoch, log, start, size) = objects::parse_log_part(prefix, job, key)?;
        Some(Self { epoch, log: LogName::parse(log)?, start, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_what_it_was_made_from_and_keys_order_as_the_bytes_do() {
        let job = JobId::generate(1);
        let log = LogName::of("job-1.x-abc", "generic-image-processor");
        let part = |start, size| PartKey { epoch: Epoch::generate(), log: log.clone(), start, size };
        for part in [part(0, 0), part(1 << 40, 1), part(u64::MAX, 0)] {
            let key = part.object("logs/", &job);
            assert_eq!(PartKey::parse("logs/", &job, &key), Some(part.clone()), "{key}");
            assert_eq!(PartKey::parse("", &job, &key), None);
            assert_eq!(PartKey::parse("logs/", &JobId::generate(2), &key), None);
            assert_eq!(PartKey::parse("logs/", &job, &format!("{key}-1")), None);
            assert_eq!(PartKey::parse("logs/", &job, &key.replace(log.as_str(), "main")), None);
        }
        let one = part(0, 9);
        let keys = [0, 9, 10, 1 << 20, 1 << 33].map(|start| PartKey { start, ..one.clone() }.object("", &job));
        assert!(keys.is_sorted(), "{keys:?}");
    }

    #[test]
    fn keys_are_short_enough_for_servers_that_name_files_after_them_whatever_pod_and_container_are_called() {
        let log = LogName::of(&"p".repeat(253), &"c".repeat(63));
        let part = PartKey { epoch: Epoch::generate(), log, start: u64::MAX, size: 1 << 23 };
        assert!(part.object("logs/", &JobId::generate(1)).len() <= 150);
        assert_ne!(LogName::of("a", "b"), LogName::of("b", "a"));
    }
}
