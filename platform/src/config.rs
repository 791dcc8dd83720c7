//! Settings of a service: defaults, then a TOML file named by `QUAYSIDE_SETTINGS`, then the environment.
//!
//! An environment variable is `QUAYSIDE_<SECTION>__<NAME>`, for example `QUAYSIDE_NATS__URL`. The bucket, the token and
//! the namespace keep the names that existing users have (see [`protocol::names::environment`]).

use std::{net::SocketAddr, time::Duration};

use protocol::{
    configuration::{Configuration, ConfigurationErrors, Warning},
    names::environment,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::{nats::NatsSettings, object_store::StoreSettings, secret::Secret, telemetry::TelemetrySettings};

/// Names the settings file.
pub const SETTINGS_FILE: &str = "QUAYSIDE_SETTINGS";

/// What every service reads.
#[derive(Debug, Clone)]
pub struct Platform {
    /// The NATS server.
    pub nats: NatsSettings,
    /// The bucket; `None` where it is not configured, with what is missing in [`Self::store_missing`].
    pub store: Option<StoreSettings>,
    /// Names of the bucket variables that are not set, when the bucket is not configured.
    pub store_missing: Vec<&'static str>,
    /// Whether the log archive of a job stays when the job is removed; false if unset.
    pub keep_archives: bool,
    /// Where probes and metrics are served.
    pub probe: ProbeSettings,
    /// Logging.
    pub telemetry: TelemetrySettings,
    /// How long a process may finish what it has in hand, after it was told to stop.
    pub shutdown_limit: Duration,
}

/// Where probes are served.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeSettings {
    /// Address of `/live`, `/ready` and `/metrics`.
    pub bind: SocketAddr,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self { bind: SocketAddr::from(([0, 0, 0, 0], 8081)) }
    }
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file or a variable can't be read.
    #[error("the service settings can't be read")]
    Read(#[source] config::ConfigError),
    /// Values that are read, but not allowed.
    #[error("{}", .0.join("; "))]
    NotAllowed(Vec<String>),
}

#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
struct Root {
    nats: NatsSettings,
    store: StoreTuning,
    probe: ProbeSettings,
    telemetry: TelemetrySettings,
    /// How long a process may finish what it has in hand after it was told to stop, in seconds; 20 if unset.
    #[serde(deserialize_with = "optional_seconds")]
    shutdown_limit: Option<Duration>,
}

/// What can be said of the bucket beside the contract's five variables.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct StoreTuning {
    /// Region of the bucket; `us-east-1` for services that have none.
    region: Option<String>,
    /// The bucket in the path instead of the host name.
    path_style: bool,
    /// How long one request may take, and a download may stall, in seconds.
    #[serde(deserialize_with = "seconds")]
    timeout: Duration,
    /// Bytes of one part of an upload, 5 to 64 MiB.
    part_size: u64,
    /// Whether the log archive of a removed job stays.
    keep_archives: bool,
    /// URL under which clients reach the S3 service, for presigned URLs, where it is another.
    public_endpoint: Option<String>,
    /// URL under which pods reach S3, where it is another.
    pods_endpoint: Option<String>,
}

impl Default for StoreTuning {
    fn default() -> Self {
        Self {
            region: None,
            path_style: true,
            timeout: Duration::from_secs(30),
            part_size: 5 * 1024 * 1024,
            keep_archives: false,
            public_endpoint: None,
            pods_endpoint: None,
        }
    }
}

/// What every service reads, as a JSON schema.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Root)
}

/// Reads the settings of every service, and those of the one whose section is `section`.
///
/// # Errors
/// When the file or a variable can't be read, names the wrong type, or holds what is not allowed.
pub fn load<S: DeserializeOwned + Default>(
    section: &str,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<(Platform, S), ConfigError> {
    let mut builder = config::Config::builder();
    if let Some(file) = variables(SETTINGS_FILE) {
        builder = builder.add_source(config::File::new(&file, config::FileFormat::Toml));
    }
    let environment =
        config::Environment::with_prefix("QUAYSIDE").prefix_separator("_").separator("__").ignore_empty(true);
    let unknown = unknown_sections(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()));
    if !unknown.is_empty() {
        return Err(ConfigError::NotAllowed(unknown));
    }
    let read = builder.add_source(environment).build().map_err(ConfigError::Read)?;
    let root: Root = read.clone().try_deserialize().map_err(ConfigError::Read)?;
    let own = match read.get::<S>(section) {
        Err(config::ConfigError::NotFound(_)) => S::default(),
        other => other.map_err(ConfigError::Read)?,
    };
    let keep_archives = root.store.keep_archives;
    let (store, store_missing) = store(root.store, variables)?;
    let platform = Platform {
        nats: root.nats,
        store,
        store_missing,
        keep_archives,
        probe: root.probe,
        telemetry: root.telemetry,
        shutdown_limit: root.shutdown_limit.unwrap_or(Duration::from_secs(20)),
    };
    Ok((platform, own))
}

/// Sections of the settings. Services may share one environment, so those of the others are known, too.
const SECTIONS: [&str; 7] = ["nats", "store", "probe", "telemetry", "gateway", "dispatcher", "finalizer"];

/// A misspelt section would be ignored without a word.
fn unknown_sections(names: impl Iterator<Item = String>) -> Vec<String> {
    names
        .filter_map(|name| {
            let (section, _) = name.strip_prefix("QUAYSIDE_")?.split_once("__")?;
            let is_known = SECTIONS.contains(&section.to_lowercase().as_str());
            (!is_known).then(|| format!("{name}: there is no section {section}; allowed: {}", SECTIONS.join(", ")))
        })
        .collect()
}

fn store(
    tuning: StoreTuning,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<(Option<StoreSettings>, Vec<&'static str>), ConfigError> {
    let names = [
        environment::BUCKET_ENDPOINT,
        environment::BUCKET_KEY,
        environment::BUCKET_SECRET,
        environment::BUCKET_NAME,
        environment::BUCKET_PATH_PREFIX,
    ];
    let set = |name: &str| variables(name).filter(|value| !value.is_empty());
    let values: Vec<Option<String>> = names.iter().map(|name| set(name)).collect();
    let [Some(endpoint), Some(key), Some(secret), Some(bucket), Some(prefix)] = values.as_slice() else {
        let missing = names.iter().zip(&values).filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
        return Ok((None, missing));
    };
    let mut mistakes = Vec::new();
    let is_url =
        |text: &str| url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_url(endpoint) {
        mistakes.push(format!("{}: expected an http or https URL", environment::BUCKET_ENDPOINT));
    }
    if tuning.public_endpoint.as_deref().is_some_and(|endpoint| !is_url(endpoint)) {
        mistakes.push("store.public_endpoint: expected an http or https URL".to_owned());
    }
    if tuning.pods_endpoint.as_deref().is_some_and(|endpoint| !is_url(endpoint)) {
        mistakes.push("store.pods_endpoint: expected an http or https URL".to_owned());
    }
    const MIB: u64 = 1024 * 1024;
    if !(5 * MIB..=64 * MIB).contains(&tuning.part_size) {
        mistakes.push("store.part_size: expected 5 MiB to 64 MiB, in bytes".to_owned());
    }
    if !mistakes.is_empty() {
        return Err(ConfigError::NotAllowed(mistakes));
    }
    let settings = StoreSettings {
        endpoint: endpoint.clone(),
        key: key.clone(),
        secret: Secret::new(secret.clone()),
        bucket: bucket.clone(),
        prefix: if prefix.ends_with('/') { prefix.clone() } else { format!("{prefix}/") },
        region: tuning.region,
        path_style: tuning.path_style,
        timeout: tuning.timeout,
        part_size: tuning.part_size,
        public_endpoint: tuning.public_endpoint,
        pods_endpoint: tuning.pods_endpoint,
    };
    Ok((Some(settings), Vec::new()))
}

impl Platform {
    /// Says at start what is odd about the settings; call it once logging is up.
    pub fn log_oddities(&self, variables: &dyn Fn(&str) -> Option<String>) {
        for name in &self.store_missing {
            tracing::error!(variable = name, "log storage is not configured: no log will be archived");
        }
        let prefix = variables(environment::BUCKET_PATH_PREFIX).unwrap_or_default();
        if self.store.is_some() && !prefix.ends_with('/') {
            tracing::warn!(variable = environment::BUCKET_PATH_PREFIX, "a final / was added to the path prefix");
        }
    }
}

/// For serde: a duration as a number of seconds, whole or not, up to ten years.
///
/// # Errors
/// When it is no number, negative or too large.
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    let limit = 10.0 * 365.0 * 86_400.0;
    if !(0.0..=limit).contains(&seconds) {
        return Err(serde::de::Error::custom("expected a number of seconds from 0 to ten years"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// For serde: a list, or a text of parts separated by commas: what a variable can hold.
///
/// # Errors
/// When it is neither.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        List(Vec<String>),
        Text(String),
    }
    let parts = match Written::deserialize(deserializer)? {
        Written::List(parts) => parts,
        Written::Text(text) => text.split(',').map(str::to_owned).collect(),
    };
    Ok(parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
}

/// For serde: as [`seconds`], of what may be left out.
///
/// # Errors
/// As [`seconds`].
pub fn optional_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    seconds(deserializer).map(Some)
}

/// The process's own environment, as [`load`] takes it. A variable that is no Unicode counts as not set.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The configuration file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProcessesError {
    /// It can't be read.
    #[error("the configuration file {path} can't be read; the variable {variable} names it", variable = environment::CONFIG)]
    Read {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It holds mistakes.
    #[error("{0}")]
    Mistakes(ConfigurationErrors),
}

/// Reads the configuration file that `PYGEOAPI_CONFIG` names.
///
/// # Errors
/// When it can't be read, or holds mistakes: all of them.
pub fn read_configuration(
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<(Configuration, Vec<Warning>), ProcessesError> {
    let path = variables(environment::CONFIG).unwrap_or_else(|| environment::CONFIG_DEFAULT.to_owned());
    let text = std::fs::read_to_string(&path).map_err(|source| ProcessesError::Read { path: path.clone(), source })?;
    Configuration::read(&text, &path, variables).map_err(ProcessesError::Mistakes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_section_is_told_with_those_allowed() {
        let names = ["QUAYSIDE_NATS__URL", "QUAYSIDE_FINALISER__MAX_HERE", "QUAYSIDE_PORT", "OTHER__X"];
        let told = unknown_sections(names.into_iter().map(str::to_owned));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("QUAYSIDE_FINALISER__MAX_HERE") && told[0].contains("finalizer"), "{told:?}");
    }
}
