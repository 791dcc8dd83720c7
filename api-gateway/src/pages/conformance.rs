//! The conformance classes.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use askama::Template;

use super::{Section, Site};
use crate::{app::Gateway, error::GatewayError};

#[derive(Template)]
#[template(path = "conformance.html")]
struct Conformance<'a> {
    site: Site<'a>,
    classes: &'a [&'a str],
}

pub(crate) fn page(
    gateway: &Gateway,
    request: &HttpRequest,
    language: &str,
    classes: &[&str],
) -> Result<HttpResponse, GatewayError> {
    let page = Conformance { site: Site::of(gateway, request, language, Section::None), classes };
    super::page(gateway, StatusCode::OK, &page)
}
