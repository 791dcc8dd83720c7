//! `/openapi`: the API's definition, of what exists.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use serde_json::{Value, json};

use super::answer;
use crate::{
    app::Gateway,
    error::GatewayError,
    links::{JSON, OPENAPI},
    query::Query,
};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let language = answer::language(&gateway, &request, &query);
    // Those who ask for plain JSON by name get it under that name.
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = if accept.trim().eq_ignore_ascii_case(JSON) { JSON } else { OPENAPI };
    answer::json(&gateway, StatusCode::OK, media_type, &definition(&gateway, language))
}

fn definition(gateway: &Gateway, language: &str) -> Value {
    let identification = &gateway.configuration.metadata.identification;
    let process = json!({"name": "processID", "in": "path", "required": true, "schema": {"type": "string"}});
    let job = json!({"name": "jobID", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}});
    let whole = |least: u32| json!({"type": "integer", "minimum": least});
    let query = |name: &str, schema: Value| json!({"name": name, "in": "query", "required": false, "schema": schema});
    let words = json!({"type": "array", "items": {"type": "string"}});
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": identification.title.text(language),
            "description": identification.description.text(language),
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{"url": gateway.urls.base()}],
        "paths": {
            "/": {"get": read("landingPage", "Where everything is", &[], false)},
            "/conformance": {"get": read("conformance", "Conformance classes that are met", &[], false)},
            "/openapi": {"get": read("definition", "This definition", &[], false)},
            "/processes": {"get": read("processes", "The processes", &[query("limit", whole(1)), query("offset", whole(0))], false)},
            "/processes/{processID}": {"get": read("process", "One process", std::slice::from_ref(&process), true)},
            "/processes/{processID}/execution": {"post": execute(&process)},
            "/jobs": {"get": read("jobs", "The jobs, the newest first", &[
                query("limit", whole(1)), query("offset", whole(0)), query("processID", words.clone()), query("status", words),
            ], false)},
            "/jobs/{jobID}": {"get": read("job", "Status of one job", std::slice::from_ref(&job), true)},
            "/jobs/{jobID}/results": {"get": results(&job)},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"exception": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
                    "detail": {"type": "string"}, "instance": {"type": "string"},
                },
            }},
        },
    })
}

fn read(id: &str, summary: &str, parameters: &[Value], can_be_missing: bool) -> Value {
    let mut responses = json!({
        "200": {"description": summary, "content": {JSON: {"schema": {"type": "object"}}}},
        "default": exception("Anything else"),
    });
    if can_be_missing {
        responses["404"] = exception("There is none of this id");
    }
    json!({"operationId": id, "summary": summary, "parameters": parameters, "responses": responses})
}

fn execute(process: &Value) -> Value {
    let prefer = json!({"name": "Prefer", "in": "header", "required": false, "schema": {"type": "string"}});
    json!({
        "operationId": "execute",
        "summary": "Execute a process",
        "description": "Synchronous if the process allows it, unless respond-async is preferred.",
        "parameters": [process, prefer],
        "security": [{}, {"token": []}],
        "requestBody": {"content": {JSON: {"schema": {
            "type": "object",
            "properties": {
                "inputs": {"type": "object"},
                "outputs": {"type": "object"},
                "response": {"type": "string", "enum": ["raw", "document"], "default": "raw"},
            },
        }}}},
        "responses": {
            "200": {"description": "The results of a synchronous execution", "content": {"*/*": {}}},
            "201": {
                "description": "The job, to come back for",
                "headers": {"Location": {"schema": {"type": "string"}}},
                "content": {JSON: {"schema": {"type": "object"}}},
            },
            "204": {"description": "A synchronous execution without results"},
            "401": exception("A token is needed"),
            "403": exception("The token is wrong"),
            "404": exception("There is no such process"),
            "413": exception("The body is too large"),
            "415": exception("The body is not JSON"),
            "default": exception("Anything else"),
        },
    })
}

fn results(job: &Value) -> Value {
    json!({
        "operationId": "results",
        "summary": "Results of one job",
        "parameters": [job],
        "responses": {
            "200": {"description": "The results", "content": {"*/*": {}}},
            "204": {"description": "The job has no results"},
            "404": exception("There is no such job, or it is not done"),
            "default": exception("The job failed"),
        },
    })
}

fn exception(description: &str) -> Value {
    let schema = json!({"$ref": "#/components/schemas/exception"});
    json!({"description": description, "content": {JSON: {"schema": schema}}})
}
