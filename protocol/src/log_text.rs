//! The headings in the text of a job's log: of its archive object, and of what is read of it while it runs.
//!
//! ```text
//! Logs of pod '<pod>'
//! Init Container '<name>'
//! <its log, byte for byte>
//! Container '<name>'
//! <its log, byte for byte>
//! ```
//!
//! The line end is before a heading, not after a log: nothing is added at the end.

/// What comes before the logs of a pod.
pub fn pod_heading(pod: &str, is_first: bool) -> String {
    let line_end = if is_first { "" } else { "\n" };
    format!("{line_end}Logs of pod '{pod}'")
}

/// What comes before the log of a container.
pub fn container_heading(container: &str, is_init: bool) -> String {
    let kind = if is_init { "Init Container" } else { "Container" };
    format!("\n{kind} '{container}'\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_lines_of_their_own() {
        let text = [
            &pod_heading("a", true),
            &container_heading("x", true),
            "1\n",
            &container_heading("y", false),
            "2",
            &pod_heading("b", false),
            &container_heading("y", false),
        ];
        let expected = "Logs of pod 'a'\nInit Container 'x'\n1\n\nContainer 'y'\n2\nLogs of pod 'b'\nContainer 'y'\n";
        assert_eq!(text.concat(), expected);
    }
}
