//! Where someone signs in, and comes back to from the issuer: everything about it is done by the script.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use askama::Template;
use url::Url;

use super::{Section, Site};
use crate::{app::Gateway, error::GatewayError};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    site: Site<'a>,
    issuer: Option<Issuer<'a>>,
    has_tokens: bool,
}

/// Whom people sign in with.
struct Issuer<'a> {
    name: &'a str,
    client: &'a str,
    host: String,
    /// Where the issuer sends the browser back to.
    back: String,
}

/// Whom people sign in with, for people.
pub(crate) fn host(gateway: &Gateway) -> Option<String> {
    let oidc = gateway.access.oidc.as_ref().filter(|oidc| oidc.client_id().is_some())?;
    Url::parse(oidc.issuer()).ok()?.host_str().map(str::to_owned)
}

pub(crate) fn page(gateway: &Gateway, request: &HttpRequest, language: &str) -> Result<HttpResponse, GatewayError> {
    let access = &gateway.access;
    let issuer = access.oidc.as_ref().and_then(|oidc| Some((oidc.issuer(), oidc.client_id()?)));
    let url = issuer.and_then(|(name, _)| Url::parse(name).ok());
    let page = SignIn {
        site: Site::of(gateway, request, language, Section::None).only_html(),
        issuer: issuer.zip(host(gateway)).map(|((name, client), host)| Issuer {
            name,
            client,
            host,
            back: gateway.urls.sign_in(),
        }),
        has_tokens: access.has_source(),
    };
    // The script asks the issuer where to go, and for the token: that one page may talk to it.
    let origins: Vec<String> = url.iter().map(|url| url.origin().ascii_serialization()).collect();
    super::page_that_talks_to(gateway, StatusCode::OK, &page, &origins)
}
