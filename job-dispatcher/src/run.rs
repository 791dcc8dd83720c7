//! Builds the dispatcher and runs it until it is told to stop.

use std::sync::Arc;

use actix::{Actor, AsyncContext};
use anyhow::{Context as _, bail};
use platform::{
    config::{self, Platform, process_environment},
    job_store::JobStore,
    nats,
    object_store::ObjectStore,
    probe::{self, Health},
    shutdown, telemetry,
};
use prometheus_client::registry::Registry;
use protocol::{
    configuration::{Configuration, LogLevel},
    job_record::ArchiveState,
    names::environment,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    adopt::Adoption,
    cancel::Canceller,
    executor::{Executor, kubernetes::KubernetesExecutor, local::LocalExecutor},
    intake,
    launcher::Launcher,
    metrics::Metrics,
    reporter::{REPORTS, Reporter},
    settings::{DispatcherSettings, ExecutorChoice},
    sweep::Sweep,
    watcher::Watcher,
};

/// Changes that wait to be looked at.
const CHANGES: usize = 1024;

/// The whole life of the process. Clients live on a multi-thread runtime of their own; actors on actix's, on the
/// calling thread.
///
/// # Errors
/// When settings, configuration, NATS or the executor can't be used.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (platform, settings) = config::load::<DispatcherSettings>("dispatcher", &process_environment)?;
    let mistakes = settings.mistakes();
    anyhow::ensure!(mistakes.is_empty(), "{}", mistakes.join("; "));
    let (configuration, warnings) = config::read_configuration(&process_environment)?;
    telemetry::start(&platform.telemetry, configuration.logging.level.map(LogLevel::as_tracing))?;
    for warning in warnings {
        warn!("{warning}");
    }
    let handle = runtime.handle().clone();
    let (stop, parts) = runtime.block_on(build(&platform, &settings, configuration))?;
    let ended = actix::System::new().block_on(serve(platform, settings, parts, stop, handle));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ended
}

struct Parts {
    store: JobStore,
    executor: Executor,
    configuration: Configuration,
    metrics: Metrics,
    health: Health,
}

async fn build(
    platform: &Platform,
    settings: &DispatcherSettings,
    configuration: Configuration,
) -> anyhow::Result<(CancellationToken, Parts)> {
    let stop = shutdown::on_signal()?;
    platform.log_oddities(&process_environment);
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let health = Health::new(registry, &["nats", "watch"]);
    let probe =
        probe::serve(platform.probe.bind, health.clone(), stop.clone()).context("the probe port can't be used")?;
    let nats = nats::connect(&platform.nats, "job-dispatcher").await?;
    health.set("nats", true);
    let objects = platform.store.as_ref().map(ObjectStore::new).transpose()?;
    let executor = match settings.executor {
        ExecutorChoice::Kubernetes => {
            Executor::Kubernetes(Arc::new(KubernetesExecutor::connect(&process_environment).await?))
        }
        ExecutorChoice::Local => Executor::Local(LocalExecutor::new(&settings.local_dir)?),
    };
    info!(%probe, executor = ?executor.kind(), namespace = executor.namespace(), "started");
    let store = JobStore::new(nats, objects);
    Ok((stop, Parts { store, executor, configuration, metrics, health }))
}

async fn serve(
    platform: Platform,
    settings: DispatcherSettings,
    parts: Parts,
    stop: CancellationToken,
    runtime: Handle,
) -> anyhow::Result<()> {
    let Parts { store, executor, configuration, metrics, health } = parts;
    let archives = configuration.server.manager.finalizer_controller;
    let processes = Arc::new(configuration.processes);
    let reporter = Reporter {
        store: store.clone(),
        executor: executor.clone(),
        start_deadline: settings.start_deadline,
        places: Arc::new(Semaphore::new(REPORTS)),
        metrics: metrics.clone(),
        runtime: runtime.clone(),
    }
    .start();
    let (changes, changed) = mpsc::channel(CHANGES);
    let (on_synced, synced) = oneshot::channel();
    let watcher = Watcher::create(|context| {
        context.add_stream(futures::stream::unfold(changed, |mut changed| async {
            changed.recv().await.map(|change| (change, changed))
        }));
        Watcher::new(reporter.clone(), settings.start_deadline, metrics.clone(), on_synced)
    });
    let launcher = Launcher {
        store: store.clone(),
        executor: executor.clone(),
        processes: processes.clone(),
        job_name_prefix: job_name_prefix(),
        watcher: watcher.clone(),
        metrics,
        runtime: runtime.clone(),
    }
    .start();

    let mut tasks = JoinSet::new();
    let watch_stop = CancellationToken::new();
    let watching = executor.clone();
    let ends = watch_stop.clone();
    let mut watch = runtime.spawn(async move { watching.watch(changes, ends).await });
    // Nothing is launched before the level is known: a live job would be taken for a lost one.
    let is_synced = tokio::select! {
        synced = synced => synced.is_ok(),
        () = stop.cancelled() => false,
        _ = &mut watch => bail!("the watch ended"),
    };
    if is_synced {
        health.set("watch", true);
        for process in processes.keys() {
            let max_live = settings.max_live_per_process;
            tasks.spawn_on(
                intake::executions(store.clone(), process.clone(), max_live, launcher.clone(), stop.clone()),
                &runtime,
            );
        }
        let canceller = Canceller { store: store.clone(), executor: executor.clone(), watcher: watcher.clone() };
        tasks.spawn_on(canceller.clone().dismissed(stop.clone()), &runtime);
        tasks.spawn_on(canceller.over(stop.clone()), &runtime);
        if let (Executor::Kubernetes(kubernetes), true) = (&executor, settings.adopt) {
            let adoption = Adoption {
                store: store.clone(),
                executor: kubernetes.clone(),
                processes: processes.clone(),
                job_name_prefix: job_name_prefix(),
                archive: if archives { ArchiveState::Pending } else { ArchiveState::Off },
                reporter,
                every: settings.sweep_every,
            };
            tasks.spawn_on(adoption.run(stop.clone()), &runtime);
        }
        let sweep = Sweep {
            store,
            executor,
            processes,
            watcher,
            keep: settings.keep_jobs,
            unconfigured_after: settings.unconfigured_after,
            every: settings.sweep_every,
        };
        tasks.spawn_on(sweep.run(stop.clone()), &runtime);
    }
    let finished = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        () = stop.cancelled() => {}
        // Without it nothing is seen any more: better another process than one that looks alive.
        _ = &mut watch => bail!("the watch ended"),
    }
    if shutdown::within(&stop, platform.shutdown_limit, finished).await.is_some() {
        info!("stopped");
    }
    watch_stop.cancel();
    Ok(())
}

fn job_name_prefix() -> String {
    process_environment(environment::JOB_NAME_PREFIX)
        .filter(|prefix| !prefix.is_empty())
        .unwrap_or_else(|| environment::JOB_NAME_PREFIX_DEFAULT.to_owned())
}
