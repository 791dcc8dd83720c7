//! Logging of a process: lines of text for people, JSON for collectors.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// `text` or `json`.
    pub format: Format,
    /// A filter as the crate `tracing-subscriber` has them: `info`, `warn,job_dispatcher=debug`. Without it the
    /// configuration file's `logging.level` counts, and without that `info`.
    pub filter: Option<String>,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
