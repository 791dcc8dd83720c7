//! `/`: where everything is (requirement `/req/core/landingpage-success`).

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::answer;
use crate::{
    app::Gateway,
    error::GatewayError,
    links::{Link, OPENAPI, rel},
    query::Query,
};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let language = answer::language(&gateway, &request, &query);
    let urls = &gateway.urls;
    let identification = &gateway.configuration.metadata.identification;
    let definition =
        Link { href: urls.openapi(), rel: "service-desc", media_type: Some(OPENAPI), title: "definition of this API" };
    let links = [
        Link::json(urls.landing(), "self", "this document"),
        definition,
        Link::json(urls.conformance(), rel::CONFORMANCE, "conformance classes"),
        Link::json(urls.processes(), rel::PROCESSES, "processes"),
        Link::json(urls.jobs(), rel::JOB_LIST, "jobs"),
    ];
    let document = json!({
        "title": identification.title.text(language),
        "description": identification.description.text(language),
        "links": links,
    });
    answer::ok_in(&gateway, language, &document)
}
