//! Asks whether a job is to be stopped or removed: a form can't send `DELETE`.

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode};
use askama::Template;
use jiff::Timestamp;
use protocol::JobRecord;

use super::{Section, Site, job::Job};
use crate::{app::Gateway, error::GatewayError, status::StatusInfo};

#[derive(Template)]
#[template(path = "dismiss.html")]
struct Dismiss<'a> {
    site: Site<'a>,
    job: Job,
    label: &'static str,
    explanation: &'static str,
    needs_token: bool,
    error: Option<String>,
}

/// The question; with what went wrong, where it was answered before.
pub(crate) fn page(
    gateway: &Gateway,
    request: &HttpRequest,
    language: &str,
    record: &JobRecord,
    needs_token: bool,
    error: Option<GatewayError>,
) -> Result<HttpResponse, GatewayError> {
    let job = Job::of(gateway, language, &StatusInfo::of_record(record, &gateway.urls), Timestamp::now());
    let label = job.dismissal_label.ok_or(GatewayError::NotDismissable)?;
    let explanation = match job.is_done {
        true => "Its status, results and inputs are deleted for good.",
        false => "It is ended where it is, and has no results.",
    };
    let status = error.as_ref().map_or(StatusCode::OK, ResponseError::status_code);
    let site = Site::of(gateway, request, language, Section::Jobs).only_html();
    let told = error.as_ref().map(|error| super::capitalized(&error.to_string()));
    let page = Dismiss { site, job, label, explanation, needs_token, error: told };
    let answer = super::page(gateway, status, &page)?;
    Ok(match error {
        Some(error) => error.with_head(answer),
        None => answer,
    })
}
