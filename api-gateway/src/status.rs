//! The status document of a job (OGC 18-062r2, schema `statusInfo`).

use jiff::Timestamp;
use protocol::{
    JobId, JobRecord,
    job_record::{Reason, Status},
};
use serde::Serialize;

use crate::{
    callbacks::CallbackInfo,
    index::{MOST_AHEAD, Row, has_log},
    links::{Link, Urls, rel},
    pages::{self, Form},
};

/// What a client sees of a job. What is not known is left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusInfo {
    #[serde(rename = "jobID")]
    pub(crate) job_id: JobId,
    #[serde(rename = "processID")]
    pub(crate) process_id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    pub(crate) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// Why it failed, or what it waits for, in a word (`docs/reasons.md`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    /// About how many jobs are launched before it, while it waits.
    #[serde(rename = "jobsAhead", skip_serializing_if = "Option::is_none")]
    pub(crate) jobs_ahead: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<u8>,
    #[serde(serialize_with = "time")]
    pub(crate) created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_time")]
    pub(crate) started: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_time")]
    pub(crate) finished: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    pub(crate) updated: Timestamp,
    /// The inputs as a JSON text, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameters: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) callbacks: Vec<CallbackInfo>,
    links: Vec<Link>,
}

impl StatusInfo {
    /// The same document as its page shows it: the links to itself are the other way round.
    pub(crate) fn into_page(mut self, urls: &Urls) -> Self {
        let own = pages::own_links(&urls.job(&self.job_id), Form::Html, "this job");
        for (link, own) in self.links.iter_mut().filter(|it| it.rel == "self" || it.rel == "alternate").zip(own) {
            *link = own;
        }
        self
    }

    /// From the whole record.
    pub fn of_record(record: &JobRecord, urls: &Urls) -> Self {
        Self {
            job_id: record.job_id,
            process_id: record.process_id.as_str().to_owned(),
            kind: "process",
            status: record.status,
            message: record.message.clone(),
            reason: reason(record),
            jobs_ahead: None,
            progress: record.progress,
            created: record.created,
            started: record.started,
            finished: record.finished,
            updated: record.updated,
            parameters: record.parameters.clone(),
            callbacks: Vec::new(),
            links: links(&record.job_id, record.status, has_log(record), urls),
        }
    }

    /// The same, with the place of a job that waits.
    #[must_use]
    pub fn with_place(mut self, ahead: usize) -> Self {
        let count = if ahead < MOST_AHEAD { ahead.to_string() } else { format!("{MOST_AHEAD} or more") };
        let jobs = if ahead == 1 { "job is" } else { "jobs are" };
        self.message.get_or_insert_with(|| format!("it waits to be launched: about {count} {jobs} before it"));
        self.jobs_ahead = Some(ahead);
        self
    }

    /// The same, with how far the job's callbacks are.
    #[must_use]
    pub fn with_callbacks(self, callbacks: Vec<CallbackInfo>) -> Self {
        Self { callbacks, ..self }
    }

    /// Of a job that was removed: there is nothing more to come back for.
    pub fn of_removed(record: &JobRecord, urls: &Urls) -> Self {
        Self {
            message: Some("the job was removed".to_owned()),
            links: vec![Link::json(urls.jobs(), rel::JOB_LIST, "the jobs that are left")],
            ..Self::of_record(record, urls)
        }
    }

    /// From what the index keeps: the same without parameters and reason, which only the record has.
    pub fn of_row(job_id: JobId, row: &Row, urls: &Urls) -> Self {
        Self {
            job_id,
            process_id: row.process_id().to_owned(),
            kind: "process",
            status: row.status(),
            message: row.message().map(str::to_owned),
            reason: None,
            jobs_ahead: None,
            progress: row.progress(),
            created: row.created(),
            started: row.started(),
            finished: row.finished(),
            updated: row.updated(),
            parameters: None,
            callbacks: Vec::new(),
            links: links(&job_id, row.status(), row.has_log(), urls),
        }
    }
}

/// A job that is held up has not failed, and tells why it waits.
fn reason(record: &JobRecord) -> Option<Reason> {
    let of_end = record.outcome.as_ref().and_then(|outcome| outcome.reason);
    of_end.or_else(|| record.held_up.as_ref().map(|held_up| held_up.reason))
}

fn links(job: &JobId, status: Status, has_log: bool, urls: &Urls) -> Vec<Link> {
    let mut links = Vec::from(pages::own_links(&urls.job(job), Form::Json, "this job"));
    match status {
        Status::Accepted | Status::Running => {
            links.push(Link::json(urls.job(job), rel::MONITOR, "status of this job"));
        }
        Status::Successful => {
            let href = urls.results(job);
            links.push(Link { href, rel: rel::RESULTS, media_type: None, title: "results of this job" });
        }
        // The link leads to the exception that says what happened.
        Status::Failed => links.push(Link::json(urls.results(job), rel::RESULTS, "why this job failed")),
        Status::Dismissed => {}
    }
    if has_log {
        let (href, media_type) = (urls.logs(job), Some("text/plain"));
        links.push(Link { href, rel: rel::LOG, media_type, title: "log of this job" });
    }
    links
}

/// The index keeps microseconds, so that everybody is shown no more.
fn time<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(*time);
    serializer.collect_str(&shown)
}

fn optional_time<S: serde::Serializer>(value: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => time(value, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{
        configuration::PublicUrl,
        job_record::{Archive, ArchiveState},
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::index::{Index, Start, Wanted};

    fn record() -> JobRecord {
        let created = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        let id = "0190163d-8694-739b-aea5-966c26f8ad90".parse().unwrap();
        JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), created, ArchiveState::Pending)
    }

    fn urls() -> Urls {
        Urls::new(&PublicUrl::parse("http://h").unwrap())
    }

    fn shown(record: &JobRecord) -> Value {
        serde_json::to_value(StatusInfo::of_record(record, &urls())).unwrap()
    }

    #[test]
    fn a_new_job_has_a_monitor_link_and_no_member_that_is_not_known() {
        let href = "http://h/jobs/0190163d-8694-739b-aea5-966c26f8ad90";
        let expected = json!({
            "jobID": "0190163d-8694-739b-aea5-966c26f8ad90", "processID": "p", "type": "process", "status": "accepted",
            "created": "2026-01-02T03:04:05.123456Z", "updated": "2026-01-02T03:04:05.123456Z",
            "links": [
                {"href": href, "rel": "self", "type": "application/json", "title": "this job"},
                {"href": format!("{href}?f=html"), "rel": "alternate", "type": "text/html", "title": "this job"},
                {"href": href, "rel": "monitor", "type": "application/json", "title": "status of this job"}
            ]
        });
        assert_eq!(shown(&record()), expected);
    }

    #[test]
    fn a_job_that_is_done_links_its_results_and_no_monitor() {
        let mut record = record();
        record.status = Status::Successful;
        let text = shown(&record)["links"].to_string();
        assert!(text.contains(rel::RESULTS) && !text.contains("monitor"), "{text}");
    }

    #[test]
    fn the_index_shows_the_same_but_for_the_parameters() {
        let mut record = record();
        record.status = Status::Failed;
        record.progress = Some(40);
        record.message = Some("exit code 3".into());
        record.started = Some(record.created);
        record.finished = Some(record.created);
        record.archive = Archive { key: Some("k".into()), size: Some(1), ..Archive::new(ArchiveState::Stored) };
        let index = Index::new(1 << 20);
        index.apply_record(&record, 7);
        let wanted = Wanted { start: Start::Newest, offset: 0, limit: 1, now: record.created };
        let (id, row) = index.list(&Default::default(), wanted).jobs.remove(0);
        let row = serde_json::to_value(StatusInfo::of_row(id, &row, &urls())).unwrap();
        assert_eq!(row, shown(&record));
        assert!(row["links"].to_string().contains("/logs"), "{row}");
    }
}
