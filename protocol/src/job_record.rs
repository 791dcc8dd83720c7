//! The record of a job: what is known of it after a step, whole, in each of its events.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod reason;
mod removal;

pub use self::{reason::Reason, removal::RemovedBy};
use crate::{
    JobId, Owner, ProcessId, SCHEMA, Unknown, Word,
    callback::CallbackKind,
    digest, evolution,
    job_id::{Epoch, WriteId},
};

/// Everything public that is known of a job. Members that are not known yet are left out, never null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRecord {
    /// [`SCHEMA`] of the writer.
    #[serde(deserialize_with = "evolution::understood")]
    pub schema: u32,
    /// Id of the job.
    pub job_id: JobId,
    /// Id of the process.
    pub process_id: ProcessId,
    /// Version of the process, as its description says.
    pub process_version: String,
    /// Whose job it is; absent: nobody's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Status as the standard has it.
    pub status: Status,
    /// When the gateway took the job.
    pub created: Timestamp,
    /// When the main container started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When the execution ended: names the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// When this record was written.
    pub updated: Timestamp,
    /// Percent done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u8>,
    /// What there is to say to a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Launch attempts so far; 0 before the first.
    pub attempt: u32,
    /// What runs the job, once it is launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// What keeps the job from being launched, while that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_up: Option<HeldUp>,
    /// How the execution ended; present from the event `ended` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Form of the answer that the client asked for.
    #[serde(default)]
    pub response: ResponseForm,
    /// Outputs that the client asked for, in its order; empty: all of them, by value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested_outputs: Vec<RequestedOutput>,
    /// Outputs that the process declares, in the order of its description.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared_outputs: Vec<DeclaredOutput>,
    /// Outputs that are stored; empty for an execution that printed no result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<StoredResult>,
    /// The log archive.
    pub archive: Archive,
    /// The inputs as one JSON text, secrets masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<String>,
    /// What somebody is told about this job; whom is private.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callbacks: Vec<CallbackKind>,
    /// Who removed the job; in the event `removed` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_by: Option<RemovedBy>,
    /// Drawn for each write.
    pub write_id: WriteId,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Status codes of the standard (OGC 18-062r2, 7.12). Closed: what a job does next hangs on it, so a version that does
/// not know a status can't leave its job alone and write about it, too. A further step of a job is told by a member of
/// the record, a further code of the standard is added as [`crate::evolution`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Taken, not started.
    Accepted,
    /// Running, or being stored.
    Running,
    /// Ended well, result and log stored.
    Successful,
    /// Ended badly, log stored.
    Failed,
    /// Cancelled.
    Dismissed,
}

impl Status {
    /// True of a status that is the last one.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Successful | Self::Failed | Self::Dismissed)
    }

    /// The word of the standard.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Successful => "successful",
            Self::Failed => "failed",
            Self::Dismissed => "dismissed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// How far a job is. Records only move forward through these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// In the queue.
    Accepted,
    /// A launch attempt was won.
    Launching,
    /// The main container started.
    Running,
    /// The execution ended and is being stored.
    Ended,
    /// Successful, failed or dismissed.
    Terminal,
}

/// What runs a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Which executor made it.
    pub executor: ExecutorKind,
    /// Kubernetes namespace; `local` for the local executor.
    pub namespace: String,
    /// Name of the Kubernetes Job.
    pub job_name: String,
    /// UID of the Job; absent until its creation was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_uid: Option<String>,
    /// Name of the pod whose containers ran last, once one has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// UID of that pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Where the job puts its outputs itself; absent of one that only prints them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploads: Option<Uploads>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Workload {
    /// What is to be made under this name: its UID and its pod are not known yet.
    pub fn new(executor: ExecutorKind, namespace: impl Into<String>, job_name: impl Into<String>) -> Self {
        Self {
            executor,
            namespace: namespace.into(),
            job_name: job_name.into(),
            job_uid: None,
            pod_name: None,
            pod_uid: None,
            uploads: None,
            unknown: Unknown::new(),
        }
    }
}

/// How and where a job puts its outputs itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Uploads {
    /// How.
    pub by: ResultsBy,
    /// Drawn for each launch: no other incarnation writes under it.
    pub epoch: Epoch,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How a job gives its outputs away, where it does not print them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultsBy {
    /// As files, which a companion of its container stores.
    Files,
    /// To presigned URLs.
    Upload,
    /// In a way of a newer version.
    #[serde(untagged)]
    Other(Word),
}

impl Uploads {
    /// A place of its own.
    pub fn new(by: ResultsBy) -> Self {
        Self { by, epoch: Epoch::generate(), unknown: Unknown::new() }
    }
}

/// The executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutorKind {
    /// Kubernetes Jobs.
    Kubernetes,
    /// Child processes, for trying Quayside out.
    Local,
    /// An executor of a newer version: its workloads are not ours to touch.
    #[serde(untagged)]
    Other(Word),
}

/// What keeps a job from being launched: it will be, once that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldUp {
    /// The reason that the job fails with when this takes too long.
    pub reason: Reason,
    /// Since when.
    pub since: Timestamp,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Why it did not succeed; absent when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Exit code of the container that decided, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The sentence for a person.
    pub message: String,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Outcome {
    /// True when the execution succeeded.
    pub fn is_success(&self) -> bool {
        self.reason.is_none()
    }
}

/// Form of the results document (OGC 18-062r2, 7.11.2.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResponseForm {
    /// The value itself.
    #[default]
    Raw,
    /// An object of output id → value.
    Document,
    /// A form of a newer version; answered as a document, from which everything can be had.
    #[serde(untagged)]
    Other(Word),
}

/// An output that the client asked for (OGC 18-062r2, schema `output`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestedOutput {
    /// Its id.
    pub id: String,
    /// How it is to come.
    #[serde(default)]
    pub transmission_mode: TransmissionMode,
    /// The media type that was asked for; one of those that the output offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How an output comes to the client (OGC 18-062r2, schema `transmissionMode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransmissionMode {
    /// In the answer.
    #[default]
    Value,
    /// By a URL in the answer.
    Reference,
    /// A mode of a newer version; answered by value.
    #[serde(untagged)]
    Other(Word),
}

/// An output that the process declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredOutput {
    /// Its id.
    pub id: String,
    /// Its media type, where the log has no marker for it.
    pub media_type: String,
    /// `contentEncoding` of its schema: `base64` and `binary` say that JSON strings stand for bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl DeclaredOutput {
    /// An output of which nothing else is known.
    pub fn new(id: impl Into<String>, media_type: impl Into<String>) -> Self {
        Self { id: id.into(), media_type: media_type.into(), encoding: None, unknown: Unknown::new() }
    }
}

/// An output that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredResult {
    /// Id of the output; [`WHOLE_RESULT`] of all that a process printed which declares none, or several that could not be
    /// told apart.
    pub id: String,
    /// Media type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal; empty of what did not pass through us and nobody vouched for.
    pub sha256: String,
    /// Where it is.
    pub place: Place,
    /// True of one of several outputs, taken out of the JSON that was printed; false of all that was printed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_member: bool,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl StoredResult {
    /// A text that is another for other bytes: the hash where it is known, else one of its place, where nothing is ever written twice.
    pub fn tag(&self) -> String {
        match &self.place {
            Place::Object(key) | Place::Stream(key) if self.sha256.is_empty() => digest::sha256(key),
            _ => self.sha256.clone(),
        }
    }
}

/// Id of a stored result that belongs to no single output.
pub const WHOLE_RESULT: &str = "result";

/// Where something is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// An object of this key in the bucket.
    Object(String),
    /// A message on this subject of the stream.
    Stream(String),
    /// A place of a newer version, as it wrote it.
    #[serde(untagged)]
    Other(Value),
}

/// The log archive of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Archive {
    /// Whether it is there.
    pub state: ArchiveState,
    /// Key of the archive object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The attempt that stored it: names its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// What is missing, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Archive {
    /// An archive of which nothing but its state is known.
    pub fn new(state: ArchiveState) -> Self {
        Self { state, key: None, size: None, sha256: None, epoch: None, gaps: Vec::new(), unknown: Unknown::new() }
    }

    /// Whether there is a log to read. A removal has the key too, of what is being deleted, but no size.
    pub fn is_readable(&self) -> bool {
        matches!(self.state, ArchiveState::Stored | ArchiveState::Gap) && self.key.is_some() && self.size.is_some()
    }
}

/// Whether the archive is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArchiveState {
    /// Not yet.
    Pending,
    /// Stored whole.
    Stored,
    /// Stored, or given up, with something missing.
    Gap,
    /// S3 is not configured: stored later, once it is.
    Unavailable,
    /// Not wanted by configuration.
    Off,
    /// A state of a newer version: not settled, and left alone.
    #[serde(untagged)]
    Other(Word),
}

impl ArchiveState {
    /// True where nothing more will be archived.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Stored | Self::Gap | Self::Off)
    }
}

impl JobRecord {
    /// The first record of a job.
    pub fn accepted(
        job_id: JobId,
        process_id: ProcessId,
        process_version: String,
        created: Timestamp,
        archive: ArchiveState,
    ) -> Self {
        Self {
            schema: SCHEMA,
            job_id,
            process_id,
            process_version,
            owner: None,
            status: Status::Accepted,
            created,
            started: None,
            finished: None,
            updated: created,
            progress: None,
            message: None,
            attempt: 0,
            workload: None,
            held_up: None,
            outcome: None,
            response: ResponseForm::Raw,
            requested_outputs: Vec::new(),
            declared_outputs: Vec::new(),
            results: Vec::new(),
            archive: Archive::new(archive),
            parameters: None,
            callbacks: Vec::new(),
            removed_by: None,
            write_id: WriteId::generate(),
            unknown: Unknown::new(),
        }
    }

    /// How far the job is.
    pub fn phase(&self) -> Phase {
        if self.status.is_terminal() {
            Phase::Terminal
        } else if self.outcome.is_some() {
            Phase::Ended
        } else if self.status == Status::Running {
            Phase::Running
        } else if self.attempt > 0 {
            Phase::Launching
        } else {
            Phase::Accepted
        }
    }

    /// True of a job that is not accepted any more, or is being prepared: containers of it have begun to run, as far as is known.
    pub fn has_begun(&self) -> bool {
        self.status != Status::Accepted || self.workload.as_ref().is_some_and(|workload| workload.pod_name.is_some())
    }

    /// True of a job that has begun and has not ended: a log of it may be there, and grow.
    pub fn is_under_way(&self) -> bool {
        self.phase() < Phase::Ended && self.has_begun()
    }

    /// True of a record that changes no more, except by removal.
    pub fn is_settled(&self) -> bool {
        self.status.is_terminal() && self.archive.state.is_settled()
    }

    /// True of a stored result that may hold several outputs: all that was printed by a process that declares several.
    pub fn is_several(&self, result: &StoredResult) -> bool {
        self.declared_outputs.len() > 1 && !result.is_member
    }

    /// The next record: this one, written anew at `now` (never before this one's time).
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Self {
        Self { schema: SCHEMA, updated: now.max(self.updated), write_id: WriteId::generate(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> JobRecord {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        JobRecord::accepted(
            JobId::generate(1_700_000_000_000),
            "p".parse().unwrap(),
            "1.0".into(),
            now,
            ArchiveState::Pending,
        )
    }

    fn word(text: &str) -> Word {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn a_record_comes_back_from_its_json_and_has_no_null_member() {
        let record = record();
        let json = serde_json::to_value(&record).unwrap();
        assert!(json.as_object().unwrap().values().all(|value| !value.is_null()), "{json}");
        assert_eq!(serde_json::from_value::<JobRecord>(json).unwrap(), record);
    }

    #[test]
    fn members_and_reasons_of_a_newer_version_do_not_break_a_reader() {
        let mut json = serde_json::to_value(record()).unwrap();
        json["later"] = serde_json::json!({"x": 1});
        json["outcome"] = serde_json::json!({"reason": "FromTheFuture", "message": "m"});
        let read: JobRecord = serde_json::from_value(json).unwrap();
        assert_eq!(read.outcome.as_ref().unwrap().reason, Some(Reason::Other(word("FromTheFuture"))));
        let written = serde_json::to_value(read.next(Timestamp::UNIX_EPOCH)).unwrap();
        assert_eq!(written["later"], serde_json::json!({"x": 1}), "and an older writer carries them along");
    }

    #[test]
    fn what_a_newer_version_wrote_inside_comes_back_from_an_older_one() {
        let json = serde_json::json!({
            "schema": SCHEMA + 1, "jobId": JobId::generate(1), "processId": "p", "processVersion": "1",
            "status": "failed", "created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z", "attempt": 1,
            "workload": {"executor": "batch", "namespace": "n", "jobName": "j", "later": 1},
            "outcome": {"reason": "FromTheFuture", "message": "m", "later": {"x": [1]}},
            "response": "multipart",
            "requestedOutputs": [{"id": "a", "transmissionMode": "carrier-pigeon", "later": 5}],
            "declaredOutputs": [{"id": "a", "mediaType": "text/plain", "later": 2}],
            "results": [
                {"id": "a", "mediaType": "text/plain", "size": 1, "sha256": "", "place": {"volume": {"at": "x"}}, "later": 3},
                {"id": "b", "mediaType": "text/plain", "size": 1, "sha256": "", "place": {"object": "key"}},
            ],
            "archive": {"state": "frozen", "later": 4},
            "writeId": "w",
        });
        let read: JobRecord = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), json);
        assert_eq!(read.outcome.unwrap().reason.unwrap().to_string(), "FromTheFuture");
        assert_eq!(read.requested_outputs[0].transmission_mode, TransmissionMode::Other(word("carrier-pigeon")));
        assert!(!read.archive.state.is_settled());
        assert_eq!(read.results[1].place, Place::Object("key".into()));
    }

    #[test]
    fn a_record_of_the_version_before_asks_for_all_outputs_by_value() {
        let json = serde_json::json!({
            "schema": 1, "jobId": JobId::generate(1), "processId": "p", "processVersion": "1", "status": "successful",
            "created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z", "attempt": 1, "response": "raw",
            "declaredOutputs": [{"id": "a", "mediaType": "text/plain"}, {"id": "b", "mediaType": "text/plain"}],
            "results": [{"id": "result", "mediaType": "application/json", "size": 1, "sha256": "", "place": {"object": "k"}}],
            "archive": {"state": "stored"}, "writeId": "w",
        });
        let read: JobRecord = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), json, "and gets none of the new members");
        assert!(read.requested_outputs.is_empty());
        assert!(read.is_several(&read.results[0]));
        assert!(!read.is_several(&StoredResult { is_member: true, ..read.results[0].clone() }));
    }

    #[test]
    fn words_of_this_version_are_written_as_ever() {
        assert_eq!(serde_json::to_value(Reason::OOMKilled).unwrap(), "OOMKilled");
        assert_eq!(serde_json::to_value(ExecutorKind::Local).unwrap(), "local");
        assert_eq!(serde_json::to_value(ResponseForm::Document).unwrap(), "document");
        assert_eq!(serde_json::to_value(ArchiveState::Gap).unwrap(), "gap");
        let place = serde_json::to_value(Place::Stream("s".into())).unwrap();
        assert_eq!(place, serde_json::json!({"stream": "s"}));
    }

    #[test]
    fn a_schema_beyond_the_next_is_refused_by_its_number() {
        let mut json = serde_json::to_value(record()).unwrap();
        json["schema"] = (SCHEMA + 1).into();
        assert!(serde_json::from_value::<JobRecord>(json.clone()).is_ok());
        json["schema"] = (SCHEMA + 2).into();
        let error = serde_json::from_value::<JobRecord>(json).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{} {}", evolution::SCHEMA_TOO_NEW, SCHEMA + 2)), "{error}");
    }

    #[test]
    fn the_phase_only_moves_forward_along_a_jobs_life() {
        let mut record = record();
        let mut phases = vec![record.phase()];
        record.attempt = 1;
        phases.push(record.phase());
        record.status = Status::Running;
        phases.push(record.phase());
        record.outcome =
            Some(Outcome { reason: None, exit_code: Some(0), message: String::new(), unknown: Unknown::new() });
        phases.push(record.phase());
        record.status = Status::Successful;
        phases.push(record.phase());
        assert!(phases.windows(2).all(|pair| pair[0] < pair[1]), "{phases:?}");
    }

    #[test]
    fn the_next_record_is_never_older_even_when_a_clock_is_behind() {
        let record = record();
        let next = record.next(Timestamp::from_second(1).unwrap());
        assert_eq!(next.updated, record.updated);
        assert_ne!(next.write_id, record.write_id);
    }
}
