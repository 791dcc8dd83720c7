//! The list of jobs.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use askama::Template;
use jiff::Timestamp;
use serde_json::Value;

use super::{Section, Shown, Site, form::Choice, job::Job};
use crate::{app::Gateway, error::GatewayError, query::Query, status::StatusInfo};

#[derive(Template)]
#[template(path = "jobs.html")]
struct Jobs<'a> {
    site: Site<'a>,
    jobs: Vec<Job>,
    processes: Vec<Choice>,
    statuses: Vec<Choice>,
    datetime: &'a str,
    min_duration: &'a str,
    max_duration: &'a str,
    is_filtered: bool,
    previous: Option<String>,
    next: Option<String>,
    links: Vec<Shown>,
}

const STATUSES: [&str; 5] = ["accepted", "running", "successful", "failed", "dismissed"];

pub(crate) fn page(
    gateway: &Gateway,
    request: &HttpRequest,
    language: &str,
    query: &Query,
    jobs: &[StatusInfo],
    document: &Value,
) -> Result<HttpResponse, GatewayError> {
    let links = Shown::all(document);
    let leading = |rel: &str| links.iter().find(|link| link.rel == rel).map(|link| link.href.clone());
    let chosen = query.list("processID");
    let process = |it: &protocol::ProcessDefinition| Choice {
        value: it.id.as_str().to_owned(),
        label: it.description.title.text(language).to_owned(),
        is_chosen: chosen.contains(&it.id.as_str()),
    };
    let wanted = query.list("status");
    let status = |word: &str| Choice { value: word.into(), label: word.into(), is_chosen: wanted.contains(&word) };
    let filters = ["processID", "status", "datetime", "minDuration", "maxDuration"];
    let page = Jobs {
        site: Site::of(gateway, request, language, Section::Jobs),
        jobs: jobs.iter().map(|it| Job::of(gateway, language, it, Timestamp::now())).collect(),
        processes: gateway.configuration.processes.values().map(process).collect(),
        statuses: STATUSES.into_iter().map(status).collect(),
        datetime: query.one("datetime").unwrap_or_default(),
        min_duration: query.one("minDuration").unwrap_or_default(),
        max_duration: query.one("maxDuration").unwrap_or_default(),
        is_filtered: filters.iter().any(|name| query.one(name).is_some_and(|value| !value.is_empty())),
        previous: leading("prev"),
        next: leading("next"),
        links,
    };
    super::page(gateway, StatusCode::OK, &page)
}
