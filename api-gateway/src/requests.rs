//! What happens around every request: it gets its id, its metrics and its log line are written. Neither headers nor bodies
//! nor query strings are ever logged.

use std::{net::IpAddr, time::Instant};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::HeaderName,
    middleware::Next,
    web,
};
use tracing::{Instrument, debug, error_span, info};

use crate::{
    app::Gateway,
    audit,
    request_id::{self, RequestId},
};

/// The middleware around everything.
///
/// # Errors
/// Those of what is inside; there are none.
pub async fn observe<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    // Of the highest level, so that it is there whatever the filter lets through.
    let span = error_span!("request", request_id = %id);
    let mut response = observed(request, next).instrument(span).await?;
    if let Some(value) = id.header_value() {
        response.headers_mut().insert(HeaderName::from_static(request_id::HEADER), value);
    }
    Ok(response)
}

async fn observed<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let began = Instant::now();
    let response = next.call(request).await?;
    let (request, status) = (response.request(), response.status());
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let elapsed = began.elapsed();
    let gateway = request.app_data::<web::Data<Gateway>>();
    if let Some(gateway) = gateway {
        gateway.metrics.request(&route, method_label(request), status.as_u16(), elapsed);
        audit::refused(gateway, request, status);
    }
    let client = gateway.and_then(|gateway| client(gateway, request)).map(tracing::field::display);
    let (method, path, status) = (request.method().as_str(), request.path(), status.as_u16());
    let milliseconds = elapsed.as_secs_f64() * 1000.0;
    if method == "GET" || method == "HEAD" {
        debug!(method, path, status, milliseconds, client, "answered");
    } else {
        info!(method, path, status, milliseconds, client, "answered");
    }
    Ok(response)
}

/// The address that a request came from, as far as proxies are believed.
pub(crate) fn client(gateway: &Gateway, request: &HttpRequest) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    let forwarded: Vec<&str> =
        request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect();
    Some(gateway.settings.trusted_proxies.client(peer, forwarded.iter().flat_map(|value| value.split(','))))
}

/// Methods that nobody knows would make labels without end.
pub(crate) fn method_label(request: &HttpRequest) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == request.method().as_str()).unwrap_or("other")
}
