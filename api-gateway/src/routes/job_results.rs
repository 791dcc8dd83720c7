//! `/jobs/{id}/results`: the results of one job (requirements `/req/core/job-results…`).

use actix_web::{HttpRequest, HttpResponse, http::Method, web};

use super::answer;
use crate::{app::Gateway, error::GatewayError, query::Query, results};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    Query::parse(request.query_string())?;
    answer::guard_jobs(&gateway, &request)?;
    let id = answer::job_id(&request)?;
    let record = gateway.jobs.find(&id).await?.ok_or(GatewayError::NoSuchJob)?;
    let plan = results::plan(&record, &gateway.urls.job(&id))?;
    gateway.values.answer(&record, plan, request.method() == Method::HEAD).await
}
