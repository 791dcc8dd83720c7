//! `/jobs/{id}/results`: the results of one job (requirements `/req/core/job-results…`).

use actix_web::{HttpRequest, HttpResponse, web};

use super::answer;
use crate::{app::Gateway, error::GatewayError, query::Query, results::Asked};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let record = answer::job(&gateway, &request).await?;
    let answered = gateway.values.answer(&record, &Asked::of(&request, &query)).await;
    answer::of_results(&gateway, &record.job_id, answered).await
}
