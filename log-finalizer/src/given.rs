//! Outputs that a job gave away by itself, as files or to presigned URLs: each is copied to where nobody else writes, and only the copy
//! is named by the record. What comes later changes nothing.

use std::collections::HashMap;

use bytes::BytesMut;
use futures::StreamExt;
use platform::{
    object_store::{ObjectStore, StoreError},
    publish,
};
use protocol::{
    JobRecord, Unknown,
    companion::{COLLECTED, Collected, LINE_LIMIT, MEDIA_TYPE_SUFFIX},
    digest,
    job_id::Epoch,
    job_record::{
        DeclaredOutput, ExecutorKind, Place, Reason, ResultsBy, StoredResult, Uploads, WHOLE_RESULT, Workload,
    },
    log_markers::is_media_type,
    names::{kubernetes::COMPANION_RESULTS, objects, subjects},
};
use tracing::warn;

use crate::{
    finalize::{FinalizeError, Finalizer},
    pods::{LogRead, Pod, PodSource, PodsError},
    result::STREAM_LIMIT,
};

/// The most of a sidecar's log that is looked at.
const LOG_LIMIT: usize = 1024 * 1024;
/// How often an output is looked at again that changes while it is copied.
const LOOKS: u32 = 5;
/// The longest file that says a media type.
const MEDIA_TYPE_LIMIT: usize = 1024;
/// What services say of an object whose media type nobody said.
const NO_MEDIA_TYPES: [&str; 2] = ["application/octet-stream", "binary/octet-stream"];

/// What was given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub results: Vec<StoredResult>,
    /// Why an output was not, where somebody said.
    pub problems: HashMap<String, String>,
}

/// Whose outputs are looked for.
#[derive(Clone, Copy)]
pub(crate) struct Giver<'a> {
    pub record: &'a JobRecord,
    pub workload: &'a Workload,
    pub uploads: &'a Uploads,
    /// Its pod, where that is still there.
    pub pod: Option<(&'a dyn PodSource, &'a Pod)>,
}

impl Finalizer {
    /// Seals the outputs of a job that gives them away by itself.
    pub(crate) async fn given(&self, giver: Giver<'_>, epoch: &Epoch) -> Result<Given, FinalizeError> {
        let mut given = Given::default();
        let is_here = giver.workload.executor == ExecutorKind::Local && giver.uploads.by == ResultsBy::Files;
        let vouched = match giver.pod {
            Some((source, pod)) if !is_here && giver.uploads.by == ResultsBy::Files => {
                vouched(source, giver.workload, pod).await
            }
            _ => HashMap::new(),
        };
        for output in &giver.record.declared_outputs {
            let result = match (is_here, self.jobs.objects()) {
                (true, store) => self.file(giver, store, output, epoch).await?,
                (false, Some(store)) if may_be_there(vouched.get(&output.id)) => {
                    sealed(store, giver, output, epoch, vouched.get(&output.id)).await?
                }
                (false, _) => None,
            };
            match result {
                Some(result) => given.results.push(result),
                None => {
                    let problem = vouched.get(&output.id).and_then(|collected| collected.problem.clone());
                    given.problems.extend(problem.map(|problem| (output.id.clone(), problem)));
                }
            }
        }
        Ok(given)
    }

    /// A file of a local job: it is read from where the job left it.
    async fn file(
        &self,
        giver: Giver<'_>,
        store: Option<&ObjectStore>,
        output: &DeclaredOutput,
        epoch: &Epoch,
    ) -> Result<Option<StoredResult>, FinalizeError> {
        let Some((source, _)) = giver.pod else { return Ok(None) };
        let Some(mut file) = source.file(giver.workload, &output.id).await? else { return Ok(None) };
        let media_type = told_media_type(source, giver.workload, &output.id).await?;
        let media_type = media_type.unwrap_or_else(|| output.media_type.clone());
        let record = giver.record;
        let (place, size, sha256) = match store {
            Some(store) => {
                let key = objects::result(store.prefix(), &record.job_id, epoch, &output.id);
                let mut writer = store.writer(&key, &media_type);
                while let Some(chunk) = file.next().await {
                    writer.write(&chunk?).await?;
                }
                let stored = writer.finish().await?;
                (Place::Object(key), stored.size, stored.sha256)
            }
            None => {
                let mut bytes = BytesMut::new();
                while let Some(chunk) = file.next().await {
                    bytes.extend_from_slice(&chunk?);
                    if bytes.len() > STREAM_LIMIT {
                        warn!(output = %output.id, "a file is too large to be kept without a bucket");
                        return Ok(None);
                    }
                }
                let subject = subjects::result(&record.process_id, &record.job_id, epoch, &output.id);
                let (size, sha256) = (bytes.len() as u64, digest::sha256(&bytes));
                publish::result(self.jobs.nats(), subject.clone(), bytes.freeze()).await?;
                (Place::Stream(subject), size, sha256)
            }
        };
        Ok(Some(stored(record, output, media_type, size, sha256, place)))
    }
}

/// What a sidecar says that it stored. Without it there is no hash, and nothing else is missing.
async fn vouched(source: &dyn PodSource, workload: &Workload, pod: &Pod) -> HashMap<String, Collected> {
    let read = async {
        let mut log = source.log(workload, &pod.name, COMPANION_RESULTS, LogRead::default()).await?;
        let mut text = Vec::new();
        while let Some(chunk) = log.next().await {
            let chunk = chunk?.bytes;
            text.extend_from_slice(&chunk[..chunk.len().min(LOG_LIMIT - text.len())]);
        }
        Ok::<_, PodsError>(text)
    };
    match read.await {
        Ok(text) => collected(&text),
        Err(error) => {
            warn!(error = %platform::telemetry::chain(&error), "what the sidecar stored is not known by its log");
            HashMap::new()
        }
    }
}

fn collected(log: &[u8]) -> HashMap<String, Collected> {
    let lines = log.split(|byte| *byte == b'\n').filter(|line| line.len() <= LINE_LIMIT);
    let told = lines.filter_map(|line| line.strip_prefix(COLLECTED.as_bytes()));
    let told = told.filter_map(|json| serde_json::from_slice::<Collected>(json).ok());
    told.map(|one| (one.output.clone(), one)).collect()
}

/// Where the last pod's sidecar found no file, what is there is of a pod before it, which failed.
fn may_be_there(vouched: Option<&Collected>) -> bool {
    vouched.is_none_or(|collected| collected.problem.is_none())
}

/// Copies what was put under a presigned URL.
async fn sealed(
    store: &ObjectStore,
    giver: Giver<'_>,
    output: &DeclaredOutput,
    epoch: &Epoch,
    vouched: Option<&Collected>,
) -> Result<Option<StoredResult>, StoreError> {
    let record = giver.record;
    let from = objects::upload(store.prefix(), &record.job_id, &giver.uploads.epoch, &output.id);
    let to = objects::result(store.prefix(), &record.job_id, epoch, &output.id);
    for _ in 0..LOOKS {
        let Some(there) = store.stat(&from).await? else { return Ok(None) };
        if !store.copy(&from, &there.etag, &to).await? {
            continue;
        }
        let told = there.media_type.filter(|told| is_media_type(told) && !NO_MEDIA_TYPES.contains(&essence(told)));
        let media_type = told.unwrap_or_else(|| output.media_type.clone());
        let hash = vouched.filter(|vouched| vouched.size == Some(there.size)).and_then(|it| it.sha256.clone());
        let place = Place::Object(to);
        return Ok(Some(stored(record, output, media_type, there.size, hash.unwrap_or_default(), place)));
    }
    warn!(output = %output.id, "an output changed each time that it was copied: it counts as not given");
    Ok(None)
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn stored(
    record: &JobRecord,
    output: &DeclaredOutput,
    media_type: String,
    size: u64,
    sha256: String,
    place: Place,
) -> StoredResult {
    StoredResult {
        id: output.id.clone(),
        media_type,
        size,
        sha256,
        place,
        is_member: record.declared_outputs.len() > 1,
        unknown: Unknown::new(),
    }
}

/// What the file beside an output's says.
async fn told_media_type(
    source: &dyn PodSource,
    workload: &Workload,
    output: &str,
) -> Result<Option<String>, PodsError> {
    let Some(mut file) = source.file(workload, &format!("{output}{MEDIA_TYPE_SUFFIX}")).await? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    while let Some(chunk) = file.next().await {
        text.extend_from_slice(&chunk?);
        if text.len() > MEDIA_TYPE_LIMIT {
            return Ok(None);
        }
    }
    let line = String::from_utf8(text).unwrap_or_default();
    Ok(line.lines().next().map(str::trim).filter(|line| is_media_type(line)).map(str::to_owned))
}

/// What was given and what was printed, together: what was given counts where an output came both ways. The text of several outputs that
/// could not be told apart is none of them.
pub(crate) fn joined(record: &JobRecord, given: Vec<StoredResult>, printed: Vec<StoredResult>) -> Vec<StoredResult> {
    let is_free = |result: &StoredResult| given.iter().all(|it| it.id != result.id) && result.id != WHOLE_RESULT;
    let mut results: Vec<StoredResult> = printed.into_iter().filter(is_free).collect();
    results.extend(given);
    let place = |result: &StoredResult| record.declared_outputs.iter().position(|output| output.id == result.id);
    results.sort_by_key(place);
    results
}

/// Why a job fails that did not give every output that the client asked for, or every one where it asked for none.
pub(crate) fn missing(
    record: &JobRecord,
    results: &[StoredResult],
    problems: &HashMap<String, String>,
) -> Option<(Reason, String)> {
    let is_wanted =
        |id: &str| record.requested_outputs.is_empty() || record.requested_outputs.iter().any(|output| output.id == id);
    let ids = record.declared_outputs.iter().map(|output| output.id.as_str()).filter(|id| is_wanted(id));
    let missing: Vec<String> = ids
        .filter(|id| results.iter().all(|result| result.id != *id))
        .map(|id| match problems.get(id) {
            Some(problem) => format!("'{id}' ({problem})"),
            None => format!("'{id}'"),
        })
        .collect();
    let message = || format!("the execution ended well, but gave no output {}", missing.join(", "));
    (!missing.is_empty()).then(|| (Reason::ResultsNotCollected, message()))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::{
        JobId,
        job_record::{ArchiveState, RequestedOutput, TransmissionMode},
    };

    use super::*;

    fn record(outputs: &[&str]) -> JobRecord {
        let now = Timestamp::UNIX_EPOCH;
        let record =
            JobRecord::accepted(JobId::generate(1), "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        let declared_outputs = outputs.iter().map(|id| DeclaredOutput::new(*id, "text/plain")).collect();
        JobRecord { declared_outputs, ..record }
    }

    fn result(record: &JobRecord, id: &str, size: u64) -> StoredResult {
        let output = DeclaredOutput::new(id, "text/plain");
        stored(record, &output, "text/plain".into(), size, String::new(), Place::Object(id.into()))
    }

    #[test]
    fn what_is_given_counts_more_than_what_is_printed_and_each_output_is_there_once() {
        let record = record(&["a", "b", "c"]);
        let one = |id, size| result(&record, id, size);
        let joined =
            joined(&record, vec![one("c", 1), one("a", 1)], vec![one("a", 2), one("b", 2), one(WHOLE_RESULT, 2)]);
        let told: Vec<_> = joined.iter().map(|result| (result.id.as_str(), result.size)).collect();
        assert_eq!(told, [("a", 1), ("b", 2), ("c", 1)]);
    }

    #[test]
    fn what_is_missing_is_named_with_the_reason_unless_nobody_asked_for_it() {
        let mut record = record(&["a", "b", "c"]);
        let results = [result(&record, "a", 1)];
        let problems = HashMap::from([("b".to_owned(), "no room".to_owned())]);
        let (reason, message) = missing(&record, &results, &problems).unwrap();
        assert_eq!(reason, Reason::ResultsNotCollected);
        assert!(message.ends_with("gave no output 'b' (no room), 'c'"), "{message}");
        record.requested_outputs = vec![RequestedOutput {
            id: "a".into(),
            transmission_mode: TransmissionMode::Value,
            media_type: None,
            unknown: Unknown::new(),
        }];
        assert_eq!(missing(&record, &results, &problems), None);
    }

    #[test]
    fn what_the_last_sidecar_did_not_find_is_not_taken_from_a_pod_before_it() {
        let collected = |problem: Option<&str>| Collected {
            output: "a".into(),
            size: None,
            sha256: None,
            problem: problem.map(str::to_owned),
        };
        assert!(may_be_there(None) && may_be_there(Some(&collected(None))));
        assert!(!may_be_there(Some(&collected(Some("there is no such file")))));
    }

    #[test]
    fn only_whole_lines_of_the_sidecar_count() {
        let line = |one: &Collected| format!("{COLLECTED}{}\n", serde_json::to_string(one).unwrap());
        let a = Collected { output: "a".into(), size: Some(3), sha256: Some("00".into()), problem: None };
        let log = format!("hello\n{}{COLLECTED}{{\"output\": 1}}\nx {}{}", line(&a), line(&a), "y".repeat(LINE_LIMIT));
        assert_eq!(collected(log.as_bytes()), HashMap::from([("a".to_owned(), a)]));
    }
}
