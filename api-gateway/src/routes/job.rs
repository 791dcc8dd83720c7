//! `/jobs/{id}`: the status of one job (requirement `/req/core/job-success`); its end (requirement
//! `/req/dismiss/job-dismiss-op`).

use actix_web::{HttpRequest, HttpResponse, web};

use super::answer;
use crate::{
    app::Gateway,
    auth,
    dismiss::{self, Deleted},
    error::GatewayError,
    query::Query,
    status::StatusInfo,
};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    Query::parse(request.query_string())?;
    answer::guard_jobs(&gateway, &request)?;
    let id = answer::job_id(&request)?;
    let record = gateway.jobs.find(&id).await?.ok_or(GatewayError::NoSuchJob)?;
    answer::ok(&gateway, &StatusInfo::of_record(&record, &gateway.urls))
}

pub(super) async fn delete(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    Query::parse(request.query_string())?;
    // Where jobs are protected, who has no token does not learn whether there is this one.
    answer::guard_jobs(&gateway, &request)?;
    let id = answer::job_id(&request)?;
    let record = gateway.jobs.find(&id).await?.ok_or(GatewayError::NoSuchJob)?;
    let process = gateway.configuration.processes.get(&record.process_id);
    let protect_jobs = gateway.configuration.server.manager.protect_jobs;
    if auth::protects_dismissal(protect_jobs, process.map(|process| process.check_auth)) {
        let presented = auth::Presented { bearer: answer::bearer(&request), input: None };
        auth::check(gateway.token.as_ref(), &presented)?;
    }
    let status = match dismiss::delete(&gateway, record, process).await? {
        Deleted::Dismissed(record) => StatusInfo::of_record(&record, &gateway.urls),
        Deleted::Removed(record) => StatusInfo::of_removed(&record, &gateway.urls),
    };
    answer::ok(&gateway, &status)
}
