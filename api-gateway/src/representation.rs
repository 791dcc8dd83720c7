//! What every answer goes through on its way out: errors get their body, descriptions their entity tag, all of them what
//! caches have to know, and large texts are compressed where the configuration says so.

use std::io::Write;

use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

use crate::{
    access::Admission,
    app::Gateway,
    error::GatewayError,
    limits,
    links::{HTML, JSON},
    negotiation::{accepts_media, has_tag, prefers_gzip},
    rates::{self, Standing},
};

/// Answers below this many bytes are not compressed: it would save no packet.
const LEAST_TO_COMPRESS: usize = 1024;
/// Answers above this many bytes are compressed beside the threads that serve.
const LARGE: usize = 64 * 1024;

/// The middleware around the routes.
///
/// # Errors
/// None: an error becomes an answer here.
pub async fn represent(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let gateway = request.app_data::<web::Data<Gateway>>().cloned();
    let checked = match &gateway {
        Some(gateway) => limits::check(request.uri(), request.headers(), &gateway.settings),
        None => Err(GatewayError::internal("the routes have no gateway")),
    };
    let response = match checked {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(error) => request.error_response(error),
    };
    let (request, answer) = with_body(response).into_parts();
    let answer = match gateway {
        Some(gateway) => finished(&gateway, &request, answer).await,
        None => answer,
    };
    Ok(ServiceResponse::new(request, answer))
}

/// An error that a handler returned, or one that the framework made, as an exception of the standard.
fn with_body(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let (request, answer) = response.into_parts();
    let answer = match answer.error() {
        None => answer,
        Some(error) => match error.as_error::<GatewayError>() {
            Some(GatewayError::MethodNotAllowed(allowed)) if request.method() == Method::OPTIONS => {
                HttpResponse::NoContent().insert_header((header::ALLOW, allow(allowed))).finish()
            }
            Some(error) => error.answer(&request),
            None => of_framework(error).answer(&request),
        },
    };
    ServiceResponse::new(request, answer)
}

/// The value of `Allow`: `OPTIONS` is answered wherever there is something.
pub fn allow(methods: &str) -> String {
    format!("{methods}, OPTIONS")
}

/// The framework's own errors come from requests that it can't read.
fn of_framework(error: &Error) -> GatewayError {
    match error.as_response_error().status_code() {
        StatusCode::NOT_FOUND => GatewayError::NoSuchPath,
        status if status.is_client_error() => GatewayError::invalid("the request can't be read"),
        _ => GatewayError::internal(error.to_string()),
    }
}

/// What a resource is to a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Changes with the configuration only.
    Description,
    /// Status of jobs.
    Job,
    /// Results, which have their own forms.
    Results,
    /// Makes something, or is nothing.
    Other,
}

fn kind(pattern: Option<&str>, base: &str) -> Kind {
    match pattern.and_then(|pattern| pattern.strip_prefix(base)) {
        Some("/jobs") => Kind::Job,
        Some(path) if path.strip_prefix("/jobs/").is_some_and(|job| !job.contains('/')) => Kind::Job,
        Some(path) if path.starts_with("/jobs/") => Kind::Results,
        Some(path) if path.ends_with("/execution") => Kind::Other,
        Some(_) => Kind::Description,
        None => Kind::Other,
    }
}

async fn finished(gateway: &Gateway, request: &HttpRequest, answer: HttpResponse) -> HttpResponse {
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    let kind = if is_read { kind(request.match_pattern().as_deref(), base(gateway)) } else { Kind::Other };
    let document = matches!(kind, Kind::Description | Kind::Job) && answer.status() == StatusCode::OK;
    let mut answer = match document.then(|| not_offered(request, &answer)).flatten() {
        Some(error) => error.answer(request),
        None => answer,
    };
    let protects = request.extensions().get::<Admission>().is_none_or(Admission::needed_token);
    let caching = match kind {
        _ if answer.status().is_client_error() || answer.status().is_server_error() => "no-store",
        Kind::Other => "no-store",
        Kind::Job | Kind::Results if protects => "no-store",
        Kind::Description | Kind::Job | Kind::Results => "no-cache",
    };
    let is_unauthorized = answer.status() == StatusCode::UNAUTHORIZED;
    let standing = request.extensions().get::<Standing>().copied();
    let headers = answer.headers_mut();
    if let Some(standing) = standing {
        rates::insert(headers, &standing);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    }
    // Pages that ask for a token again, too (RFC 9110, 11.6.1).
    if is_unauthorized && !headers.contains_key(header::WWW_AUTHENTICATE) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if is_read && kind != Kind::Other {
        add_vary(headers, header::ACCEPT);
    }
    if kind == Kind::Description {
        add_vary(headers, header::ACCEPT_LANGUAGE);
    }
    encoded(gateway, request, answer, kind).await
}

fn base(gateway: &Gateway) -> &str {
    &gateway.configuration.server.base_path
}

/// An exception for a client that names what it takes, and this is not among it.
fn not_offered(request: &HttpRequest, answer: &HttpResponse) -> Option<GatewayError> {
    let asks_by_name = url::form_urlencoded::parse(request.query_string().as_bytes()).any(|(name, _)| name == "f");
    let offered = answer.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    let takes = |media_type: &str| accepts_media(values(request, header::ACCEPT), media_type);
    let is_fine = asks_by_name || takes(offered) || other_names(offered).iter().copied().any(takes);
    // Nearly everything is a page, too.
    let offered = if offered == JSON { format!("{JSON}, {HTML}") } else { offered.to_owned() };
    (!is_fine).then_some(GatewayError::NotOffered { offered })
}

/// What clients that take this may call it, too. Whoever takes exceptions as `application/problem+json` takes JSON.
fn other_names(media_type: &str) -> &'static [&'static str] {
    match media_type.split(';').next().unwrap_or("") {
        "text/html" => &["application/xhtml+xml"],
        "application/vnd.oai.openapi" => &["application/yaml", "text/yaml"],
        essence if essence.ends_with("json") => &[JSON, "application/problem+json"],
        _ => &[],
    }
}

/// Tags and compresses what is whole in memory; streams go out as they are.
async fn encoded(gateway: &Gateway, request: &HttpRequest, answer: HttpResponse, kind: Kind) -> HttpResponse {
    let is_gzip_on = gateway.configuration.server.gzip;
    let (mut head, body) = answer.into_parts();
    let compresses = is_gzip_on && is_compressible(&head);
    let bytes = match body.try_into_bytes() {
        Ok(bytes) => bytes,
        Err(stream) => return head.set_body(stream),
    };
    let compresses = compresses && bytes.len() >= LEAST_TO_COMPRESS;
    if compresses {
        add_vary(head.headers_mut(), header::ACCEPT_ENCODING);
    }
    let as_gzip = compresses && prefers_gzip(values(request, header::ACCEPT_ENCODING));
    if kind == Kind::Description && head.status() == StatusCode::OK && !head.headers().contains_key(header::ETAG) {
        let tag = digest(head.headers(), &bytes);
        let (plain, gzip) = (format!("\"{tag}\""), format!("\"{tag}-gzip\""));
        let own = if as_gzip { &gzip } else { &plain };
        if let Ok(value) = HeaderValue::from_str(own) {
            head.headers_mut().insert(header::ETAG, value);
        }
        if has_tag(values(request, header::IF_NONE_MATCH), &[&plain, &gzip]) {
            return not_modified(&head);
        }
    }
    if as_gzip && let Some(zipped) = gzip(bytes.clone()).await {
        head.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return head.set_body(BoxBody::new(zipped));
    }
    head.set_body(BoxBody::new(bytes))
}

/// Ranges, and entity tags of others, are of the bytes as they are.
fn is_compressible(head: &HttpResponse<()>) -> bool {
    let headers = head.headers();
    let taken = [header::CONTENT_ENCODING, header::CONTENT_RANGE, header::ACCEPT_RANGES, header::ETAG];
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    matches!(head.status(), StatusCode::OK | StatusCode::CREATED)
        && !taken.iter().any(|name| headers.contains_key(name))
        && is_text(media_type)
}

fn is_text(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    let words = ["json", "xml", "yaml", "javascript", "vnd.oai.openapi"];
    kind == "text" || words.iter().any(|word| subtype == *word || subtype.ends_with(&format!("+{word}")))
}

fn digest(headers: &HeaderMap, bytes: &[u8]) -> String {
    let mut hash = Sha256::new();
    for name in [header::CONTENT_TYPE, header::CONTENT_LANGUAGE] {
        hash.update(headers.get(name).map_or(&b""[..], HeaderValue::as_bytes));
        hash.update([0]);
    }
    hash.update(bytes);
    protocol::digest::hex(&hash.finalize()[..16])
}

/// RFC 9110, 15.4.5: what the 200 would have had, as far as caches need it.
fn not_modified(head: &HttpResponse<()>) -> HttpResponse {
    let mut answer = HttpResponse::NotModified();
    for name in [header::ETAG, header::CACHE_CONTROL, header::VARY, header::CONTENT_LANGUAGE] {
        for value in head.headers().get_all(&name) {
            answer.append_header((name.clone(), value.clone()));
        }
    }
    answer.finish()
}

async fn gzip(bytes: Bytes) -> Option<Bytes> {
    let is_large = bytes.len() > LARGE;
    let zip = move || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&bytes).and_then(|()| encoder.finish())
    };
    let zipped = if is_large { web::block(zip).await.ok()? } else { zip() };
    zipped.ok().map(Bytes::from)
}

fn add_vary(headers: &mut HeaderMap, name: HeaderName) {
    let is_named = headers
        .get_all(header::VARY)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|held| held.trim().eq_ignore_ascii_case(name.as_str()));
    if is_named {
        return;
    }
    let held = headers.get(header::VARY).and_then(|value| value.to_str().ok());
    let value = held.map_or_else(|| name.as_str().to_owned(), |held| format!("{held}, {name}"));
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(header::VARY, value);
    }
}

fn values(request: &HttpRequest, name: HeaderName) -> impl Iterator<Item = &str> {
    request.headers().get_all(name).filter_map(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_told_apart_by_their_pattern() {
        assert_eq!(kind(Some("/"), ""), Kind::Description);
        assert_eq!(kind(Some("/a"), "/a"), Kind::Description);
        assert_eq!(kind(Some("/a/processes/{processID}"), "/a"), Kind::Description);
        assert_eq!(kind(Some("/processes/{processID}/execution"), ""), Kind::Other);
        assert_eq!(kind(Some("/jobs"), ""), Kind::Job);
        assert_eq!(kind(Some("/a/jobs/{jobID}"), "/a"), Kind::Job);
        assert_eq!(kind(Some("/jobs/{jobID}/results"), ""), Kind::Results);
        assert_eq!(kind(Some("/jobs/{jobID}/results/{outputID}"), ""), Kind::Results);
        assert_eq!(kind(None, ""), Kind::Other);
    }

    #[test]
    fn only_texts_are_compressed() {
        for text in [
            "application/json",
            "application/geo+json;x=1",
            "text/csv",
            "image/svg+xml",
            "application/yaml",
            "application/vnd.oai.openapi;version=3.0",
        ] {
            assert!(is_text(text), "{text}");
        }
        for other in ["image/tiff", "application/zip", "multipart/related; boundary=a", "application/octet-stream", ""]
        {
            assert!(!is_text(other), "{other}");
        }
    }

    #[test]
    fn vary_grows_by_what_is_not_in_it() {
        let mut headers = HeaderMap::new();
        for name in [header::ACCEPT, header::ACCEPT_LANGUAGE, header::ACCEPT] {
            add_vary(&mut headers, name);
        }
        assert_eq!(headers.get(header::VARY).unwrap(), "accept, accept-language");
    }
}
