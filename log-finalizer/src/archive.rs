//! The text of the archive object, as existing users' scripts read it ([`log_text`]), and where in it each container's log is.

use std::mem;

use jiff::Timestamp;
use protocol::{
    digest, log_text,
    manifest::{ContainerLog, Part},
};
use sha2::{Digest, Sha256};

use crate::pods::Container;

/// Lays the text out piece by piece: gives the headings, is shown the logs, and keeps count.
#[derive(Default)]
pub struct Layout {
    pod: Option<String>,
    position: u64,
    finished: Vec<ContainerLog>,
    parts: Vec<Part>,
    open: Option<Open>,
}

struct Open {
    container: Container,
    start: u64,
    hash: Sha256,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    followed: u64,
    parts: Option<OpenParts>,
}

/// Parts of one follower, one after the other.
struct OpenParts {
    part: Part,
    hash: Sha256,
}

impl Layout {
    /// Begins the logs of a pod: their heading.
    pub fn pod(&mut self, pod: &str) -> String {
        self.close();
        let heading = log_text::pod_heading(pod, self.pod.is_none());
        self.pod = Some(pod.to_owned());
        self.position += length(heading.as_bytes());
        heading
    }

    /// Begins the log of a container: its heading.
    pub fn container(&mut self, container: &Container) -> String {
        self.close();
        let heading = log_text::container_heading(&container.name, container.init);
        self.position += length(heading.as_bytes());
        self.open = Some(Open {
            container: container.clone(),
            start: self.position,
            hash: Sha256::new(),
            first: None,
            last: None,
            followed: 0,
            parts: None,
        });
        heading
    }

    /// Counts a piece of the open container's log, whose lines were written at these times.
    pub fn log(&mut self, bytes: &[u8], times: (Option<Timestamp>, Option<Timestamp>)) {
        if let Some(open) = &mut self.open {
            open.hash.update(bytes);
            open.first = open.first.or(times.0);
            open.last = times.1.or(open.last);
        }
        self.position += length(bytes);
    }

    /// Counts a part of the open container's log that was stored while it was followed, below `key`.
    pub fn part(&mut self, key: &str, start: u64, bytes: &[u8], times: (Option<Timestamp>, Option<Timestamp>)) {
        self.log(bytes, times);
        let (Some(open), Some(pod)) = (&mut self.open, &self.pod) else { return };
        open.followed += length(bytes);
        if open.parts.as_ref().is_some_and(|own| own.part.key != key) {
            self.parts.extend(open.parts.take().map(OpenParts::close));
        }
        let own = open.parts.get_or_insert_with(|| OpenParts {
            part: Part {
                pod: Some(pod.clone()),
                container: open.container.name.clone(),
                key: key.to_owned(),
                start,
                size: 0,
                count: 0,
                sha256: String::new(),
                unknown: protocol::Unknown::new(),
            },
            hash: Sha256::new(),
        });
        own.part.size += length(bytes);
        own.part.count += 1;
        own.hash.update(bytes);
    }

    /// Ends the text: where each log is, and from which parts it was put together.
    pub fn finish(mut self) -> (Vec<ContainerLog>, Vec<Part>) {
        self.close();
        (self.finished, self.parts)
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let Open { container, start, hash, first, last, followed, parts } = open;
        self.parts.extend(parts.map(OpenParts::close));
        self.finished.push(ContainerLog {
            pod: self.pod.clone().unwrap_or_default(),
            container: container.name,
            init: container.init,
            start,
            size: self.position - start,
            sha256: digest::hex(&hash.finalize()),
            first,
            last,
            followed,
            unknown: protocol::Unknown::new(),
        });
    }
}

impl OpenParts {
    fn close(mut self) -> Part {
        self.part.sha256 = digest::hex(&mem::take(&mut self.hash).finalize());
        self.part
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, init: bool) -> Container {
        Container { name: name.into(), init, main: !init, started: true, running: false, ended: None }
    }

    #[test]
    fn the_text_is_byte_for_byte_that_of_the_contract() {
        let mut layout = Layout::default();
        let mut text = layout.pod("pygeoapi-job-1-abc");
        let logs: [(&str, bool, &[&str]); 3] = [
            ("fetch", true, &["one\n", "two\n"]),
            ("generic-image-processor", false, &["no line end"]),
            ("x", false, &[]),
        ];
        for (name, init, chunks) in logs {
            text += &layout.container(&container(name, init));
            for chunk in chunks {
                layout.log(chunk.as_bytes(), (None, None));
                text += chunk;
            }
        }
        assert_eq!(
            text,
            "Logs of pod 'pygeoapi-job-1-abc'\nInit Container 'fetch'\none\ntwo\n\
             \nContainer 'generic-image-processor'\nno line end\nContainer 'x'\n"
        );
        let found: Vec<_> = layout
            .finish()
            .0
            .into_iter()
            .map(|log| {
                let range = usize::try_from(log.start).unwrap()..usize::try_from(log.start + log.size).unwrap();
                assert_eq!(log.sha256.len(), 64);
                (log.container, log.init, text[range].to_owned())
            })
            .collect();
        assert_eq!(
            found,
            [
                ("fetch".to_owned(), true, "one\ntwo\n".to_owned()),
                ("generic-image-processor".to_owned(), false, "no line end".to_owned()),
                ("x".to_owned(), false, String::new()),
            ]
        );
    }

    #[test]
    fn a_pod_without_containers_is_only_its_heading_and_pods_come_one_after_the_other() {
        let mut layout = Layout::default();
        assert_eq!(layout.pod("p"), "Logs of pod 'p'");
        let heading = layout.pod("q") + &layout.container(&container("x", false));
        assert_eq!(heading, "\nLogs of pod 'q'\nContainer 'x'\n");
        let [log] = layout.finish().0.try_into().unwrap();
        assert_eq!((log.pod.as_str(), log.start), ("q", 15 + length(heading.as_bytes())));
    }

    #[test]
    fn parts_of_one_follower_are_told_as_one() {
        let mut layout = Layout::default();
        layout.pod("p");
        layout.container(&container("x", false));
        let time = |second| Some(Timestamp::from_second(second).unwrap());
        layout.part("log/a/", 0, b"one", (time(1), time(2)));
        layout.part("log/a/", 3, b"", (None, None));
        layout.part("log/a/", 3, b"two", (time(3), time(3)));
        layout.part("log/b/", 6, b"3", (None, None));
        layout.log(b"rest", (time(4), time(5)));
        let (logs, parts) = layout.finish();
        assert_eq!((logs[0].size, logs[0].followed, logs[0].first, logs[0].last), (11, 7, time(1), time(5)));
        assert_eq!(logs[0].sha256, digest::sha256(b"onetwo3rest"));
        let told: Vec<_> = parts.iter().map(|p| (p.key.as_str(), p.start, p.size, p.count, p.sha256.clone())).collect();
        let sha = |text: &str| digest::sha256(text.as_bytes());
        assert_eq!(told, [("log/a/", 0, 6, 3, sha("onetwo")), ("log/b/", 6, 1, 1, sha("3"))]);
    }
}
