//! The API's definition (OpenAPI 3.0.3), made from the table of routes that serves: a route without a description is seen
//! there, a description without a route can't be.

mod answers;
mod callbacks;
mod components;
mod configured;
mod operation;
pub(crate) mod operations;
mod parameters;
mod process;
mod rates;
mod security;

use protocol::{ProcessDefinition, configuration::Configuration};
use serde_json::{Map, Value, json};

use crate::{links::Urls, rates::LimitSettings, routes::RESOURCES};

/// Describes an operation: an Operation Object.
pub(crate) type Describe = fn(&Context<'_>) -> Value;
/// Describes an operation on one process, or on any for `None`.
pub(crate) type DescribeOfProcess = fn(&Context<'_>, Option<&ProcessDefinition>) -> Value;

/// How often an operation stands in the definition.
pub(crate) enum Document {
    /// Under its own path.
    Once(Describe),
    /// Under its own path, and once for each process.
    OfEachProcess(DescribeOfProcess),
}

/// What descriptions are made from.
pub(crate) struct Context<'a> {
    /// The configuration file.
    pub(crate) configuration: &'a Configuration,
    /// Public URLs.
    pub(crate) urls: &'a Urls,
    /// Language of the texts.
    pub(crate) language: &'a str,
    /// The configured issuer of OpenID Connect.
    pub(crate) issuer: Option<&'a str>,
    /// Whether subscribers are called back.
    pub(crate) calls_back: bool,
    /// How often somebody may ask.
    pub(crate) limits: &'a LimitSettings,
}

/// The whole definition.
pub(crate) fn definition(context: &Context<'_>) -> Value {
    let identification = &context.configuration.metadata.identification;
    let mut info = json!({
        "title": identification.title.text(context.language),
        "description": identification.description.text(context.language),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let terms = identification.terms_of_service.as_ref().map(|url| url.text(context.language));
    if let Some(terms) = terms.filter(|terms| url::Url::parse(terms).is_ok()) {
        info["termsOfService"] = terms.into();
    }
    json!({
        "openapi": "3.0.3",
        "info": info,
        "servers": [{"url": context.urls.base()}],
        "tags": [
            {"name": "server", "description": "What is offered"},
            {"name": "processes", "description": "What can be executed"},
            {"name": "jobs", "description": "What was executed"},
        ],
        "paths": paths(context),
        "components": components::components(context),
    })
}

fn paths(context: &Context<'_>) -> Map<String, Value> {
    let mut paths = Map::new();
    for resource in RESOURCES {
        for operation in resource.operations {
            let Some(document) = &operation.document else { continue };
            let verb = operation.verb.words()[0].to_ascii_lowercase();
            let mut insert = |path: String, process: Option<&ProcessDefinition>, described: Value| {
                let item = paths.entry(path).or_insert_with(|| json!({}));
                let described = security::describe(context, operation.rule, process, described);
                item[&verb] = rates::describe(context, operation.cost, described);
            };
            match document {
                Document::Once(describe) => insert(resource.path.to_owned(), None, describe(context)),
                Document::OfEachProcess(describe) => {
                    insert(resource.path.to_owned(), None, describe(context, None));
                    for process in context.configuration.processes.values() {
                        let path = resource.path.replace("{processID}", &Urls::segment(process.id.as_str()));
                        insert(path, Some(process), describe(context, Some(process)));
                    }
                }
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::testing;

    fn document() -> Value {
        document_of(&testing::configuration(), None)
    }

    fn document_of(configuration: &Configuration, issuer: Option<&str>) -> Value {
        let urls = Urls::new(&configuration.server.url);
        definition(&Context {
            configuration,
            urls: &urls,
            language: "en-US",
            issuer,
            calls_back: true,
            limits: &LimitSettings::default(),
        })
    }

    #[test]
    fn what_an_operation_wants_is_described_from_its_rule() {
        let mut configuration = testing::configuration();
        let (token, both) = (json!([{"token": []}]), json!([{"token": []}, {"oidc": []}]));
        for protect_jobs in [None, Some(true), Some(false)] {
            configuration.server.manager.protect_jobs = protect_jobs;
            for (issuer, expected) in [(None, &token), (Some("https://id.example.org/"), &both)] {
                let document = document_of(&configuration, issuer);
                let of = |path: &str, verb: &str| &document["paths"][path][verb];
                assert_eq!(of("/jobs/{jobID}", "delete")["security"], *expected);
                let is_listed_openly = protect_jobs == Some(false);
                assert_eq!(of("/jobs", "get").get("security").is_none(), is_listed_openly);
                assert_eq!(of("/jobs", "get")["responses"].get("401").is_none(), is_listed_openly);
                let is_protected = of("/jobs/{jobID}", "get").get("security") == Some(expected);
                assert_eq!(is_protected, protect_jobs == Some(true));
                let protected = of("/processes/protected/execution", "post")["security"].as_array().unwrap();
                assert_eq!(protected.last(), Some(&json!({})), "the token may be an input");
                assert_eq!(of("/processes/open/execution", "post")["security"], json!([]));
            }
        }
        let document = document_of(&configuration, Some("https://id.example.org/"));
        let url = &document["components"]["securitySchemes"]["oidc"]["openIdConnectUrl"];
        assert_eq!(*url, "https://id.example.org/.well-known/openid-configuration");
    }

    #[test]
    fn every_execution_documents_its_subscriber_and_callbacks_where_there_are_any() {
        let document = document();
        for path in ["/processes/{processID}/execution", "/processes/open/execution"] {
            let operation = &document["paths"][path]["post"];
            let called = &operation["callbacks"]["jobSuccessful"]["{$request.body#/subscriber/successUri}"]["post"];
            assert!(called["requestBody"].is_object(), "{path}: {operation}");
        }
        let body = &document["paths"]["/processes/open/execution"]["post"]["requestBody"];
        let members = &body["content"]["application/json"]["schema"]["properties"];
        assert_eq!(members["subscriber"]["$ref"], "#/components/schemas/subscriber");
        assert!(document["components"]["schemas"]["execute"]["properties"]["subscriber"].is_object());
        let configuration = testing::configuration();
        let urls = Urls::new(&configuration.server.url);
        let (configuration, language, limits) = (&configuration, "en-US", LimitSettings::default());
        let context =
            Context { configuration, urls: &urls, language, issuer: None, calls_back: false, limits: &limits };
        let silent = definition(&context).to_string();
        assert!(!silent.contains("subscriber") && !silent.contains("\"callbacks\""));
    }

    #[test]
    fn what_may_be_refused_as_too_much_says_so() {
        let configuration = testing::configuration();
        let urls = Urls::new(&configuration.server.url);
        let documented = |limits: &LimitSettings| {
            let (configuration, language) = (&configuration, "en-US");
            let context = Context { configuration, urls: &urls, language, issuer: None, calls_back: true, limits };
            let document = definition(&context);
            [("/jobs", "get"), ("/processes/open/execution", "post"), ("/jobs/{jobID}", "delete")]
                .map(|(path, verb)| document["paths"][path][verb]["responses"].get("429").is_some())
        };
        assert_eq!(documented(&LimitSettings::default()), [false; 3]);
        assert_eq!(documented(&LimitSettings { reads: 1, ..LimitSettings::default() }), [true, false, false]);
        assert_eq!(documented(&LimitSettings { executions: 1, ..LimitSettings::default() }), [false, true, true]);
        assert_eq!(documented(&LimitSettings { failures: 1, ..LimitSettings::default() }), [true; 3]);
    }

    #[test]
    fn every_documented_path_is_one_of_the_table_and_every_route_but_the_pages_is_documented() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        for resource in RESOURCES {
            let is_documented = resource.operations.iter().all(|operation| operation.document.is_some());
            assert_eq!(paths.contains_key(resource.path), is_documented, "{}", resource.path);
        }
        let beyond: Vec<&String> =
            paths.keys().filter(|path| RESOURCES.iter().all(|resource| resource.path != *path)).collect();
        let configuration = testing::configuration();
        let executions = configuration.processes.keys().map(|id| format!("/processes/{}/execution", id.as_str()));
        assert_eq!(beyond, executions.collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }

    #[test]
    fn operation_ids_are_unique_and_every_reference_leads_somewhere() {
        let document = document();
        let mut ids = HashSet::new();
        for operation in document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap()) {
            assert!(ids.insert(operation.1["operationId"].as_str().unwrap()), "{}", operation.1["operationId"]);
        }
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(reference)) = members.get("$ref") {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    open.extend(members.values());
                }
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
    }

    #[test]
    fn a_process_has_an_operation_typed_by_its_inputs() {
        let document = document();
        let body = &document["paths"]["/processes/protected/execution"]["post"]["requestBody"];
        let schema = &body["content"]["application/json"]["schema"]["properties"]["inputs"];
        assert_eq!(schema["required"], json!(["text"]), "the token is never required");
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"]["token"].is_object());
        assert_eq!(document["components"]["schemas"]["process.open.input.text"]["type"], "string");
    }
}
