//! `/openapi`: the API's definition as JSON or YAML, or as a page to try it (requirements `/req/oas30/…`).

pub(super) mod page;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};

use super::answer;
use crate::{
    app::Gateway,
    error::GatewayError,
    links::{JSON, OPENAPI, OPENAPI_YAML},
    openapi::{self, Context},
    query::Query,
};

/// The forms, with the words of the parameter `f`; the first is for those who ask for none.
const FORMS: [(&str, Form); 3] = [("json", Form::Json), ("yaml", Form::Yaml), ("html", Form::Html)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    /// As JSON, under its plain name: for those who ask for that.
    PlainJson,
    Yaml,
    Html,
}

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::of_forms(request.query_string(), &FORMS.map(|(word, _)| word))?;
    let language = answer::language(&gateway, &request, &query);
    let form = match query.one("f") {
        Some(word) => FORMS.iter().find(|(known, _)| *known == word).map_or(Form::Json, |(_, form)| *form),
        None => accepted(&request),
    };
    let context = Context {
        configuration: &gateway.configuration,
        urls: &gateway.urls,
        language,
        issuer: gateway.access.issuer(),
        calls_back: gateway.callbacks.policy().is_some(),
        limits: &gateway.settings.limits,
    };
    let mut answer = match form {
        Form::Json => answer::json(&gateway, StatusCode::OK, OPENAPI, &openapi::definition(&context))?,
        Form::PlainJson => answer::json(&gateway, StatusCode::OK, JSON, &openapi::definition(&context))?,
        Form::Yaml => {
            let text = serde_saphyr::to_string(&openapi::definition(&context)).map_err(GatewayError::internal)?;
            HttpResponse::Ok().content_type(OPENAPI_YAML).body(text)
        }
        Form::Html => page::page(&gateway, language),
    };
    answer::say_language(&mut answer, language);
    Ok(answer)
}

/// What the header Accept wants: the first range that there is something for, by the client's weights.
fn accepted(request: &HttpRequest) -> Form {
    use actix_web::http::header::Header;
    let Ok(accept) = header::Accept::parse(request) else { return Form::Json };
    let form = |range: &actix_web::mime::Mime| match range.essence_str() {
        "application/json" => Some(Form::PlainJson),
        "application/vnd.oai.openapi+json" | "*/*" | "application/*" => Some(Form::Json),
        "application/vnd.oai.openapi" | "application/yaml" | "text/yaml" => Some(Form::Yaml),
        "text/html" | "application/xhtml+xml" => Some(Form::Html),
        _ => None,
    };
    accept.ranked().iter().find_map(form).unwrap_or(Form::Json)
}
