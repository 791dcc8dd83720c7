//! `/jobs/{id}`: the status of one job (requirement `/req/core/job-success`).

use actix_web::{HttpRequest, HttpResponse, web};

use super::answer;
use crate::{app::Gateway, error::GatewayError, query::Query, status::StatusInfo};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    Query::parse(request.query_string())?;
    answer::guard_jobs(&gateway, &request)?;
    let id = answer::job_id(&request)?;
    let record = gateway.jobs.find(&id).await?.ok_or(GatewayError::NoSuchJob)?;
    answer::ok(&gateway, &StatusInfo::of_record(&record, &gateway.urls))
}
