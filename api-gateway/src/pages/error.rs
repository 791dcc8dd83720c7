//! What a browser sees where a program gets an exception.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use askama::Template;

use super::{Section, Site};
use crate::{app::Gateway, error::Told, language};

#[derive(Template)]
#[template(path = "error.html")]
struct Failure<'a> {
    site: Site<'a>,
    status: String,
    heading: String,
    kind: &'a str,
    instance: &'a str,
    detail: String,
    errors: Vec<String>,
    /// Whether it would be shown to who signs in.
    is_signed_out: bool,
    is_wrong: bool,
    /// Whom else people sign in with, for people.
    issuer: Option<String>,
    onward: Option<(String, &'static str)>,
}

/// The page of an exception; `None` where there can't be one.
pub(crate) fn page(request: &HttpRequest, told: &Told<'_>) -> Option<HttpResponse> {
    let gateway = request.app_data::<web::Data<Gateway>>()?;
    let language = language::of(request, &gateway.configuration.server.languages);
    let is_refused = matches!(told.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let is_signed_out = is_refused && told.can_sign_in && gateway.access.has_source();
    let heading = match is_signed_out {
        true => "Sign in to see this".to_owned(),
        false => super::capitalized(told.title),
    };
    let detail = super::capitalized(told.detail);
    let page = Failure {
        site: Site::of(gateway, request, language, Section::None),
        status: told.status.to_string(),
        heading,
        kind: told.kind,
        instance: told.instance,
        detail,
        errors: told.violations.iter().map(|it| super::capitalized(&it.to_string())).collect(),
        is_signed_out,
        is_wrong: told.is_wrong,
        issuer: super::sign_in::host(gateway),
        onward: onward(gateway, request),
    };
    super::page(gateway, told.status, &page).ok()
}

/// Where to go on from here.
fn onward(gateway: &Gateway, request: &HttpRequest) -> Option<(String, &'static str)> {
    let segment = |name: &str| request.match_info().get(name);
    if let Some(job) = segment("jobID").and_then(|id| id.parse().ok()) {
        return match request.match_pattern()?.ends_with("/{jobID}") {
            true => Some((gateway.urls.jobs(), "To the list of jobs")),
            false => Some((gateway.urls.job(&job), "To the job")),
        };
    }
    if segment("processID").is_some() {
        return Some((gateway.urls.processes(), "To the list of processes"));
    }
    Some((gateway.urls.landing(), "To the landing page"))
}
