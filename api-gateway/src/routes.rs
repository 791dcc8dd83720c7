//! The resources of the API, one file each.

mod answer;
mod conformance;
mod execution;
mod job;
mod job_results;
mod jobs;
mod landing;
mod openapi;
mod process;
mod processes;
#[cfg(test)]
mod tests;

use actix_web::{FromRequest, Handler, HttpResponse, Responder, web, web::ServiceConfig};

use crate::error::GatewayError;

/// Puts every resource below `base`, which is empty or begins with a slash and does not end with one.
pub fn configure(app: &mut ServiceConfig, base: &str) {
    let path = |path: &str| format!("{base}{path}");
    let landing = if base.is_empty() { "/" } else { base };
    app.service(readable(landing.to_owned(), landing::get))
        .service(readable(path("/conformance"), conformance::get))
        .service(readable(path("/openapi"), openapi::get))
        .service(readable(path("/processes"), processes::get))
        .service(readable(path("/processes/{process}"), process::get))
        .service(
            web::resource(path("/processes/{process}/execution"))
                .route(web::post().to(execution::post))
                .default_service(web::to(|| method_not_allowed("POST"))),
        )
        .service(readable(path("/jobs"), jobs::get))
        .service(readable(path("/jobs/{job}"), job::get))
        .service(readable(path("/jobs/{job}/results"), job_results::get))
        .default_service(web::to(no_such_path));
}

/// A resource that can be read and nothing else.
fn readable<F, A>(path: String, handler: F) -> actix_web::Resource
where
    F: Handler<A>,
    A: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::to(|| method_not_allowed("GET, HEAD")))
}

async fn method_not_allowed(allowed: &'static str) -> Result<HttpResponse, GatewayError> {
    Err(GatewayError::MethodNotAllowed(allowed))
}

async fn no_such_path() -> Result<HttpResponse, GatewayError> {
    Err(GatewayError::NoSuchPath)
}
