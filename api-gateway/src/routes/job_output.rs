//! `/jobs/{id}/results/{output}`: the bytes of one output (requirement `/req/core/job-result` of the standard's branch
//! 1.0.0-maintenance).

use actix_web::{HttpRequest, HttpResponse, web};

use super::answer;
use crate::{app::Gateway, error::GatewayError, pages, query::Query};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let record = answer::job(&gateway, &request).await?;
    let output = answer::output_id(&request);
    // Only who asks for a page by name gets one: an output may be a page itself, and is downloaded by browsers.
    let answered = if query.one("f") == Some("html") {
        let language = answer::language(&gateway, &request, &query);
        pages::results::page(&gateway, &request, language, &record, Some(&[output])).await
    } else {
        gateway.values.output(&record, &output, &request).await
    };
    answer::of_results(&gateway, &record.job_id, answered).await
}
