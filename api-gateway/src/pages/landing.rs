//! The landing page.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use askama::Template;
use protocol::process::Localized;
use serde_json::Value;

use super::{Section, Shown, Site};
use crate::{app::Gateway, error::GatewayError};

#[derive(Template)]
#[template(path = "landing.html")]
struct Landing<'a> {
    site: Site<'a>,
    title: &'a str,
    description: &'a str,
    processes: usize,
    /// Name, text, link.
    about: Vec<(&'static str, &'a str, Option<&'a str>)>,
    links: Vec<Shown>,
}

pub(crate) fn page(
    gateway: &Gateway,
    request: &HttpRequest,
    language: &str,
    document: &Value,
) -> Result<HttpResponse, GatewayError> {
    let metadata = &gateway.configuration.metadata;
    let identification = &metadata.identification;
    let page = Landing {
        site: Site::of(gateway, request, language, Section::None),
        title: identification.title.text(language),
        description: identification.description.text(language),
        processes: gateway.configuration.processes.len(),
        about: about(metadata, language),
        links: Shown::all(document),
    };
    super::page(gateway, StatusCode::OK, &page)
}

type Fact<'a> = (&'static str, &'a str, Option<&'a str>);

fn about<'a>(metadata: &'a protocol::configuration::Metadata, language: &str) -> Vec<Fact<'a>> {
    let text = |it: &'a Option<Localized<String>>| it.as_ref().map(|it| it.text(language)).filter(|it| !it.is_empty());
    let link = |it: Option<&'a str>| it.filter(|it| it.starts_with("https://") || it.starts_with("http://"));
    let (identification, contact) = (&metadata.identification, &metadata.contact);
    let facts = [
        ("Provider", text(&metadata.provider.name), link(text(&metadata.provider.url))),
        ("Contact", text(&contact.name), link(text(&contact.url))),
        ("Email", text(&contact.email), None),
        ("License", text(&metadata.license.name), link(text(&metadata.license.url))),
        ("Terms of service", text(&identification.terms_of_service), link(text(&identification.terms_of_service))),
        ("Website", text(&identification.url), link(text(&identification.url))),
    ];
    facts.into_iter().filter_map(|(name, text, link)| Some((name, text?, link))).collect()
}
