//! The local executor, with real processes: its shim is the dispatcher's own program.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indexmap::IndexMap;
use jiff::Timestamp;
use job_dispatcher::executor::{
    Change, ContainerState, CreateError, Executor, JobPlan, JobState, Observation,
    local::{LocalExecutor, LocalSettings, SHIM_SUBCOMMAND},
};
use protocol::{
    JobId, ProcessDefinition,
    local::{Folder, NAMESPACE, Shim, log_frames::Deframer},
    process::{EnvValue, EnvVar, PodOptions, Processor, Resources, hello_world},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// No condition takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

fn executor_with(dir: &Path, shim: &str) -> Executor {
    Executor::Local(LocalExecutor::with_settings(LocalSettings { dir: dir.to_owned(), shim: shim.into() }).unwrap())
}

fn executor(dir: &Path) -> Executor {
    executor_with(dir, env!("CARGO_BIN_EXE_job-dispatcher"))
}

fn process(kind: Processor, command: &[&str]) -> ProcessDefinition {
    ProcessDefinition {
        max_live: None,
        exchange: protocol::process::Exchange::default(),
        id: "a-process".parse().unwrap(),
        description: hello_world::description(),
        kind,
        check_auth: false,
        mimetype: None,
        image: "not-used:1".into(),
        command: command.iter().map(|&part| part.to_owned()).collect(),
        image_pull_secret: None,
        env: Vec::new(),
        resources: Resources { limits: IndexMap::new(), requests: IndexMap::new() },
        storage: Vec::new(),
        init_containers: Vec::new(),
        tolerations: Vec::new(),
        pod: PodOptions::default(),
    }
}

fn plan(command: &[&str]) -> JobPlan {
    let now = Timestamp::now();
    let job_id = JobId::generate(u64::try_from(now.as_millisecond()).unwrap());
    JobPlan {
        exchange: job_dispatcher::exchange::Exchange::default(),
        job_id,
        process: process(Processor::GenericImage, command),
        namespace: NAMESPACE.into(),
        job_name: format!("pygeoapi-job-{job_id}"),
        created: now,
        inputs: Map::new(),
        masked_parameters: None,
        hold_pod: false,
    }
}

fn shell(script: &str) -> JobPlan {
    plan(&["sh", "-c", script])
}

fn folder(dir: &Path, plan: &JobPlan) -> Folder {
    Folder::of(dir, &plan.job_name).unwrap()
}

/// The level, as one watch tells it.
struct Watch {
    changes: mpsc::Receiver<Change>,
    level: IndexMap<JobId, Observation>,
    _stop: DropGuard,
}

impl Watch {
    async fn start(executor: &Executor) -> Self {
        let (sender, changes) = mpsc::channel(16);
        let (stop, executor) = (CancellationToken::new(), executor.clone());
        let stopped = stop.clone();
        tokio::spawn(async move { executor.watch(sender, stopped).await });
        let mut watch = Self { changes, level: IndexMap::new(), _stop: stop.drop_guard() };
        while !matches!(watch.next().await, Change::Synced { .. }) {}
        watch
    }

    async fn next(&mut self) -> Change {
        let change = tokio::time::timeout(DEADLINE, self.changes.recv()).await;
        let change = change.unwrap_or_else(|_| panic!("no change any more, and so far: {:#?}", self.level)).unwrap();
        match &change {
            Change::Synced { .. } | Change::Unwatched { .. } => {}
            Change::Seen(seen) => {
                self.level.insert(seen.job_id, (**seen).clone());
            }
            Change::Gone { job_id, uid } => {
                assert_eq!(self.level.shift_remove(job_id).map(|seen| seen.uid).as_deref(), Some(uid.as_str()));
            }
        }
        change
    }

    async fn until(&mut self, plan: &JobPlan, is_so: impl Fn(&Observation) -> bool) -> Observation {
        loop {
            if let Some(seen) = self.level.get(&plan.job_id).filter(|seen| is_so(seen)) {
                return seen.clone();
            }
            self.next().await;
        }
    }

    async fn until_running(&mut self, plan: &JobPlan) -> Observation {
        self.until(plan, |seen| matches!(main_state(seen), ContainerState::Running { .. })).await
    }

    async fn until_ended(&mut self, plan: &JobPlan) -> Observation {
        self.until(plan, |seen| seen.state != JobState::Active).await
    }

    async fn until_gone(&mut self, plan: &JobPlan) {
        while self.level.contains_key(&plan.job_id) {
            self.next().await;
        }
    }
}

fn main_state(seen: &Observation) -> &ContainerState {
    &seen.pods[0].containers[0].state
}

fn exit(seen: &Observation) -> (i32, &str, Option<&str>) {
    match main_state(seen) {
        ContainerState::Terminated { exit_code, reason, message, .. } => {
            (*exit_code, reason.as_deref().unwrap(), message.as_deref())
        }
        other => panic!("not terminated: {other:?}"),
    }
}

/// Runs a plan to its end.
async fn run(dir: &Path, plan: &JobPlan) -> Observation {
    let executor = executor(dir);
    let mut watch = Watch::start(&executor).await;
    executor.create(plan).await.unwrap();
    watch.until_ended(plan).await
}

fn log(dir: &Path, plan: &JobPlan) -> Vec<u8> {
    let mut bytes = Vec::new();
    Deframer::default().push(&fs::read(folder(dir, plan).log()).unwrap(), &mut bytes, &mut Vec::new()).unwrap();
    bytes
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "not within the deadline: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Processes that have the job's id in their environment and have not ended.
fn alive(plan: &JobPlan) -> Vec<i32> {
    let mark = format!("PYGEOAPI_JOB_ID={}", plan.job_id);
    let is_of_job = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    pids().into_iter().filter(is_of_job).collect()
}

fn pids() -> Vec<i32> {
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str().and_then(|name| name.parse().ok())).collect()
}

fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().map(str::to_owned).collect())
}

fn shim(dir: &Path, plan: &JobPlan) -> Shim {
    serde_json::from_slice(&fs::read(folder(dir, plan).shim()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_decides_how_a_job_ended() {
    let dir = TempDir::new().unwrap();
    let plan_well = shell("exit 0");
    let seen = run(dir.path(), &plan_well).await;
    assert_eq!((&seen.state, exit(&seen)), (&JobState::Complete, (0, "Completed", None)));
    assert_eq!(seen.pods[0].name, format!("{}-local", plan_well.job_name));
    assert_eq!((&seen.pods[0].uid, seen.pods[0].containers[0].name.as_str()), (&seen.uid, "generic-image-processor"));

    let seen = run(dir.path(), &shell("exit 3")).await;
    assert!(matches!(&seen.state, JobState::Failed { reason, .. } if reason == "BackoffLimitExceeded"));
    assert_eq!(exit(&seen), (3, "Error", None));
    let ContainerState::Terminated { started: Some(started), finished: Some(finished), .. } = main_state(&seen) else {
        panic!("times are missing: {seen:?}");
    };
    assert!(seen.created <= *started && started <= finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_by_a_signal_ended_with_128_and_its_number() {
    let dir = TempDir::new().unwrap();
    assert_eq!(exit(&run(dir.path(), &shell("kill -9 $$")).await), (137, "Error", Some("killed by signal 9")));
    assert_eq!(exit(&run(dir.path(), &shell("kill -15 $$")).await), (143, "Error", Some("killed by signal 15")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_a_start_error() {
    let dir = TempDir::new().unwrap();
    let seen = run(dir.path(), &plan(&["no-such-program-anywhere"])).await;
    assert_eq!(exit(&seen), (128, "StartError", Some("the program \"no-such-program-anywhere\" is not found")));
    let ContainerState::Terminated { started, .. } = main_state(&seen) else { unreachable!() };
    assert_eq!(*started, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_kept_to_the_byte_and_copied_quickly() {
    let dir = TempDir::new().unwrap();
    let plan = shell("head -c 20000000 /dev/urandom > made; cat made");
    let begun = Instant::now();
    let seen = run(dir.path(), &plan).await;
    assert_eq!(exit(&seen).0, 0);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let made = fs::read(folder(dir.path(), &plan).work().join("made")).unwrap();
    assert_eq!(made.len(), 20_000_000);
    assert!(log(dir.path(), &plan) == made, "the log is not what was printed");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_outputs_are_in_the_log_and_no_newline_is_added() {
    let dir = TempDir::new().unwrap();
    let plan = shell(r"printf 'out\0one\n'; printf 'err\377' >&2");
    run(dir.path(), &plan).await;
    let framed = fs::read(folder(dir.path(), &plan).log()).unwrap();
    let ends_with = |frame: &[u8]| framed.split(|byte| *byte == b'\n').any(|line| line.ends_with(frame));
    assert!(ends_with(b" stdout F out\0one") && ends_with(b" stderr P err\xff"), "{framed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_that_of_a_container_and_path() {
    let dir = TempDir::new().unwrap();
    let mut plan = plan(&["env", "-0"]);
    plan.inputs = json!({"a": 1}).as_object().unwrap().clone();
    plan.process.env =
        vec![EnvVar { name: "CONFIGURED".into(), value: EnvValue::Value("with 'quotes'\nand $X".into()) }];
    run(dir.path(), &plan).await;
    let log = String::from_utf8(log(dir.path(), &plan)).unwrap();
    let expected = [
        format!("PATH={}", std::env::var("PATH").unwrap()),
        format!("PYGEOAPI_JOB_ID={}", plan.job_id),
        "PYGEOAPI_PROCESS_ID=a-process".to_owned(),
        "PYGEOAPI_K8S_MANAGER_INPUTS={\"a\":1}".to_owned(),
        "CONFIGURED=with 'quotes'\nand $X".to_owned(),
    ];
    let seen: BTreeSet<&str> = log.split_terminator('\0').collect();
    assert_eq!(seen, expected.iter().map(String::as_str).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shim_has_none_of_the_dispatchers_environment() {
    let dir = TempDir::new().unwrap();
    let executor = executor(dir.path());
    let mut watch = Watch::start(&executor).await;
    let plan = shell("exec sleep 600");
    let uid = executor.create(&plan).await.unwrap();
    watch.until_running(&plan).await;
    let shim = shim(dir.path(), &plan);
    assert_eq!(fs::read(format!("/proc/{}/environ", shim.pid)).unwrap(), b"");
    executor.delete(NAMESPACE, &plan.job_name, &uid).await.unwrap();
    watch.until_gone(&plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_with_shell_text_come_back_as_text() {
    let dir = TempDir::new().unwrap();
    let mut plan = shell("printf %s \"$PYGEOAPI_K8S_MANAGER_INPUTS\"");
    let nasty = "'; touch ran; \" $(touch ran) `touch ran` \\\n ${PATH} \u{0} ü";
    plan.inputs = json!({"text": nasty, "large": "x".repeat(100_000)}).as_object().unwrap().clone();
    run(dir.path(), &plan).await;
    let back: Value = serde_json::from_slice(&log(dir.path(), &plan)).unwrap();
    assert_eq!(back, Value::Object(plan.inputs.clone()));
    assert_eq!(fs::read_dir(folder(dir.path(), &plan).work()).unwrap().count(), 0, "an input was run");
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_world_greets() {
    let dir = TempDir::new().unwrap();
    let mut plan = plan(&[]);
    plan.process = process(Processor::HelloWorld, &["echo before"]);
    plan.inputs = json!({"name": "$(id) 'x'"}).as_object().unwrap().clone();
    let seen = run(dir.path(), &plan).await;
    assert_eq!((&seen.state, seen.pods[0].containers[0].name.as_str()), (&JobState::Complete, "hello-world-k8s"));
    let log = String::from_utf8(log(dir.path(), &plan)).unwrap();
    assert!(log.starts_with("before\n") && log.ends_with("Hello '$(id) 'x''!\"}"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_run_is_refused_and_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let executor = executor(dir.path());
    let mut secret = shell("true");
    let value = EnvValue::Secret { name: "the-secret".into(), key: "k".into() };
    secret.process.env = vec![EnvVar { name: "PASSWORD".into(), value }];
    let mut large = shell("true");
    large.inputs = json!({"large": "x".repeat(200_000)}).as_object().unwrap().clone();
    let mut unnamed = shell("true");
    unnamed.job_name = "../outside".into();
    for (plan, words) in [
        (plan(&[]), "needs a command"),
        (secret, "'the-secret'"),
        (large, "PYGEOAPI_K8S_MANAGER_INPUTS"),
        (unnamed, "\"../outside\""),
    ] {
        match executor.create(&plan).await {
            Err(CreateError::Refused { message, .. }) => assert!(message.contains(words), "{message}"),
            other => panic!("{words}: {other:?}"),
        }
    }
    let left: Vec<PathBuf> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| fs::read_dir(path).unwrap().count() == 0), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_create_the_same_job_one_does() {
    let dir = TempDir::new().unwrap();
    let executor = executor(dir.path());
    let plan = shell("echo once >> once; exec sleep 600");
    let tries = (0..8).map(|_| {
        let (executor, plan) = (executor.clone(), plan.clone());
        tokio::spawn(async move { executor.create(&plan).await })
    });
    let mut uids = Vec::new();
    for tried in futures::future::join_all(tries).await {
        match tried.unwrap() {
            Ok(uid) => uids.push(uid),
            Err(error) => assert!(matches!(error, CreateError::Exists), "{error:?}"),
        }
    }
    assert_eq!(uids.len(), 1);
    let mut watch = Watch::start(&executor).await;
    assert_eq!(watch.until_running(&plan).await.uid, uids[0]);
    assert_eq!(alive(&plan).len(), 1);
    executor.delete(NAMESPACE, &plan.job_name, &uids[0]).await.unwrap();
    watch.until_gone(&plan).await;
}

#[test]
fn a_job_outlives_the_dispatcher_and_its_end_is_seen_by_the_next_one() {
    let dir = TempDir::new().unwrap();
    let plan = shell("while ! test -e go; do sleep 0.02; done; echo went on; exit 5");
    let first = tokio::runtime::Runtime::new().unwrap();
    let uid = first.block_on(async { executor(dir.path()).create(&plan).await.unwrap() });
    drop(first);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut watch = Watch::start(&executor(dir.path())).await;
        assert_eq!(watch.until_running(&plan).await.uid, uid);
        let shim = shim(dir.path(), &plan);
        assert_eq!(stat(shim.pid).unwrap()[3], shim.pid.to_string(), "the shim leads a session of its own");
        fs::write(folder(dir.path(), &plan).work().join("go"), "").unwrap();
        assert_eq!(exit(&watch.until_ended(&plan).await).0, 5);
        assert_eq!(log(dir.path(), &plan), b"went on\n");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_see_the_same() {
    let dir = TempDir::new().unwrap();
    let (one, other) = (executor(dir.path()), executor(dir.path()));
    let (mut watch_one, mut watch_other) = (Watch::start(&one).await, Watch::start(&other).await);
    let plan = shell("exit 4");
    one.create(&plan).await.unwrap();
    assert_eq!(watch_one.until_ended(&plan).await, watch_other.until_ended(&plan).await);
    assert_eq!(other.observe(NAMESPACE, &plan.job_name).await.unwrap().as_ref(), watch_one.level.get(&plan.job_id));
    let late = Watch::start(&other).await;
    assert_eq!(late.level, watch_one.level, "told before the level is said to be known");
    let uid = watch_one.level[&plan.job_id].uid.clone();
    other.delete(NAMESPACE, &plan.job_name, &uid).await.unwrap();
    watch_one.until_gone(&plan).await;
    watch_other.until_gone(&plan).await;
    assert_eq!(one.observe(NAMESPACE, &plan.job_name).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_kills_all_that_the_process_started() {
    let dir = TempDir::new().unwrap();
    let executor = executor(dir.path());
    let mut watch = Watch::start(&executor).await;
    // One in another session, one that nobody waits for, one that ignores the polite signal.
    let script =
        "setsid sleep 600 & (sleep 600 &) ; trap '' TERM; (trap '' TERM; sleep 600) & touch ready; wait; sleep 600";
    let plan = shell(script);
    let uid = executor.create(&plan).await.unwrap();
    watch.until_running(&plan).await;
    until("all of them run", || folder(dir.path(), &plan).work().join("ready").exists() && alive(&plan).len() >= 4);
    executor.delete(NAMESPACE, &plan.job_name, "another uid").await.unwrap();
    assert!(!executor.observe(NAMESPACE, &plan.job_name).await.unwrap().unwrap().terminating);
    executor.delete(NAMESPACE, &plan.job_name, &uid).await.unwrap();
    watch.until_gone(&plan).await;
    assert_eq!(alive(&plan), Vec::<i32>::new());
    executor.delete(NAMESPACE, &plan.job_name, &uid).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_leaves_running_dies_with_it() {
    let dir = TempDir::new().unwrap();
    let plan = shell("sleep 600 & setsid sleep 600 & echo done");
    let seen = run(dir.path(), &plan).await;
    assert_eq!((exit(&seen).0, log(dir.path(), &plan).as_slice()), (0, &b"done\n"[..]));
    assert_eq!(alive(&plan), Vec::<i32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_job_stays_readable_until_it_is_released() {
    let dir = TempDir::new().unwrap();
    let executor = executor(dir.path());
    let mut watch = Watch::start(&executor).await;
    let mut plan = shell("echo kept; touch ready; exec sleep 600");
    plan.hold_pod = true;
    let uid = executor.create(&plan).await.unwrap();
    let folder = folder(dir.path(), &plan);
    until("the line is printed", || folder.work().join("ready").exists());
    executor.delete(NAMESPACE, &plan.job_name, &uid).await.unwrap();
    let seen = watch.until(&plan, |seen| seen.terminating && seen.state != JobState::Active).await;
    assert_eq!((exit(&seen).0, seen.pods[0].terminating), (143, true));
    assert!(matches!(executor.create(&plan).await, Err(CreateError::Exists)));
    assert_eq!(log(dir.path(), &plan), b"kept\n");
    fs::remove_file(folder.hold(&uid)).unwrap();
    watch.until_gone(&plan).await;
    assert!(!folder.path().exists());
    plan.process.command = vec!["true".into()];
    assert_ne!(executor.create(&plan).await.unwrap(), uid, "the name is free again");
    watch.until_ended(&plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_shim_was_killed_is_ended_with_all_its_processes() {
    let dir = TempDir::new().unwrap();
    let executor = executor(dir.path());
    let mut watch = Watch::start(&executor).await;
    let plan = shell("setsid sleep 600 & exec sleep 600");
    executor.create(&plan).await.unwrap();
    watch.until_running(&plan).await;
    until("both run", || alive(&plan).len() == 2);
    kill_process(Pid::from_raw(shim(dir.path(), &plan).pid).unwrap(), Signal::KILL).unwrap();
    let seen = watch.until_ended(&plan).await;
    let (code, reason, message) = exit(&seen);
    assert_eq!((code, reason), (137, "ContainerStatusUnknown"));
    assert!(message.unwrap().contains("was lost"), "{message:?}");
    assert_eq!(alive(&plan), Vec::<i32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_can_not_be_started_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let plan = shell("true");
    let broken = executor_with(dir.path(), "/no/such/shim");
    assert!(matches!(broken.create(&plan).await, Err(CreateError::Passing(_))));
    assert_eq!(broken.observe(NAMESPACE, &plan.job_name).await.unwrap(), None);
    assert_eq!(run(dir.path(), &plan).await.state, JobState::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_never_got_its_shim_gets_one_from_any_replica() {
    let dir = TempDir::new().unwrap();
    let plan = shell("exit 6");
    // As if the dispatcher had died between making the folder and starting the shim.
    executor_with(dir.path(), "true").create(&plan).await.unwrap();
    let mut watch = Watch::start(&executor(dir.path())).await;
    assert_eq!(exit(&watch.until_ended(&plan).await).0, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_deleted_before_its_start_never_starts() {
    let dir = TempDir::new().unwrap();
    let mut plan = shell("touch ran");
    plan.hold_pod = true;
    let broken = executor_with(dir.path(), "true");
    let uid = broken.create(&plan).await.unwrap();
    broken.delete(NAMESPACE, &plan.job_name, &uid).await.unwrap();
    let seen = broken.observe(NAMESPACE, &plan.job_name).await.unwrap().unwrap();
    assert!(seen.terminating && exit(&seen).2 == Some("the job was deleted before it was started"), "{seen:?}");
    let folder = folder(dir.path(), &plan);
    run_shim(&folder);
    assert!(!folder.work().join("ran").exists());
}

/// One more shim, as a replica that is late would start it.
fn run_shim(folder: &Folder) {
    let mut shim = std::process::Command::new(env!("CARGO_BIN_EXE_job-dispatcher"));
    assert!(shim.arg(SHIM_SUBCOMMAND).arg(folder.path()).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_shim_starts_nothing() {
    let dir = TempDir::new().unwrap();
    let executor = executor(dir.path());
    let plan = shell("echo run >> runs; exec sleep 600");
    executor.create(&plan).await.unwrap();
    let folder = folder(dir.path(), &plan);
    let runs = || fs::read_to_string(folder.work().join("runs")).unwrap_or_default();
    until("it runs", || runs() == "run\n");
    run_shim(&folder);
    assert!(!folder.exit().exists() && alive(&plan).len() == 1, "while the first lives");
    kill_process(Pid::from_raw(shim(dir.path(), &plan).pid).unwrap(), Signal::KILL).unwrap();
    until("the first is gone", || stat(shim(dir.path(), &plan).pid).is_none());
    run_shim(&folder);
    assert!(folder.exit().exists() && alive(&plan).is_empty(), "after the first was lost");
    run_shim(&folder);
    assert_eq!(runs(), "run\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_and_no_secret_file_is_left_over() {
    let dir = TempDir::new().unwrap();
    let executor = executor(dir.path());
    let mut watch = Watch::start(&executor).await;
    let plan = shell("while ! test -e go; do sleep 0.02; done");
    executor.create(&plan).await.unwrap();
    watch.until_running(&plan).await;
    let folder = folder(dir.path(), &plan);
    until("what may hold secrets is removed", || !folder.run().exists());
    assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(folder.job()).unwrap().permissions().mode() & 0o777, 0o600);
    let shim = shim(dir.path(), &plan).pid;
    fs::write(folder.work().join("go"), "").unwrap();
    watch.until_ended(&plan).await;
    until("the shim is reaped", || stat(shim).is_none());
}
