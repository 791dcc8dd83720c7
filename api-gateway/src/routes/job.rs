//! `/jobs/{id}`: the status of one job (requirement `/req/core/job-success`); its end (requirement
//! `/req/dismiss/job-dismiss-op`).

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::job_record::Phase;

use super::answer;
use crate::{
    access::Admission,
    app::Gateway,
    audit::Trail,
    callbacks,
    dismiss::{self, Deleted},
    error::GatewayError,
    pages::{self, Form},
    query::Query,
    status::StatusInfo,
};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let record = answer::job(&gateway, &request).await?;
    let callbacks = callbacks::of(&gateway, &record).await;
    let mut status = StatusInfo::of_record(&record, &gateway.urls).with_callbacks(callbacks);
    if record.phase() == Phase::Accepted {
        status = status.with_place(gateway.index.ahead(&record));
    }
    match pages::form_of(&request, &query) {
        Form::Json => answer::ok(&gateway, &status),
        Form::Html => {
            let language = answer::language(&gateway, &request, &query);
            pages::job::page(&gateway, &request, language, &status.into_page(&gateway.urls))
        }
    }
}

pub(super) async fn delete(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let record = answer::job(&gateway, &request).await?;
    let process = gateway.configuration.processes.get(&record.process_id);
    let trail = Trail::of(&gateway, &request, Admission::of(&request)?.caller().clone());
    let deleted = dismiss::delete(&gateway, record, process, trail).await?;
    let language = answer::language(&gateway, &request, &query);
    match (pages::form_of(&request, &query), deleted) {
        (Form::Json, Deleted::Dismissed(record)) => {
            answer::ok(&gateway, &StatusInfo::of_record(&record, &gateway.urls))
        }
        (Form::Json, Deleted::Removed(record)) => answer::ok(&gateway, &StatusInfo::of_removed(&record, &gateway.urls)),
        (Form::Html, Deleted::Dismissed(record)) => {
            let status = StatusInfo::of_record(&record, &gateway.urls);
            pages::job::page(&gateway, &request, language, &status.into_page(&gateway.urls))
        }
        (Form::Html, Deleted::Removed(record)) => pages::job::removed(&gateway, &request, language, &record),
    }
}
