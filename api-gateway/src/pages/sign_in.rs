//! Where someone signs in: everything about it is done by the script.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use askama::Template;

use super::{Section, Site};
use crate::{app::Gateway, error::GatewayError};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    site: Site<'a>,
}

pub(crate) fn page(gateway: &Gateway, request: &HttpRequest, language: &str) -> Result<HttpResponse, GatewayError> {
    let page = SignIn { site: Site::of(gateway, request, language, Section::None).only_html() };
    super::page(gateway, StatusCode::OK, &page)
}
