//! The NATS connection and the one stream.

use std::{path::PathBuf, time::Duration};

use async_nats::jetstream::{self, stream};
use protocol::names::subjects::{STREAM, STREAM_SUBJECTS};
use serde::Deserialize;
use tracing::{info, warn};

use crate::{config::seconds, secret::Secret};

/// How to reach NATS.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    /// One URL, or several separated by commas.
    pub url: String,
    /// A credentials file, where the server wants one.
    pub credentials: Option<PathBuf>,
    /// User, where the server wants one.
    pub user: Option<String>,
    /// Password of that user.
    pub password: Option<Secret>,
    /// A certificate authority beside the system's.
    pub ca: Option<PathBuf>,
    /// Replicas of the stream: 1, 3 or 5.
    pub replicas: usize,
    /// How long a piece of work may go without a sign of life before another replica takes it, in seconds: 1 to 120.
    #[serde(deserialize_with = "seconds")]
    pub ack_wait: Duration,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            credentials: None,
            user: None,
            password: None,
            ca: None,
            replicas: 1,
            ack_wait: Duration::from_secs(15),
        }
    }
}

/// NATS can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A setting is not allowed.
    #[error("{0}")]
    Setting(&'static str),
    /// The credentials file can't be read.
    #[error("the NATS credentials file can't be read")]
    Credentials(#[source] std::io::Error),
    /// No connection.
    #[error("NATS can't be reached at {url}")]
    Connect {
        /// Where, without user and password.
        url: String,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
    /// The stream can't be made.
    #[error("the stream can't be created or brought up to date")]
    Stream(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The connection and the stream; cheap to clone.
#[derive(Clone)]
pub struct Nats {
    /// The connection.
    pub client: async_nats::Client,
    /// JetStream on it.
    pub jetstream: jetstream::Context,
    /// The stream [`STREAM`].
    pub stream: stream::Stream<()>,
    /// See [`NatsSettings::ack_wait`].
    pub ack_wait: Duration,
    /// See [`NatsSettings::replicas`].
    pub replicas: usize,
}

/// Connects, and makes the stream what it has to be; repeating it changes nothing.
///
/// # Errors
/// When a setting is not allowed, the server can't be reached within its time, or refuses the stream.
pub async fn connect(settings: &NatsSettings, name: &str) -> Result<Nats, NatsError> {
    if ![1, 3, 5].contains(&settings.replicas) {
        return Err(NatsError::Setting("nats.replicas: expected 1, 3 or 5"));
    }
    if !(1.0..=120.0).contains(&settings.ack_wait.as_secs_f64()) {
        return Err(NatsError::Setting("nats.ack_wait: expected 1 to 120 seconds"));
    }
    let mut options = async_nats::ConnectOptions::new()
        .name(name)
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(Duration::from_secs(5)))
        .event_callback(|event| async move {
            match event {
                async_nats::Event::Connected => info!("connected to NATS"),
                other => warn!(event = %other, "the NATS connection changed"),
            }
        });
    if let Some(file) = &settings.credentials {
        options = options.credentials_file(file).await.map_err(NatsError::Credentials)?;
    }
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        options = options.user_and_password(user.clone(), password.reveal().to_owned());
    }
    if let Some(ca) = &settings.ca {
        options = options.add_root_certificates(ca.clone());
    }
    let urls: Vec<&str> = settings.url.split(',').map(str::trim).collect();
    let client = options
        .connect(urls)
        .await
        .map_err(|source| NatsError::Connect { url: without_password(&settings.url), source })?;
    let mut jetstream = jetstream::new(client.clone());
    jetstream.set_timeout(Duration::from_secs(5));
    ensure_stream(&jetstream, settings.replicas).await?;
    let stream = jetstream.get_stream_no_info(STREAM).await.map_err(|error| NatsError::Stream(Box::new(error)))?;
    Ok(Nats { client, jetstream, stream, ack_wait: settings.ack_wait, replicas: settings.replicas })
}

/// Every service does this at its start, in whatever order they come up.
async fn ensure_stream(jetstream: &jetstream::Context, replicas: usize) -> Result<(), NatsError> {
    let wanted = stream::Config {
        name: STREAM.to_owned(),
        description: Some("Quayside: execution requests, job events, small results".to_owned()),
        subjects: STREAM_SUBJECTS.map(str::to_owned).to_vec(),
        storage: stream::StorageType::File,
        // The last message of a subject is the state; there is no other limit, as one would silently drop waiting work.
        max_messages_per_subject: 1,
        discard: stream::DiscardPolicy::Old,
        // Reads go to the leader: any other replica may be behind.
        allow_direct: false,
        num_replicas: replicas,
        duplicate_window: Duration::from_secs(120),
        ..stream::Config::default()
    };
    match jetstream.create_stream(wanted.clone()).await {
        Ok(_) => Ok(()),
        Err(_) => jetstream.update_stream(wanted).await.map(|_| ()).map_err(|error| NatsError::Stream(Box::new(error))),
    }
}

/// A list of URLs as it may be shown.
fn without_password(urls: &str) -> String {
    let shown = urls.split(',').map(|text| match url::Url::parse(text.trim()) {
        Ok(mut url) => {
            if url.password().is_some() && url.set_password(Some("***")).is_err() {
                return "(a URL with a password)".to_owned();
            }
            url.to_string()
        }
        Err(_) => "(not a URL)".to_owned(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let shown = without_password("nats://me:hush@a:4222, nats://b");
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("a:4222") && shown.contains("nats://b"), "{shown}");
    }
}
