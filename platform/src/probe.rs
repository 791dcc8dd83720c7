//! Probes and metrics of a process, on a port of their own.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio_util::sync::CancellationToken;
use tracing::error;

/// What a process says of itself: which of its parts are ready, and its metrics.
#[derive(Clone)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<&'static str, bool>>>,
    registry: Arc<Registry>,
}

impl Health {
    /// A process whose `parts` are all not ready yet.
    pub fn new(registry: Registry, parts: &[&'static str]) -> Self {
        Self {
            parts: Arc::new(Mutex::new(parts.iter().map(|part| (*part, false)).collect())),
            registry: Arc::new(registry),
        }
    }

    /// Says whether one part is ready.
    pub fn set(&self, part: &'static str, ready: bool) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(part, ready);
    }

    /// The parts that are not ready.
    pub fn not_ready(&self) -> Vec<&'static str> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().filter(|(_, ready)| !**ready).map(|(part, _)| *part).collect()
    }
}

/// Serves `/live`, `/ready` and `/metrics` until `shutdown`; returns the address it listens on.
///
/// # Errors
/// When the address can't be bound.
pub fn serve(bind: SocketAddr, health: Health, shutdown: CancellationToken) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(bind)?;
    let address = listener.local_addr()?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(health.clone()))
            .route("/live", web::get().to(|| async { HttpResponse::Ok().body("live\n") }))
            .route("/ready", web::get().to(ready))
            .route("/metrics", web::get().to(metrics))
    })
    .workers(1)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    tokio::spawn(async move {
        shutdown.cancelled().await;
        handle.stop(false).await;
    });
    tokio::spawn(async move {
        if let Err(error) = server.await {
            error!(%error, "the probe server ended");
        }
    });
    Ok(address)
}

async fn ready(health: web::Data<Health>) -> HttpResponse {
    let waiting = health.not_ready();
    if waiting.is_empty() {
        HttpResponse::Ok().body("ready\n")
    } else {
        HttpResponse::ServiceUnavailable().body(format!("not ready: {}\n", waiting.join(", ")))
    }
}

async fn metrics(health: web::Data<Health>) -> HttpResponse {
    let mut text = String::new();
    match encode(&mut text, &health.registry) {
        Ok(()) => {
            HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(text)
        }
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
