//! Settings of the gateway: the section `gateway`, or variables `QUAYSIDE_GATEWAY__<NAME>`.

use std::{path::PathBuf, time::Duration};

use platform::config::seconds;
use serde::Deserialize;

use crate::{
    access::OidcSettings, audit::AuditSettings, callbacks::CallbackSettings, logs::LogSettings,
    proxies::TrustedProxies, rates::LimitSettings, references::ReferenceSettings, results::MEMORY_OF_DOCUMENT,
    validate::parts::most_memory_of,
};

/// Limits of the gateway.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// The largest body of an execution, in bytes: 1 KiB to 64 MiB.
    pub max_body: usize,
    /// The longest path and query, in bytes: 256 B to 32 KiB.
    pub max_uri: usize,
    /// The largest headers, names and values together, in bytes: 1 to 64 KiB.
    pub max_head: usize,
    /// The most parameters of a query.
    pub max_query_parameters: usize,
    /// How long the head of a request may take to arrive, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub head_timeout: Duration,
    /// How long a connection is kept without a request, in seconds. Longer than the proxy in front keeps it, or the proxy sends
    /// requests on a connection that is being closed.
    #[serde(deserialize_with = "seconds")]
    pub keep_alive: Duration,
    /// Connections at one time; further ones wait in the backlog.
    pub max_connections: usize,
    /// Connections that wait to be taken; the system may have a lower limit.
    pub backlog: u32,
    /// Executions that are checked and stored at one time; beyond them clients are told to come back.
    pub max_accepting: usize,
    /// Bytes of memory that executions may take together until they are stored: their bodies, what these are parsed to, and
    /// what their references lead to.
    pub memory: usize,
    /// Bytes of memory that results which are put together may take, until they are sent.
    pub documents_memory: usize,
    /// How long a client may take to read results that are held in memory for it, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub send_timeout: Duration,
    /// Networks of proxies whose `X-Forwarded-For` is believed, for logs, limits and audit: separated by commas.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: TrustedProxies,
    /// How long a body may take to arrive, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub body_timeout: Duration,
    /// How long it may take to store a request, in seconds; beyond, the client is told that nobody knows.
    #[serde(deserialize_with = "seconds")]
    pub accept_limit: Duration,
    /// How long idempotency keys are known, in seconds: a minute to a day.
    #[serde(deserialize_with = "seconds")]
    pub idempotency_age: Duration,
    /// How long a synchronous answer may take before the client gets the job instead, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub sync_wait: Duration,
    /// Synchronous answers waited for at one time; beyond them clients get the job at once.
    pub max_sync_waits: usize,
    /// Inputs up to this many bytes of JSON ride in the execution request; larger ones are stored in the bucket.
    pub inline_inputs: usize,
    /// The same where no bucket is configured; larger ones are refused.
    pub inline_inputs_without_bucket: usize,
    /// The most that is put into a results document, in bytes of values.
    pub max_document: u64,
    /// Which URLs stand for outputs that are asked for by reference.
    pub reference_urls: ReferenceUrls,
    /// How long a presigned URL is valid, in seconds: 60 to 604800, which is a week.
    #[serde(deserialize_with = "seconds")]
    pub presigned_expiry: Duration,
    /// Bytes of finished jobs' records that are kept at hand.
    pub record_cache: usize,
    /// How long to try to reach NATS at start, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub connect_wait: Duration,
    /// Threads that serve HTTP; 0: one for each processor.
    pub workers: usize,
    /// Public base of every link, instead of the configuration file's `server.url`.
    pub public_url: Option<String>,
    /// Path of the file of named tokens.
    pub tokens: Option<PathBuf>,
    /// The issuer of OpenID Connect whose tokens are taken.
    pub oidc: OidcSettings,
    /// What may be fetched for inputs by reference.
    pub references: ReferenceSettings,
    /// Who may be called back, and how persistently.
    pub callbacks: CallbackSettings,
    /// How often somebody may ask.
    pub limits: LimitSettings,
    /// What is kept of who did what.
    pub audit: AuditSettings,
    /// Who may read the logs of jobs that run.
    pub logs: LogSettings,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// URLs of outputs that are answered by reference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReferenceUrls {
    /// The gateway's own: they last as long as the job, and need the token where jobs are protected.
    #[default]
    Own,
    /// Of the store, for anybody, until they expire; the gateway's own for what is not in the store.
    Presigned,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        const KIB: usize = 1024;
        Self {
            max_body: 8 * 1024 * KIB,
            max_uri: 8 * KIB,
            max_head: 32 * KIB,
            max_query_parameters: 64,
            head_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            max_connections: 10_000,
            backlog: 1024,
            max_accepting: 256,
            memory: 128 * 1024 * KIB,
            documents_memory: 64 * 1024 * KIB,
            send_timeout: Duration::from_secs(60),
            trusted_proxies: TrustedProxies::default(),
            body_timeout: Duration::from_secs(30),
            accept_limit: Duration::from_secs(30),
            idempotency_age: DAY,
            sync_wait: Duration::from_secs(150),
            max_sync_waits: 1024,
            inline_inputs: 64 * KIB,
            inline_inputs_without_bucket: 512 * KIB,
            max_document: 8 * 1024 * 1024,
            reference_urls: ReferenceUrls::Own,
            presigned_expiry: Duration::from_secs(3600),
            record_cache: 16 * 1024 * KIB,
            connect_wait: Duration::from_secs(30),
            workers: 0,
            public_url: None,
            tokens: None,
            oidc: OidcSettings::default(),
            references: ReferenceSettings::default(),
            callbacks: CallbackSettings::default(),
            limits: LimitSettings::default(),
            audit: AuditSettings::default(),
            logs: LogSettings::default(),
        }
    }
}

/// Settings that are read, but not allowed; all of them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct NotAllowed(Vec<String>);

impl GatewaySettings {
    /// Checks what the types can't.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn check(&self) -> Result<(), NotAllowed> {
        const KIB: usize = 1024;
        let rules = [
            ((KIB..=64 * KIB * KIB).contains(&self.max_body), "gateway.max_body: expected 1 KiB to 64 MiB, in bytes"),
            ((256..=32 * KIB).contains(&self.max_uri), "gateway.max_uri: expected 256 bytes to 32 KiB, in bytes"),
            ((KIB..=64 * KIB).contains(&self.max_head), "gateway.max_head: expected 1 to 64 KiB, in bytes"),
            (self.max_query_parameters > 0, "gateway.max_query_parameters: expected at least 1"),
            (!self.head_timeout.is_zero(), "gateway.head_timeout: expected more than 0 seconds"),
            (!self.keep_alive.is_zero(), "gateway.keep_alive: expected more than 0 seconds"),
            (self.max_connections > 0, "gateway.max_connections: expected at least 1"),
            (self.backlog > 0, "gateway.backlog: expected at least 1"),
            (
                (1..=tokio::sync::Semaphore::MAX_PERMITS).contains(&self.max_accepting),
                "gateway.max_accepting: expected at least 1",
            ),
            (!self.body_timeout.is_zero(), "gateway.body_timeout: expected more than 0 seconds"),
            (!self.accept_limit.is_zero(), "gateway.accept_limit: expected more than 0 seconds"),
            // A removed job is remembered for two days: longer than any key that could ask for it again.
            (
                (Duration::from_secs(60)..=DAY).contains(&self.idempotency_age),
                "gateway.idempotency_age: expected 60 to 86400 seconds",
            ),
            (!self.sync_wait.is_zero(), "gateway.sync_wait: expected more than 0 seconds"),
            (!self.send_timeout.is_zero(), "gateway.send_timeout: expected more than 0 seconds"),
            // A message holds at most 1 MiB, the record beside the inputs included.
            (self.inline_inputs <= 512 * KIB, "gateway.inline_inputs: expected at most 512 KiB, in bytes"),
            (
                self.inline_inputs_without_bucket <= 512 * KIB,
                "gateway.inline_inputs_without_bucket: expected at most 512 KiB, in bytes",
            ),
            (
                (60..=604_800).contains(&self.presigned_expiry.as_secs()),
                "gateway.presigned_expiry: expected 60 to 604800 seconds",
            ),
        ];
        let of_reference = most_memory_of(usize::try_from(self.references.max_bytes).unwrap_or(usize::MAX));
        let of_execution = most_memory_of(self.max_body).max(self.max_body.saturating_add(of_reference));
        let of_document = self.max_document.saturating_mul(MEMORY_OF_DOCUMENT);
        let memory = [
            (self.memory as u64, of_execution as u64, "memory", "gateway.max_body and gateway.references.max_bytes"),
            (self.documents_memory as u64, of_document, "documents_memory", "gateway.max_document"),
        ];
        let mut mistakes: Vec<String> =
            rules.into_iter().filter(|(holds, _)| !holds).map(|(_, rule)| rule.to_owned()).collect();
        mistakes.extend(memory.into_iter().filter(|(given, needed, ..)| given < needed).map(
            |(_, needed, name, by)| {
                format!("gateway.{name}: expected at least {needed} bytes, which the largest that {by} allow may take")
            },
        ));
        mistakes.extend(self.references.mistakes());
        mistakes.extend(self.callbacks.mistakes());
        mistakes.extend(self.oidc.mistakes());
        mistakes.extend(self.limits.mistakes());
        mistakes.extend(self.audit.mistakes());
        mistakes.extend(self.logs.mistakes());
        if mistakes.is_empty() { Ok(()) } else { Err(NotAllowed(mistakes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_mistakes_come_together() {
        assert_eq!(GatewaySettings::default().check(), Ok(()));
        let wrong = GatewaySettings { max_body: 1, sync_wait: Duration::ZERO, ..GatewaySettings::default() };
        let text = wrong.check().unwrap_err().to_string();
        assert!(text.contains("gateway.max_body") && text.contains("gateway.sync_wait"), "{text}");
    }

    #[test]
    fn the_memory_has_to_do_for_the_largest_that_is_allowed() {
        let large = GatewaySettings { max_body: 32 << 20, max_document: 17 << 20, ..GatewaySettings::default() };
        let text = large.check().unwrap_err().to_string();
        assert!(text.contains("gateway.memory: expected at least 214217728 bytes"), "{text}");
        assert!(text.contains("gateway.documents_memory: expected at least 142606336 bytes"), "{text}");
    }
}
