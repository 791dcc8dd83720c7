//! `/jobs/{id}/results/{output}`: the bytes of one output (requirement `/req/core/job-result` of the standard's branch
//! 1.0.0-maintenance).

use actix_web::{HttpRequest, HttpResponse, web};

use super::answer;
use crate::{app::Gateway, error::GatewayError, query::Query};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    Query::parse(request.query_string())?;
    let record = answer::job(&gateway, &request).await?;
    let answered = gateway.values.output(&record, &answer::output_id(&request), &request).await;
    answer::of_results(&gateway, &record.job_id, answered).await
}
