//! `/processes/{id}`: one process (OGC 18-062r2, schema `process`).

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::{
    ProcessDefinition,
    process::{InputDescription, Localized, OutputDescription},
};
use serde_json::{Map, Value, json};

use super::answer;
use crate::{
    app::Gateway,
    error::GatewayError,
    links::{Link, Urls, rel},
    pages::{self, Form},
    query::Query,
};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let language = answer::language(&gateway, &request, &query);
    let process = answer::process(&gateway, &request)?;
    let form = pages::form_of(&request, &query);
    let document = description(process, language, &gateway.urls, form);
    match form {
        Form::Json => answer::ok_in(&gateway, language, &document),
        Form::Html => {
            let with_example = query.one(pages::process::FILL).is_some();
            let page = pages::process::page(&gateway, &request, language, process, &document, with_example);
            answer::page_in(language, page)
        }
    }
}

/// The whole description.
pub(super) fn description(process: &ProcessDefinition, language: &str, urls: &Urls, form: Form) -> Map<String, Value> {
    let mut document = summary(process, language, urls, form);
    let inputs = process.description.inputs.iter().map(|(id, it)| (id.clone(), input(it, language)));
    document.insert("inputs".into(), Value::Object(inputs.collect()));
    let outputs = process.description.outputs.iter().map(|(id, it)| (id.clone(), output(it, language)));
    document.insert("outputs".into(), Value::Object(outputs.collect()));
    insert(&mut document, "example", process.description.example.clone());
    document
}

/// What a list shows of a process (schema `processSummary`).
pub(super) fn summary(process: &ProcessDefinition, language: &str, urls: &Urls, form: Form) -> Map<String, Value> {
    let it = &process.description;
    let mut links: Vec<Value> = it.links.iter().map(|link| configured_link(link, language)).collect();
    let [this, other] = pages::own_links(&urls.process(&process.id), form, "this process");
    let own = [
        this,
        other,
        Link::json(urls.execution(&process.id), rel::EXECUTE, "execute this process"),
        Link::json(urls.jobs_of(&process.id), rel::JOB_LIST, "jobs of this process"),
    ];
    links.extend(own.iter().map(|link| json!(link)));
    let mut document = Map::new();
    document.insert("id".into(), process.id.as_str().into());
    document.insert("title".into(), it.title.text(language).into());
    document.insert("description".into(), it.description.text(language).into());
    document.insert("version".into(), it.version.as_str().into());
    document.insert("keywords".into(), it.keywords.list(language).into());
    insert(&mut document, "metadata", it.metadata.clone());
    insert(&mut document, "additionalParameters", it.additional_parameters.clone());
    document.insert("jobControlOptions".into(), json!(it.job_control_options));
    document.insert("outputTransmission".into(), json!(["value", "reference"]));
    document.insert("links".into(), links.into());
    document
}

fn input(it: &InputDescription, language: &str) -> Value {
    let mut document = described(&it.title, it.description.as_ref(), it.keywords.as_ref(), language);
    insert(&mut document, "metadata", it.metadata.clone());
    insert(&mut document, "additionalParameters", it.additional_parameters.clone());
    document.insert("schema".into(), it.schema.clone());
    document.insert("minOccurs".into(), it.min_occurs.into());
    document.insert("maxOccurs".into(), json!(it.max_occurs));
    Value::Object(document)
}

fn output(it: &OutputDescription, language: &str) -> Value {
    let mut document = described(&it.title, it.description.as_ref(), it.keywords.as_ref(), language);
    insert(&mut document, "metadata", it.metadata.clone());
    insert(&mut document, "additionalParameters", it.additional_parameters.clone());
    document.insert("schema".into(), it.schema.clone());
    Value::Object(document)
}

fn described(
    title: &Localized<String>,
    description: Option<&Localized<String>>,
    keywords: Option<&Localized<Vec<String>>>,
    language: &str,
) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("title".into(), title.text(language).into());
    insert(&mut document, "description", description.map(|text| text.text(language).into()));
    insert(&mut document, "keywords", keywords.map(|words| words.list(language).into()));
    document
}

fn configured_link(link: &protocol::process::Link, language: &str) -> Value {
    let mut document = Map::new();
    document.insert("href".into(), link.href.as_str().into());
    insert(&mut document, "rel", link.rel.as_deref().map(Value::from));
    insert(&mut document, "type", link.media_type.as_deref().map(Value::from));
    insert(&mut document, "title", link.title.as_ref().map(|title| title.text(language).into()));
    insert(&mut document, "hreflang", link.hreflang.as_deref().map(Value::from));
    Value::Object(document)
}

fn insert(document: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        document.insert(name.to_owned(), value);
    }
}
