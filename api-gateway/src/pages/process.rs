//! One process: what it is, and the form that executes it.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use askama::Template;
use protocol::{
    ProcessDefinition,
    process::{InputDescription, Localized, MaxOccurs},
};
use serde_json::{Map, Value};

use super::{
    Section, Shown, Site,
    form::{self, Form, Widget},
    processes::{modes, more, transmission},
};
use crate::{app::Gateway, error::GatewayError};

#[derive(Template)]
#[template(path = "process.html")]
struct Process<'a> {
    site: Site<'a>,
    id: &'a str,
    title: &'a str,
    description: &'a str,
    version: &'a str,
    keywords: &'a [String],
    modes: String,
    transmission: String,
    more: Option<String>,
    inputs: Vec<Part<'a>>,
    outputs: Vec<Part<'a>>,
    example: Option<String>,
    has_example: bool,
    example_url: String,
    execution: String,
    jobs: String,
    /// Bytes that an execution may have.
    limit: usize,
    form: Form,
    links: Vec<Shown>,
}

/// An input or output.
struct Part<'a> {
    id: &'a str,
    title: &'a str,
    description: &'a str,
    keywords: &'a [String],
    occurs: String,
    schema: String,
    more: Option<String>,
}

/// The parameter that asks for a form with the example filled in.
pub(crate) const FILL: &str = "fill";

/// The page with the form as nobody has filled it in yet, or with the example. `document` is the description.
pub(crate) fn page(
    gateway: &Gateway,
    request: &HttpRequest,
    language: &str,
    process: &ProcessDefinition,
    document: &Map<String, Value>,
    with_example: bool,
) -> Result<HttpResponse, GatewayError> {
    let fields = if with_example { form::example(process) } else { form::defaults(process) };
    let form = Form::new(process, language, &fields, &[]);
    let site = Site::of(gateway, request, language, Section::Processes);
    with_form(gateway, site, StatusCode::OK, process, document, form)
}

/// The page with a form that was filled in.
pub(crate) fn with_form(
    gateway: &Gateway,
    site: Site<'_>,
    status: StatusCode,
    process: &ProcessDefinition,
    document: &Map<String, Value>,
    form: Form,
) -> Result<HttpResponse, GatewayError> {
    let it = &process.description;
    let language = site.language;
    let own = gateway.urls.process(&process.id);
    let example_query = [("f", "html"), (FILL, "example"), ("lang", language)];
    let example_query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(example_query).finish();
    let described =
        |list: &'static str, id: &str| document.get(list).and_then(|list| list.get(id)?.as_object()).and_then(more);
    let inputs = it.inputs.iter().map(|(id, input)| Part {
        id,
        title: input.title.text(language),
        description: text(input.description.as_ref(), language),
        keywords: words(input.keywords.as_ref(), language),
        occurs: occurs(input),
        schema: super::pretty(&input.schema),
        more: described("inputs", id),
    });
    let outputs = it.outputs.iter().map(|(id, output)| Part {
        id,
        title: output.title.text(language),
        description: text(output.description.as_ref(), language),
        keywords: words(output.keywords.as_ref(), language),
        occurs: String::new(),
        schema: super::pretty(&output.schema),
        more: described("outputs", id),
    });
    let page = Process {
        id: process.id.as_str(),
        title: it.title.text(language),
        description: it.description.text(language),
        version: &it.version,
        keywords: it.keywords.list(language),
        modes: modes(it.job_control_options),
        transmission: transmission(document),
        more: more(document),
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        example: it.example.as_ref().map(super::pretty),
        has_example: !it.inputs.is_empty() && it.example.is_some(),
        example_url: format!("{own}?{example_query}#execute"),
        execution: gateway.urls.execution(&process.id),
        jobs: gateway.urls.jobs_of(&process.id),
        limit: gateway.settings.max_body,
        form,
        links: Shown::all(&Value::Object(document.clone())),
        site,
    };
    super::page(gateway, status, &page)
}

fn text<'a>(text: Option<&'a Localized<String>>, language: &str) -> &'a str {
    text.map_or("", |text| text.text(language))
}

fn words<'a>(words: Option<&'a Localized<Vec<String>>>, language: &str) -> &'a [String] {
    words.map_or(&[], |words| words.list(language))
}

/// `minOccurs` and `maxOccurs`.
fn occurs(input: &InputDescription) -> String {
    match (input.min_occurs, input.max_occurs) {
        (1, MaxOccurs::Count(1)) => "required".to_owned(),
        (0, MaxOccurs::Count(1)) => "optional".to_owned(),
        (least, MaxOccurs::Count(most)) => format!("{least} to {most} values"),
        (least, MaxOccurs::Unbounded) => format!("{least} to any number of values (unbounded)"),
    }
}
