//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a request that is sent again makes no second job.
//!
//! A key is written before the commit, and names the job id that the commit uses. So whoever finds a key whose job was
//! never committed may commit it under the same id: the stream takes that once.

use std::time::Duration;

use async_nats::connection::State;
use jiff::Timestamp;
use platform::{
    failpoint,
    job_store::JobStore,
    nats::Nats,
    publish::{self, StreamError, Written},
    telemetry::chain,
};
use protocol::{JobId, ProcessDefinition, idempotency::ClaimedKey, names::subjects};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::warn;

use crate::{access::Caller, app::Gateway, error::GatewayError, jobs::LookupError, validate::Request};

/// The header.
pub const HEADER: &str = "idempotency-key";
/// Says that an answer is about a job that an earlier request made.
pub const REPLAYED: &str = "idempotent-replayed";

/// The longest key.
const LONGEST: usize = 255;
/// How often a claim is tried while others write the same key.
const TRIES: u32 = 8;

/// A client's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

/// A key with the request that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    subject: String,
    digest: String,
}

/// What there is about a key.
pub enum Claim {
    /// The job is to be committed by who got this.
    Mine(Held),
    /// An earlier request made this job.
    Taken(JobId),
}

/// A key that is held while its job is being committed.
pub struct Held {
    subject: String,
    claim: ClaimedKey,
    sequence: u64,
    /// True when an earlier request held the key: its commit may still arrive.
    is_taken_over: bool,
    /// Until when the job has to be committed; after it another request with this key may do it.
    pub deadline: Instant,
}

impl Held {
    /// The id under which the job is committed.
    pub fn job(&self) -> JobId {
        self.claim.job_id
    }

    /// Gives the key back, unless an earlier request may still commit its job: its job was refused. If that fails, the next request with this key is told to wait, and then
    /// commits the job.
    pub async fn give_back(self, nats: &Nats) {
        if self.is_taken_over {
            return;
        }
        let free = self.claim.given_back(Timestamp::now());
        if let Err(error) = publish::key(nats, &self.subject, &free, self.sequence).await {
            warn!(error = %chain(&error), "the idempotency key of a job that was not taken is left behind");
        }
    }
}

impl Key {
    /// The key in the values of all headers of this name: a structured string or the bare text of one.
    ///
    /// # Errors
    /// When there are several, or one is no key.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Self>, GatewayError> {
        let wrong = || {
            GatewayError::invalid(format!(
                "Idempotency-Key: expected one value of 1 to {LONGEST} visible ASCII characters, which may be quoted"
            ))
        };
        let mut headers = headers.into_iter();
        let Some(value) = headers.next() else { return Ok(None) };
        if headers.next().is_some() {
            return Err(wrong());
        }
        let text = std::str::from_utf8(value).map_err(|_| wrong())?.trim();
        let key = if text.starts_with('"') { unquoted(text) } else { Some(text.to_owned()) };
        let fits = |key: &String| (1..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        key.filter(fits).map(|key| Some(Self(key))).ok_or_else(wrong)
    }

    /// The key beside what was asked for. Two callers never share a key.
    ///
    /// # Errors
    /// When the request can't be written as a text.
    pub fn with_request(
        self,
        process: &ProcessDefinition,
        caller: &Caller,
        request: &Request,
    ) -> Result<KeyedRequest, GatewayError> {
        let (key, id, body) = (self.0.as_str(), process.id.as_str(), request.to_text()?);
        let caller = caller.key();
        Ok(KeyedRequest {
            subject: subjects::idempotency_key(&digest(&[key, id, &caller])),
            // With the key in it, which is kept nowhere, the digest can't be used to try values of inputs.
            digest: digest(&[key, id, &caller, &body]),
        })
    }
}

/// The text of a structured string (RFC 8941, 3.3.3).
fn unquoted(text: &str) -> Option<String> {
    let mut rest = text.strip_prefix('"')?.strip_suffix('"').filter(|_| text.len() > 1)?.chars();
    let mut out = String::new();
    while let Some(character) = rest.next() {
        match character {
            '\\' => out.push(rest.next().filter(|next| matches!(next, '"' | '\\'))?),
            '"' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    protocol::digest::hex(&hash.finalize())
}

/// Takes a key for a new job, or tells which job it made.
///
/// # Errors
/// When the key was used for another request, when its job is being accepted or was removed, and when the stream does not
/// answer.
pub async fn claim(gateway: &Gateway, keyed: KeyedRequest, proposed: JobId) -> Result<Claim, GatewayError> {
    let (store, limit) = (gateway.store.clone(), gateway.settings.accept_limit);
    let task = gateway.runtime.spawn(async move {
        let claim = claim_in(&store, keyed, proposed, limit).await?;
        failpoint::reach("gateway.after-key");
        Ok(claim)
    });
    task.await.unwrap_or_else(|lost| Err(GatewayError::internal(lost)))
}

/// The job that an earlier request with this key made, where that is known without taking the key.
///
/// # Errors
/// When the key was used for another request, when its job was removed, and when the stream does not answer.
pub async fn earlier(gateway: &Gateway, keyed: &KeyedRequest) -> Result<Option<JobId>, GatewayError> {
    let (store, keyed) = (gateway.store.clone(), keyed.clone());
    let task = gateway.runtime.spawn(async move {
        check_connection(&store)?;
        match publish::last_key(store.nats(), &keyed.subject).await.map_err(unavailable)? {
            Some((found, _)) if !found.released && found.request != keyed.digest => Err(GatewayError::KeyReused),
            Some((found, _)) if !found.released && is_committed(&store, &found.job_id).await? => Ok(Some(found.job_id)),
            _ => Ok(None),
        }
    });
    task.await.unwrap_or_else(|lost| Err(GatewayError::internal(lost)))
}

fn check_connection(store: &JobStore) -> Result<(), GatewayError> {
    match store.nats().client.connection_state() {
        State::Connected => Ok(()),
        _ => Err(GatewayError::Unavailable(Box::new(LookupError::NotConnected))),
    }
}

async fn claim_in(
    store: &JobStore,
    keyed: KeyedRequest,
    proposed: JobId,
    limit: Duration,
) -> Result<Claim, GatewayError> {
    check_connection(store)?;
    let nats = store.nats();
    let KeyedRequest { subject, digest } = keyed;
    let (mut job, mut expected) = (proposed, 0);
    for _ in 0..TRIES {
        let deadline = Instant::now() + limit;
        let claim = ClaimedKey::new(job, digest.clone(), Timestamp::now());
        if let Written::Won { sequence } = publish::key(nats, &subject, &claim, expected).await.map_err(unavailable)? {
            let is_taken_over = job != proposed;
            return Ok(Claim::Mine(Held { subject, claim, sequence, is_taken_over, deadline }));
        }
        (job, expected) = match publish::last_key(nats, &subject).await.map_err(unavailable)? {
            None => (proposed, 0),
            Some((found, sequence)) if found.released => (proposed, sequence),
            Some((found, _)) if found.request != digest => return Err(GatewayError::KeyReused),
            Some((found, sequence)) => {
                if is_committed(store, &found.job_id).await? {
                    return Ok(Claim::Taken(found.job_id));
                }
                if is_young(found.created, Timestamp::now(), limit) {
                    return Err(GatewayError::KeyInUse);
                }
                (found.job_id, sequence)
            }
        };
    }
    Err(GatewayError::KeyInUse)
}

async fn is_committed(store: &JobStore, job: &JobId) -> Result<bool, GatewayError> {
    let unavailable = |error| GatewayError::Unavailable(Box::new(error));
    if store.job(job).await.map_err(unavailable)?.is_some() {
        return Ok(true);
    }
    if store.removal(job).await.map_err(unavailable)?.is_some() {
        return Err(GatewayError::KeyJobRemoved);
    }
    Ok(false)
}

/// Whether a job may still be on its way to its commit, which takes no longer than `limit`. Clocks that differ only make
/// a client wait, or not wait, in vain: the stream takes one commit under one id, whoever comes first.
fn is_young(claimed: Timestamp, now: Timestamp, limit: Duration) -> bool {
    now.duration_since(claimed).unsigned_abs() < limit
}

fn unavailable(error: StreamError) -> GatewayError {
    GatewayError::Unavailable(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn parsed(headers: &[&str]) -> Option<String> {
        let headers = headers.iter().map(|header| header.as_bytes());
        Key::parse(headers).ok().flatten().map(|key| key.0)
    }

    #[test]
    fn a_key_is_quoted_or_bare() {
        for header in ["8e03978e-40d5", "\"8e03978e-40d5\"", " 8e03978e-40d5 "] {
            assert_eq!(parsed(&[header]).as_deref(), Some("8e03978e-40d5"), "{header}");
        }
        assert_eq!(parsed(&[r#""a\"b\\c""#]).as_deref(), Some(r#"a"b\c"#));
        assert!(matches!(Key::parse([]), Ok(None)));
        assert!(parsed(&[&"k".repeat(255)]).is_some());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(256);
        for headers in [
            &[""][..],
            &["\"\""],
            &["\""],
            &["a b"],
            &["ä"],
            &["\"a"],
            &["\"a\"b\""],
            &[r#""a\b""#],
            &[&long],
            &["a", "a"],
        ] {
            let headers = headers.iter().map(|header| header.as_bytes());
            assert!(matches!(Key::parse(headers), Err(GatewayError::InvalidParameters(_))));
        }
    }

    fn keyed(key: &str, process: &str, body: &str) -> KeyedRequest {
        let configuration = testing::configuration();
        let process = configuration.processes.get(process).unwrap();
        let mut request = Request::parse(body.as_bytes()).unwrap();
        if process.check_auth {
            request.take_token();
        }
        let caller = if process.check_auth { Caller::operator() } else { Caller::anonymous() };
        Key(key.to_owned()).with_request(process, &caller, &request).unwrap()
    }

    #[test]
    fn the_digest_is_of_what_is_asked_for_and_never_of_the_token() {
        let first = keyed("k", "protected", r#"{"inputs": {"text": "x", "token": "t"}}"#);
        assert_eq!(first, keyed("k", "protected", r#"{"inputs":{"text":"x"}}"#), "token and spaces do not count");
        let other = keyed("k", "protected", r#"{"inputs": {"text": "y"}}"#);
        assert_eq!(other.subject, first.subject);
        assert_ne!(other.digest, first.digest);
        let open = keyed("k", "open", r#"{"inputs": {"text": "x", "token": "t"}}"#);
        assert_ne!(open.subject, first.subject, "another process, another caller");
        assert_ne!(open.digest, keyed("k", "open", r#"{"inputs": {"text": "x"}}"#).digest, "an input like any other");
        assert_ne!(keyed("l", "open", "{}").digest, keyed("k", "open", "{}").digest);
    }

    #[test]
    fn two_callers_never_share_a_key() {
        let configuration = testing::configuration();
        let process = configuration.processes.get("open").unwrap();
        let named = |name: &str| Caller::named(name.into(), Default::default());
        let of = |caller| {
            Key("k".to_owned()).with_request(process, &caller, &Request::parse(b"{}").unwrap()).unwrap().subject
        };
        let subjects = [Caller::anonymous(), Caller::operator(), named("a"), named("b")].map(of);
        let distinct: std::collections::HashSet<_> = subjects.iter().collect();
        assert_eq!(distinct.len(), subjects.len());
    }

    #[test]
    fn parts_of_a_digest_do_not_run_together() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }

    #[test]
    fn a_claim_is_young_until_its_commit_can_come_no_more() {
        let limit = Duration::from_secs(30);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(is_young(at(100), at(129), limit));
        assert!(!is_young(at(100), at(130), limit));
        assert!(!is_young(at(200), at(100), limit), "a clock that is far ahead keeps nobody waiting for ever");
    }
}
