//! From settings to a running gateway.

use std::{sync::Arc, time::Duration};

use platform::{
    config::{self, ConfigError, Platform, ProcessesError},
    job_store::JobStore,
    nats::{self, Nats, NatsError},
    object_store::{ObjectStore, StoreError},
    probe::{self, Health},
    secret::Secret,
    shutdown,
    telemetry::{self, TelemetryError, chain},
};
use prometheus_client::registry::Registry;
use protocol::{
    configuration::{Configuration, InvalidPublicUrl, LogLevel, PublicUrl},
    names::environment,
};
use tokio::{runtime::Handle, sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    access::{Access, IssuerError, NamedTokens, Oidc, OperatorToken, TokenFileError},
    app::Gateway,
    audit::{Audit, AuditSettings, Writing},
    callbacks::{self, Callbacks},
    index::{Index, feed},
    jobs::Jobs,
    links::Urls,
    logs::Logs,
    memory::Memory,
    metrics::{self, Metrics},
    rates::Rates,
    references::References,
    results::Values,
    server,
    settings::{GatewaySettings, NotAllowed},
    validate::{Schemas, schemas::SchemaError},
};

/// The gateway can't start, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Service settings.
    #[error("the settings can't be used")]
    Settings(#[from] ConfigError),
    /// Settings of the gateway.
    #[error("the settings can't be used")]
    NotAllowed(#[from] NotAllowed),
    /// The configuration file.
    #[error("the configuration can't be used")]
    Configuration(#[from] ProcessesError),
    /// The public URL of the settings.
    #[error("gateway.public_url can't be used")]
    PublicUrl(#[source] InvalidPublicUrl),
    /// A schema of the configuration file.
    #[error("the configuration can't be used")]
    Schema(#[from] SchemaError),
    /// The file of named tokens.
    #[error("gateway.tokens can't be used")]
    Tokens(#[from] TokenFileError),
    /// The issuer of OpenID Connect.
    #[error("gateway.oidc can't be used")]
    Oidc(#[from] IssuerError),
    /// The client that fetches references.
    #[error("gateway.references can't be used")]
    References(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What calls back.
    #[error("gateway.callbacks can't be used")]
    Callbacks(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Logging.
    #[error("logging can't be started")]
    Telemetry(#[from] TelemetryError),
    /// Signals.
    #[error("signal handlers can't be installed")]
    Signals(#[source] std::io::Error),
    /// A port.
    #[error("{what} can't listen on {address}")]
    Listen {
        /// What would listen.
        what: &'static str,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// NATS.
    #[error("NATS can't be used")]
    Nats(#[from] NatsError),
    /// The bucket's settings.
    #[error("the bucket can't be used")]
    Bucket(#[from] StoreError),
    /// The server.
    #[error("the HTTP server ended")]
    Serve(#[source] std::io::Error),
}

/// Reads the environment, starts everything and serves until SIGTERM or SIGINT.
///
/// # Errors
/// When something that is needed can't be had, or the server ends by itself.
pub async fn run(variables: &dyn Fn(&str) -> Option<String>) -> Result<(), RunError> {
    let (platform, settings) = config::load::<GatewaySettings>("gateway", variables)?;
    let (mut configuration, warnings) = config::read_configuration(variables)?;
    telemetry::start(&platform.telemetry, configuration.logging.level.map(LogLevel::as_tracing))?;
    settings.check()?;
    if let Some(url) = &settings.public_url {
        configuration.server.url = PublicUrl::parse(url).map_err(RunError::PublicUrl)?;
    }
    platform.log_oddities(variables);
    for warning in warnings {
        warn!(%warning, "configuration");
    }
    let token = variables(environment::API_TOKEN).map(Secret::new);
    let shutdown = shutdown::on_signal().map_err(RunError::Signals)?;
    serve(platform, settings, configuration, token, shutdown).await
}

/// Starts everything and serves until `shutdown`.
async fn serve(
    platform: Platform,
    settings: GatewaySettings,
    configuration: Configuration,
    token: Option<Secret>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let operator = token.and_then(|token| OperatorToken::new(token.reveal()));
    let named = settings.tokens.as_deref().map(|path| NamedTokens::read(path, &configuration)).transpose()?;
    let oidc = Oidc::new(&settings.oidc, Handle::current())?;
    let access = Access { operator, named, oidc };
    if access.is_closed_by_omission(&configuration) {
        error!(variable = environment::API_TOKEN, "no token is configured: everything that needs one is refused");
    }
    if !configuration.server.manager.protect_dismiss {
        warn!("server.manager.protect_dismiss is false: whoever knows a job's id can remove the job");
    }
    let bind = &configuration.server.bind;
    // A port in use is told before anything else is waited for.
    let listener = server::listen(&bind.host, bind.port, settings.backlog).map_err(|source| RunError::Listen {
        what: "the API",
        address: format!("{}:{}", bind.host, bind.port),
        source,
    })?;
    let address = listener.local_addr().map_err(RunError::Serve)?;
    let (schemas, warnings) = Schemas::compile(&configuration)?;
    for warning in warnings {
        warn!(%warning, "configuration");
    }
    let (memory, documents) = (Memory::new(settings.memory), Memory::new(settings.documents_memory));
    let for_logs = Memory::new(settings.logs.memory);
    let references = References::new(&settings.references, memory.clone()).map_err(RunError::References)?;
    let callbacks = Callbacks::new(&settings.callbacks).map_err(RunError::Callbacks)?;
    let index = Index::new(settings.record_cache);
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry, index.clone(), [memory.clone(), documents.clone(), for_logs.clone()]);
    metrics::watch_access(&mut registry, access.clone());
    let rates = Rates::new(&settings.limits);
    metrics::watch_rates(&mut registry, rates.clone());
    let health = Health::new(registry, &[feed::READY_PART]);
    let bind = platform.probe.bind;
    let probe_address = probe::serve(bind, health.clone(), shutdown.clone()).map_err(|source| RunError::Listen {
        what: "the probe server",
        address: bind.to_string(),
        source,
    })?;
    let Some(nats) = connect(&platform, settings.connect_wait, &shutdown).await? else { return Ok(()) };
    nats::ensure_keys(&nats, settings.idempotency_age).await?;
    let limit = platform.shutdown_limit;
    let (audit, writing) = start_audit(&nats, &settings.audit, &metrics, limit, &shutdown).await?;
    let objects = platform.store.as_ref().map(ObjectStore::new).transpose()?;
    if let Some(objects) = objects.clone() {
        tokio::spawn(async move { check_bucket(&objects).await });
    }
    if let Some(named) = access.named.clone() {
        tokio::spawn(named.keep_up(shutdown.clone()));
    }
    if let Some(oidc) = access.oidc.clone() {
        tokio::spawn(oidc.keep_up(shutdown.clone()));
    }
    tokio::spawn(rates.clone().keep_tidy(shutdown.clone()));
    let followed = tokio::spawn(feed::follow(nats.clone(), index.clone(), health, shutdown.clone()));
    let runtime = Handle::current();
    let store = JobStore::new(nats, objects);
    let logs = Logs::new(&settings.logs, for_logs, metrics.clone());
    let urls = Arc::new(Urls::new(&configuration.server.url));
    let gateway = Gateway {
        access,
        rates,
        audit: audit.clone(),
        urls: urls.clone(),
        jobs: Jobs::new(store.clone(), index.clone(), metrics.clone(), runtime.clone()),
        values: Values::new(store.clone(), runtime.clone(), urls.clone(), &settings, documents),
        store,
        index,
        logs,
        metrics,
        accepting: Arc::new(Semaphore::new(settings.max_accepting)),
        resolving: Arc::new(Semaphore::new(settings.references.max_executions)),
        memory,
        runtime,
        shutdown: shutdown.clone(),
        schemas: Arc::new(schemas),
        references,
        callbacks,
        settings: Arc::new(settings),
        configuration: Arc::new(configuration),
    };
    let (url, processes) = (gateway.urls.base().to_owned(), gateway.configuration.processes.len());
    info!(%address, probes = %probe_address, %url, processes, "serving");
    let calling = tokio::spawn(callbacks::serve(gateway.clone(), shutdown.clone()));
    let served = server::serve(listener, gateway, limit).await.map_err(RunError::Serve);
    shutdown.cancel();
    if let Some(writing) = writing {
        writing.end(&audit).await;
    }
    if let Err(lost) = followed.await {
        warn!(error = %lost, "the index ended");
    }
    if let Err(lost) = calling.await {
        warn!(error = %lost, "calling back ended");
    }
    info!("stopped");
    served
}

/// Makes the stream of the audit, and begins to write to it, unless it is switched off.
async fn start_audit(
    nats: &Nats,
    settings: &AuditSettings,
    metrics: &Metrics,
    limit: Duration,
    shutdown: &CancellationToken,
) -> Result<(Audit, Option<Writing>), NatsError> {
    if !settings.enabled {
        return Ok((Audit::off(), None));
    }
    nats::ensure_audit(nats, settings.max_age, settings.max_bytes).await?;
    let (audit, queue) = Audit::new(settings, metrics.clone());
    let writing = Writing::start(queue, nats.clone(), settings.retry_for, limit, shutdown.clone());
    Ok((audit, Some(writing)))
}

/// Connects to NATS, which may come up after us. `None` when told to stop meanwhile.
async fn connect(
    platform: &Platform,
    limit: Duration,
    shutdown: &CancellationToken,
) -> Result<Option<Nats>, NatsError> {
    const PAUSE: Duration = Duration::from_secs(1);
    let deadline = Instant::now() + limit;
    loop {
        let attempt = tokio::select! {
            attempt = nats::connect(&platform.nats, "api-gateway") => attempt,
            () = shutdown.cancelled() => return Ok(None),
        };
        match attempt {
            Ok(nats) => return Ok(Some(nats)),
            Err(error @ (NatsError::Setting(_) | NatsError::Credentials(_))) => return Err(error),
            Err(error) if Instant::now() + PAUSE >= deadline => return Err(error),
            Err(error) => warn!(error = %chain(&error), "waiting for NATS"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.cancelled() => return Ok(None),
        }
    }
}

async fn check_bucket(objects: &ObjectStore) {
    if let Err(error) = objects.check().await {
        error!(error = %chain(&error), "the bucket does not answer as it should; results can't be read until it does");
    }
}
