//! `/jobs/{id}/results`: the results of one job (requirements `/req/core/job-results…`).

use actix_web::{HttpRequest, HttpResponse, web};

use super::answer;
use crate::{
    app::Gateway,
    error::GatewayError,
    pages::{self, Form},
    query::Query,
    results::Asked,
};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let record = answer::job(&gateway, &request).await?;
    let asked = Asked::of(&request, &query);
    let answered = match pages::form_of(&request, &query) {
        Form::Json => gateway.values.answer(&record, &asked).await,
        Form::Html => {
            let language = answer::language(&gateway, &request, &query);
            pages::results::page(&gateway, &request, language, &record, asked.outputs.as_deref()).await
        }
    };
    answer::of_results(&gateway, &record.job_id, answered).await
}
