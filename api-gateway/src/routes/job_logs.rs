//! `/jobs/{id}/logs`: the log of one job, while it runs and as it is archived. While there is none yet, it is a 404 that says
//! why.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode},
    web,
};
use protocol::audit::{Action, Outcome};

use super::answer;
use crate::{
    access::Admission,
    app::Gateway,
    audit::Trail,
    error::GatewayError,
    logs::{self, Asked},
    pages::{self, Form},
    query::Query,
};

/// The word of the parameter `f`.
const TEXT: &str = "txt";

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::of_forms(request.query_string(), &[TEXT, "html"])?;
    let asked = Asked::of(&query)?;
    let record = answer::job(&gateway, &request).await?;
    // A page has an end.
    let answered = match pages::form_of(&request, &query) {
        Form::Html if !asked.follow => {
            let language = answer::language(&gateway, &request, &query);
            pages::logs::page(&gateway, &request, language, &record, &asked).await
        }
        _ => logs::answer(&gateway, &record, asked, &request).await,
    };
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
