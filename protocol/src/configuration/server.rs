use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;

/// `server`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Server {
    /// Where to listen.
    pub bind: Bind,
    /// `SCRIPT_NAME`: the path under which everything is served; empty, or with a leading and without a final slash.
    pub base_path: String,
    /// Public base of every link.
    pub url: PublicUrl,
    /// Language tags, the first being the default; `en-US` if unset.
    pub languages: Vec<String>,
    /// Whether other origins' scripts may use the API; false if unset.
    pub cors: bool,
    /// Whether JSON is indented; false if unset.
    pub pretty_print: bool,
    /// Whether answers are compressed for clients that take it; false if unset.
    pub gzip: bool,
    /// Lengths of lists.
    pub limits: Limits,
    /// The Kubernetes manager's own settings.
    pub manager: Manager,
}

/// `server.bind`, overridden by `CONTAINER_HOST` and `CONTAINER_PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bind {
    /// Host name or address; `0.0.0.0` if unset.
    pub host: String,
    /// Port, 5000 if unset; 0 lets the system choose.
    pub port: u16,
}

/// The public base of every link: an http or https URL, perhaps with a path, without query, fragment and final slash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PublicUrl(String);

/// A text that is no [`PublicUrl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an http or https URL without user, query and fragment")]
pub struct InvalidPublicUrl;

impl PublicUrl {
    /// Takes the text as it is, without final slashes.
    ///
    /// # Errors
    /// If links can't begin with it.
    pub fn parse(text: &str) -> Result<Self, InvalidPublicUrl> {
        let url = url::Url::parse(text).map_err(|_| InvalidPublicUrl)?;
        let fits = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if fits { Ok(Self(text.trim().trim_end_matches('/').to_owned())) } else { Err(InvalidPublicUrl) }
    }

    /// The URL, ready for a path to be appended.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `server.limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Length of a list whose request has no `limit`; 10 if unset.
    pub default_items: u32,
    /// The longest list; 10 if unset.
    pub max_items: u32,
    /// What happens to a `limit` above it.
    pub on_exceed: OnExceed,
}

/// `server.limits.on_exceed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExceed {
    /// `throttle`, the default: the limit is taken down to the longest.
    #[default]
    Throttle,
    /// `error`: 400.
    Error,
}

/// `server.manager`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manager {
    /// A dotted name that ends in `KubernetesManager`.
    pub name: String,
    /// Whether logs are archived and pods held by a finalizer until then; false if unset.
    pub finalizer_controller: bool,
    /// Library → level.
    pub logging: LibraryLevels,
    /// Whether a synchronous answer links its job (as the standard wants); false is for a certification run only.
    pub sync_link: bool,
    /// Whether looking at jobs needs a token. Unset: the list and logs do, while a job's id suffices for its status and results.
    pub protect_jobs: Option<bool>,
    /// Whether dismissing a job needs a token, as it should; false is for a certification run only.
    pub protect_dismiss: bool,
}

/// `server.manager.logging`: library → level, in the file's order.
pub type LibraryLevels = IndexMap<String, LogLevel>;

/// `logging`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Logging {
    /// `level`.
    pub level: Option<LogLevel>,
    /// `logfile`: a path; unset: standard error.
    pub logfile: Option<String>,
    /// `logformat`, as written (Python's notation).
    pub logformat: Option<String>,
    /// `dateformat`, as written (strftime's notation).
    pub dateformat: Option<String>,
}

/// A log level of Python's `logging`, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// `CRITICAL` (or `FATAL`).
    Critical,
    /// `ERROR`.
    Error,
    /// `WARNING` (or `WARN`).
    Warning,
    /// `INFO`.
    Info,
    /// `DEBUG`.
    Debug,
    /// `NOTSET`: everything.
    NotSet,
}

impl LogLevel {
    /// The word of a filter directive of `tracing`.
    pub fn as_tracing(self) -> &'static str {
        match self {
            Self::Critical | Self::Error => "error",
            Self::Warning => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::NotSet => "trace",
        }
    }
}
