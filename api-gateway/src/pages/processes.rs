//! The list of processes.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use askama::Template;
use protocol::{ProcessDefinition, process::JobControlOptions};
use serde_json::{Map, Value};

use super::{Section, Shown, Site};
use crate::{app::Gateway, error::GatewayError};

#[derive(Template)]
#[template(path = "processes.html")]
struct Processes<'a> {
    site: Site<'a>,
    processes: Vec<Summary<'a>>,
    previous: Option<String>,
    next: Option<String>,
    links: Vec<Shown>,
}

struct Summary<'a> {
    id: &'a str,
    url: String,
    title: &'a str,
    description: &'a str,
    version: &'a str,
    keywords: &'a [String],
    modes: String,
    transmission: String,
    is_protected: bool,
    links: Vec<Shown>,
    more: Option<String>,
}

/// The page of these processes, each with its document.
pub(crate) fn page<'a>(
    gateway: &'a Gateway,
    request: &HttpRequest,
    language: &'a str,
    processes: &[(&'a ProcessDefinition, Map<String, Value>)],
    document: &Value,
) -> Result<HttpResponse, GatewayError> {
    let links = Shown::all(document);
    let leading = |rel: &str| links.iter().find(|link| link.rel == rel).map(|link| link.href.clone());
    let page = Processes {
        site: Site::of(gateway, request, language, Section::Processes),
        processes: processes.iter().map(|(it, document)| summary_of(gateway, language, it, document)).collect(),
        previous: leading("prev"),
        next: leading("next"),
        links,
    };
    super::page(gateway, StatusCode::OK, &page)
}

fn summary_of<'a>(
    gateway: &Gateway,
    language: &str,
    process: &'a ProcessDefinition,
    document: &Map<String, Value>,
) -> Summary<'a> {
    let it = &process.description;
    Summary {
        id: process.id.as_str(),
        url: gateway.urls.process(&process.id),
        title: it.title.text(language),
        description: it.description.text(language),
        version: &it.version,
        keywords: it.keywords.list(language),
        modes: modes(it.job_control_options),
        transmission: transmission(document),
        is_protected: process.check_auth,
        links: Shown::all(&Value::Object(document.clone())),
        more: more(document),
    }
}

/// `jobControlOptions`, for people, with the words of the standard.
pub(super) fn modes(options: JobControlOptions) -> String {
    options.names().collect::<Vec<_>>().join(", ")
}

/// `outputTransmission`.
pub(super) fn transmission(document: &Map<String, Value>) -> String {
    let words = document.get("outputTransmission").and_then(Value::as_array).into_iter().flatten();
    words.filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
}

/// What the configuration says beside what has a place on the page.
pub(super) fn more(document: &Map<String, Value>) -> Option<String> {
    let names = ["metadata", "additionalParameters"];
    let more: Map<String, Value> =
        names.iter().filter_map(|name| Some(((*name).to_owned(), document.get(*name)?.clone()))).collect();
    (!more.is_empty()).then(|| super::pretty(&Value::Object(more)))
}
