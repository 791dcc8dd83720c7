//! The text of the archive object, as existing users' scripts read it, and where in it each container's log is.
//!
//! ```text
//! Logs of pod '<pod>'
//! Init Container '<name>'
//! <its log, byte for byte>
//! Container '<name>'
//! <its log, byte for byte>
//! ```
//!
//! The line end is before a heading of a container, not after a log: nothing is added at the end.

use protocol::{digest, manifest::ContainerLog};
use sha2::{Digest, Sha256};

use crate::pods::Container;

/// Lays the text out piece by piece: gives the headings, is shown the logs, and keeps count.
pub struct Layout {
    pod: String,
    position: u64,
    finished: Vec<ContainerLog>,
    open: Option<Open>,
}

struct Open {
    container: Container,
    start: u64,
    hash: Sha256,
}

impl Layout {
    /// Begins a text: the layout, and the text's first bytes.
    pub fn begin(pod: &str) -> (Self, String) {
        let heading = format!("Logs of pod '{pod}'");
        let layout =
            Self { pod: pod.to_owned(), position: length(heading.as_bytes()), finished: Vec::new(), open: None };
        (layout, heading)
    }

    /// Begins the log of a container: its heading.
    pub fn container(&mut self, container: &Container) -> String {
        self.close();
        let kind = if container.init { "Init Container" } else { "Container" };
        let heading = format!("\n{kind} '{}'\n", container.name);
        self.position += length(heading.as_bytes());
        self.open = Some(Open { container: container.clone(), start: self.position, hash: Sha256::new() });
        heading
    }

    /// Counts a piece of the open container's log.
    pub fn log(&mut self, chunk: &[u8]) {
        if let Some(open) = &mut self.open {
            open.hash.update(chunk);
        }
        self.position += length(chunk);
    }

    /// Ends the text: where each log is.
    pub fn finish(mut self) -> Vec<ContainerLog> {
        self.close();
        self.finished
    }

    fn close(&mut self) {
        if let Some(Open { container, start, hash }) = self.open.take() {
            self.finished.push(ContainerLog {
                pod: self.pod.clone(),
                container: container.name,
                init: container.init,
                start,
                size: self.position - start,
                sha256: digest::hex(&hash.finalize()),
                first: None,
                last: None,
                followed: 0,
                unknown: protocol::Unknown::new(),
            });
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, init: bool) -> Container {
        Container { name: name.into(), init, main: !init, started: true, running: false }
    }

    #[test]
    fn the_text_is_byte_for_byte_that_of_the_contract() {
        let (mut layout, mut text) = Layout::begin("pygeoapi-job-1-abc");
        let logs: [(&str, bool, &[&str]); 3] = [
            ("fetch", true, &["one\n", "two\n"]),
            ("generic-image-processor", false, &["no line end"]),
            ("x", false, &[]),
        ];
        for (name, init, chunks) in logs {
            text += &layout.container(&container(name, init));
            for chunk in chunks {
                layout.log(chunk.as_bytes());
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
    fn a_pod_without_containers_is_only_its_heading() {
        let (layout, text) = Layout::begin("p");
        assert_eq!(text, "Logs of pod 'p'");
        assert!(layout.finish().is_empty());
    }
}
