//! One job.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use askama::Template;
use jiff::Timestamp;
use protocol::{JobRecord, job_record::Status};
use serde_json::{Value, json};

use super::{
    Section, Shown, Site,
    times::{self, Time},
};
use crate::{app::Gateway, error::GatewayError, links::rel, status::StatusInfo};

#[derive(Template)]
#[template(path = "job.html")]
struct Page<'a> {
    site: Site<'a>,
    job: Job,
}

#[derive(Template)]
#[template(path = "removed.html")]
struct Removed<'a> {
    site: Site<'a>,
    job: Job,
    message: String,
}

/// A job as pages show it.
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) process_id: String,
    pub(crate) process_title: String,
    pub(crate) process_url: String,
    pub(crate) status: String,
    pub(crate) message: Option<String>,
    pub(crate) progress: Option<u8>,
    pub(crate) created: Time,
    pub(crate) started: Option<Time>,
    pub(crate) finished: Option<Time>,
    pub(crate) updated: Time,
    pub(crate) took: Option<String>,
    pub(crate) parameters: Option<String>,
    /// How far each callback is: names and values.
    pub(crate) callbacks: Vec<Vec<(String, String)>>,
    pub(crate) is_done: bool,
    /// Where the results are, or why there are none.
    pub(crate) results: Option<String>,
    /// Where its log is, once there is one.
    pub(crate) log: Option<String>,
    pub(crate) dismissal: String,
    /// What dismissing it would do; `None` where that is not offered.
    pub(crate) dismissal_label: Option<&'static str>,
    pub(crate) links: Vec<Shown>,
}

impl Job {
    /// From the status document.
    pub(crate) fn of(gateway: &Gateway, language: &str, it: &StatusInfo, now: Timestamp) -> Self {
        let process =
            it.process_id.parse().ok().and_then(|id| gateway.configuration.processes.get::<protocol::ProcessId>(&id));
        let is_done = it.status.is_terminal();
        let links = Shown::all(&json!(it));
        let can_dismiss = process.is_none_or(|it| it.description.job_control_options.allows_dismiss());
        let took = it.started.map(|started| times::duration(it.finished.unwrap_or(now).duration_since(started)));
        let parameters = it.parameters.clone().map(super::laid_out);
        Self {
            id: it.job_id.to_string(),
            url: gateway.urls.job(&it.job_id),
            process_title: process.map_or(it.process_id.as_str(), |it| it.description.title.text(language)).to_owned(),
            process_url: format!("{}/{}", gateway.urls.processes(), crate::links::Urls::segment(&it.process_id)),
            process_id: it.process_id.clone(),
            status: it.status.to_string(),
            message: it.message.clone(),
            progress: it.progress,
            created: Time::of(it.created),
            started: it.started.map(Time::of),
            finished: it.finished.map(Time::of),
            updated: Time::of(it.updated),
            took,
            parameters,
            callbacks: it.callbacks.iter().map(|callback| facts(&json!(callback))).collect(),
            is_done,
            results: matches!(it.status, Status::Successful | Status::Failed).then(|| gateway.urls.results(&it.job_id)),
            dismissal: gateway.urls.dismissal(&it.job_id),
            log: links.iter().find(|link| link.rel == rel::LOG).map(|link| link.href.clone()),
            links,
            dismissal_label: match (is_done, can_dismiss) {
                (true, _) => Some("Remove this job"),
                (false, true) => Some("Stop this job"),
                (false, false) => None,
            },
        }
    }

    /// Every time that is known, by name.
    pub(crate) fn times(&self) -> Vec<(&'static str, &Time)> {
        let all = [
            ("Created", Some(&self.created)),
            ("Started", self.started.as_ref()),
            ("Finished", self.finished.as_ref()),
            ("Updated", Some(&self.updated)),
        ];
        all.into_iter().filter_map(|(name, time)| Some((name, time?))).collect()
    }

    /// What the status means.
    pub(crate) fn sentence(&self) -> &'static str {
        match self.status.as_str() {
            "accepted" => "It has not started yet. This page keeps itself up to date.",
            "running" => "It is under way. This page keeps itself up to date.",
            "successful" => "It has ended well.",
            "failed" => "It has failed.",
            "dismissed" => "It was stopped.",
            _ => "",
        }
    }
}

/// The members of an object of plain values.
fn facts(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// The page of a job.
pub(crate) fn page(
    gateway: &Gateway,
    request: &HttpRequest,
    language: &str,
    status: &StatusInfo,
) -> Result<HttpResponse, GatewayError> {
    let page = Page {
        site: Site::of(gateway, request, language, Section::Jobs),
        job: Job::of(gateway, language, status, Timestamp::now()),
    };
    super::page(gateway, StatusCode::OK, &page)
}

/// The page after a job was removed.
pub(crate) fn removed(
    gateway: &Gateway,
    request: &HttpRequest,
    language: &str,
    record: &JobRecord,
) -> Result<HttpResponse, GatewayError> {
    let status = StatusInfo::of_removed(record, &gateway.urls);
    let page = Removed {
        site: Site::of(gateway, request, language, Section::Jobs).only_html(),
        message: status.message.clone().unwrap_or_default(),
        job: Job::of(gateway, language, &status, Timestamp::now()),
    };
    super::page(gateway, StatusCode::OK, &page)
}
