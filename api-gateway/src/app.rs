//! What every request works with, and the server around the routes.

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_web::{
    App, HttpServer,
    middleware::{NormalizePath, from_fn},
    web,
};
use platform::job_store::JobStore;
use protocol::configuration::Configuration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Token, index::Index, jobs::Jobs, links::Urls, metrics::Metrics, references::References, requests,
    results::Values, routes, settings::GatewaySettings, validate::Schemas,
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
    /// Limits.
    pub settings: Arc<GatewaySettings>,
    /// The configured token.
    pub token: Option<Token>,
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
    /// Counters.
    pub metrics: Metrics,
    /// Where the clients of stream and bucket were made, and where they are used.
    pub runtime: Handle,
    /// Cancelled when this process is told to stop.
    pub shutdown: CancellationToken,
}

/// Serves until the shutdown token of `gateway` is cancelled, then for at most `limit` longer.
///
/// # Errors
/// When the listener can't be used.
pub async fn serve(listener: TcpListener, gateway: Gateway, limit: Duration) -> std::io::Result<()> {
    let shutdown = gateway.shutdown.clone();
    let workers = match gateway.settings.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        workers => workers,
    };
    let data = web::Data::new(gateway);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .wrap(NormalizePath::trim())
            .wrap(from_fn(requests::observe))
            .configure(|app| routes::configure(app, &data.configuration.server.base_path))
    })
    .workers(workers)
    .disable_signals()
    .shutdown_timeout(limit.as_secs())
    .listen(listener)?
    .run();
    let handle = server.handle();
    tokio::spawn(async move {
        shutdown.cancelled().await;
        handle.stop(true).await;
    });
    server.await
}
