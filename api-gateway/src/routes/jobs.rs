//! `/jobs`: the list of jobs, the newest first (requirement `/req/job-list/job-list-success`).

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde_json::json;

use super::answer;
use crate::{
    access::Admission,
    app::Gateway,
    error::GatewayError,
    job_list::JobList,
    links::Link,
    pages::{self, Form},
    query::Query,
    status::StatusInfo,
};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let mut query = Query::parse(request.query_string())?;
    let form = pages::form_of(&request, &query);
    if form == Form::Html {
        query = query.filled_in();
    }
    let mut list = JobList::read(&query, &gateway.configuration.server.limits, Timestamp::now())?;
    list.filter.owner = Admission::of(&request)?.view().owner().map(|owner| owner.as_str().to_owned());
    let listed = gateway.index.list(&list.filter, list.wanted);
    let (next, prev) = list.neighbours(&query, &listed);
    let href = |query: &str| match query {
        "" => gateway.urls.jobs(),
        query => format!("{}?{query}", gateway.urls.jobs()),
    };
    let mut links = Vec::from(pages::own_links(&href(request.query_string()), form, "this list"));
    links.extend(next.map(|query| Link::json(href(&query), "next", "the next page: older jobs")));
    links.extend(prev.map(|query| Link::json(href(&query), "prev", "the page before: newer jobs")));
    let jobs = listed.jobs.iter().map(|(id, row)| StatusInfo::of_row(*id, row, &gateway.urls));
    let jobs: Vec<StatusInfo> = jobs.collect();
    match form {
        Form::Json => answer::ok(&gateway, &json!({"jobs": jobs, "links": links})),
        Form::Html => {
            let language = answer::language(&gateway, &request, &query);
            pages::jobs::page(&gateway, &request, language, &query, &jobs, &json!({"links": links}))
        }
    }
}
