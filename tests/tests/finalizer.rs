//! The finalizer on a real stream and a real bucket, with pods that a test writes.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use end_to_end::{
    nats_server::NatsServer,
    program::wait_until,
    s3_server::S3Server,
    services::Service,
    story::{Backend, Setting, process_yaml, tell},
    tools::{Tool, require},
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use jiff::Timestamp;
use log_finalizer::{
    finalize::Finalizer,
    metrics::Metrics,
    pods::{Chunk, Container, Held, HeldPage, LogRead, LogStream, Pod, PodSource, Pods, PodsError, ResultAnnotations},
    settings::FinalizerSettings,
    sweep::Sweep,
    tries::Tries,
};
use platform::{
    consume,
    job_store::{JobStore, Stored},
    nats::{self, Nats, NatsSettings},
    object_store::ObjectStore,
    publish,
};
use prometheus_client::registry::Registry;
use protocol::{
    Event, JobId, JobRecord, Manifest,
    job_record::{ArchiveState, DeclaredOutput, ExecutorKind, Outcome, Place, Reason, Status, Workload},
    names::{objects, subjects},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(30);
const MARKED: &str =
    "working\nPYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: text/csv\nPYGEOAPI_K8S_MANAGER_RESULT_START\na,b\n1,2\n";
const ARCHIVE: &str = "Logs of pod 'pod-1'\nInit Container 'fetch'\nfetched\n\nContainer 'main'\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_successful_job_is_stored_whole_before_it_is_successful() -> Result<()> {
    let world = World::start().await?;
    let job = world.ended(None).await?;
    let finalizer = world.finalizer(Some(world.s3.store()?));
    let _running = world.consume(&finalizer);

    let sealed = world.terminal(&job).await?;
    let record = &sealed.record;
    assert_eq!(
        (sealed.event, record.status, record.progress),
        (Some(Event::Successful), Status::Successful, Some(100))
    );
    let store = world.s3.store()?;
    let text = format!("{ARCHIVE}{MARKED}");
    let key = record.archive.key.clone().unwrap();
    assert_eq!(key, "logs/2026-01-31_pygeoapi-job-x-logs.txt");
    assert_eq!(store.get(&key, 10_000).await?.unwrap(), text);
    assert_eq!(record.archive.state, ArchiveState::Stored);
    assert_eq!(record.archive.sha256.as_deref(), Some(sha256(text.as_bytes()).as_str()));

    let [result] = record.results.as_slice() else { panic!("{record:?}") };
    assert_eq!((result.id.as_str(), result.media_type.as_str(), result.size), ("table", "text/csv", 8));
    let Place::Object(place) = &result.place else { panic!("{result:?}") };
    assert_eq!(store.get(place, 100).await?.unwrap(), "a,b\n1,2\n");
    assert_eq!(result.sha256, sha256(b"a,b\n1,2\n"));

    world.released().await?;
    let manifest = world.manifest(&job).await?;
    assert_eq!(&manifest.record, record);
    let main = &manifest.containers[1];
    assert_eq!(&text[main.start as usize..(main.start + main.size) as usize], MARKED);
    let annotations = world.pods.annotations.lock().unwrap().clone().unwrap();
    assert_eq!(
        (annotations.media_type.as_deref(), annotations.value.as_deref()),
        (Some("text/csv"), Some("a,b\n1,2\n"))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_keeps_its_log_and_has_no_result() -> Result<()> {
    let world = World::start().await?;
    let job = world.ended(Some(Reason::ExitCode)).await?;
    let finalizer = world.finalizer(Some(world.s3.store()?));
    let _running = world.consume(&finalizer);
    let record = world.terminal(&job).await?.record;
    assert_eq!((record.status, record.archive.state), (Status::Failed, ArchiveState::Stored));
    assert!(record.results.is_empty());
    world.released().await?;
    let all = world.s3.store()?.list(&objects::job_prefix("logs/", &job), None, 100).await?;
    assert!(all.iter().all(|object| !object.key.contains("/results/")), "{all:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bucket_is_away_the_record_says_so_and_nothing_is_lost() -> Result<()> {
    let mut world = World::start().await?;
    world.s3.stop().await;
    let job = world.ended(None).await?;
    let finalizer = world.finalizer(Some(world.s3.store()?));
    let _running = world.consume(&finalizer);
    wait_until("the record says why", LIMIT, || async {
        let stored = world.job(&job).await?;
        let message = stored.record.message.unwrap_or_default();
        ensure!(stored.event == Some(Event::Progress) && message.contains("can't be stored yet"), "{message}");
        ensure!(!message.contains("127.0.0.1"), "{message}");
        Ok(())
    })
    .await?;
    assert_eq!(world.job(&job).await?.record.status, Status::Running);
    assert_eq!(world.pods.released.load(Ordering::SeqCst), 0);
    world.s3.restart().await?;
    let record = world.terminal(&job).await?.record;
    assert_eq!((record.status, record.message.as_deref()), (Status::Successful, Some("the execution succeeded")));
    world.released().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_deadline_a_job_fails_with_the_bucket_as_its_reason_and_its_pod_is_let_go() -> Result<()> {
    let mut world = World::start().await?;
    world.s3.stop().await;
    let job = world.ended(None).await?;
    let mut finalizer = world.finalizer(Some(world.s3.store()?));
    finalizer.settings = Arc::new(FinalizerSettings { seal_deadline: Duration::ZERO, ..FinalizerSettings::default() });
    let _running = world.consume(&finalizer);
    let record = world.terminal(&job).await?.record;
    assert_eq!((record.status, record.archive.state), (Status::Failed, ArchiveState::Gap));
    assert_eq!(record.outcome.unwrap().reason, Some(Reason::StoreUnavailable));
    world.released().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bucket_the_result_is_in_the_stream_and_the_log_is_archived_once_there_is_one() -> Result<()> {
    let mut world = World::start().await?;
    let job = world.ended(None).await?;
    let running = world.consume(&world.finalizer(None));
    let record = world.terminal(&job).await?.record;
    assert_eq!((record.status, record.archive.state), (Status::Successful, ArchiveState::Unavailable));
    let Place::Stream(subject) = &record.results[0].place else { panic!("{record:?}") };
    assert_eq!(publish::last(&world.nats, subject).await?.unwrap().payload, "a,b\n1,2\n");
    assert_eq!(world.pods.released.load(Ordering::SeqCst), 0, "the pod keeps the log");
    drop(running);

    let refused = world.s3.store()?;
    world.s3.stop().await;
    let mut finalizer = world.finalizer(Some(refused));
    finalizer.settings = Arc::new(FinalizerSettings { seal_deadline: Duration::ZERO, ..FinalizerSettings::default() });
    let mut sweep = Sweep::new(finalizer);
    for _ in 0..2 {
        sweep.round().await;
        assert_eq!(world.job(&job).await?.record, record, "a log that waits is not given up");
    }
    world.s3.restart().await?;

    Sweep::new(world.finalizer(Some(world.s3.store()?))).round().await;
    let stored = world.job(&job).await?;
    assert_eq!((stored.event, stored.record.archive.state), (Some(Event::Archived), ArchiveState::Stored));
    assert_eq!(stored.record.message.as_deref(), Some("the execution succeeded"));
    let Place::Object(place) = &stored.record.results[0].place else { panic!("{stored:?}") };
    let store = world.s3.store()?;
    assert_eq!(store.get(place, 100).await?.unwrap(), "a,b\n1,2\n");
    assert_eq!(
        store.size(&stored.record.archive.key.clone().unwrap()).await?,
        Some((ARCHIVE.len() + MARKED.len()) as u64)
    );
    assert_eq!(world.manifest(&job).await?.record, stored.record);
    world.released().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_too_large_for_the_stream_fails_the_job_with_the_missing_bucket_as_reason() -> Result<()> {
    let world = World::start().await?;
    world.pods.set_main(format!("PYGEOAPI_K8S_MANAGER_RESULT_START\n{}", "x".repeat(600_000)));
    let job = world.ended(None).await?;
    let _running = world.consume(&world.finalizer(None));
    let record = world.terminal(&job).await?.record;
    assert_eq!(record.outcome.unwrap().reason, Some(Reason::StoreUnavailable));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_whose_pod_is_gone_fails_and_says_that_nothing_was_collected() -> Result<()> {
    let world = World::start().await?;
    world.pods.pod.lock().unwrap().take();
    let job = world.ended(None).await?;
    let _running = world.consume(&world.finalizer(Some(world.s3.store()?)));
    let record = world.terminal(&job).await?.record;
    assert_eq!((record.status, record.archive.state), (Status::Failed, ArchiveState::Gap));
    assert_eq!(record.outcome.as_ref().unwrap().reason, Some(Reason::ResultsNotCollected));
    assert!(record.archive.key.is_none() && !record.archive.gaps.is_empty());
    world.manifest(&job).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_dismissed_job_follows_its_dismissal() -> Result<()> {
    let world = World::start().await?;
    let mut record = world.record(None);
    (record.status, record.outcome) = (Status::Dismissed, None);
    let job = record.job_id;
    publish::event(&world.nats, Event::Dismissed, record, 0).await?;
    let _running = world.consume(&world.finalizer(Some(world.s3.store()?)));
    let stored = wait_until("the archive follows", LIMIT, || async {
        let stored = world.job(&job).await?;
        ensure!(stored.event == Some(Event::Archived), "{stored:?}");
        Ok(stored)
    })
    .await?;
    assert_eq!((stored.record.status, stored.record.archive.state), (Status::Dismissed, ArchiveState::Stored));
    assert!(stored.record.results.is_empty());
    world.released().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_fails_is_repeated_and_the_seal_is_not() -> Result<()> {
    let world = World::start().await?;
    world.pods.release_failures.store(2, Ordering::SeqCst);
    let job = world.ended(None).await?;
    let _running = world.consume(&world.finalizer(Some(world.s3.store()?)));
    let sealed = world.terminal(&job).await?;
    world.released().await?;
    assert_eq!(world.job(&job).await?, sealed);
    assert_eq!(world.pods.reads.load(Ordering::SeqCst), 2, "each container's log is read once");
    let annotations = world.pods.annotations.lock().unwrap().clone().unwrap();
    assert_eq!(annotations.value.as_deref(), Some("a,b\n1,2\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_breaks_off_is_read_again_and_never_half_stored() -> Result<()> {
    let world = World::start().await?;
    world.pods.log_failures.store(1, Ordering::SeqCst);
    let job = world.ended(None).await?;
    let _running = world.consume(&world.finalizer(Some(world.s3.store()?)));
    let record = world.terminal(&job).await?.record;
    assert_eq!((record.status, record.archive.state), (Status::Successful, ArchiveState::Stored));
    assert_eq!(record.archive.size, Some((ARCHIVE.len() + MARKED.len()) as u64));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_not_taken_before_its_container_ended() -> Result<()> {
    let world = World::start().await?;
    world.pods.set_running(true);
    let job = world.ended(Some(Reason::Deadline)).await?;
    let finalizer = world.finalizer(Some(world.s3.store()?));
    assert!(finalizer.advance(&job).await.is_err());
    assert_eq!(world.pods.reads.load(Ordering::SeqCst), 0);
    world.pods.set_running(false);
    finalizer.advance(&job).await?;
    let record = world.job(&job).await?.record;
    assert_eq!((record.status, record.archive.state), (Status::Failed, ArchiveState::Stored));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_never_ends_leaves_a_gap() -> Result<()> {
    let world = World::start().await?;
    world.pods.set_running(true);
    let job = world.ended(Some(Reason::Deadline)).await?;
    let mut finalizer = world.finalizer(Some(world.s3.store()?));
    finalizer.settings = Arc::new(FinalizerSettings { log_deadline: Duration::ZERO, ..FinalizerSettings::default() });
    assert!(finalizer.advance(&job).await.is_err(), "it is tried at least once more");
    finalizer.advance(&job).await?;
    let record = world.job(&job).await?.record;
    assert_eq!((record.status, record.archive.state), (Status::Failed, ArchiveState::Gap));
    assert_eq!(record.archive.size, Some((ARCHIVE.len() + MARKED.len()) as u64), "what there is is kept");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_lets_go_of_another_incarnation_whatever_it_meets_before() -> Result<()> {
    let world = World::start().await?;
    let unreadable = world.ended(None).await?;
    let subject = subjects::event(&"p.x".parse()?, &unreadable, Event::Progress);
    world.nats.jetstream.publish(subject, "no record".into()).await?.await?;
    let job = world.ended(None).await?;
    let finalizer = world.finalizer(Some(world.s3.store()?));
    finalizer.advance(&job).await?;
    let own = world.job(&job).await?.record.workload.context("it has a workload")?;
    world.pods.hold(job, Workload { job_uid: Some("another".into()), ..own });
    Sweep::new(finalizer).round().await;
    assert_eq!(*world.pods.uids.lock().unwrap(), ["uid", "another"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_lost_is_made_up_for_by_the_sweep() -> Result<()> {
    let world = World::start().await?;
    let job = world.ended(None).await?;
    let mut finalizer = world.finalizer(Some(world.s3.store()?));
    finalizer.settings = Arc::new(FinalizerSettings { sweep_after: Duration::ZERO, ..FinalizerSettings::default() });
    Sweep::new(finalizer).round().await;
    assert_eq!(world.job(&job).await?.record.status, Status::Successful);
    world.released().await
}

/// Tells that a job is removed, as a gateway does.
async fn removed(world: &World, job: &JobId) -> Result<()> {
    let stored = world.job(job).await?;
    let mut record = stored.record.next(Timestamp::now());
    (record.status, record.results, record.parameters) = (Status::Dismissed, Vec::new(), None);
    publish::event(&world.nats, Event::Removed, record, stored.sequence).await?;
    Ok(())
}

async fn subjects_of(world: &World, job: &JobId) -> Result<Vec<String>> {
    let mut listed = world.nats.stream.info_with_subjects(">").await?;
    let mut found = Vec::new();
    while let Some(subject) = listed.next().await {
        found.push(subject?.0);
    }
    found.retain(|subject| subject.contains(&job.to_string()));
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_removed_job_the_archive_stays_only_where_it_is_to_be_kept() -> Result<()> {
    for keep in [false, true] {
        let world = World::start().await?;
        let job = world.ended(None).await?;
        let mut finalizer = world.finalizer(Some(world.s3.store()?));
        finalizer.keep_archives = keep;
        finalizer.advance(&job).await?;
        let archive = world.job(&job).await?.record.archive.key.context("it has an archive")?;
        removed(&world, &job).await?;
        finalizer.remove(&job).await?;
        finalizer.remove(&job).await?;
        let left = world.s3.store()?.list("logs/", None, 100).await?;
        let expected = if keep { vec![archive.as_str()] } else { vec![] };
        assert_eq!(left.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), expected);
        let [only] = subjects_of(&world, &job).await?.try_into().unwrap();
        assert!(only.ends_with(".removed"), "{only}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_is_told_for_its_time_and_then_forgotten_by_the_sweep() -> Result<()> {
    let world = World::start().await?;
    let job = world.ended(None).await?;
    let mut finalizer = world.finalizer(Some(world.s3.store()?));
    finalizer.advance(&job).await?;
    removed(&world, &job).await?;
    Sweep::new(finalizer.clone()).round().await;
    assert!(subjects_of(&world, &job).await?.len() > 1, "its message has its time");
    finalizer.settings = Arc::new(FinalizerSettings { sweep_after: Duration::ZERO, ..FinalizerSettings::default() });
    Sweep::new(finalizer.clone()).round().await;
    assert_eq!(subjects_of(&world, &job).await?.len(), 1, "a lost message is made up for");
    let stray = objects::inputs("logs/", &job);
    world.s3.store()?.put(&stray, "late".into(), "text/plain").await?;
    let forget = FinalizerSettings { forget_removed_after: Duration::ZERO, ..FinalizerSettings::default() };
    finalizer.settings = Arc::new(forget);
    Sweep::new(finalizer).round().await;
    assert!(subjects_of(&world, &job).await?.is_empty());
    assert_eq!(world.s3.store()?.size(&stray).await?, None, "what came late goes before that");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_dismissed_job_is_not_taken_while_its_pod_may_only_just_start() -> Result<()> {
    let world = World::start().await?;
    let mut record = world.record(None);
    (record.status, record.outcome, record.finished) = (Status::Dismissed, None, Some(Timestamp::now()));
    let job = record.job_id;
    world.pods.pod.lock().unwrap().as_mut().unwrap().may_start = true;
    publish::event(&world.nats, Event::Dismissed, record, 0).await?;
    let finalizer = world.finalizer(Some(world.s3.store()?));
    assert!(finalizer.advance(&job).await.is_err());
    assert_eq!(world.pods.reads.load(Ordering::SeqCst), 0);
    world.pods.pod.lock().unwrap().as_mut().unwrap().may_start = false;
    finalizer.advance(&job).await?;
    assert_eq!(world.job(&job).await?.record.archive.state, ArchiveState::Stored);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_killed_right_after_the_seal_leaves_nothing_undone() {
    let mut setting = Setting::new(Backend::Local)
        .with_processes(&process_yaml("talks", "echo PYGEOAPI_K8S_MANAGER_RESULT_START\necho done"))
        .with("QUAYSIDE_NATS__ACK_WAIT", "2");
    setting.start_services = false;
    tell("crash-after-seal", setting, async |story| {
        for service in Service::ALL {
            let failpoint = [("QUAYSIDE_FAILPOINT", "finalizer.after-seal")];
            let more = if service == Service::Finalizer { &failpoint[..] } else { &[] };
            story.stack.start_service(service, 0, more)?;
        }
        story.stack.wait_ready().await?;
        let job = story.submit("talks", serde_json::json!({})).await?;
        let died = story.stack.service(Service::Finalizer, 0)?.program.wait();
        tokio::time::timeout(LIMIT, died).await.context("the failpoint was not reached")??;
        let status = story.wait_done(&job).await?;
        ensure!(status["status"] == "successful", "it was sealed: {status}");
        let store = story.stack.objects()?;
        ensure!(
            store.size(&objects::manifest(store.prefix(), &job)).await?.is_none(),
            "the manifest comes after the seal"
        );
        story.stack.start_service(Service::Finalizer, 0, &[])?;
        let manifest = story.manifest(&job).await?;
        ensure!(!manifest.containers.is_empty(), "the attempt that won tells the ranges: {manifest:?}");
        ensure!(manifest.record.status == Status::Successful, "{manifest:?}");
        Ok(())
    })
    .await;
}

pub(crate) struct World {
    pub(crate) nats: Nats,
    pub(crate) s3: S3Server,
    pub(crate) pods: Arc<FakePods>,
    _server: NatsServer,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        tracing_subscriber::fmt().with_env_filter("info").with_test_writer().try_init().ok();
        let tools = require(&[Tool::NatsServer], &|line| eprintln!("{line}")).await?;
        let folder = tempfile::tempdir()?;
        let server = NatsServer::start(&tools, &folder.path().join("nats"), None).await?;
        let settings = NatsSettings { url: server.url(), ..NatsSettings::default() };
        let nats = nats::connect(&settings, "test").await?;
        let s3 = S3Server::start(folder.path().join("s3"), None).await?;
        Ok(Self { nats, s3, pods: Arc::new(FakePods::new()), _server: server, _folder: folder })
    }

    pub(crate) fn finalizer(&self, store: Option<ObjectStore>) -> Finalizer {
        Finalizer {
            jobs: JobStore::new(self.nats.clone(), store),
            pods: Pods::default().with(ExecutorKind::Kubernetes, self.pods.clone()),
            settings: Arc::default(),
            metrics: Metrics::new(&mut Registry::default()),
            tries: Tries::default(),
            keep_archives: false,
        }
    }

    pub(crate) fn consume(&self, finalizer: &Finalizer) -> Running {
        let stop = CancellationToken::new();
        let (finalizer, queue) = (finalizer.clone(), log_finalizer::queue(&finalizer.settings));
        let handler = move |delivery| finalizer.clone().handle(delivery);
        tokio::spawn(consume::run(self.nats.clone(), queue, handler, stop.clone()));
        Running(stop)
    }

    /// A record of a job that ended longer ago than any deadline.
    pub(crate) fn record(&self, reason: Option<Reason>) -> JobRecord {
        let finished: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let id = JobId::generate(1_769_860_000_000);
        let mut record = JobRecord::accepted(id, "p.x".parse().unwrap(), "1".into(), finished, ArchiveState::Pending);
        record.status = Status::Running;
        record.attempt = 1;
        record.finished = Some(finished);
        record.declared_outputs = vec![DeclaredOutput::new("table", "text/plain")];
        record.outcome = Some(Outcome {
            reason,
            exit_code: None,
            message: "the execution succeeded".into(),
            unknown: protocol::Unknown::new(),
        });
        record.workload = Some(Workload {
            executor: ExecutorKind::Kubernetes,
            namespace: "n".into(),
            job_name: "pygeoapi-job-x".into(),
            job_uid: Some("uid".into()),
            pod_name: Some("pod-1".into()),
            pod_uid: None,
            uploads: None,
            unknown: protocol::Unknown::new(),
        });
        self.pods.hold(id, record.workload.clone().unwrap());
        record
    }

    pub(crate) async fn ended(&self, reason: Option<Reason>) -> Result<JobId> {
        let record = self.record(reason);
        let id = record.job_id;
        publish::event(&self.nats, Event::Ended, record, 0).await?;
        Ok(id)
    }

    pub(crate) async fn job(&self, job: &JobId) -> Result<Stored> {
        JobStore::new(self.nats.clone(), None).job(job).await?.context("no such job")
    }

    pub(crate) async fn terminal(&self, job: &JobId) -> Result<Stored> {
        wait_until("the job is terminal", LIMIT, || async {
            let stored = self.job(job).await?;
            ensure!(stored.record.status.is_terminal(), "{:?} {:?}", stored.event, stored.record.message);
            Ok(stored)
        })
        .await
    }

    async fn released(&self) -> Result<()> {
        wait_until("the pod is released", LIMIT, || async {
            ensure!(self.pods.released.load(Ordering::SeqCst) > 0, "not yet");
            Ok(())
        })
        .await
    }

    async fn manifest(&self, job: &JobId) -> Result<Manifest> {
        let store = self.s3.store()?;
        wait_until("the manifest is there", LIMIT, || async {
            let bytes = store.get(&objects::manifest("logs/", job), 1 << 20).await?.context("no manifest")?;
            Ok(serde_json::from_slice(&bytes)?)
        })
        .await
    }
}

pub(crate) struct Running(CancellationToken);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

pub(crate) struct FakePods {
    pod: Mutex<Option<Pod>>,
    main: Mutex<Bytes>,
    held: Mutex<Vec<Held>>,
    annotations: Mutex<Option<ResultAnnotations>>,
    uids: Mutex<Vec<String>>,
    released: AtomicUsize,
    reads: AtomicUsize,
    release_failures: AtomicUsize,
    log_failures: AtomicUsize,
}

impl FakePods {
    fn new() -> Self {
        let container = |name: &str, init| Container {
            name: name.into(),
            init,
            main: !init,
            started: true,
            running: false,
            ended: None,
        };
        let pod = Pod {
            name: "pod-1".into(),
            created: None,
            containers: vec![container("fetch", true), container("main", false)],
            may_start: false,
            is_deleted: false,
        };
        Self {
            pod: Mutex::new(Some(pod)),
            main: Mutex::new(Bytes::from_static(MARKED.as_bytes())),
            held: Mutex::default(),
            annotations: Mutex::default(),
            uids: Mutex::default(),
            released: AtomicUsize::default(),
            reads: AtomicUsize::default(),
            release_failures: AtomicUsize::default(),
            log_failures: AtomicUsize::default(),
        }
    }

    fn hold(&self, job: JobId, workload: Workload) {
        self.held.lock().unwrap().push(Held { job, workload, terminating: false, created: None });
    }

    fn set_running(&self, running: bool) {
        let mut pod = self.pod.lock().unwrap();
        pod.as_mut().unwrap().containers.last_mut().unwrap().running = running;
    }

    pub(crate) fn set_main(&self, text: String) {
        *self.main.lock().unwrap() = text.into();
    }
}

impl PodSource for FakePods {
    fn pods<'a>(&'a self, _: &'a JobId, _: &'a Workload) -> BoxFuture<'a, Result<Vec<Pod>, PodsError>> {
        async { Ok(self.pod.lock().unwrap().iter().cloned().collect()) }.boxed()
    }

    fn log<'a>(
        &'a self,
        _: &'a Workload,
        _: &'a str,
        container: &'a str,
        _: LogRead,
    ) -> BoxFuture<'a, Result<LogStream, PodsError>> {
        async move {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let text = if container == "main" { self.main.lock().unwrap().clone() } else { "fetched\n".into() };
            let breaks = container == "main" && take_one(&self.log_failures);
            let chunk = |bytes: &[u8]| Chunk { bytes: Bytes::copy_from_slice(bytes), lines: Vec::new() };
            let chunks: Vec<_> = text.chunks(11).map(|bytes| Ok(chunk(bytes))).collect();
            let end = breaks.then(|| Err(PodsError::Log { container: container.to_owned(), source: "reset".into() }));
            Ok(stream::iter(chunks.into_iter().take(if breaks { 2 } else { usize::MAX }).chain(end)).boxed())
        }
        .boxed()
    }

    fn release<'a>(
        &'a self,
        _: &'a JobId,
        workload: &'a Workload,
        annotations: Option<&'a ResultAnnotations>,
    ) -> BoxFuture<'a, Result<(), PodsError>> {
        async move {
            if take_one(&self.release_failures) {
                return Err(PodsError::Release("the API server is away".into()));
            }
            *self.annotations.lock().unwrap() = annotations.cloned();
            self.uids.lock().unwrap().extend(workload.job_uid.clone());
            self.released.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        .boxed()
    }

    fn held<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<HeldPage, PodsError>> {
        async { Ok(HeldPage { held: self.held.lock().unwrap().clone(), next: None }) }.boxed()
    }
}

fn take_one(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
