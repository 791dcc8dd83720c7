//! Processes that die, or stand still, at the worst moment: the job still ends right, once.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use end_to_end::{
    program::{ProcessIdentity, Signal, wait_until},
    services::Service,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use protocol::{JobId, names::objects};
use serde_json::{Value, json};

const SCRIPT: &str = "echo ran\necho PYGEOAPI_K8S_MANAGER_RESULT_START\nprintf %s \"$PYGEOAPI_K8S_MANAGER_INPUTS\"";

fn setting(backend: Backend) -> Setting {
    let mut setting =
        Setting::new(backend).with_processes(&process_yaml("echo", SCRIPT)).with("QUAYSIDE_NATS__ACK_WAIT", "2");
    setting.start_services = false;
    setting
}

/// Starts all three, the one with a failpoint.
async fn start(story: &mut Story, failing: Service, failpoint: &str) -> Result<()> {
    for service in Service::ALL {
        let more = [("QUAYSIDE_FAILPOINT", failpoint)];
        story.stack.start_service(service, 0, if service == failing { &more } else { &[] })?;
    }
    story.stack.wait_ready().await
}

/// Waits until the failpoint killed its service, and starts the service anew.
async fn restart_after_death(story: &mut Story, service: Service) -> Result<()> {
    let program = &mut story.stack.service(service, 0)?.program;
    let status = tokio::time::timeout(LIMIT, program.wait()).await.context("the failpoint was not reached")??;
    ensure!(!status.success(), "{} ended well", service.name());
    story.stack.start_service(service, 0, &[])?;
    story.stack.wait_ready().await
}

async fn ended_once(story: &Story, job: &JobId) -> Result<()> {
    let status = story.wait_done(job).await?;
    ensure!(status["status"] == "successful", "{status}");
    let results = story.get(&format!("/jobs/{job}/results")).await?.text().await?;
    ensure!(results == r#"{"text":"a"}"#, "{results}");
    let archive = story.archive(job).await?;
    ensure!(archive.matches("ran\n").count() == 1, "{archive}");
    let terminal = [".successful", ".failed", ".dismissed"];
    let told = story.messages().await?;
    let told = told.iter().filter(|(subject, _)| subject.contains(&job.to_string()));
    let told = told.filter(|(subject, _)| terminal.iter().any(|end| subject.ends_with(end))).count();
    ensure!(told == 1, "told {told} times that it ended");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_finalizer_killed_between_upload_and_seal() {
    tell("crash-finalizer", setting(Backend::Local), async |story| {
        start(story, Service::Finalizer, "finalizer.before-seal").await?;
        let job = story.submit("echo", json!({ "text": "a" })).await?;
        restart_after_death(story, Service::Finalizer).await?;
        ended_once(story, &job).await?;
        let store = story.stack.objects()?;
        wait_until("of the attempt that died nothing is left", LIMIT, || async {
            for prefix in [objects::results_prefix, objects::epoch_manifests_prefix] {
                let left = store.list(&prefix(store.prefix(), &job), None, 10).await?;
                ensure!(left.len() == 1, "{left:?}");
            }
            Ok(())
        })
        .await
    })
    .await;
}

on_each!(dispatcher_killed: Local as the_dispatcher_killed_between_create_and_record_locally,
    Simulated as the_dispatcher_killed_between_create_and_record_on_the_simulated_node);

async fn dispatcher_killed(backend: Backend) {
    tell(&format!("crash-dispatcher-{backend:?}"), setting(backend), async |story| {
        if backend == Backend::Simulated {
            let (namespace, client) = story.cluster()?;
            namespace.serve_log(client, "ran\nPYGEOAPI_K8S_MANAGER_RESULT_START\n{\"text\":\"a\"}").await?;
        }
        start(story, Service::Dispatcher, "dispatcher.after-create").await?;
        let job = story.submit("echo", json!({ "text": "a" })).await?;
        restart_after_death(story, Service::Dispatcher).await?;
        ended_once(story, &job).await?;
        let attempt = story.manifest(&job).await?.record.attempt;
        ensure!(attempt == 1, "what was created is adopted, not made anew: attempt {attempt}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_killed_right_after_the_commit() {
    tell("crash-gateway", setting(Backend::Local), async |story| {
        start(story, Service::Gateway, "gateway.after-commit").await?;
        let body = json!({ "inputs": { "text": "a" } }).to_string();
        let answer = story.post(0, "echo", &[("Prefer", "respond-async")], body).await;
        ensure!(answer.is_err(), "the gateway died before it could answer");
        restart_after_death(story, Service::Gateway).await?;
        let job = wait_until("the job is listed", LIMIT, || async {
            let list: Value = story.list_at(0, "").await?.json().await?;
            Ok(list["jobs"][0]["jobID"].as_str().context("no job")?.parse()?)
        })
        .await?;
        ended_once(story, &job).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_stands_still_longer_than_its_lease_launches_no_second_pod() {
    tell("stopped-dispatcher", setting(Backend::Simulated), async |story| {
        let (namespace, client) = story.cluster()?;
        namespace.serve_log(client, "ran\nPYGEOAPI_K8S_MANAGER_RESULT_START\n{\"text\":\"a\"}").await?;
        start(story, Service::Dispatcher, "stop:dispatcher.before-create").await?;
        let job = story.submit("echo", json!({ "text": "a" })).await?;
        let stopped = story.stack.service(Service::Dispatcher, 0)?.program.identity()?;
        wait_until("the dispatcher stands still", LIMIT, || async { is_stopped(stopped) }).await?;
        story.stack.start_service(Service::Dispatcher, 1, &[])?;
        story.stack.service(Service::Dispatcher, 1)?.wait_ready(Duration::from_secs(30)).await?;
        ended_once(story, &job).await?;
        stopped.signal(Signal::CONT)?;
        // It is awake once it serves its probes again; then it has gone on with what it was about to do.
        story.stack.service(Service::Dispatcher, 0)?.wait_ready(LIMIT).await?;
        let log = story.stack.logs().join("job-dispatcher-0.log");
        wait_until("the sleeper is done with the job", LIMIT, || async {
            let text = std::fs::read_to_string(&log)?;
            if text.contains("the launch is over") { Ok(()) } else { bail!("not yet") }
        })
        .await?;
        let pods = story.kubernetes_pods(&job).await?;
        ensure!(pods.len() == 1, "{} pods ran", pods.len());
        let launches = story.messages().await?;
        let record = launches.iter().find(|(subject, _)| subject.ends_with(&format!("{job}.launching")));
        let (_, launching) = record.context("not launched")?;
        ensure!(launching["data"]["attempt"] == 2, "the second one won the second attempt: {launching}");
        Ok(())
    })
    .await;
}

fn is_stopped(process: ProcessIdentity) -> Result<()> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid))?;
    if stat.contains(") T ") { Ok(()) } else { bail!("it runs") }
}
