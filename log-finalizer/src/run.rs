//! Builds the finalizer and runs it until it is told to stop.

use std::sync::Arc;

use anyhow::Context as _;
use platform::{
    config::{self, Platform, process_environment},
    consume::{self, WorkQueue},
    job_store::JobStore,
    nats,
    object_store::ObjectStore,
    probe::{self, Health},
    shutdown,
    telemetry::{self, chain},
};
use prometheus_client::registry::Registry;
use protocol::{
    Event,
    job_record::ExecutorKind,
    names::{environment, subjects},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    finalize::Finalizer,
    follow::Follower,
    metrics::Metrics,
    pods::{Pods, kubernetes::KubernetesPods, local::LocalPods},
    settings::FinalizerSettings,
    sweep::Sweep,
    tries::Tries,
};

/// Jobs that all replicas together follow: no limit, so that none that runs keeps another one from being followed.
const MOST_FOLLOWED_JOBS: usize = 1_000_000;

/// The whole life of the process.
///
/// # Errors
/// When settings, NATS or the executor can't be used.
pub fn run() -> anyhow::Result<()> {
    let (platform, settings) = config::load::<FinalizerSettings>("finalizer", &process_environment)?;
    telemetry::start(&platform.telemetry, None)?;
    let mistakes = settings.mistakes();
    anyhow::ensure!(mistakes.is_empty(), "{}", mistakes.join("; "));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(platform, settings));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ended
}

/// The removals of jobs, for all finalizers.
fn removals(settings: &FinalizerSettings) -> WorkQueue {
    WorkQueue {
        consumer: subjects::REMOVING_CONSUMER.to_owned(),
        filters: vec![subjects::events_of_kind(Event::Removed)],
        max_in_hand: settings.max_in_hand,
        max_here: settings.max_here,
        room: None,
    }
}

/// The work queue of all finalizers.
pub fn queue(settings: &FinalizerSettings) -> WorkQueue {
    WorkQueue {
        consumer: subjects::FINALIZING_CONSUMER.to_owned(),
        filters: [Event::Running, Event::Ended, Event::Dismissed].map(subjects::events_of_kind).to_vec(),
        max_in_hand: settings.max_in_hand,
        max_here: settings.max_here,
        room: None,
    }
}

/// The jobs whose containers run, for all finalizers: those that run themselves, and, by a consumer that older versions don't
/// know, those that are prepared.
fn followed(settings: &FinalizerSettings) -> [WorkQueue; 2] {
    let queue = |consumer: &str, event| WorkQueue {
        consumer: consumer.to_owned(),
        filters: vec![subjects::events_of_kind(event)],
        max_in_hand: MOST_FOLLOWED_JOBS,
        max_here: settings.max_followed.max(1),
        room: None,
    };
    [queue(subjects::FOLLOWING_CONSUMER, Event::Running), queue(subjects::PREPARING_CONSUMER, Event::Launching)]
}

async fn serve(platform: Platform, settings: FinalizerSettings) -> anyhow::Result<()> {
    let stop = shutdown::on_signal()?;
    platform.log_oddities(&process_environment);
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let health = Health::new(registry, &["nats", "executor"]);
    let probe =
        probe::serve(platform.probe.bind, health.clone(), stop.clone()).context("the probe port can't be used")?;
    let nats = nats::connect(&platform.nats, "log-finalizer").await?;
    health.set("nats", true);
    let store = platform.store.as_ref().map(ObjectStore::new).transpose()?;
    if let Some(store) = &store
        && let Err(error) = store.check().await
    {
        // Jobs wait for it, and say so: starting anyway keeps them visible.
        error!(error = %chain(&error), "the bucket can't be used now");
    }
    let pods = pods(&settings).await?;
    health.set("executor", true);
    info!(%probe, local = settings.local_dir.is_some(), "started");
    let finalizer = Finalizer {
        jobs: JobStore::new(nats.clone(), store),
        pods,
        settings: Arc::new(settings),
        metrics,
        tries: Tries::default(),
        keep_archives: platform.keep_archives,
    };
    let work = work(finalizer, nats, stop.clone());
    if shutdown::within(&stop, platform.shutdown_limit, work).await.is_some() {
        info!("stopped");
    }
    Ok(())
}

async fn work(finalizer: Finalizer, nats: nats::Nats, stop: CancellationToken) {
    let (queue, removals) = (queue(&finalizer.settings), removals(&finalizer.settings));
    let sweep = Sweep::new(finalizer.clone()).run(stop.clone());
    let follower = Follower::new(finalizer.clone());
    let follow = followed(&finalizer.settings).map(|queue| {
        let follower = follower.clone();
        consume::run(nats.clone(), queue, move |delivery| follower.clone().handle(delivery), stop.clone())
    });
    let remover = finalizer.clone();
    let remove = move |delivery| remover.clone().handle_removal(delivery);
    let remove = consume::run(nats.clone(), removals, remove, stop.clone());
    let consume = consume::run(nats, queue, move |delivery| finalizer.clone().handle(delivery), stop);
    tokio::join!(sweep, futures::future::join_all(follow), consume, remove);
}

async fn pods(settings: &FinalizerSettings) -> anyhow::Result<Pods> {
    if let Some(dir) = &settings.local_dir {
        return Ok(Pods::default().with(ExecutorKind::Local, Arc::new(LocalPods::new(dir))));
    }
    let kubernetes = KubernetesPods::connect(process_environment(environment::NAMESPACE)).await?;
    let kubernetes = kubernetes.and_in(settings.namespaces.iter().cloned());
    Ok(Pods::default().with(ExecutorKind::Kubernetes, Arc::new(kubernetes)))
}
