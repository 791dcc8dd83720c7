//! `/jobs/{id}/results/{output}`: the bytes of one output (requirement `/req/core/job-result` of the standard's branch
//! 1.0.0-maintenance).

use actix_web::{HttpRequest, HttpResponse, web};

use super::answer;
use crate::{app::Gateway, error::GatewayError, query::Query};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    Query::parse(request.query_string())?;
    let id = answer::job_id(&request)?;
    let record = gateway.jobs.find(&id).await?.ok_or(GatewayError::NoSuchJob)?;
    let answered = gateway.values.output(&record, &answer::output_id(&request), &request).await;
    answer::of_results(&gateway, &id, answered).await
}
