//! Logging of a process: lines of text for people, JSON for collectors.

use protocol::evolution::SCHEMA_TOO_NEW;
use serde::Deserialize;
use serde_json::error::Category;
use tracing_subscriber::EnvFilter;

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// `text` or `json`.
    pub format: Format,
    /// A filter as the crate `tracing-subscriber` has them: `info`, `warn,job_dispatcher=debug`. Without it the
    /// configuration file's `logging.level` counts, and without that `info`.
    pub filter: Option<String>,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { format: Format::Text, filter: None }
    }
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error(
        "telemetry.filter is no filter of the crate tracing-subscriber, for example 'info' or 'warn,job_dispatcher=debug'"
    )]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// It was set up before.
    #[error("logging is set up twice")]
    Twice,
}

/// Starts logging to the standard error output, for the whole process. `configured` is the level of the configuration
/// file, where there is one.
///
/// # Errors
/// When the filter can't be read, or logging was started before.
pub fn start(settings: &TelemetrySettings, configured: Option<&str>) -> Result<(), TelemetryError> {
    let filter = settings.filter.as_deref().or(configured).unwrap_or("info");
    let filter = EnvFilter::try_new(filter).map_err(TelemetryError::Filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        Format::Text => builder.with_ansi(false).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|_| TelemetryError::Twice)
}

/// An error and its causes in one line, for the one place that logs it.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = shown(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&shown(error));
        cause = error.source();
    }
    text
}

fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    error.downcast_ref().map_or_else(|| error.to_string(), json_error)
}

/// What is wrong with a JSON text and where, for logs and people: the error's own text quotes values, which may be
/// secret.
pub fn json_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with(SCHEMA_TOO_NEW) {
        return text;
    }
    let what = match error.classify() {
        Category::Io => "can't be read",
        Category::Syntax => "is no JSON",
        Category::Data => "is not what is expected",
        Category::Eof => "ends too early",
    };
    format!("the JSON text {what} at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] serde_json::Error);

    #[test]
    fn the_error_of_a_json_text_quotes_none_of_it() {
        let error = serde_json::from_str::<u32>("\n \"hush\"").unwrap_err();
        assert!(error.to_string().contains("hush"));
        assert_eq!(chain(&Outer(error)), "outer: the JSON text is not what is expected at line 2 column 7");
    }

    #[test]
    fn a_schema_that_is_too_new_is_named() {
        let error = serde_json::from_str::<protocol::ExecutionRequest>(r#"{"schema": 99}"#).unwrap_err();
        assert!(json_error(&error).contains("too new: 99"), "{error}");
    }
}
