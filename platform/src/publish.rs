//! The one place that writes to the streams.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    jetstream::{
        context::PublishErrorKind,
        stream::{LastRawMessageErrorKind, Stream},
    },
};
use bytes::Bytes;
use protocol::{
    Event, ExecutionRequest, JobEvent, JobId, JobRecord, ProcessId,
    audit::AuditEvent,
    idempotency::ClaimedKey,
    job_event,
    names::subjects::{self, CONTENT_TYPE, EXPECTED_LAST_SUBJECT_SEQUENCE, EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT},
};
use serde::{Serialize, de::DeserializeOwned};
use tracing::debug;

use crate::nats::Nats;

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is in the stream, under this sequence.
    Won {
        /// Sequence in the stream.
        sequence: u64,
    },
    /// Something else was written since the caller read.
    Conflict,
}

/// The stream could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A message can't be written as JSON.
    #[error("a message can't be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// A message in the stream can't be read.
    #[error("the message on {subject} can't be read")]
    Decode {
        /// Its subject.
        subject: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The message is larger than the server takes.
    #[error("the message of {size} bytes is larger than NATS takes")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// The server did not answer, or refused.
    #[error("the stream did not take a message")]
    Publish(#[source] async_nats::jetstream::context::PublishError),
    /// The server did not answer, or refused.
    #[error("the stream could not be read")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server did not answer, or refused.
    #[error("messages could not be deleted from the stream")]
    Delete(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Attempts at one write whose answer does not come.
const ATTEMPTS: u32 = 4;

/// Publishes one event, taken only when the job's last event has the sequence `expected` (0: none).
///
/// # Errors
/// When the stream did not answer; whether the event is in it is then unknown, and the caller starts over by reading.
pub async fn event(nats: &Nats, event: Event, record: JobRecord, expected: u64) -> Result<Written, StreamError> {
    let subject = subjects::event(&record.process_id, &record.job_id, event);
    let filter = subjects::events_of(&record.process_id, &record.job_id);
    let write_id = record.write_id.clone();
    let payload = serde_json::to_vec(&JobEvent::new(event, record)).map_err(StreamError::Encode)?;
    let mut headers = HeaderMap::new();
    headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT, filter.as_str());
    headers.insert(CONTENT_TYPE, job_event::CONTENT_TYPE);
    let is_ours = |payload: &[u8]| {
        serde_json::from_slice::<JobEvent>(payload).is_ok_and(|found| found.record().write_id == write_id)
    };
    compare_and_set(nats, &nats.stream, &subject, &filter, headers, payload.into(), expected, is_ours).await
}

/// Publishes an execution request: the commit point of a job. Taken only when there is none of this job.
///
/// # Errors
/// As [`event`].
pub async fn execution(nats: &Nats, request: &ExecutionRequest) -> Result<Written, StreamError> {
    let subject = subjects::execution(&request.record.process_id, &request.record.job_id);
    let payload = serde_json::to_vec(request).map_err(StreamError::Encode)?;
    let is_ours = |payload: &[u8]| {
        serde_json::from_slice::<ExecutionRequest>(payload)
            .is_ok_and(|found| found.record.write_id == request.record.write_id)
    };
    let (stream, headers) = (&nats.stream, HeaderMap::new());
    compare_and_set(nats, stream, &subject, &subject, headers, payload.into(), 0, is_ours).await
}

/// Publishes what an idempotency key stands for, taken only when the last word on it has the sequence `expected` (0:
/// none).
///
/// # Errors
/// As [`event`].
pub async fn key(nats: &Nats, subject: &str, claim: &ClaimedKey, expected: u64) -> Result<Written, StreamError> {
    let payload = serde_json::to_vec(claim).map_err(StreamError::Encode)?;
    let is_ours = |payload: &[u8]| {
        serde_json::from_slice::<ClaimedKey>(payload).is_ok_and(|found| found.write_id == claim.write_id)
    };
    let (stream, headers) = (&nats.keys, HeaderMap::new());
    compare_and_set(nats, stream, subject, subject, headers, payload.into(), expected, is_ours).await
}

/// The last word on an idempotency key and its sequence, answered by the stream's leader.
///
/// # Errors
/// When the leader did not answer, or the word can't be read.
pub async fn last_key(nats: &Nats, subject: &str) -> Result<Option<(ClaimedKey, u64)>, StreamError> {
    let Some(message) = last_in(&nats.keys, subject).await? else { return Ok(None) };
    let decoded = serde_json::from_slice(&message.payload);
    let claim = decoded.map_err(|source| StreamError::Decode { subject: subject.to_owned(), source })?;
    Ok(Some((claim, message.sequence)))
}

/// Publishes something about a job's callbacks, taken only when the last message on its subject has the sequence
/// `expected` (0: none). It is forgotten after `keep`, where that is given. Two messages are never alike: each has a write id.
///
/// # Errors
/// As [`event`].
pub async fn callback(
    nats: &Nats,
    subject: &str,
    message: &impl Serialize,
    expected: u64,
    keep: Option<Duration>,
) -> Result<Written, StreamError> {
    let payload = Bytes::from(serde_json::to_vec(message).map_err(StreamError::Encode)?);
    let mut headers = HeaderMap::new();
    if let Some(keep) = keep {
        headers.insert(async_nats::header::NATS_MESSAGE_TTL, keep.as_secs().max(1).to_string().as_str());
    }
    let ours = payload.clone();
    let is_ours = move |found: &[u8]| found == ours;
    compare_and_set(nats, &nats.callbacks, subject, subject, headers, payload, expected, is_ours).await
}

/// The last message on a subject of the stream of callbacks and its sequence, answered by the stream's leader.
///
/// # Errors
/// When the leader did not answer, or the message can't be read.
pub async fn last_callback<T: DeserializeOwned>(nats: &Nats, subject: &str) -> Result<Option<(T, u64)>, StreamError> {
    let Some(message) = last_in(&nats.callbacks, subject).await? else { return Ok(None) };
    let decoded = serde_json::from_slice(&message.payload);
    let found = decoded.map_err(|source| StreamError::Decode { subject: subject.to_owned(), source })?;
    Ok(Some((found, message.sequence)))
}

/// Whether somebody is still to be told about a job: the subscription goes with the last delivery.
///
/// # Errors
/// When the leader did not answer.
pub async fn is_subscribed(nats: &Nats, process: &ProcessId, job: &JobId) -> Result<bool, StreamError> {
    Ok(last_in(&nats.callbacks, &subjects::subscription(process, job)).await?.is_some())
}

/// Stores a result where no bucket is configured. Repeating it replaces it.
///
/// # Errors
/// When it is too large, or the stream did not answer.
pub async fn result(nats: &Nats, subject: String, payload: Bytes) -> Result<(), StreamError> {
    publish(nats, &subject, HeaderMap::new(), payload).await.map(|_| ())
}

/// Publishes an entry of the audit. Repeating it changes nothing, as long as the stream knows its id.
///
/// # Errors
/// When the stream did not answer.
pub async fn audit(nats: &Nats, event: &AuditEvent) -> Result<(), StreamError> {
    let payload = serde_json::to_vec(event).map_err(StreamError::Encode)?;
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, event.id().as_str());
    headers.insert(CONTENT_TYPE, job_event::CONTENT_TYPE);
    publish(nats, &event.stream_subject(), headers, payload.into()).await.map(|_| ())
}

#[allow(clippy::too_many_arguments, reason = "each is a part of one message and of the condition on it")]
async fn compare_and_set(
    nats: &Nats,
    stream: &Stream<()>,
    subject: &str,
    filter: &str,
    mut headers: HeaderMap,
    payload: Bytes,
    expected: u64,
    is_ours: impl Fn(&[u8]) -> bool,
) -> Result<Written, StreamError> {
    headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
    let mut attempt = 0;
    loop {
        attempt += 1;
        match publish(nats, subject, headers.clone(), payload.clone()).await {
            Ok(sequence) => return Ok(Written::Won { sequence }),
            Err(StreamError::Publish(error)) if error.kind() == PublishErrorKind::WrongLastSequence => {
                // A refused write does not prove that another won: an earlier attempt of ours may have.
                return Ok(match last_in(stream, filter).await? {
                    Some(message) if is_ours(&message.payload) => Written::Won { sequence: message.sequence },
                    _ => Written::Conflict,
                });
            }
            Err(error @ StreamError::Publish(_)) if attempt < ATTEMPTS => {
                debug!(%subject, attempt, error = %crate::telemetry::chain(&error), "publishing again");
                tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn publish(nats: &Nats, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<u64, StreamError> {
    let size = payload.len();
    let stored = async {
        let sent = nats.jetstream.publish_with_headers(subject.to_owned(), headers, payload).await?;
        sent.await
    };
    match stored.await {
        Ok(ack) => Ok(ack.sequence),
        Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => Err(StreamError::TooLarge { size }),
        Err(error) => Err(StreamError::Publish(error)),
    }
}

/// A message of the stream as its leader has it.
#[derive(Debug, Clone)]
pub struct LastMessage {
    /// Its subject.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Its bytes.
    pub payload: Bytes,
}

/// The last message whose subject matches `filter`, answered by the stream's leader.
///
/// # Errors
/// When the leader did not answer.
pub async fn last(nats: &Nats, filter: &str) -> Result<Option<LastMessage>, StreamError> {
    last_in(&nats.stream, filter).await
}

async fn last_in(stream: &Stream<()>, filter: &str) -> Result<Option<LastMessage>, StreamError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match stream.get_last_raw_message_by_subject(filter).await {
            Ok(message) => {
                return Ok(Some(LastMessage {
                    subject: message.subject.to_string(),
                    sequence: message.sequence,
                    payload: message.payload,
                }));
            }
            Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => return Ok(None),
            Err(error) if attempt < ATTEMPTS => {
                debug!(%filter, attempt, %error, "reading again");
                tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
            }
            Err(error) => return Err(StreamError::Read(Box::new(error))),
        }
    }
}
