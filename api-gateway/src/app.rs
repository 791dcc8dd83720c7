//! What every request works with, and what is around the routes.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use actix_cors::Cors;
use actix_web::{
    App, Error,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::{Condition, NormalizePath, from_fn},
    web,
};
use platform::job_store::JobStore;
use protocol::configuration::Configuration;
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    access::Access, audit::Audit, callbacks::Callbacks, index::Index, jobs::Jobs, links::Urls, logs::Logs,
    memory::Memory, metrics::Metrics, rates::Rates, references::References, representation, requests, results::Values,
    routes, settings::GatewaySettings, validate::Schemas,
};

/// What every request works with; cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    /// The configuration file.
    pub configuration: Arc<Configuration>,
    /// What inputs are held against.
    pub schemas: Arc<Schemas>,
    /// Fetches what inputs refer to.
    pub references: References,
    /// Calls back.
    pub callbacks: Callbacks,
    /// Limits.
    pub settings: Arc<GatewaySettings>,
    /// Who may what.
    pub access: Access,
    /// How often who may ask.
    pub rates: Rates,
    /// Who did what.
    pub audit: Audit,
    /// URLs that are given out.
    pub urls: Arc<Urls>,
    /// Stream and bucket.
    pub store: JobStore,
    /// All jobs, a moment behind.
    pub index: Index,
    /// One job, as it is.
    pub jobs: Jobs,
    /// Values of results.
    pub values: Values,
    /// Who reads logs of jobs that run.
    pub logs: Logs,
    /// Counters.
    pub metrics: Metrics,
    /// Permits for executions that are checked and stored.
    pub accepting: Arc<Semaphore>,
    /// Permits for executions whose references are looked at; these are not being accepted meanwhile.
    pub resolving: Arc<Semaphore>,
    /// What executions may take of the memory until they are stored.
    pub memory: Memory,
    /// Where the clients of stream and bucket were made, and where they are used.
    pub runtime: Handle,
    /// Cancelled when this process is told to stop.
    pub shutdown: CancellationToken,
}

/// The routes, and what is around them. From the outside: a request's id and log line, other origins, the form of answers.
pub fn app(
    gateway: web::Data<Gateway>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let server = &gateway.configuration.server;
    let (cors, base) = (server.cors, server.base_path.clone());
    App::new()
        .app_data(gateway)
        .wrap(NormalizePath::trim())
        .wrap(from_fn(representation::represent))
        .wrap(Condition::new(cors, any_origin()))
        .wrap(from_fn(requests::observe))
        .configure(|app| routes::configure(app, &base))
}

/// Scripts of every origin may use the API, without a browser's credentials: the token is sent by who has it.
fn any_origin() -> Cors {
    const EXPOSED: [&str; 15] = [
        "location",
        "link",
        "preference-applied",
        "retry-after",
        "etag",
        "x-request-id",
        "content-language",
        "content-encoding",
        "idempotent-replayed",
        "accept-ranges",
        "content-range",
        "content-disposition",
        "quayside-log-gaps",
        "ratelimit",
        "ratelimit-policy",
    ];
    Cors::default()
        .allow_any_origin()
        .allow_any_method()
        .allow_any_header()
        .expose_headers(EXPOSED)
        .send_wildcard()
        .disable_vary_header()
        .max_age(3600)
}
