//! An execution that a page's form sends: the same request, answered for browsers. Who is done is sent on to the job or its
//! results; who is not sees the form again, with what was typed and what is wrong beside each field.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use protocol::{ProcessDefinition, job_record::Status};

use super::{Accepting, Mode, Taken, accepted, answer, body::Body, ended, parse};
use crate::{
    access::{Admission, Door},
    app::Gateway,
    error::GatewayError,
    pages::{
        self, Section, Site,
        form::{Fields, Form, fields, request as asked_by},
    },
    query::Query,
    results::lend,
    routes::process,
    validate::Violation,
};

/// Whether a request is a form.
pub(super) fn is_one(request: &HttpRequest) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(fields::is_form)
}

/// Executes what the form asks for; `accepting` is held until it is accepted.
pub(super) async fn execute(
    gateway: &Gateway,
    request: &HttpRequest,
    process: &ProcessDefinition,
    body: Body,
    accepting: Accepting<'_>,
) -> Result<HttpResponse, GatewayError> {
    let Body { bytes, mut portion } = body;
    let fields = Fields::read(&bytes)?;
    if !portion.grow(fields.memory()) {
        return Err(GatewayError::Busy);
    }
    drop(bytes);
    let lent =
        |page: HttpResponse, portion| lend(page, portion, gateway.settings.send_timeout).ok_or(GatewayError::Busy);
    if fields.one(fields::MORE).is_some() {
        return lent(again(gateway, request, process, &fields, StatusCode::OK, &[], None)?, portion);
    }
    let asked = asked_by(process, &fields);
    let bytes = serde_json::to_vec(&asked.body).map_err(GatewayError::internal)?.into();
    let body = Body { bytes, portion: gateway.memory.take(0).ok_or(GatewayError::Busy)? };
    let mode = mode(process, &fields, gateway.settings.sync_wait);
    let answered = match asked.violations.is_empty() {
        true => accepted(gateway, request, process, None, body, mode, accepting).await,
        // The token comes first, as always.
        false => Err(refused(gateway, request, process, body, asked.violations).await),
    };
    match answered {
        Ok(Taken { record, wait, .. }) => {
            let latest = match wait.zip(mode.limit()) {
                Some((wait, limit)) => ended(gateway, &record, wait, limit).await.0,
                None => record,
            };
            let urls = &gateway.urls;
            let url = match latest.status {
                Status::Successful => urls.results(&latest.job_id),
                _ => urls.job(&latest.job_id),
            };
            let url = if mode == Mode::Async { urls.job(&latest.job_id) } else { url };
            Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, url)).finish())
        }
        Err(GatewayError::InvalidParameters(violations)) => {
            lent(again(gateway, request, process, &fields, StatusCode::BAD_REQUEST, &violations, None)?, portion)
        }
        Err(error @ GatewayError::Refused(_)) => {
            let status = error.status_code();
            let answer = again(gateway, request, process, &fields, status, &[], Some(error.to_string()))?;
            lent(error.with_head(answer), portion)
        }
        Err(error) => Err(error),
    }
}

/// What is wrong with a form that can't be said as JSON, and all else that is wrong with it.
async fn refused(
    gateway: &Gateway,
    request: &HttpRequest,
    process: &ProcessDefinition,
    body: Body,
    mut violations: Vec<Violation>,
) -> GatewayError {
    let (mut asked, _portion) = match parse(body) {
        Ok(parsed) => parsed,
        Err(error) => return error,
    };
    let token = if process.check_auth { asked.take_token() } else { None };
    let admitted = match Admission::of(request) {
        Ok(admission) => admission.to_execute(&Door::of(gateway, request), process, token.as_ref()).await,
        Err(error) => return error,
    };
    if let Err(refusal) = admitted {
        return refusal.into();
    }
    if let Err(GatewayError::InvalidParameters(more)) =
        asked.against(process, &gateway.schemas, gateway.callbacks.policy())
    {
        // An input that can't be said as JSON was left out: that it is missing is not what is wrong with it.
        let is_said = |it: &Violation| it.input().is_some() && violations.iter().any(|said| said.input() == it.input());
        let more: Vec<Violation> = more.into_iter().filter(|it| !is_said(it)).collect();
        violations.extend(more);
    }
    GatewayError::InvalidParameters(violations)
}

/// Whether to wait: as the form says, as far as the process can.
fn mode(process: &ProcessDefinition, fields: &Fields, limit: Duration) -> Mode {
    let options = process.description.job_control_options;
    let waits = fields.one(fields::MODE) == Some(fields::WAIT);
    if options.allows_sync() && (waits || !options.allows_async()) { Mode::Sync(limit) } else { Mode::Async }
}

/// The page of the process, its form as it was filled in.
fn again(
    gateway: &Gateway,
    request: &HttpRequest,
    process: &ProcessDefinition,
    fields: &Fields,
    status: StatusCode,
    violations: &[Violation],
    refusal: Option<String>,
) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let language = answer::language(gateway, request, &query);
    let mut form = Form::new(process, language, fields, violations);
    if let Some(message) = refusal {
        form.refuse_token(message);
    }
    let document = process::description(process, language, &gateway.urls, pages::Form::Html);
    let site = Site::of(gateway, request, language, Section::Processes).only_html();
    let page = pages::process::with_form(gateway, site, status, process, &document, form);
    answer::page_in(language, page)
}
