//! What is known of the log of each container of a job: pure.

use platform::log_parts::Chain;
use protocol::{
    Manifest,
    ledger::{
        LogOf, PartKey,
        tail::{Answer, Followed},
    },
};

/// The log of one container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    /// Pod.
    pub pod: String,
    /// Container.
    pub container: String,
    /// True of an init container.
    pub init: bool,
    /// Its parts in order, where there are some.
    pub parts: Vec<PartKey>,
    /// Where it is in the archive.
    pub archived: Option<Archived>,
    /// Place of the first byte that can be had.
    pub start: u64,
    /// Place of the byte after the last that there is now.
    pub end: u64,
    /// True where nothing more comes.
    pub ended: bool,
}

/// Where a log is in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archived {
    /// Key of the archive.
    pub key: String,
    /// Place of the log's first byte in it.
    pub start: u64,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of these bytes, in hexadecimal.
    pub sha256: String,
}

impl Known {
    /// Whether it is the log of this container.
    pub(super) fn is(&self, pod: &str, container: &str) -> bool {
        self.pod == pod && self.container == container
    }

    fn of(of: &LogOf) -> Self {
        Self {
            pod: of.pod.clone(),
            container: of.container.clone(),
            init: of.init,
            parts: Vec::new(),
            archived: None,
            start: 0,
            end: 0,
            ended: false,
        }
    }
}

/// The logs of a job that is not archived, in their order: what is in parts, and what its follower holds. Without a bucket,
/// what a follower does not hold any more can't be had.
pub(super) fn live(chains: Vec<Chain>, answer: Option<&Answer>, has_bucket: bool) -> Vec<Known> {
    let mut logs: Vec<(LogOf, Known)> = Vec::new();
    for Chain { parts, last } in chains {
        let end = parts.last().map_or(0, PartKey::end);
        let known = Known { parts, end, ended: last.ended, ..Known::of(&last.of) };
        logs.push((last.of, known));
    }
    for Followed { of, held, read, ended, .. } in answer.iter().flat_map(|answer| &answer.logs) {
        let at = logs.iter().position(|(_, known)| known.is(&of.pod, &of.container)).unwrap_or_else(|| {
            logs.push((of.clone(), Known::of(of)));
            logs.len() - 1
        });
        if let Some((_, known)) = logs.get_mut(at) {
            known.end = known.end.max(*read);
            known.ended |= ended;
            if !has_bucket {
                known.start = *held;
            }
        }
    }
    logs.sort_by(|(a, _), (b, _)| a.order().cmp(&b.order()));
    logs.into_iter().map(|(_, known)| known).collect()
}

/// The logs of a job as its archive has them.
pub(super) fn archived(manifest: &Manifest, key: &str) -> Vec<Known> {
    let of_container = |log: &protocol::manifest::ContainerLog| Known {
        pod: log.pod.clone(),
        container: log.container.clone(),
        init: log.init,
        parts: Vec::new(),
        archived: Some(Archived { key: key.to_owned(), start: log.start, size: log.size, sha256: log.sha256.clone() }),
        start: 0,
        end: log.size,
        ended: true,
    };
    manifest.containers.iter().map(of_container).collect()
}

#[cfg(test)]
mod tests {
    use protocol::{SCHEMA, Unknown, job_id::Epoch, ledger::PartHeader};

    use super::*;

    fn of(container: &str, place: u32) -> LogOf {
        LogOf {
            pod: "p".into(),
            pod_created: None,
            container: container.into(),
            place,
            init: place == 0,
            main: place == 1,
            unknown: Unknown::new(),
        }
    }

    fn chain(of: LogOf, size: u64, ended: bool) -> Chain {
        let epoch = Epoch::generate();
        let parts = vec![PartKey { epoch, log: of.name(), start: 0, size }];
        let last = PartHeader {
            schema: SCHEMA,
            of,
            start: 0,
            size,
            sha256: String::new(),
            first: None,
            last: None,
            index: Vec::new(),
            mark: None,
            gaps: Vec::new(),
            previous: None,
            ended,
            unknown: Unknown::new(),
        };
        Chain { parts, last }
    }

    fn answer(logs: Vec<(LogOf, [u64; 3])>) -> Answer {
        let followed = |(of, [stored, held, read]): (LogOf, [u64; 3])| Followed {
            of,
            stored,
            held,
            read,
            gaps: 0,
            ended: false,
            unknown: Unknown::new(),
        };
        Answer {
            epoch: Epoch::generate(),
            logs: logs.into_iter().map(followed).collect(),
            from: None,
            unknown: Unknown::new(),
        }
    }

    #[test]
    fn a_log_is_what_is_in_parts_and_what_its_follower_has_read() {
        let answer = answer(vec![(of("main", 1), [5, 5, 9])]);
        let logs = live(vec![chain(of("main", 1), 5, false), chain(of("init", 0), 3, true)], Some(&answer), true);
        let shown: Vec<_> = logs.iter().map(|log| (log.container.as_str(), log.start, log.end, log.ended)).collect();
        assert_eq!(shown, [("init", 0, 3, true), ("main", 0, 9, false)]);
        assert!(logs[1].parts.len() == 1 && logs[0].init);
    }

    #[test]
    fn without_a_bucket_there_is_what_the_follower_holds() {
        let logs = live(Vec::new(), Some(&answer(vec![(of("main", 1), [3, 5, 9])])), false);
        assert_eq!((logs[0].start, logs[0].end), (5, 9));
    }
}
