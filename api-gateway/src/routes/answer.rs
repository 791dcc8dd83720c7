//! What the resources share: JSON answers, and what they read from a request.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
};
use protocol::{JobId, JobRecord, ProcessDefinition};
use serde::Serialize;

use crate::{
    access::{Admission, View, sight},
    app::Gateway,
    error::GatewayError,
    language,
    links::JSON,
    pages::form::fields,
    query::Query,
};

/// Writes a document, indented where the configuration wants it.
pub(super) fn json(
    gateway: &Gateway,
    status: StatusCode,
    media_type: &str,
    document: &impl Serialize,
) -> Result<HttpResponse, GatewayError> {
    let write = if gateway.configuration.server.pretty_print { serde_json::to_vec_pretty } else { serde_json::to_vec };
    let text = write(document).map_err(GatewayError::internal)?;
    Ok(HttpResponse::build(status).content_type(media_type).body(text))
}

/// A successful document.
pub(super) fn ok(gateway: &Gateway, document: &impl Serialize) -> Result<HttpResponse, GatewayError> {
    json(gateway, StatusCode::OK, JSON, document)
}

/// A successful document in one of the languages.
pub(super) fn ok_in(
    gateway: &Gateway,
    language: &str,
    document: &impl Serialize,
) -> Result<HttpResponse, GatewayError> {
    let mut answer = ok(gateway, document)?;
    say_language(&mut answer, language);
    Ok(answer)
}

/// A page in one of the languages.
pub(super) fn page_in(language: &str, page: Result<HttpResponse, GatewayError>) -> Result<HttpResponse, GatewayError> {
    let mut answer = page?;
    say_language(&mut answer, language);
    Ok(answer)
}

/// Says which language an answer is in.
pub(super) fn say_language(answer: &mut HttpResponse, language: &str) {
    if let Ok(value) = header::HeaderValue::from_str(language) {
        answer.headers_mut().insert(header::CONTENT_LANGUAGE, value);
    }
}

/// The language for a request.
pub(super) fn language<'a>(gateway: &'a Gateway, request: &HttpRequest, query: &Query) -> &'a str {
    let header = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    language::pick(&gateway.configuration.server.languages, query.one("lang"), header)
}

/// The process that the path names.
pub(super) fn process<'a>(gateway: &'a Gateway, request: &HttpRequest) -> Result<&'a ProcessDefinition, GatewayError> {
    gateway.configuration.processes.get(segment(request, "processID").as_str()).ok_or(GatewayError::NoSuchProcess)
}

/// The job that the path names, where who asks sees it. What is no id names no job.
pub(super) async fn job(gateway: &Gateway, request: &HttpRequest) -> Result<Arc<JobRecord>, GatewayError> {
    job_in(gateway, request, Admission::of(request)?.view()).await
}

/// The same among the jobs of a view.
pub(super) async fn job_in(
    gateway: &Gateway,
    request: &HttpRequest,
    view: &View,
) -> Result<Arc<JobRecord>, GatewayError> {
    let id = segment(request, "jobID").parse().map_err(|_| GatewayError::NoSuchJob)?;
    sight::find(gateway, view, &id).await
}

/// The output id that the path names.
pub(super) fn output_id(request: &HttpRequest) -> String {
    segment(request, "outputID")
}

/// Lets pass only a form that this service's own pages sent: browsers send forms of other sites, too.
pub(super) fn own_form(gateway: &Gateway, request: &HttpRequest) -> Result<(), GatewayError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(fields::is_form) {
        return Err(GatewayError::UnsupportedMediaType);
    }
    match is_of_this_site(gateway, request) {
        Some(true) => Ok(()),
        Some(false) => Err(GatewayError::ForeignForm { here: gateway.urls.landing() }),
        // Mostly curl, which calls everything a form that it is not told otherwise of.
        None => Err(GatewayError::UnsupportedMediaType),
    }
}

/// Whether a browser says that a page of ours sent this; `None` where no browser says anything.
pub(super) fn is_of_this_site(gateway: &Gateway, request: &HttpRequest) -> Option<bool> {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    // Browsers tell what site a form is of only where nobody can listen; its origin they tell always.
    match text("sec-fetch-site") {
        Some(site) => Some(site == "same-origin"),
        None => text("origin").map(|origin| origin == gateway.urls.origin()),
    }
}

fn segment(request: &HttpRequest, name: &str) -> String {
    let raw = request.match_info().get(name).unwrap_or("");
    percent_encoding::percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

/// What there is to say of a job's results: where they are not at their place, the job may have been removed at another
/// replica a moment ago.
pub(super) async fn of_results(
    gateway: &Gateway,
    job: &JobId,
    answered: Result<HttpResponse, GatewayError>,
) -> Result<HttpResponse, GatewayError> {
    match answered {
        Err(GatewayError::Internal(_)) if matches!(gateway.jobs.find_at_leader(job).await, Ok(None)) => {
            Err(GatewayError::NoSuchJob)
        }
        answered => answered,
    }
}
