//! `/jobs/{id}/logs`: the log of one job as it is archived. While there is none yet, it is a 404 that says why.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode},
    web,
};
use protocol::audit::{Action, Outcome};

use super::answer;
use crate::{access::Admission, app::Gateway, audit::Trail, error::GatewayError, query::Query};

/// The word of the parameter `f`.
const TEXT: &str = "txt";

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    Query::of_forms(request.query_string(), &[TEXT])?;
    let record = answer::job(&gateway, &request).await?;
    let answered = gateway.values.log(&record, &request).await;
    let admission = Admission::of(&request)?;
    if admission.needed_token() && request.method() == Method::GET && answered.as_ref().is_ok_and(holds_some) {
        let trail = Trail::of(&gateway, &request, admission.caller().clone());
        trail.tell(Action::ReadLog, &record.process_id, &record.job_id, Outcome::Done);
    }
    answer::of_results(&gateway, &record.job_id, answered).await
}

/// Whether an answer has something of the log: what the client had before was read then.
fn holds_some(answer: &HttpResponse) -> bool {
    matches!(answer.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT)
}
