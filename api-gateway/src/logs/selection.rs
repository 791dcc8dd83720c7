//! What of the logs is sent: pure.

use std::collections::VecDeque;

use protocol::log_text::{container_heading, pod_heading};

use super::{asked::Asked, known::Known};

/// A piece of what is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// A heading.
    Text(String),
    /// Bytes of a log: from the one place to before the other.
    Log(Known, u64, u64),
}

/// There is no such container or pod; those that there are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoSuch(pub(super) Vec<String>);

impl Piece {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Text(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
            Self::Log(_, from, to) => to - from,
        }
    }
}

/// The logs that are asked for. Of several pods with such a container, the last one's is meant.
pub(super) fn wanted(logs: Vec<Known>, asked: &Asked) -> Result<Vec<Known>, NoSuch> {
    let is_wanted = |log: &Known| {
        asked.container.as_ref().is_none_or(|container| *container == log.container)
            && asked.pod.as_ref().is_none_or(|pod| *pod == log.pod)
    };
    if !logs.iter().any(is_wanted) && asked.is_part() {
        let name = |log: &Known| match asked.pod {
            Some(_) => format!("{} of pod {}", log.container, log.pod),
            None => log.container.clone(),
        };
        let mut names: Vec<String> = Vec::new();
        for log in &logs {
            let name = name(log);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        return Err(NoSuch(names));
    }
    let mut wanted: Vec<Known> = logs.into_iter().filter(is_wanted).collect();
    if asked.container.is_some() {
        wanted.drain(..wanted.len().saturating_sub(1));
    }
    Ok(wanted)
}

/// The text of all these logs as the archive lays it out. Each begins at its place.
pub(super) fn laid_out(logs: Vec<(Known, u64)>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut before: Option<String> = None;
    for (log, from) in logs {
        pieces.push(Piece::Text(headings(&log, before.as_deref())));
        before = Some(log.pod.clone());
        let (from, to) = (from.max(log.start).min(log.end), log.end);
        pieces.push(Piece::Log(log, from, to));
    }
    pieces
}

/// The headings before a log, after one of the pod `before`.
pub(super) fn headings(log: &Known, before: Option<&str>) -> String {
    let pod = if before == Some(log.pod.as_str()) { String::new() } else { pod_heading(&log.pod, before.is_none()) };
    pod + &container_heading(&log.container, log.init)
}

/// Bytes of all pieces.
pub(super) fn size(pieces: &[Piece]) -> u64 {
    pieces.iter().map(Piece::size).sum()
}

/// The last bytes of pieces, no more than so many.
pub(super) fn last(pieces: Vec<Piece>, most: u64) -> Vec<Piece> {
    let (mut left, mut kept) = (most, VecDeque::new());
    for piece in pieces.into_iter().rev() {
        let size = piece.size();
        if left == 0 {
            break;
        }
        let cut = size.saturating_sub(left);
        left -= size - cut;
        kept.push_front(match piece {
            Piece::Log(log, from, to) => Piece::Log(log, from + cut, to),
            // A heading is short, and is nothing without its beginning.
            Piece::Text(text) => Piece::Text(text),
        });
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(pod: &str, container: &str, end: u64) -> Known {
        Known {
            pod: pod.into(),
            container: container.into(),
            init: container == "init",
            parts: Vec::new(),
            archived: None,
            start: 0,
            end,
            ended: false,
        }
    }

    fn asked(pod: Option<&str>, container: Option<&str>) -> Asked {
        Asked { pod: pod.map(str::to_owned), container: container.map(str::to_owned), ..Asked::default() }
    }

    fn names(logs: &[Known]) -> Vec<String> {
        logs.iter().map(|log| format!("{}/{}", log.pod, log.container)).collect()
    }

    #[test]
    fn a_container_is_that_of_the_last_pod_unless_one_is_named() {
        let logs = || vec![log("a", "init", 1), log("a", "main", 1), log("b", "init", 1), log("b", "main", 1)];
        let wanted = |pod, container| wanted(logs(), &asked(pod, container)).map(|logs| names(&logs));
        assert_eq!(wanted(None, None).unwrap().len(), 4);
        assert_eq!(wanted(None, Some("main")).unwrap(), ["b/main"]);
        assert_eq!(wanted(Some("a"), Some("main")).unwrap(), ["a/main"]);
        assert_eq!(wanted(Some("a"), None).unwrap(), ["a/init", "a/main"]);
        assert_eq!(wanted(None, Some("x")).unwrap_err(), NoSuch(vec!["init".into(), "main".into()]));
        assert_eq!(wanted(Some("c"), Some("main")).unwrap_err().0.len(), 4);
    }

    #[test]
    fn the_whole_text_has_the_headings_of_the_archive() {
        let pieces = laid_out(vec![(log("a", "init", 2), 0), (log("a", "main", 3), 1), (log("b", "main", 4), 9)]);
        let text: Vec<String> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Log(log, from, to) => format!("<{} {from}..{to}>", log.container),
            })
            .collect();
        assert_eq!(
            text.concat(),
            "Logs of pod 'a'\nInit Container 'init'\n<init 0..2>\nContainer 'main'\n<main 1..3>\nLogs of pod 'b'\n\
             Container 'main'\n<main 4..4>"
        );
        assert_eq!(
            size(&pieces),
            u64::try_from(
                "Logs of pod 'a'\nInit Container 'init'\n\nContainer 'main'\n".len()
                    + "\nLogs of pod 'b'\nContainer 'main'\n".len()
            )
            .unwrap()
                + 4
        );
    }

    #[test]
    fn the_end_of_a_text_is_cut_within_a_log() {
        let pieces = || laid_out(vec![(log("a", "init", 100), 0), (log("a", "main", 30), 0)]);
        let cut = last(pieces(), 10);
        assert!(matches!(cut.as_slice(), [Piece::Log(_, 20, 30)]), "{cut:?}");
        let heading = "\nContainer 'main'\n".len() as u64;
        let cut = last(pieces(), 30 + heading + 5);
        assert!(matches!(cut.as_slice(), [Piece::Log(_, 95, 100), Piece::Text(_), Piece::Log(_, 0, 30)]), "{cut:?}");
        assert_eq!(last(pieces(), u64::MAX), pieces());
    }
}
