//! Every resource as a page, for browsers: made on the server, usable without scripts.
//!
//! [`form_of`] says who gets a page. Each resource has a file here and a template of the same name in `templates/`; what is
//! common to all is [`Site`]. Pages load nothing but the files of [`assets`], and run nothing that is written into them.

pub(crate) mod assets;
pub(crate) mod conformance;
pub(crate) mod dismiss;
pub(crate) mod error;
pub(crate) mod form;
pub(crate) mod job;
pub(crate) mod jobs;
mod laid_out;
pub(crate) mod landing;
pub(crate) mod logs;
pub(crate) mod process;
pub(crate) mod processes;
pub(crate) mod results;
pub(crate) mod sign_in;
#[cfg(test)]
mod tests;
mod times;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
};
use askama::Template;

pub(crate) use self::laid_out::laid_out;
use crate::{
    app::Gateway,
    error::GatewayError,
    links::{Link, Urls},
    negotiation,
    query::Query,
};

/// The version of this service.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Content type of pages.
const HTML: &str = "text/html; charset=utf-8";
/// The header that pages have, and nothing else. By it the script tells them from pages that a container printed, which it
/// must never show in place of ours.
pub(crate) const IS_PAGE: &str = "quayside-page";

/// In which form a client wants a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For programs: also who says nothing.
    Json,
    /// For people.
    Html,
}

/// The parameter `f` decides, then the header `Accept`.
pub(crate) fn form_of(request: &HttpRequest, query: &Query) -> Form {
    match query.one("f") {
        Some("html") => Form::Html,
        Some(_) => Form::Json,
        None => accepted(request),
    }
}

/// The same of a request whose query may not be readable.
pub(crate) fn form_of_error(request: &HttpRequest) -> Form {
    let mut asked = url::form_urlencoded::parse(request.query_string().as_bytes());
    match asked.find(|(name, _)| name == "f") {
        Some((_, form)) if form == "html" => Form::Html,
        Some((_, form)) if form == "json" => Form::Json,
        _ => accepted(request),
    }
}

/// What `Accept` prefers.
pub(crate) fn accepted(request: &HttpRequest) -> Form {
    let accept = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    if negotiation::prefers_html(accept) { Form::Html } else { Form::Json }
}

/// The part of the site that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    None,
    Processes,
    Jobs,
}

/// What is around every page.
pub(crate) struct Site<'a> {
    /// Name of the service.
    pub(crate) name: &'a str,
    /// Language of the texts of the configuration.
    pub(crate) language: &'a str,
    pub(crate) section: Section,
    pub(crate) urls: &'a Urls,
    /// Where someone can sign in; `None` where there is nothing to sign in for.
    pub(crate) sign_in: Option<String>,
    /// The same document in JSON.
    pub(crate) json: Option<String>,
    /// Where the page is.
    pub(crate) own: String,
}

impl<'a> Site<'a> {
    /// Of a page about what `request` asks for.
    pub(crate) fn of(gateway: &'a Gateway, request: &HttpRequest, language: &'a str, section: Section) -> Self {
        let own = own_url(gateway, request);
        Self {
            name: gateway.configuration.metadata.identification.title.text(language),
            language,
            section,
            urls: &gateway.urls,
            sign_in: gateway.access.has_source().then(|| gateway.urls.sign_in()),
            json: Some(with_form(&own, "json")),
            own,
        }
    }

    /// Without a form in JSON.
    pub(crate) fn only_html(mut self) -> Self {
        self.json = None;
        self
    }

    /// The style sheet.
    pub(crate) fn style(&self) -> String {
        self.urls.page_file(&assets::STYLE.name())
    }

    /// The script.
    pub(crate) fn script(&self) -> String {
        self.urls.page_file(&assets::SCRIPT.name())
    }

    /// The icon.
    pub(crate) fn icon(&self) -> String {
        self.urls.page_file(&assets::ICON.name())
    }

    /// The page of the definition.
    pub(crate) fn api(&self) -> String {
        self.urls.openapi_page()
    }

    /// Whether it belongs to this part.
    pub(crate) fn is_in(&self, section: Section) -> bool {
        self.section == section
    }
}

/// The public URL of what `request` asks for.
fn own_url(gateway: &Gateway, request: &HttpRequest) -> String {
    let path = request.path();
    let path = path.strip_prefix(gateway.configuration.server.base_path.as_str()).unwrap_or(path);
    let path = if path.is_empty() { "/" } else { path };
    match request.query_string() {
        "" => format!("{}{path}", gateway.urls.base()),
        query => format!("{}{path}?{query}", gateway.urls.base()),
    }
}

/// A URL whose parameter `f` is this one, whatever it was.
pub(crate) fn with_form(url: &str, form: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "f") {
        text.append_pair(&name, &value);
    }
    text.append_pair("f", form);
    format!("{path}?{}", text.finish())
}

/// The links to a document itself, in the form that was asked for, and in the other one. `url` is what was asked for.
pub(crate) fn own_links(url: &str, form: Form, title: &'static str) -> [Link; 2] {
    let json = |url: String, rel| Link::json(url, rel, title);
    let html = |url: String, rel| Link { href: url, rel, media_type: Some(crate::links::HTML), title };
    match form {
        Form::Json => [json(url.to_owned(), "self"), html(with_form(url, "html"), "alternate")],
        Form::Html => [html(with_form(url, "html"), "self"), json(with_form(url, "json"), "alternate")],
    }
}

/// Sends a page.
///
/// # Errors
/// When the template can't be filled in.
pub(crate) fn page(
    gateway: &Gateway,
    status: StatusCode,
    template: &impl Template,
) -> Result<HttpResponse, GatewayError> {
    page_that_talks_to(gateway, status, template, &[])
}

/// Sends a page whose script may talk to others, too.
///
/// # Errors
/// When the template can't be filled in.
pub(crate) fn page_that_talks_to(
    gateway: &Gateway,
    status: StatusCode,
    template: &impl Template,
    origins: &[String],
) -> Result<HttpResponse, GatewayError> {
    let text = template.render().map_err(GatewayError::internal)?;
    Ok(HttpResponse::build(status)
        .content_type(HTML)
        .insert_header((header::CONTENT_SECURITY_POLICY, policy(&gateway.urls, origins)))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // Each page has texts of the configuration, be they titles.
        .insert_header((header::VARY, "accept, accept-language"))
        .insert_header((IS_PAGE, "1"))
        // Forms are held against their origin, which browsers leave out where nothing may be told.
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .body(text))
}

/// Only what this server sends is shown and talked to, and only the one script is run: results, which are at the same origin, are
/// none. It is also named by its public address: a page that was opened at another one, such as `localhost`, looks the same there.
fn policy(urls: &Urls, others: &[String]) -> String {
    let own = urls.origin();
    // What would end a source or a directive.
    let script = urls.page_file(&assets::SCRIPT.name()).replace(';', "%3B").replace(',', "%2C");
    let others: String = others.iter().map(|origin| format!(" {origin}")).collect();
    format!(
        "default-src 'none'; script-src {script}; style-src 'self' {own}; img-src 'self' {own} data: blob:; \
         connect-src 'self' {own}{others}; form-action 'self' {own}; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// A link of a document, for the list at the end of its page.
pub(crate) struct Shown {
    pub(crate) href: String,
    pub(crate) rel: String,
    pub(crate) media_type: String,
    pub(crate) title: String,
}

impl Shown {
    /// All links of a document.
    pub(crate) fn all(document: &serde_json::Value) -> Vec<Self> {
        let links = document.get("links").and_then(serde_json::Value::as_array);
        links.into_iter().flatten().filter_map(Self::of).collect()
    }

    /// The relation, without what those of the standard begin with.
    pub(crate) fn short_rel(&self) -> &str {
        self.rel.rsplit('/').next().unwrap_or_default()
    }

    fn of(link: &serde_json::Value) -> Option<Self> {
        let text = |name: &str| link.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let href = text("href");
        // What the configuration links to is no script.
        let is_safe = url::Url::parse(&href).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "mailto"));
        is_safe.then(|| Self { href, rel: text("rel"), media_type: text("type"), title: text("title") })
    }
}

/// A sentence as it begins: messages of the API begin with a small letter.
pub(crate) fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

/// JSON for people.
pub(crate) fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
