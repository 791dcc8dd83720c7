//! The page of the table.

use std::fmt::Write;

use super::{Default, Key, sections};
use crate::process::SecurityLevel;

const HEAD: &str = "# The configuration file

Made from the code by `cargo xtask docs`; change `protocol/src/configuration/reference/` instead of this page.

YAML 1.1 as PyYAML reads it, at the path in `PYGEOAPI_CONFIG`. `${NAME}` and `${NAME:-default}` are replaced from the environment in texts
without quotes. A key that is not listed here is warned of and ignored. Every mistake ends the start, all of them in one message, each with
its place and what is allowed. `<id>` stands for any key, `[]` for each item of a list. Where Kubernetes has a word of its own for a key,
that is taken, too.

What is in Kubernetes' own form is held against its types: a member that is missing or does not fit is a mistake, one that Kubernetes does
not know is warned of. What only the cluster knows, such as whether a named object is there, shows when a job is launched.
";

/// The page, in Markdown.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for section in sections() {
        let title = if section.path.is_empty() { "The file".to_owned() } else { format!("`{}`", section.path) };
        let rows: String = section.keys.iter().map(row).collect();
        // Writing to a text never fails.
        write!(
            page,
            "\n## {title}\n\n{}\n\n| key | value | if absent | meaning |\n|---|---|---|---|\n{rows}",
            section.about
        )
        .ok();
    }
    page.push_str(&levels());
    page
}

fn row(key: &Key) -> String {
    let also = key.also.map(|also| format!(", `{also}`")).unwrap_or_default();
    let default = match key.default {
        Default::Required => "an error".to_owned(),
        Default::Nothing => "–".to_owned(),
        Default::Value("\"\"") => "empty".to_owned(),
        Default::Value(value) => format!("`{value}`"),
        Default::Said(text) => text.to_owned(),
    };
    format!("| `{}`{also} | {} | {default} | {} |\n", key.name, key.value, key.meaning)
}

fn levels() -> String {
    let mut text = "\n## Levels of pod security\n\n\
        What is set on the pod and on each of its containers. Each level also sets what the one before it does; `baseline` and `restricted` fit \
        the [standards of Kubernetes](https://kubernetes.io/docs/concepts/security/pod-security-standards/) of these names.\n\n\
        | level | pod | each container |\n|---|---|---|\n"
        .to_owned();
    for (word, level) in SecurityLevel::WORDS {
        let (pod, container) = match level {
            SecurityLevel::Compatible => ("seccomp `RuntimeDefault`", "`allowPrivilegeEscalation: false`"),
            SecurityLevel::Baseline => ("–", "`privileged: false`, without the capability `NET_RAW`"),
            SecurityLevel::Restricted => ("`runAsNonRoot: true`", "without any capability"),
        };
        writeln!(text, "| `{word}` | {pod} | {container} |").ok();
    }
    text.push_str(
        "\nUnder `restricted` an image that runs as root, or names its user by a word, needs `run_as_user`: without it the kubelet does not start \
         its containers, and the job fails with the reason.\n",
    );
    text
}
