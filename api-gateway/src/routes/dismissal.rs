//! `/jobs/{id}/dismiss`: what pages have in place of `DELETE`, which a form can't send. It asks first.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use protocol::JobRecord;

use super::{answer, execution::body};
use crate::{
    access::{Admission, Door, Need, Rule},
    app::Gateway,
    audit::Trail,
    dismiss::{self, Deleted},
    error::GatewayError,
    pages::{
        self,
        form::{Fields, fields},
    },
    query::Query,
};

/// The status that the job had when the question was asked.
const STATUS: &str = "status";

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::of_forms(request.query_string(), &["html"])?;
    let record = answer::job(&gateway, &request).await?;
    let language = answer::language(&gateway, &request, &query);
    pages::dismiss::page(&gateway, &request, language, &record, need(&gateway) == Need::Token, None)
}

pub(super) async fn post(
    gateway: web::Data<Gateway>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, GatewayError> {
    let checked = check_head(&gateway, &request);
    let body = body::read(payload, &request, &gateway).await;
    // What was sent and what it was read to are held until the answer.
    let (query, mut body) = (checked?, body?);
    let fields = Fields::read(&body.bytes)?;
    if !body.portion.grow(fields.memory()) {
        return Err(GatewayError::Busy);
    }
    let token = fields.one(fields::TOKEN).filter(|token| !token.is_empty());
    let admission = Admission::of(&request)?;
    let language = answer::language(&gateway, &request, &query);
    let ask_again = |error: GatewayError, record: &JobRecord| {
        pages::dismiss::page(&gateway, &request, language, record, need(&gateway) == Need::Token, Some(error))
    };
    let (record, caller) = match admission.to_dismiss(&Door::of(&gateway, &request), need(&gateway), token).await {
        Ok(admission) => {
            let record = answer::job_in(&gateway, &request, admission.view()).await?;
            (record, admission.caller().clone())
        }
        // Who may see the job may be asked again.
        Err(refusal) => return ask_again(refusal.into(), &*answer::job(&gateway, &request).await?),
    };
    // Who was asked whether to stop a job has not agreed to its removal.
    if fields.one(STATUS).is_some_and(|status| is_done(status) != record.status.is_terminal()) {
        return ask_again(GatewayError::JobEnded { status: record.status }, &record);
    }
    let process = gateway.configuration.processes.get(&record.process_id);
    let trail = Trail::of(&gateway, &request, caller);
    match dismiss::delete(&gateway, record, process, trail).await? {
        Deleted::Dismissed(record) => {
            Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, gateway.urls.job(&record.job_id))).finish())
        }
        Deleted::Removed(record) => pages::job::removed(&gateway, &request, language, &record),
    }
}

/// What can be told without the body.
fn check_head(gateway: &Gateway, request: &HttpRequest) -> Result<Query, GatewayError> {
    answer::own_form(gateway, request)?;
    Query::of_forms(request.query_string(), &["html"])
}

/// What dismissing wants here.
fn need(gateway: &Gateway) -> Need {
    Rule::Dismiss.need(&gateway.configuration.server.manager)
}

fn is_done(status: &str) -> bool {
    !matches!(status, "accepted" | "running")
}
