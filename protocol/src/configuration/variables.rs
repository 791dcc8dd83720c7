//! Environment variables that pygeoapi's container reads beside the file.

use super::findings::Findings;

/// What they override.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    /// `SCRIPT_NAME`: empty, or with a leading and without a final slash.
    pub(super) base_path: String,
    /// `CONTAINER_HOST`.
    pub(super) host: Option<String>,
    /// `CONTAINER_PORT`.
    pub(super) port: Option<u16>,
}

/// Reads them; an empty one counts as unset.
pub(super) fn overrides(environment: &dyn Fn(&str) -> Option<String>, findings: &mut Findings) -> Overrides {
    let variable =
        |name: &str| environment(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let base_path = variable("SCRIPT_NAME").and_then(|path| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:@".contains(c);
        if path.chars().all(allowed) {
            return Some(path);
        }
        findings.mistake(
            "SCRIPT_NAME",
            None,
            format!("is the text {path:?}; allowed: the path of a URL, such as /ogc"),
        );
        None
    });
    let port = variable("CONTAINER_PORT").and_then(|port| match port.parse() {
        Ok(port) => Some(port),
        Err(_) => {
            let message = format!("is the text {port:?}; allowed: a whole number from 0 to 65535");
            findings.mistake("CONTAINER_PORT", None, message);
            None
        }
    });
    Overrides { base_path: base_path.map(normal).unwrap_or_default(), host: variable("CONTAINER_HOST"), port }
}

fn normal(path: String) -> String {
    match path.trim_matches('/') {
        "" => String::new(),
        path => format!("/{path}"),
    }
}
