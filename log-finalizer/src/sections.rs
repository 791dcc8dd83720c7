//! Which logs an archive has, in their order: pure.

use jiff::Timestamp;
use platform::log_parts::Chain;
use protocol::{ledger::LogOf, names::kubernetes::is_companion};

use crate::pods::{Container, Pod};

/// The logs of one pod.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its name.
    pub pod: String,
    /// False of a pod that is gone: there is only what was stored of its logs.
    pub is_there: bool,
    /// True of the pod whose end is the job's: the result is in its log.
    pub is_last: bool,
    /// Logs of it that can't be read are not waited for any longer.
    pub is_late: bool,
    /// Its logs, those of init containers first.
    pub logs: Vec<Log>,
}

/// One log.
#[derive(Debug, Clone)]
pub struct Log {
    /// Whose it is.
    pub container: Container,
    /// What was stored of it while it was followed.
    pub chain: Option<Chain>,
}

/// The logs of `pods`, which are there, and of those of which there are only `chains`. `last` is the pod whose end is the job's,
/// where the record names one that is among them: else it is the newest.
pub fn sections(pods: &[Pod], mut chains: Vec<Chain>, last: Option<&str>) -> Vec<Section> {
    let mut sections: Vec<(Option<Timestamp>, Section)> = Vec::new();
    for pod in pods {
        let own = pod.containers.iter().filter(|container| !is_companion(&container.name));
        let logs = own.map(|container| {
            let is_own = |chain: &Chain| chain.last.of.pod == pod.name && chain.last.of.container == container.name;
            let chain = chains.iter().position(is_own).map(|at| chains.swap_remove(at));
            Log { container: container.clone(), chain }
        });
        sections.push((pod.created, Section { logs: logs.collect(), ..Section::of(&pod.name, true) }));
    }
    // Those that are left are of pods that are gone.
    chains.sort_by(|a, b| a.last.of.order().cmp(&b.last.of.order()));
    for chain in chains {
        let of = chain.last.of.clone();
        let log = Log { container: container_of(&of), chain: Some(chain) };
        match sections.iter_mut().find(|(_, section)| section.pod == of.pod) {
            Some((_, section)) => section.logs.push(log),
            None => sections.push((of.pod_created, Section { logs: vec![log], ..Section::of(&of.pod, false) })),
        }
    }
    sections.sort_by(|(a, one), (b, other)| (a, &one.pod).cmp(&(b, &other.pod)));
    let mut sections: Vec<Section> = sections.into_iter().map(|(_, section)| section).collect();
    let named = sections.iter().position(|section| last == Some(&section.pod));
    if let Some(section) = named.or(sections.len().checked_sub(1)).and_then(|at| sections.get_mut(at)) {
        section.is_last = true;
    }
    sections
}

impl Section {
    fn of(pod: &str, is_there: bool) -> Self {
        Self { pod: pod.to_owned(), is_there, is_last: false, is_late: false, logs: Vec::new() }
    }
}

/// A container of a pod that is gone.
fn container_of(of: &LogOf) -> Container {
    Container { name: of.container.clone(), init: of.init, main: of.main, started: true, running: false, ended: None }
}

#[cfg(test)]
mod tests {
    use protocol::{
        SCHEMA, Unknown,
        job_id::Epoch,
        ledger::{PartHeader, PartKey},
    };

    use super::*;

    fn pod(name: &str, second: i64, containers: &[&str]) -> Pod {
        let container = |(place, name): (usize, &&str)| Container {
            name: (*name).into(),
            init: false,
            main: place == 0,
            started: true,
            running: false,
            ended: None,
        };
        Pod {
            name: name.into(),
            created: Timestamp::from_second(second).ok(),
            containers: containers.iter().enumerate().map(container).collect(),
            may_start: false,
            is_deleted: false,
        }
    }

    fn chain(pod: &str, second: i64, container: &str, place: u32) -> Chain {
        let of = LogOf {
            pod: pod.into(),
            pod_created: Timestamp::from_second(second).ok(),
            container: container.into(),
            place,
            init: false,
            main: place == 0,
            unknown: Unknown::new(),
        };
        let last = PartHeader {
            schema: SCHEMA,
            of,
            start: 0,
            size: 1,
            sha256: String::new(),
            first: None,
            last: None,
            index: Vec::new(),
            mark: None,
            gaps: Vec::new(),
            previous: None,
            ended: false,
            unknown: Unknown::new(),
        };
        Chain { parts: vec![PartKey { epoch: Epoch::generate(), log: last.of.name(), start: 0, size: 1 }], last }
    }

    fn told(sections: &[Section]) -> Vec<String> {
        let mut told = Vec::new();
        for section in sections {
            let flags = [(section.is_there, "there"), (section.is_last, "last")];
            let flags: Vec<_> = flags.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
            let logs = section.logs.iter().map(|log| {
                let stored = if log.chain.is_some() { "+" } else { "" };
                format!("{}{stored}", log.container.name)
            });
            told.push(format!("{} [{}] {}", section.pod, flags.join(" "), logs.collect::<Vec<_>>().join(" ")));
        }
        told
    }

    #[test]
    fn each_pod_has_its_section_whether_it_is_there_or_only_what_was_stored_of_it() {
        assert!(sections(&[], Vec::new(), Some("a")).is_empty());
        let pods = [pod("c", 3, &["main", "quayside-results", "side"])];
        let chains = || vec![chain("b", 2, "side", 1), chain("c", 3, "side", 1), chain("b", 2, "main", 0)];
        assert_eq!(
            told(&sections(&pods, chains(), Some("c"))),
            ["b [] main+ side+", "c [there last] main side+"],
            "companions have none"
        );
        assert_eq!(told(&sections(&pods, chains(), Some("b")))[0], "b [last] main+ side+");
        assert_eq!(told(&sections(&pods, chains(), Some("gone")))[1], "c [there last] main side+");
        assert_eq!(told(&sections(&[], vec![chain("a", 1, "main", 0)], None)), ["a [last] main+"]);
    }
}
