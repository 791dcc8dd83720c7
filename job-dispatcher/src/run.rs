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
    ProcessDefinition,
    configuration::{Configuration, LogLevel},
    job_record::{ArchiveState, ExecutorKind},
    names::{environment, subjects},
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    adopt::Adoption,
    cancel::Canceller,
    exchange::Terms,
    executor::{Executor, kubernetes::KubernetesExecutor, local::LocalExecutor},
    intake::Intake,
    launcher::Launcher,
    levels::{self, Levels},
    metrics::Metrics,
    pace::Pace,
    reporter::{REPORTS, Reporter},
    room::LiveRoom,
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
            let namespaces = configuration.processes.values().filter_map(|process| process.pod.namespace.clone());
            let executor = KubernetesExecutor::connect(&process_environment).await?;
            Executor::Kubernetes(Arc::new(executor.and_in(namespaces).and_in(settings.namespaces.clone())))
        }
        ExecutorChoice::Local => Executor::Local(LocalExecutor::new(&settings.local_dir)?),
    };
    info!(%probe, executor = ?executor.kind(), namespaces = %executor.namespaces().join(","), "started");
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
        quota_deadline: settings.quota_deadline,
        places: Arc::new(Semaphore::new(REPORTS)),
        metrics: metrics.clone(),
        runtime: runtime.clone(),
    }
    .start();
    let (changes, changed) = mpsc::channel(CHANGES);
    let (tell_levels, levels) = watch::channel(Levels::default());
    let watcher = Watcher::create(|context| {
        context.add_stream(futures::stream::unfold(changed, |mut changed| async {
            changed.recv().await.map(|change| (change, changed))
        }));
        Watcher::new(reporter.clone(), settings.start_deadline, metrics.clone(), tell_levels)
    });
    let cap = |process: &ProcessDefinition| {
        // What the cap on all forbids, one queue need not hand out: with one process the cap on all is exact, too.
        process.max_live.map_or(settings.max_live_per_process, |max| max as usize).min(settings.max_live)
    };
    let room = LiveRoom::new(settings.max_live, processes.len(), metrics.live_jobs.clone());
    let room = match processes.values().map(cap).sum::<usize>() <= settings.max_live {
        true => room,
        false => {
            let queues = processes.keys().map(subjects::launching_consumer).collect();
            room.counting(store.nats().clone(), queues)
        }
    };
    let pace = Pace::new(settings.max_creating, room.for_a_queue(), metrics.clone());
    metrics.max_live.set(i64::try_from(settings.max_live).unwrap_or(i64::MAX));
    let launcher = Launcher {
        store: store.clone(),
        executor: executor.clone(),
        processes: processes.clone(),
        job_name_prefix: job_name_prefix(),
        quota_deadline: settings.quota_deadline,
        terms: Terms {
            companion_image: settings.companion_image.clone(),
            presigned_expiry: settings.presigned_expiry,
            is_local: executor.kind() == ExecutorKind::Local,
        },
        watcher: watcher.clone(),
        pace,
        room: Arc::new(room.for_a_queue()),
        metrics,
        runtime: runtime.clone(),
    }
    .start();

    let mut tasks = JoinSet::new();
    let watch_stop = CancellationToken::new();
    let watching = executor.clone();
    let ends = watch_stop.clone();
    let mut watch = runtime.spawn(async move { watching.watch(changes, ends).await });
    for process in processes.values() {
        let namespace = executor.namespace_of(process).to_owned();
        let intake = Intake {
            store: store.clone(),
            process: process.id.clone(),
            max_live: cap(process),
            room: Arc::new(room.for_a_queue()),
            launcher: launcher.clone(),
        };
        let intake = intake.run(stop.clone());
        let (levels, stop) = (levels.clone(), stop.clone());
        let launches = async move {
            if levels::reached(levels, |levels| levels.is_known(&namespace), &stop).await {
                intake.await;
            }
        };
        tasks.spawn_on(launches, &runtime);
    }
    let namespaces = executor.namespaces();
    let is_settled = tokio::select! {
        is_settled = levels::reached(levels.clone(), |levels| levels.is_settled(&namespaces), &stop) => is_settled,
        _ = &mut watch => bail!("the watch ended"),
    };
    if is_settled {
        let home = executor.namespaces().first().copied().unwrap_or_default().to_owned();
        let (levels_of_home, stop_of_home) = (levels.clone(), stop.clone());
        tasks.spawn_on(
            async move {
                if levels::reached(levels_of_home, |levels| levels.is_known(&home), &stop_of_home).await {
                    health.set("watch", true);
                }
            },
            &runtime,
        );
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
            levels,
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
