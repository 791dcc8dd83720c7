//! What happens around every request: its errors get their body, its metrics and its log line are written. Neither
//! headers nor bodies nor query strings are ever logged.

use std::time::Instant;

use actix_web::{
    Error, HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::StatusCode,
    middleware::Next,
    web,
};
use tracing::{debug, info};

use crate::{app::Gateway, error::GatewayError};

/// The middleware.
///
/// # Errors
/// None: an error becomes an answer here.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let response = next.call(request).await?.map_into_boxed_body();
    let response = with_body(response);
    let (request, status) = (response.request(), response.status());
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let elapsed = began.elapsed();
    if let Some(gateway) = request.app_data::<web::Data<Gateway>>() {
        gateway.metrics.request(&route, method_label(request), status.as_u16(), elapsed);
    }
    let (method, path, status) = (request.method().as_str(), request.path(), status.as_u16());
    let milliseconds = elapsed.as_secs_f64() * 1000.0;
    if method == "GET" || method == "HEAD" {
        debug!(method, path, status, milliseconds, "answered");
    } else {
        info!(method, path, status, milliseconds, "answered");
    }
    Ok(response)
}

/// An error that a handler returned, or one that the framework made, as an exception of the standard.
fn with_body(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let answer = match response.response().error() {
        None => return response,
        Some(error) => match error.as_error::<GatewayError>() {
            Some(error) => error.answer(response.request()),
            None => of_framework(error).answer(response.request()),
        },
    };
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, answer)
}

/// The framework's own errors come from requests that it can't read.
fn of_framework(error: &Error) -> GatewayError {
    match error.as_response_error().status_code() {
        StatusCode::NOT_FOUND => GatewayError::NoSuchPath,
        status if status.is_client_error() => GatewayError::invalid("the request can't be read"),
        _ => GatewayError::internal(error.to_string()),
    }
}

/// Methods that nobody knows would make labels without end.
fn method_label(request: &HttpRequest) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == request.method().as_str()).unwrap_or("other")
}
