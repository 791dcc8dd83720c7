//! `/`: where everything is (requirement `/req/core/landingpage-success`).

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::answer;
use crate::{
    app::Gateway,
    error::GatewayError,
    links::{HTML, Link, OPENAPI, OPENAPI_YAML, rel},
    pages::{self, Form},
    query::Query,
};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let language = answer::language(&gateway, &request, &query);
    let urls = &gateway.urls;
    let identification = &gateway.configuration.metadata.identification;
    let definition = |href, rel, media_type, title| Link { href, rel, media_type: Some(media_type), title };
    let form = pages::form_of(&request, &query);
    let [own, other] = pages::own_links(&urls.landing(), form, "this document");
    let links = [
        own,
        other,
        definition(urls.openapi(), "service-desc", OPENAPI, "definition of this API"),
        definition(format!("{}?f=yaml", urls.openapi()), "service-desc", OPENAPI_YAML, "definition of this API"),
        definition(urls.openapi_page(), "service-doc", HTML, "a page to read and try this API"),
        Link::json(urls.conformance(), rel::CONFORMANCE, "conformance classes"),
        Link::json(urls.processes(), rel::PROCESSES, "processes"),
        Link::json(urls.jobs(), rel::JOB_LIST, "jobs"),
    ];
    let document = json!({
        "title": identification.title.text(language),
        "description": identification.description.text(language),
        "links": links,
    });
    match form {
        Form::Json => answer::ok_in(&gateway, language, &document),
        Form::Html => answer::page_in(language, pages::landing::page(&gateway, &request, language, &document)),
    }
}
