//! `/processes`: the list of processes (requirement `/req/core/process-list-success`).

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::{answer, process};
use crate::{
    app::Gateway,
    error::GatewayError,
    links::Link,
    pages::{self, Form},
    query::{Page, Query},
};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let language = answer::language(&gateway, &request, &query);
    let page = query.page(&gateway.configuration.server.limits)?;
    let all = &gateway.configuration.processes;
    let shown = all.values().skip(page.offset).take(page.limit);
    let form = pages::form_of(&request, &query);
    let shown: Vec<_> = shown.map(|it| (it, process::summary(it, language, &gateway.urls, form))).collect();
    let has_next = page.next().offset < all.len();
    let links = page_links(&gateway.urls.processes(), &query, page, has_next, form);
    match form {
        Form::Json => {
            let processes: Vec<_> = shown.into_iter().map(|(_, summary)| summary).collect();
            answer::ok_in(&gateway, language, &json!({"processes": processes, "links": links}))
        }
        Form::Html => {
            let document = json!({"links": links});
            answer::page_in(language, pages::processes::page(&gateway, &request, language, &shown, &document))
        }
    }
}

/// The links of one page of a list.
fn page_links(list: &str, query: &Query, page: Page, has_next: bool, form: Form) -> Vec<Link> {
    let href = |page: Page| format!("{list}?{}", query.of_page(page));
    let mut links = Vec::from(pages::own_links(&href(page), form, "this list"));
    if has_next {
        links.push(Link::json(href(page.next()), "next", "the next page"));
    }
    if let Some(previous) = page.previous() {
        links.push(Link::json(href(previous), "prev", "the page before"));
    }
    links
}
