//! What the key of a part says.

use crate::{JobId, job_id::Epoch, names::objects};

/// Where a part's bytes belong. In the order of epochs, pods, containers and places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartKey {
    /// The follower that wrote it.
    pub epoch: Epoch,
    /// Pod.
    pub pod: String,
    /// Container.
    pub container: String,
    /// Place of its first byte in the container's log.
    pub start: u64,
    /// Bytes of the log in it.
    pub size: u64,
}

impl PartKey {
    /// Place of the byte after its last.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }

    /// The key of its object.
    pub fn object(&self, prefix: &str, job: &JobId) -> String {
        objects::log_part(prefix, job, &self.epoch, &self.pod, &self.container, self.start, self.size)
    }

    /// What a key says; `None` where it is none of a part of this job.
    pub fn parse(prefix: &str, job: &JobId, key: &str) -> Option<Self> {
        let (epoch, pod, container, start, size) = objects::parse_log_part(prefix, job, key)?;
        Some(Self { epoch, pod, container, start, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_what_it_was_made_from_and_keys_order_as_the_bytes_do() {
        let job = JobId::generate(1);
        let part = |start, size| PartKey {
            epoch: Epoch::generate(),
            pod: "job-1.x-abc".into(),
            container: "generic-image-processor".into(),
            start,
            size,
        };
        for part in [part(0, 0), part(1 << 40, 1), part(u64::MAX, 0)] {
            let key = part.object("logs/", &job);
            assert_eq!(PartKey::parse("logs/", &job, &key), Some(part.clone()), "{key}");
            assert_eq!(PartKey::parse("", &job, &key), None);
            assert_eq!(PartKey::parse("logs/", &JobId::generate(2), &key), None);
            assert_eq!(PartKey::parse("logs/", &job, &format!("{key}-1")), None);
        }
        let one = part(0, 9);
        let keys = [0, 9, 10, 1 << 20, 1 << 33].map(|start| PartKey { start, ..one.clone() }.object("", &job));
        assert!(keys.is_sorted(), "{keys:?}");
    }
}
