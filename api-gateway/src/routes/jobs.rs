//! `/jobs`: the list of jobs, the newest first (requirement `/req/job-list/job-list-success`).

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::job_record::Status;
use serde_json::json;

use super::{answer, processes::page_links};
use crate::{app::Gateway, error::GatewayError, index::Filter, query::Query, status::StatusInfo};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    answer::guard_jobs(&gateway, &request)?;
    let page = query.page(&gateway.configuration.server.limits)?;
    let filter = filter(&query)?;
    let mut rows = gateway.index.list(&filter, page.offset, page.limit.saturating_add(1));
    let has_next = rows.len() > page.limit;
    rows.truncate(page.limit);
    let jobs: Vec<StatusInfo> = rows.iter().map(|(id, row)| StatusInfo::of_row(*id, row, &gateway.urls)).collect();
    let links = page_links(&gateway.urls.jobs(), &query, page, has_next);
    answer::ok(&gateway, &json!({"jobs": jobs, "links": links}))
}

fn filter(query: &Query) -> Result<Filter, GatewayError> {
    let status = |word: &str| match word {
        "accepted" => Ok(Status::Accepted),
        "running" => Ok(Status::Running),
        "successful" => Ok(Status::Successful),
        "failed" => Ok(Status::Failed),
        "dismissed" => Ok(Status::Dismissed),
        _ => Err(GatewayError::invalid("status: expected accepted, running, successful, failed or dismissed")),
    };
    Ok(Filter {
        processes: query.list("processID").into_iter().map(str::to_owned).collect(),
        statuses: query.list("status").into_iter().map(status).collect::<Result<_, _>>()?,
    })
}
