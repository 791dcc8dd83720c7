//! The result: what follows the marker in the main container's log, kept where it is wanted.

use bytes::{Bytes, BytesMut};
use platform::object_store::{ObjectStore, ObjectWriter, StoreError, Stored};
use protocol::{
    JobRecord,
    job_id::Epoch,
    job_record::{Place, StoredResult, WHOLE_RESULT},
    log_markers::MarkerParser,
    names::{kubernetes::ANNOTATION_VALUE_LIMIT, objects, subjects},
};
use sha2::{Digest, Sha256};

use crate::pods::ResultAnnotations;

/// Results of jobs without a bucket have at most this many bytes: they are messages.
pub const STREAM_LIMIT: usize = 512 * 1024;

/// Media type where neither a marker nor the process says one.
const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Where a result goes.
pub enum Sink {
    /// Nowhere: the execution failed.
    None,
    /// Into the bucket, from the first byte on.
    Object {
        /// The bucket.
        store: ObjectStore,
        /// Key of the object.
        key: String,
        /// Begun when the marker was found.
        writer: Option<Box<ObjectWriter>>,
    },
    /// Into memory first, then into the stream.
    Message {
        /// What was read, up to one byte more than [`STREAM_LIMIT`].
        bytes: BytesMut,
    },
}

/// Takes the main container's log, and keeps the result of it.
pub struct ResultReader {
    parser: MarkerParser,
    sink: Sink,
    hash: Sha256,
    size: u64,
    head: Vec<u8>,
}

/// What was found and kept.
pub struct FoundResult {
    /// Media type of the marker.
    pub media_type: Option<String>,
    /// True when the log has the marker of a result.
    pub is_there: bool,
    /// The result's first bytes, one more than an annotation may have.
    pub head: Vec<u8>,
    /// Size and hash of what was kept.
    pub stored: Stored,
    /// The bytes, when they are to go into the stream; `None` when there are too many.
    pub message: Option<Bytes>,
}

impl ResultReader {
    /// A reader at the start of the log.
    pub fn new(sink: Sink) -> Self {
        Self { parser: MarkerParser::new(), sink, hash: Sha256::new(), size: 0, head: Vec::new() }
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
        match &mut self.sink {
            Sink::None => {}
            Sink::Object { store, key, writer } => {
                // The media type may come later in the log: the record and the gateway say it, not the object.
                let writer = writer.get_or_insert_with(|| Box::new(store.writer(key, "application/octet-stream")));
                writer.write(result).await?;
            }
            Sink::Message { bytes } => {
                self.hash.update(result);
                let room = (STREAM_LIMIT + 1).saturating_sub(bytes.len());
                bytes.extend_from_slice(&result[..room.min(result.len())]);
            }
        }
        Ok(())
    }

    /// At the log's end: makes the result visible where it goes.
    ///
    /// # Errors
    /// When the bucket does not take it.
    pub async fn keep(self) -> Result<FoundResult, StoreError> {
        let is_there = self.parser.has_result();
        let media_type = self.parser.into_media_type();
        let size = self.size;
        let mut message = None;
        let stored = match self.sink {
            Sink::Object { store, key, writer } if is_there => match writer {
                Some(writer) => writer.finish().await?,
                None => store.put(&key, Bytes::new(), "application/octet-stream").await?,
            },
            Sink::Message { bytes } => {
                message = (bytes.len() <= STREAM_LIMIT).then(|| bytes.freeze());
                Stored { size, sha256: self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect() }
            }
            Sink::None | Sink::Object { .. } => Stored { size, sha256: String::new() },
        };
        Ok(FoundResult { media_type, is_there, head: self.head, stored, message })
    }

    /// Gives the result up.
    pub async fn abort(self) {
        if let Sink::Object { writer: Some(writer), .. } = self.sink {
            writer.abort().await;
        }
    }
}

/// Where the result of a job is to go: nowhere when the execution failed, else the bucket, else the stream.
pub fn sink(record: &JobRecord, epoch: &Epoch, store: Option<&ObjectStore>) -> Sink {
    let is_success = record.outcome.as_ref().is_some_and(|outcome| outcome.is_success());
    match store {
        _ if !is_success => Sink::None,
        Some(store) => {
            let key = objects::result(store.prefix(), &record.job_id, epoch, output_id(record));
            Sink::Object { store: store.clone(), key, writer: None }
        }
        None => Sink::Message { bytes: BytesMut::new() },
    }
}

/// The stored results of a job whose log held `found`: one or none.
pub fn outputs(record: &JobRecord, epoch: &Epoch, prefix: Option<&str>, found: &FoundResult) -> Vec<StoredResult> {
    if !found.is_there {
        return Vec::new();
    }
    let id = output_id(record);
    let place = match prefix {
        Some(prefix) => Place::Object(objects::result(prefix, &record.job_id, epoch, id)),
        None => Place::Stream(subjects::result(&record.process_id, &record.job_id, epoch, id)),
    };
    vec![StoredResult {
        id: id.to_owned(),
        media_type: found.media_type.clone().unwrap_or_else(|| declared_media_type(record)),
        size: found.stored.size,
        sha256: found.stored.sha256.clone(),
        place,
        unknown: protocol::Unknown::new(),
    }]
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
        job_record::{ArchiveState, DeclaredOutput},
    };

    use super::*;

    const LOG: &[u8] = b"x\nPYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: text/csv\nPYGEOAPI_K8S_MANAGER_RESULT_START\na,b\n";

    fn record(outputs: &[&str]) -> JobRecord {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut record =
            JobRecord::accepted(JobId::generate(1), "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        record.declared_outputs = outputs
            .iter()
            .map(|id| DeclaredOutput {
                id: (*id).into(),
                media_type: "image/png".into(),
                unknown: protocol::Unknown::new(),
            })
            .collect();
        record
    }

    async fn read(log: &[u8]) -> FoundResult {
        let mut reader = ResultReader::new(Sink::Message { bytes: BytesMut::new() });
        for chunk in log.chunks(7) {
            reader.take(chunk).await.unwrap();
        }
        reader.keep().await.unwrap()
    }

    #[tokio::test]
    async fn the_result_keeps_its_bytes_and_the_markers_media_type() {
        let found = read(LOG).await;
        assert_eq!(found.message.as_deref(), Some(b"a,b\n".as_slice()));
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
        assert_eq!(read(&log).await.message.unwrap().len(), STREAM_LIMIT);
        log.extend(vec![b'x'; STREAM_LIMIT]);
        let found = read(&log).await;
        assert_eq!((found.message, found.stored.size), (None, 2 * STREAM_LIMIT as u64));
        assert_eq!(annotations(&read(&log).await).value, None);
        assert!(found.head.len() <= ANNOTATION_VALUE_LIMIT + 1);
    }

    #[test]
    fn the_result_of_a_failed_execution_goes_nowhere() {
        let mut record = record(&[]);
        record.outcome = Some(protocol::job_record::Outcome {
            reason: Some(protocol::job_record::Reason::ExitCode),
            exit_code: Some(3),
            message: String::new(),
            unknown: protocol::Unknown::new(),
        });
        assert!(matches!(sink(&record, &Epoch::generate(), None), Sink::None));
    }
}
