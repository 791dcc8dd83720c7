//! The stream, its subjects, and the durable consumers on it.
//!
//! ```text
//! executions.<process>.<job>          private: the request, and the commit point of a job
//! jobs.<process>.<job>.<event>        public: a CloudEvent with the whole record after the step
//! results.<process>.<job>.<epoch>.<output>    private: results where no S3 is configured
//! ```
//!
//! Streams of their own hold idempotency keys, dead letters, callbacks and the audit:
//!
//! ```text
//! callbacks.<process>.<job>.subscriber        private: who is told
//! callbacks.<process>.<job>.queued.<kind>     private: a delivery that waits or is under way
//! callbacks.<process>.<job>.state.<kind>      private: how far a delivery is
//! ```
//!
//! And what was done by whom:
//!
//! ```text
//! audit.<action>.<process>, or - for none     for operators: a CloudEvent
//! ```
//!
//! What goes as plain requests and answers, and is in no stream:
//!
//! ```text
//! logs.<process>.<job>                        private: what the follower of a log still holds
//! ```
//!
//! An attempt at storing writes under its own epoch only: which result counts is said by the record.
//!
//! `<process>` and `<output>` are written with [`token`].

use crate::{Event, JobId, ProcessId, callback::CallbackKind, digest, job_id::Epoch};

/// The one stream.
pub const STREAM: &str = "JOBS";
/// What the stream holds.
pub const STREAM_SUBJECTS: [&str; 3] = ["executions.>", "jobs.>", "results.>"];
/// Every public event of every job.
pub const ALL_EVENTS: &str = "jobs.>";
/// Every execution request.
pub const ALL_EXECUTIONS: &str = "executions.>";

/// Header with the sequence that the last message must have for a write to be taken.
pub const EXPECTED_LAST_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
/// Header with the subject filter that [`EXPECTED_LAST_SUBJECT_SEQUENCE`] looks at.
pub const EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// Header with a CloudEvent's content type, as CloudEvents' NATS binding has it.
pub const CONTENT_TYPE: &str = "content-type";

/// One subject token for any text: each byte outside `[A-Za-z0-9_-]` as `=XX`.
pub fn token(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(byte)),
            other => out.push_str(&format!("={other:02X}")),
        }
    }
    out
}

/// The inverse of [`token`]; `None` for a text that it never gives.
pub fn from_token(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'=' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (self::token(&text) == token).then_some(text)
}

/// Subject of a job's request.
pub fn execution(process: &ProcessId, job: &JobId) -> String {
    format!("executions.{}.{job}", token(process.as_str()))
}

/// Requests of one process.
pub fn executions_of(process: &ProcessId) -> String {
    format!("executions.{}.*", token(process.as_str()))
}

/// The request of a job whose process is not known.
pub fn execution_of_job(job: &JobId) -> String {
    format!("executions.*.{job}")
}

/// Subject of one event of a job.
pub fn event(process: &ProcessId, job: &JobId, event: Event) -> String {
    format!("jobs.{}.{job}.{event}", token(process.as_str()))
}

/// Every event of a job: the filter that compare-and-set looks at.
pub fn events_of(process: &ProcessId, job: &JobId) -> String {
    format!("jobs.{}.{job}.>", token(process.as_str()))
}

/// Every event of a job whose process is not known.
pub fn events_of_job(job: &JobId) -> String {
    format!("jobs.*.{job}.>")
}

/// One kind of event of every job.
pub fn events_of_kind(event: Event) -> String {
    format!("jobs.*.*.{event}")
}

/// Subject of one result that is kept in the stream.
pub fn result(process: &ProcessId, job: &JobId, epoch: &Epoch, output: &str) -> String {
    format!("results.{}.{job}.{}.{}", token(process.as_str()), token(epoch.as_str()), token(output))
}

/// Every result of a job that is kept in the stream, of whichever attempt.
pub fn results_of(process: &ProcessId, job: &JobId) -> String {
    format!("results.{}.{job}.>", token(process.as_str()))
}

/// The results that one attempt at storing keeps in the stream.
pub fn results_of_attempt(process: &ProcessId, job: &JobId, epoch: &Epoch) -> String {
    format!("results.{}.{job}.{}.>", token(process.as_str()), token(epoch.as_str()))
}

/// Where the follower of a job's logs answers ([`crate::ledger::tail`]); in no stream.
pub fn log_tail(process: &ProcessId, job: &JobId) -> String {
    format!("logs.{}.{job}", token(process.as_str()))
}

/// What a subject of `jobs.>` says: the job and the event.
pub fn parse_event(subject: &str) -> Option<(String, JobId, Event)> {
    let mut tokens = subject.split('.');
    let (Some("jobs"), Some(process), Some(job), Some(event), None) =
        (tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next())
    else {
        return None;
    };
    Some((from_token(process)?, job.parse().ok()?, event.parse().ok()?))
}

/// What a subject of `executions.>` says: the process and the job.
pub fn parse_execution(subject: &str) -> Option<(String, JobId)> {
    let (process, job) = subject.strip_prefix("executions.")?.split_once('.')?;
    Some((from_token(process)?, job.parse().ok()?))
}

/// The durable consumer from which a process's executions are launched. nats-server takes names of up to 255 bytes: a
/// process id whose token is too long is named by its hash.
pub fn launching_consumer(process: &ProcessId) -> String {
    let token = token(process.as_str());
    if token.len() <= 200 {
        format!("{LAUNCHING_CONSUMER_PREFIX}{token}")
    } else {
        format!("{LAUNCHING_CONSUMER_PREFIX}=={}", digest::sha256(process.as_str()))
    }
}

/// What the names of all launching consumers start with.
pub const LAUNCHING_CONSUMER_PREFIX: &str = "launch-";
/// The stream that keeps messages which no service can use.
pub const DEAD_LETTER_STREAM: &str = "DEAD_LETTERS";
/// Subjects of [`DEAD_LETTER_STREAM`]: the consumer that gave up, then the subject of the message.
pub const DEAD_LETTERS: &str = "dead-letters.>";

/// Where a consumer puts a message that it can't use.
pub fn dead_letter(consumer: &str, subject: &str) -> String {
    format!("dead-letters.{consumer}.{subject}")
}

/// The stream of clients' idempotency keys; private to the gateways.
pub const IDEMPOTENCY_STREAM: &str = "IDEMPOTENCY";
/// Subjects of [`IDEMPOTENCY_STREAM`].
pub const IDEMPOTENCY_KEYS: &str = "idempotency.*";

/// Where a key is kept. `digest` is that of key, process and caller, in hexadecimal: the key itself is nowhere.
pub fn idempotency_key(digest: &str) -> String {
    format!("idempotency.{digest}")
}

/// The stream of the audit, which gateways write.
pub const AUDIT_STREAM: &str = "AUDIT";
/// Subjects of [`AUDIT_STREAM`].
pub const AUDIT: &str = "audit.>";

/// Where an entry of the audit is kept: by the action's word and the process, `-` for none.
pub fn audit(action: &str, process: Option<&str>) -> String {
    format!("audit.{}.{}", token(action), process.map_or_else(|| "-".to_owned(), token))
}

/// The stream of callbacks: who is told about jobs, and how far that is; private to the gateways.
pub const CALLBACK_STREAM: &str = "CALLBACKS";
/// Subjects of [`CALLBACK_STREAM`].
pub const CALLBACKS: &str = "callbacks.>";
/// Every subscription.
pub const ALL_SUBSCRIPTIONS: &str = "callbacks.*.*.subscriber";
/// Every delivery that waits or is under way.
pub const ALL_DELIVERIES: &str = "callbacks.*.*.queued.*";

/// Everything about the callbacks of a job.
pub fn callbacks_of(process: &ProcessId, job: &JobId) -> String {
    format!("callbacks.{}.{job}.>", token(process.as_str()))
}

/// Who is told about a job.
pub fn subscription(process: &ProcessId, job: &JobId) -> String {
    format!("callbacks.{}.{job}.subscriber", token(process.as_str()))
}

/// A delivery that waits or is under way.
pub fn delivery(process: &ProcessId, job: &JobId, kind: CallbackKind) -> String {
    format!("callbacks.{}.{job}.queued.{}", token(process.as_str()), token(kind.as_str()))
}

/// How far a delivery is.
pub fn delivery_state(process: &ProcessId, job: &JobId, kind: CallbackKind) -> String {
    format!("callbacks.{}.{job}.state.{}", token(process.as_str()), token(kind.as_str()))
}

/// What a subject of [`ALL_SUBSCRIPTIONS`] says: the process and the job.
pub fn parse_subscription(subject: &str) -> Option<(ProcessId, JobId)> {
    let (process, job) = subject.strip_prefix("callbacks.")?.strip_suffix(".subscriber")?.split_once('.')?;
    Some((from_token(process)?.parse().ok()?, job.parse().ok()?))
}

/// What a subject of [`ALL_DELIVERIES`] says: the process, the job, and what is told.
pub fn parse_delivery(subject: &str) -> Option<(ProcessId, JobId, CallbackKind)> {
    let mut tokens = subject.split('.');
    let (Some("callbacks"), Some(process), Some(job), Some("queued"), Some(kind), None) =
        (tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next())
    else {
        return None;
    };
    let kind = CallbackKind::of_word(&from_token(kind)?)?;
    Some((from_token(process)?.parse().ok()?, job.parse().ok()?, kind))
}

/// The durable consumer from which callbacks are queued.
pub const CALLING_CONSUMER: &str = "call-back";
/// The durable consumer from which callbacks are delivered.
pub const DELIVERING_CONSUMER: &str = "deliver";
/// The durable consumer from which dismissed jobs are cancelled.
pub const CANCELLING_CONSUMER: &str = "cancel";
/// The durable consumer from which what removed jobs left in the cluster is cleared.
pub const CLEARING_CONSUMER: &str = "clear";
/// The durable consumer from which the logs of running jobs are followed.
pub const FOLLOWING_CONSUMER: &str = "follow";
/// The durable consumer from which the logs of jobs are followed whose init containers run before `running` is told.
pub const PREPARING_CONSUMER: &str = "follow-prepared";
/// The durable consumer from which jobs are finalized.
pub const FINALIZING_CONSUMER: &str = "finalize";
/// The durable consumer from which what removed jobs left in stream and bucket is deleted.
pub const REMOVING_CONSUMER: &str = "remove";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_one_token_and_comes_back() {
        for text in ["hello-world-k8s", "a.b", "*", ">", "ü ß", "=2E", "a/b", ""] {
            let token = token(text);
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-=".contains(&b)), "{token}");
            assert_eq!(from_token(&token).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_token_that_was_never_written_is_refused() {
        for token in ["=2e", "=", "=G0", "=41", "a.b", "=FF"] {
            assert_eq!(from_token(token), None, "{token}");
        }
    }

    #[test]
    fn two_attempts_never_write_the_same_result() {
        let (process, job) = ("a.b".parse::<ProcessId>().unwrap(), JobId::generate(1_700_000_000_000));
        let (first, second) = (Epoch::generate(), Epoch::generate());
        let subject = result(&process, &job, &first, "a b");
        assert_eq!(subject, format!("results.a=2Eb.{job}.{}.a=20b", first.as_str()));
        assert_ne!(subject, result(&process, &job, &second, "a b"));
        assert!(subject.starts_with(results_of(&process, &job).strip_suffix('>').unwrap()));
        assert!(subject.starts_with(results_of_attempt(&process, &job, &first).strip_suffix('>').unwrap()));
    }

    #[test]
    fn the_subjects_of_callbacks_tell_what_they_are_about() {
        let (process, job) = ("a.b".parse::<ProcessId>().unwrap(), JobId::generate(1_700_000_000_000));
        let told = subscription(&process, &job);
        assert_eq!(parse_subscription(&told), Some((process.clone(), job)));
        for kind in CallbackKind::ALL {
            let queued = delivery(&process, &job, kind);
            assert_eq!(parse_delivery(&queued), Some((process.clone(), job, kind)));
            assert_eq!(parse_delivery(&delivery_state(&process, &job, kind)), None);
            for subject in [&told, &queued, &delivery_state(&process, &job, kind)] {
                assert!(subject.starts_with(callbacks_of(&process, &job).strip_suffix('>').unwrap()), "{subject}");
            }
        }
        assert_eq!(parse_delivery(&told), None);
        assert_eq!(parse_subscription(&delivery(&process, &job, CallbackKind::Success)), None);
    }

    #[test]
    fn an_event_subject_tells_process_job_and_event() {
        let (process, job) = ("a.b".parse::<ProcessId>().unwrap(), JobId::generate(1_700_000_000_000));
        let subject = event(&process, &job, Event::Ended);
        assert_eq!(parse_event(&subject), Some(("a.b".to_owned(), job, Event::Ended)));
        assert_eq!(parse_event(&format!("{subject}.more")), None);
        assert_eq!(parse_event("jobs.a.b.c"), None);
    }
}
