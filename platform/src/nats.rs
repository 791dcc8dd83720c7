//! The NATS connection and the one stream.

use std::{path::PathBuf, time::Duration};

use async_nats::jetstream::{
    self, ErrorCode,
    context::{CreateStreamErrorKind, GetStreamErrorKind},
    stream,
};
use protocol::names::subjects::{
    AUDIT, AUDIT_STREAM, CALLBACK_STREAM, CALLBACKS, IDEMPOTENCY_KEYS, IDEMPOTENCY_STREAM, STREAM, STREAM_SUBJECTS,
};
use serde::Deserialize;
use tracing::{info, warn};

use crate::{config::seconds, secret::Secret};

/// How to reach NATS.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
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
    /// The server takes no message of the size that requests and results may have.
    #[error(
        "NATS takes messages of at most {max_payload} bytes: set max_payload of the server to 1 MiB, its default, or at \
         least to {LEAST_PAYLOAD} bytes"
    )]
    MaxPayload {
        /// What the server takes, in bytes.
        max_payload: usize,
    },
    /// The stream can't be made.
    #[error("the stream can't be created or brought up to date")]
    Stream(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Requests and results have up to 512 KiB, and a record beside them.
const LEAST_PAYLOAD: usize = 600 * 1024;
/// What a server takes by default; a record with long messages and parameters may need it.
const USUAL_PAYLOAD: usize = 1024 * 1024;

/// The connection and the stream; cheap to clone.
#[derive(Clone)]
pub struct Nats {
    /// The connection.
    pub client: async_nats::Client,
    /// JetStream on it.
    pub jetstream: jetstream::Context,
    /// The stream [`STREAM`].
    pub stream: stream::Stream<()>,
    /// The stream [`IDEMPOTENCY_STREAM`], which [`ensure_keys`] makes.
    pub keys: stream::Stream<()>,
    /// The stream [`CALLBACK_STREAM`].
    pub callbacks: stream::Stream<()>,
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
    check_max_payload(client.server_info().max_payload)?;
    let mut jetstream = jetstream::new(client.clone());
    jetstream.set_timeout(Duration::from_secs(5));
    ensure_stream(&jetstream, &wanted_stream(settings.replicas)).await?;
    // Gateways use it; whoever removes a job deletes from it.
    ensure_stream(&jetstream, &wanted_callbacks(settings.replicas)).await?;
    let handle =
        async |name: &str| jetstream.get_stream_no_info(name).await.map_err(|error| NatsError::Stream(Box::new(error)));
    let (stream, keys) = (handle(STREAM).await?, handle(IDEMPOTENCY_STREAM).await?);
    let callbacks = handle(CALLBACK_STREAM).await?;
    let (ack_wait, replicas) = (settings.ack_wait, settings.replicas);
    Ok(Nats { client, jetstream, stream, keys, callbacks, ack_wait, replicas })
}

/// Makes the stream of idempotency keys what it has to be; keys are forgotten after `max_age`.
///
/// # Errors
/// When the server refuses it.
pub async fn ensure_keys(nats: &Nats, max_age: Duration) -> Result<(), NatsError> {
    ensure_stream(&nats.jetstream, &wanted_keys(nats.replicas, max_age)).await
}

/// Makes the stream of the audit what it has to be; entries are forgotten after `max_age`, and the oldest of them where all take more
/// than `max_bytes`.
///
/// # Errors
/// When the server refuses it, or has no room for it.
pub async fn ensure_audit(nats: &Nats, max_age: Duration, max_bytes: i64) -> Result<(), NatsError> {
    ensure_stream(&nats.jetstream, &wanted_audit(nats.replicas, max_age, max_bytes)).await
}

fn check_max_payload(max_payload: usize) -> Result<(), NatsError> {
    if max_payload < LEAST_PAYLOAD {
        return Err(NatsError::MaxPayload { max_payload });
    }
    if max_payload < USUAL_PAYLOAD {
        warn!(max_payload, usual = USUAL_PAYLOAD, "NATS takes smaller messages than usual, large requests may fail");
    }
    Ok(())
}

/// Every service does this at its start, in whatever order and of whatever version they come up.
async fn ensure_stream(jetstream: &jetstream::Context, wanted: &stream::Config) -> Result<(), NatsError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| NatsError::Stream(error);
    if let Some(found) = find_stream(jetstream, &wanted.name).await? {
        return bring_up_to_date(jetstream, found, wanted).await;
    }
    match jetstream.create_stream(wanted.clone()).await.map_err(|error| error.kind()) {
        Ok(_) => Ok(()),
        Err(CreateStreamErrorKind::JetStream(error)) if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {
            let found = find_stream(jetstream, &wanted.name).await?.ok_or_else(|| failed(Box::new(error)))?;
            bring_up_to_date(jetstream, found, wanted).await
        }
        Err(kind) => Err(failed(kind.to_string().into())),
    }
}

async fn find_stream(jetstream: &jetstream::Context, name: &str) -> Result<Option<stream::Config>, NatsError> {
    match jetstream.get_stream(name).await {
        Ok(found) => Ok(Some(found.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            _ => Err(NatsError::Stream(Box::new(error))),
        },
    }
}

async fn bring_up_to_date(
    jetstream: &jetstream::Context,
    found: stream::Config,
    wanted: &stream::Config,
) -> Result<(), NatsError> {
    let merged = merged(found.clone(), wanted);
    if merged == found {
        return Ok(());
    }
    info!(name = merged.name, subjects = ?merged.subjects, replicas = merged.num_replicas, "bringing the stream up to date");
    jetstream.update_stream(merged).await.map(|_| ()).map_err(|error| NatsError::Stream(Box::new(error)))
}

/// The stream that is there, with what is missing. Whatever else an operator or a newer version made of it stays.
fn merged(found: stream::Config, wanted: &stream::Config) -> stream::Config {
    let mut merged = found;
    for subject in &wanted.subjects {
        if !merged.subjects.iter().any(|held| covers(held, subject)) {
            merged.subjects.push(subject.clone());
        }
    }
    merged.num_replicas = merged.num_replicas.max(wanted.num_replicas);
    merged.max_messages_per_subject = wanted.max_messages_per_subject;
    merged.allow_direct = wanted.allow_direct;
    // Once allowed it can't be forbidden again.
    merged.allow_message_ttl |= wanted.allow_message_ttl;
    if !wanted.max_age.is_zero() {
        merged.max_age = wanted.max_age;
        // nats-server takes no window that is longer than the age.
        merged.duplicate_window = merged.duplicate_window.min(wanted.max_age);
    }
    if wanted.max_bytes > 0 {
        merged.max_bytes = wanted.max_bytes;
    }
    merged
}

/// True when every subject that `narrow` takes is taken by `wide`, too.
fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = narrow.split('.');
    for token in wide.split('.') {
        match (token, narrow.next()) {
            (">", Some(_)) => return true,
            ("*", Some(other)) if other != ">" => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

fn wanted_stream(replicas: usize) -> stream::Config {
    stream::Config {
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
    }
}

fn wanted_keys(replicas: usize, max_age: Duration) -> stream::Config {
    stream::Config {
        name: IDEMPOTENCY_STREAM.to_owned(),
        description: Some("Quayside: which job a client's idempotency key made".to_owned()),
        subjects: vec![IDEMPOTENCY_KEYS.to_owned()],
        max_age,
        duplicate_window: max_age.min(Duration::from_secs(120)),
        ..wanted_stream(replicas)
    }
}

fn wanted_callbacks(replicas: usize) -> stream::Config {
    stream::Config {
        name: CALLBACK_STREAM.to_owned(),
        description: Some("Quayside: who is told about jobs, and how far that is".to_owned()),
        subjects: vec![CALLBACKS.to_owned()],
        // What is done is forgotten by an age of its own; what waits has none.
        allow_message_ttl: true,
        ..wanted_stream(replicas)
    }
}

fn wanted_audit(replicas: usize, max_age: Duration, max_bytes: i64) -> stream::Config {
    stream::Config {
        name: AUDIT_STREAM.to_owned(),
        description: Some("Quayside: who did what".to_owned()),
        subjects: vec![AUDIT.to_owned()],
        max_messages_per_subject: -1,
        max_age,
        max_bytes,
        // The window in which an entry that is written again is known by its id.
        duplicate_window: max_age.min(Duration::from_secs(600)),
        ..wanted_stream(replicas)
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
    fn a_server_that_takes_no_large_message_is_refused_with_what_is_needed() {
        let refused = check_max_payload(256 * 1024).unwrap_err().to_string();
        assert!(refused.contains("262144") && refused.contains("614400"), "{refused}");
        assert!(check_max_payload(LEAST_PAYLOAD).is_ok() && check_max_payload(USUAL_PAYLOAD).is_ok());
    }

    #[test]
    fn what_others_made_of_the_stream_stays_and_what_is_missing_is_added() {
        let wanted = wanted_stream(1);
        assert_eq!(merged(wanted.clone(), &wanted), wanted);
        let found = stream::Config {
            subjects: vec!["jobs.>".into(), "later.>".into()],
            num_replicas: 3,
            max_messages_per_subject: 5,
            max_bytes: 1 << 40,
            ..wanted.clone()
        };
        let merged = merged(found, &wanted);
        assert_eq!(merged.subjects, ["jobs.>", "later.>", "executions.>", "results.>"]);
        assert_eq!((merged.num_replicas, merged.max_messages_per_subject, merged.max_bytes), (3, 1, 1 << 40));
    }

    #[test]
    fn keys_follow_the_age_that_is_set_and_jobs_have_none() {
        let hour = Duration::from_secs(3600);
        let found = wanted_keys(1, hour);
        let minute = Duration::from_secs(60);
        let merged_keys = merged(found.clone(), &wanted_keys(1, minute));
        assert_eq!((merged_keys.max_age, merged_keys.duplicate_window), (minute, minute));
        assert_eq!((found.max_messages_per_subject, found.allow_direct), (1, false));
        let aged = stream::Config { max_age: hour, ..wanted_stream(1) };
        assert_eq!(merged(aged.clone(), &wanted_stream(1)), aged, "what an operator set stays");
    }

    #[test]
    fn what_waits_to_be_told_has_no_age_and_what_is_done_may_have_one() {
        let wanted = wanted_callbacks(1);
        assert!(wanted.max_age.is_zero() && wanted.allow_message_ttl && !wanted.allow_direct);
        let found = stream::Config { allow_message_ttl: false, ..wanted.clone() };
        assert_eq!(merged(found, &wanted), wanted);
    }

    #[test]
    fn the_audit_follows_its_settings_and_keeps_every_entry_until_then() {
        let hour = Duration::from_secs(3600);
        let wanted = wanted_audit(1, hour, 1 << 20);
        assert_eq!((wanted.max_messages_per_subject, wanted.discard), (-1, stream::DiscardPolicy::Old));
        let found = wanted_audit(1, 2 * hour, 1 << 30);
        assert_eq!(merged(found, &wanted), wanted);
        assert_eq!(merged(wanted_stream(1), &wanted_stream(1)).max_bytes, 0, "others have no limit");
    }

    #[test]
    fn a_subject_that_a_wider_one_takes_is_not_missing() {
        assert!(covers(">", "jobs.>") && covers("jobs.>", "jobs.>") && covers("*.>", "jobs.>"));
        assert!(covers("a.*", "a.b") && covers("a.*", "a.*"));
        assert!(!covers("jobs.*", "jobs.>") && !covers("jobs.a.>", "jobs.>") && !covers("jobs", "jobs.>"));
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let shown = without_password("nats://me:hush@a:4222, nats://b");
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("a:4222") && shown.contains("nats://b"), "{shown}");
    }
}
