//! The result: what follows the marker in the main container's log, kept where it is wanted. Where the process has several
//! outputs, each is kept for itself.

mod sink;

use bytes::BytesMut;
use platform::object_store::{ObjectStore, StoreError};
use protocol::{
    JobRecord,
    job_id::Epoch,
    job_record::{DeclaredOutput, Place, StoredResult, WHOLE_RESULT},
    log_markers::MarkerParser,
    media_type,
    names::{kubernetes::ANNOTATION_VALUE_LIMIT, objects, subjects},
    output_members,
};

use self::sink::Sink;
pub use self::sink::{KeptMember, KeptOutput, STREAM_LIMIT};
use crate::pods::ResultAnnotations;

/// Media type where neither a marker nor the process says one.
const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Takes the main container's log, and keeps the result of it.
pub struct ResultReader {
    parser: MarkerParser,
    held: Option<Held>,
    sink: Sink,
    size: u64,
    head: Vec<u8>,
}

/// A result that may be several outputs, as long as it fits into memory.
struct Held {
    bytes: BytesMut,
    limit: usize,
    declared: Vec<DeclaredOutput>,
}

/// What was found and kept.
pub struct FoundResult {
    /// Media type of the marker.
    pub media_type: Option<String>,
    /// True when the log has the marker of a result.
    pub is_there: bool,
    /// The result's first bytes, one more than an annotation may have.
    pub head: Vec<u8>,
    /// Bytes of all that was printed.
    pub size: u64,
    /// What was kept of it: nothing, all of it, or the outputs that are in it.
    pub outputs: Vec<KeptOutput>,
}

impl ResultReader {
    /// A reader at the start of the log that keeps nothing.
    pub fn none() -> Self {
        Self::new(Sink::None, None)
    }

    /// A reader at the start of a job's log. The result of an execution that failed goes nowhere, that of any other into the
    /// bucket, else into the stream. Up to `split_limit` bytes are held in memory where the process has several outputs.
    pub fn of(record: &JobRecord, epoch: &Epoch, store: Option<&ObjectStore>, split_limit: usize) -> Self {
        if record.outcome.as_ref().is_none_or(|outcome| !outcome.is_success()) {
            return Self::none();
        }
        let sink = match store {
            Some(store) => Sink::object(store.clone(), record.job_id, epoch.clone(), output_id(record)),
            None => Sink::message(),
        };
        let declared = &record.declared_outputs;
        let held = (declared.len() > 1).then(|| Held {
            bytes: BytesMut::new(),
            limit: split_limit,
            declared: declared.clone(),
        });
        Self::new(sink, held)
    }

    fn new(sink: Sink, held: Option<Held>) -> Self {
        Self { parser: MarkerParser::new(), held, sink, size: 0, head: Vec::new() }
    }

    /// True once the marker of a result was read.
    pub fn has_begun(&self) -> bool {
        self.parser.has_result()
    }

    /// Takes the next bytes of the log.
    ///
    /// # Errors
    /// When the bucket does not take the result.
    pub async fn take(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        let result = self.parser.feed(chunk);
        if result.is_empty() {
            return Ok(());
        }
        self.size += u64::try_from(result.len()).unwrap_or_default();
        let room = (ANNOTATION_VALUE_LIMIT + 1).saturating_sub(self.head.len());
        self.head.extend_from_slice(&result[..room.min(result.len())]);
        if let Some(held) = &mut self.held {
            if held.bytes.len() + result.len() <= held.limit {
                held.bytes.extend_from_slice(result);
                return Ok(());
            }
            // Too large to be told apart in memory: from now on it is one stream.
            let before = std::mem::take(&mut held.bytes);
            self.held = None;
            self.sink.write(&before).await?;
        }
        self.sink.write(result).await
    }

    /// At the log's end: makes the result visible where it goes.
    ///
    /// # Errors
    /// When the bucket does not take it.
    pub async fn keep(self) -> Result<FoundResult, StoreError> {
        let Self { parser, held, mut sink, size, head } = self;
        let is_there = parser.has_result();
        let media_type = parser.into_media_type();
        let may_be_several = media_type.as_deref().is_none_or(media_type::is_json);
        let mut found = FoundResult { media_type, is_there, head, size, outputs: Vec::new() };
        if !is_there {
            return Ok(found);
        }
        if let Some(held) = held {
            let members = output_members::split(&held.bytes, &held.declared).filter(|_| may_be_several);
            if let Some(members) = members {
                drop(held);
                for member in members {
                    found.outputs.extend(sink.keep_member(member).await?);
                }
                return Ok(found);
            }
            sink.write(&held.bytes).await?;
        }
        found.outputs.extend(sink.keep().await?);
        Ok(found)
    }

    /// Gives the result up.
    pub async fn abort(self) {
        self.sink.abort().await;
    }
}

/// The stored results of a job whose log held `found`.
pub fn outputs(record: &JobRecord, epoch: &Epoch, prefix: Option<&str>, found: &FoundResult) -> Vec<StoredResult> {
    let stored = |kept: &KeptOutput| {
        let (id, media_type) = match &kept.member {
            Some(member) => (member.id.as_str(), member.media_type.clone()),
            None => (output_id(record), found.media_type.clone().unwrap_or_else(|| declared_media_type(record))),
        };
        StoredResult {
            id: id.to_owned(),
            media_type,
            size: kept.stored.size,
            sha256: kept.stored.sha256.clone(),
            place: match prefix {
                Some(prefix) => Place::Object(objects::result(prefix, &record.job_id, epoch, id)),
                None => Place::Stream(subjects::result(&record.process_id, &record.job_id, epoch, id)),
            },
            is_member: kept.member.is_some(),
            unknown: protocol::Unknown::new(),
        }
    };
    found.outputs.iter().map(stored).collect()
}

/// What the contract has written on the Job: an empty value without result, no value when it is too long or no text.
pub fn annotations(found: &FoundResult) -> ResultAnnotations {
    let value = (found.head.len() <= ANNOTATION_VALUE_LIMIT).then(|| String::from_utf8(found.head.clone()).ok());
    ResultAnnotations { media_type: found.media_type.clone(), value: value.flatten() }
}

/// The one declared output, else the whole result.
fn output_id(record: &JobRecord) -> &str {
    match record.declared_outputs.as_slice() {
        [output] => &output.id,
        _ => WHOLE_RESULT,
    }
}

fn declared_media_type(record: &JobRecord) -> String {
    match record.declared_outputs.as_slice() {
        [] => PLAIN.to_owned(),
        [output] => output.media_type.clone(),
        _ => JSON.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{
        JobId,
        job_record::{ArchiveState, Outcome, Reason},
    };

    use super::*;

    const LOG: &[u8] = b"x\nPYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: text/csv\nPYGEOAPI_K8S_MANAGER_RESULT_START\na,b\n";

    fn record(outputs: &[&str]) -> JobRecord {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut record =
            JobRecord::accepted(JobId::generate(1), "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        record.declared_outputs = outputs.iter().map(|id| DeclaredOutput::new(*id, "image/png")).collect();
        record.outcome = outcome(None);
        record
    }

    fn outcome(reason: Option<Reason>) -> Option<Outcome> {
        Some(Outcome { reason, exit_code: None, message: String::new(), unknown: protocol::Unknown::new() })
    }

    async fn read(log: &[u8]) -> FoundResult {
        read_of(&record(&["o"]), log, 1 << 20).await
    }

    async fn read_of(record: &JobRecord, log: &[u8], split_limit: usize) -> FoundResult {
        let mut reader = ResultReader::of(record, &Epoch::generate(), None, split_limit);
        for chunk in log.chunks(7) {
            reader.take(chunk).await.unwrap();
        }
        reader.keep().await.unwrap()
    }

    #[tokio::test]
    async fn the_result_keeps_its_bytes_and_the_markers_media_type() {
        let found = read(LOG).await;
        assert_eq!(found.outputs[0].message.as_deref(), Some(b"a,b\n".as_slice()));
        let [output] = outputs(&record(&["table"]), &Epoch::generate(), Some("l/"), &found).try_into().unwrap();
        assert_eq!((output.id.as_str(), output.media_type.as_str(), output.size), ("table", "text/csv", 4));
        assert!(
            matches!(output.place, Place::Object(key) if key.starts_with("l/quayside/") && key.ends_with("/table"))
        );
        let expected = ResultAnnotations { media_type: Some("text/csv".into()), value: Some("a,b\n".into()) };
        assert_eq!(annotations(&found), expected);
    }

    #[tokio::test]
    async fn without_marker_there_is_no_result_and_an_empty_annotation() {
        let found = read(b"nothing\n").await;
        assert!(outputs(&record(&["o"]), &Epoch::generate(), None, &found).is_empty());
        assert_eq!(annotations(&found), ResultAnnotations { media_type: None, value: Some(String::new()) });
    }

    #[tokio::test]
    async fn the_declared_media_type_is_taken_when_the_log_says_none() {
        let found = read(b"PYGEOAPI_K8S_MANAGER_RESULT_START\n\xff").await;
        for (declared, id, media_type) in
            [(vec![], "result", PLAIN), (vec!["a"], "a", "image/png"), (vec!["a", "b"], "result", JSON)]
        {
            let [output] = outputs(&record(&declared), &Epoch::generate(), None, &found).try_into().unwrap();
            assert_eq!((output.id.as_str(), output.media_type.as_str()), (id, media_type));
            assert!(matches!(output.place, Place::Stream(subject) if subject.starts_with("results.p.")));
        }
        assert_eq!(annotations(&found).value, None, "no text");
    }

    #[tokio::test]
    async fn a_result_too_long_for_a_message_or_an_annotation_is_counted_but_not_held() {
        let mut log = b"PYGEOAPI_K8S_MANAGER_RESULT_START\n".to_vec();
        log.extend(vec![b'x'; STREAM_LIMIT]);
        assert_eq!(read(&log).await.outputs[0].message.as_ref().unwrap().len(), STREAM_LIMIT);
        log.extend(vec![b'x'; STREAM_LIMIT]);
        let found = read(&log).await;
        assert_eq!((&found.outputs[0].message, found.outputs[0].stored.size), (&None, 2 * STREAM_LIMIT as u64));
        assert_eq!(annotations(&read(&log).await).value, None);
        assert!(found.head.len() <= ANNOTATION_VALUE_LIMIT + 1);
    }

    #[tokio::test]
    async fn the_result_of_a_failed_execution_goes_nowhere() {
        let mut record = record(&["table"]);
        record.outcome = outcome(Some(Reason::ExitCode));
        let found = read_of(&record, LOG, 0).await;
        assert!(found.outputs.is_empty() && found.size == 4);
    }

    const SEVERAL: &str = r#"{"b": "/wA=", "a": {"value": "x,y", "mediaType": "text/csv"}, "other": 1}"#;

    fn several(marker: &str) -> Vec<u8> {
        format!("{marker}PYGEOAPI_K8S_MANAGER_RESULT_START\n{SEVERAL}\n").into_bytes()
    }

    #[tokio::test]
    async fn several_outputs_are_kept_each_for_itself() {
        let (record, epoch) = (record(&["a", "b", "c"]), Epoch::generate());
        let found = read_of(&record, &several(""), 1000).await;
        let stored = outputs(&record, &epoch, Some("l/"), &found);
        let told: Vec<_> =
            stored.iter().map(|it| (it.id.as_str(), it.media_type.as_str(), it.size, it.is_member)).collect();
        assert_eq!(told, [("a", "text/csv", 3, true), ("b", "image/png", 2, true)]);
        assert!(matches!(&stored[1].place, Place::Object(key) if key.ends_with(&format!("{}/b", epoch.as_str()))));
        assert_eq!(found.outputs[1].message.as_deref(), Some([0xff, 0].as_slice()));
        assert_eq!(annotations(&found).value.as_deref(), Some(format!("{SEVERAL}\n").as_str()), "all of it, as ever");
    }

    #[tokio::test]
    async fn what_is_too_large_or_not_json_stays_one_result() {
        let record = record(&["a", "b"]);
        let whole = format!("{SEVERAL}\n");
        for (limit, marker) in [(whole.len() - 1, ""), (1000, "PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: text/plain\n")] {
            let found = read_of(&record, &several(marker), limit).await;
            let [output] = outputs(&record, &Epoch::generate(), None, &found).try_into().unwrap();
            assert_eq!((output.id.as_str(), output.is_member), (WHOLE_RESULT, false));
            assert_eq!(found.outputs[0].message.as_deref(), Some(whole.as_bytes()));
        }
        assert_eq!(read_of(&record, &several(""), whole.len()).await.outputs.len(), 2);
    }
}
