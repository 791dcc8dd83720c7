//! `/jobs/{id}/logs`: the log of one job as it is archived. While there is none yet, it is a 404 that says why.

use actix_web::{HttpRequest, HttpResponse, web};

use super::answer;
use crate::{app::Gateway, error::GatewayError, query::Query};

/// The word of the parameter `f`.
const TEXT: &str = "txt";

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    Query::of_forms(request.query_string(), &[TEXT])?;
    let record = answer::job(&gateway, &request).await?;
    let answered = gateway.values.log(&record, &request).await;
    answer::of_results(&gateway, &record.job_id, answered).await
}
