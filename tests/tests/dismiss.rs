//! Jobs are dismissed and removed, at each stage of their life, whichever service dies or stands still at that moment: one
//! outcome, nothing left.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream::consumer::PullConsumer;
use end_to_end::{
    cluster::deployed_rules,
    program::{ProcessIdentity, Signal, wait_until},
    services::Service,
    story::{Backend, LIMIT, Setting, Story, TOKEN, process_yaml, tell},
};
use futures::{
    StreamExt,
    future::{join, join_all, try_join_all},
};
use protocol::{
    Event, JobEvent, JobId,
    job_record::{ArchiveState, Status},
    local::Folder,
    names::{environment::JOB_NAME_PREFIX_DEFAULT, kubernetes::job_name, objects, subjects},
};
use serde_json::{Value, json};

/// Runs until it is ended; what it starts leaves its process group.
const WAITS: &str = "echo begun\nsetsid sleep 600 &\nsleep 600";
const TALKS: &str = "echo ran\necho PYGEOAPI_K8S_MANAGER_RESULT_START\necho '{\"secret\": 1}'";
const SIMULATED_LOG: &str = "begun\nran\nPYGEOAPI_K8S_MANAGER_RESULT_START\n{\"secret\": 1}\n";

fn setting(backend: Backend) -> Setting {
    let held = "      env:\n        - {name: SIMULATED_DURATION, value: \"24h\"}\n      resources:\n";
    let waits = process_yaml("waits", WAITS).replace("      resources:\n", held);
    Setting::new(backend)
        .with_processes(&format!("{waits}{}", process_yaml("talks", TALKS)))
        .with("QUAYSIDE_NATS__ACK_WAIT", "2")
        .with("QUAYSIDE_DISPATCHER__SWEEP_EVERY", "2")
        .with("QUAYSIDE_FINALIZER__SWEEP_EVERY", "2")
}

async fn simulate(story: &Story) -> Result<()> {
    if story.backend == Backend::Simulated {
        let (namespace, client) = story.cluster()?;
        namespace.serve_log(client, SIMULATED_LOG).await?;
    }
    Ok(())
}

/// Deletes a job; the status code and what was answered.
async fn delete(story: &Story, replica: usize, job: &JobId) -> Result<(u16, Value)> {
    let answer = story.delete_at(replica, job).await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

pub(crate) async fn dismissed(story: &Story, job: &JobId) -> Result<()> {
    let (status, document) = delete(story, 0, job).await?;
    ensure!(status == 200 && document["status"] == "dismissed", "{status} {document}");
    ensure!(document["jobID"] == job.to_string() && document["type"] == "process", "{document}");
    Ok(())
}

/// What the stream holds of a job, in its order.
async fn events(story: &Story, job: &JobId) -> Result<Vec<(Event, JobEvent)>> {
    let messages = story.messages().await?.into_iter();
    let of_job = messages.filter(|(subject, _)| subject.starts_with("jobs.") && subject.contains(&job.to_string()));
    of_job
        .map(|(subject, payload)| {
            let (_, _, event) = subjects::parse_event(&subject).with_context(|| subject.clone())?;
            Ok((event, serde_json::from_value(payload)?))
        })
        .collect()
}

/// Nothing of a job runs, and nothing of it is left where it ran.
pub(crate) async fn gone(story: &Story, job: &JobId) -> Result<()> {
    if story.backend != Backend::Local {
        ensure!(story.kubernetes_job(job).await?.is_none(), "the Job of {job} is there");
        let pods = story.kubernetes_pods(job).await?;
        ensure!(pods.is_empty(), "{} pods of {job} are there", pods.len());
        return Ok(());
    }
    stopped(job)?;
    ensure!(!local_folder(story, job)?.path().exists(), "the folder of {job} is there");
    Ok(())
}

/// No process of a job runs.
fn stopped(job: &JobId) -> Result<()> {
    let mark = format!("PYGEOAPI_JOB_ID={job}");
    for entry in fs::read_dir("/proc")? {
        let environment = fs::read(entry?.path().join("environ")).unwrap_or_default();
        ensure!(!environment.split(|byte| *byte == 0).any(|one| one == mark.as_bytes()), "{job} runs");
    }
    Ok(())
}

fn local_folder(story: &Story, job: &JobId) -> Result<Folder> {
    let name = job_name(JOB_NAME_PREFIX_DEFAULT, job);
    Folder::of(&story.stack.folder().join("local"), &name).context("no folder")
}

/// A job was dismissed once, its log is settled, it has no results, nothing of it runs; then it is removed without trace.
async fn ends_clean(story: &Story, job: &JobId) -> Result<()> {
    wait_until("the job is dismissed and settled", LIMIT, || async {
        let told = events(story, job).await?;
        let (_, last) = told.last().context("nothing was told")?;
        ensure!(last.record().is_settled(), "{:?}", last.record());
        Ok(())
    })
    .await?;
    let told = events(story, job).await?;
    let kinds: Vec<Event> = told.iter().map(|(event, _)| *event).collect();
    let ends = [Event::Successful, Event::Failed, Event::Dismissed, Event::Archived];
    let after: Vec<Event> = kinds.iter().copied().skip_while(|event| !ends.contains(event)).collect();
    ensure!(matches!(after.as_slice(), [Event::Dismissed] | [Event::Dismissed, Event::Archived]), "{kinds:?}");
    ensure!(told.iter().map(|(_, event)| event.record().phase()).is_sorted(), "it went back: {kinds:?}");
    ensure!(kinds.first() == Some(&Event::Accepted), "{kinds:?}");
    wait_until("nothing of the job is left running", LIMIT, || gone(story, job)).await?;

    let status = story.status(job).await?;
    ensure!(status["status"] == "dismissed" && status["finished"].is_string(), "{status}");
    let results = story.get(&format!("/jobs/{job}/results")).await?;
    ensure!(results.status().as_u16() == 404, "{}", results.status());
    let store = story.stack.objects()?;
    wait_until("results are gone", LIMIT, || async {
        let left = store.list(&objects::results_prefix(store.prefix(), job), None, 10).await?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await?;
    dismissed(story, job).await?;
    removed(story, job).await
}

/// A job that was removed is known to nobody, and nothing is stored of it but that it was removed.
pub(crate) async fn removed(story: &Story, job: &JobId) -> Result<()> {
    let store = story.stack.objects()?;
    wait_until("nothing is stored of the job", LIMIT, || async {
        let objects = store.list(store.prefix(), None, 1000).await?;
        let left: Vec<_> = objects.iter().filter(|object| object.key.contains(&job.to_string())).collect();
        ensure!(left.is_empty(), "{left:?}");
        let messages = story.messages().await?.into_iter().map(|(subject, _)| subject);
        let left: Vec<_> = messages.filter(|subject| subject.contains(&job.to_string())).collect();
        ensure!(matches!(left.as_slice(), [only] if only.ends_with(".removed")), "{left:?}");
        gone(story, job).await
    })
    .await?;
    let status = story.get(&format!("/jobs/{job}")).await?;
    let (code, body) = (status.status().as_u16(), status.json::<Value>().await?);
    ensure!(code == 404 && body["type"].as_str().unwrap_or_default().ends_with("/no-such-job"), "{code} {body}");
    let list = story.list_at(0, "").await?.text().await?;
    ensure!(!list.contains(&job.to_string()), "{list}");
    let (status, _) = delete(story, 0, job).await?;
    ensure!(status == 404, "{status} for a job that is removed");
    Ok(())
}

pub(crate) async fn begun(story: &Story, job: &JobId) -> Result<()> {
    story.wait_for(job, &["running"]).await?;
    if story.backend == Backend::Simulated {
        return Ok(());
    }
    wait_until("it has printed something", LIMIT, || async {
        let text = if story.backend == Backend::Local {
            String::from_utf8_lossy(&fs::read(local_folder(story, job)?.log())?).into_owned()
        } else {
            let (namespace, client) = story.cluster()?;
            let pods = kube::Api::<k8s_openapi::api::core::v1::Pod>::namespaced(client.clone(), namespace.name());
            let pod = story.kubernetes_pods(job).await?.pop().and_then(|pod| pod.metadata.name).context("no pod")?;
            pods.logs(&pod, &kube::api::LogParams::default()).await?
        };
        ensure!(text.contains("begun"), "{text:?}");
        Ok(())
    })
    .await
}

on_each!(running: Local as a_running_job_is_ended_and_its_log_so_far_archived_locally,
    Simulated as a_running_job_is_ended_and_its_log_so_far_archived_on_the_simulated_node,
    Real as a_running_job_is_ended_and_its_log_so_far_archived_on_the_real_node);

async fn running(backend: Backend) {
    let mut setting = setting(backend);
    setting.replicas = 2;
    tell(&format!("dismiss-running-{backend:?}"), setting, async |story| {
        simulate(story).await?;
        let job = story.submit("waits", json!({})).await?;
        begun(story, &job).await?;
        dismissed(story, &job).await?;
        let elsewhere: Value = story.get_at(1, &format!("/jobs/{job}")).await?.json().await?;
        ensure!(elsewhere["status"] == "dismissed", "at the other replica: {elsewhere}");
        let archive = wait_until("the log is archived", LIMIT, || story.archive(&job)).await?;
        ensure!(archive.contains("begun\n"), "{archive}");
        ensure!(story.manifest(&job).await?.record.archive.state == ArchiveState::Stored, "{archive}");
        ends_clean(story, &job).await?;
        wait_until("the other replica forgets it", LIMIT, || async {
            let status = story.get_at(1, &format!("/jobs/{job}")).await?.status();
            if status.as_u16() == 404 { Ok(()) } else { bail!("{status}") }
        })
        .await
    })
    .await;
}

on_each!(lost_message: Local as a_dismissed_job_whose_message_is_lost_is_stopped_by_the_sweep_locally,
    Simulated as a_dismissed_job_whose_message_is_lost_is_stopped_by_the_sweep_on_the_simulated_node);

async fn lost_message(backend: Backend) {
    tell(&format!("dismiss-lost-{backend:?}"), setting(backend), async |story| {
        simulate(story).await?;
        let job = story.submit("waits", json!({})).await?;
        begun(story, &job).await?;
        story.stack.service(Service::Dispatcher, 0)?.program.kill().await?;
        dismissed(story, &job).await?;
        lose(story, subjects::CANCELLING_CONSUMER).await?;
        story.stack.start_service(Service::Dispatcher, 0, &[])?;
        story.stack.wait_ready().await?;
        let archive = wait_until("the log is archived", LIMIT, || story.archive(&job)).await?;
        ensure!(archive.contains("begun\n"), "{archive}");
        ends_clean(story, &job).await
    })
    .await;
}

/// Takes the one message that waits at a consumer, as if it had been dealt with.
async fn lose(story: &Story, consumer: &str) -> Result<()> {
    let jetstream = async_nats::jetstream::new(async_nats::connect(story.stack.nats.url()).await?);
    let stream = jetstream.get_stream(subjects::STREAM).await?;
    let consumer: PullConsumer = stream.get_consumer(consumer).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    wait_until("the message is taken", LIMIT, || async {
        let mut batch = consumer.fetch().max_messages(1).messages().await?;
        let message = batch.next().await.context("none is there")?.map_err(|error| anyhow::anyhow!("{error}"))?;
        message.double_ack().await.map_err(|error| anyhow::anyhow!("{error}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_with_the_rights_that_are_deployed_stops_a_dismissed_job_on_the_simulated_node() {
    with_rights("dismiss-deployed-rights", |_| true, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_may_not_stop_pods_deletes_a_dismissed_job_on_the_simulated_node() {
    with_rights("dismiss-without-patch", |verb| verb != "patch", true).await;
}

/// A job is dismissed where the dispatcher has only those rights of its Role that are `left`.
async fn with_rights(name: &str, left: impl Fn(&str) -> bool, falls_back: bool) {
    let mut setting = setting(Backend::Simulated);
    setting.start_services = false;
    tell(name, setting, async |story| {
        simulate(story).await?;
        let mut rules = deployed_rules("job-dispatcher")?;
        for rule in &mut rules {
            rule.verbs.retain(|verb| left(verb));
        }
        let (namespace, client) = story.cluster()?;
        let admin = story.kubeconfig.as_deref().context("no kubeconfig")?;
        let account = namespace.account(client, admin, "dispatcher", rules, story.stack.folder()).await?;
        let kubeconfig = account.to_str().context("a path that is text")?;
        for service in Service::ALL {
            let more = [("KUBECONFIG", kubeconfig)];
            story.stack.start_service(service, 0, if service == Service::Dispatcher { &more } else { &[] })?;
        }
        story.stack.wait_ready().await?;
        let job = story.submit("waits", json!({})).await?;
        begun(story, &job).await?;
        dismissed(story, &job).await?;
        ends_clean(story, &job).await?;
        let log = fs::read_to_string(story.stack.logs().join("job-dispatcher-0.log"))?;
        ensure!(log.contains("the pod can't be stopped") == falls_back, "{log}");
        Ok(())
    })
    .await;
}

on_each!(queued: Local as a_queued_job_never_starts_and_its_place_is_free_at_once_locally,
    Simulated as a_queued_job_never_starts_and_its_place_is_free_at_once_on_the_simulated_node);

async fn queued(backend: Backend) {
    let mut setting = setting(backend).with("QUAYSIDE_DISPATCHER__MAX_LIVE_PER_PROCESS", "1");
    setting.replicas = 2;
    tell(&format!("dismiss-queued-{backend:?}"), setting, async |story| {
        simulate(story).await?;
        let first = story.submit("waits", json!({})).await?;
        begun(story, &first).await?;
        let (second, third) = (story.submit("waits", json!({})).await?, story.submit("waits", json!({})).await?);
        ensure!(story.status(&second).await?["status"] == "accepted", "it waits for the first");
        dismissed(story, &second).await?;
        let told = events(story, &second).await?;
        ensure!(told.iter().all(|(event, _)| *event != Event::Launching), "it was launched");
        ensure!(told.last().is_some_and(|(_, last)| last.record().archive.state == ArchiveState::Off), "{told:?}");
        dismissed(story, &first).await?;
        // Far sooner than any look or sweep would find the place free.
        wait_until("the third takes the place", Duration::from_secs(20), || async {
            let status = story.status(&third).await?;
            if status["status"] == "running" { Ok(()) } else { bail!("{status}") }
        })
        .await?;
        dismissed(story, &third).await?;
        for job in [&first, &second, &third] {
            ends_clean(story, job).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dismissed_job_keeps_its_place_until_it_has_stopped() {
    for dispatchers_die in [false, true] {
        let lingers = process_yaml("lingers", "trap 'sleep 3; exit' TERM\necho begun\nsleep 600 &\nwait");
        let mut setting = setting(Backend::Local)
            .with_processes(&lingers)
            .with("QUAYSIDE_DISPATCHER__MAX_LIVE_PER_PROCESS", "1")
            .with("QUAYSIDE_DISPATCHER__SWEEP_EVERY", "1");
        setting.replicas = 2;
        tell(&format!("dismiss-place-{dispatchers_die}"), setting, async |story| {
            let first = story.submit("lingers", json!({})).await?;
            begun(story, &first).await?;
            let second = story.submit("lingers", json!({})).await?;
            dismissed(story, &first).await?;
            if dispatchers_die {
                for replica in 0..2 {
                    story.stack.service(Service::Dispatcher, replica)?.program.kill().await?;
                    story.stack.start_service(Service::Dispatcher, replica, &[])?;
                }
            }
            story.wait_for(&second, &["running"]).await?;
            stopped(&first)?;
            dismissed(story, &second).await?;
            ends_clean(story, &first).await?;
            ends_clean(story, &second).await
        })
        .await;
    }
}

/// What a service does at a failpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Dies,
    StandsStill,
}

/// Starts all three, the one with a failpoint.
async fn start(story: &mut Story, service: Service, failpoint: &str, fate: Fate) -> Result<()> {
    simulate(story).await?;
    let place = if fate == Fate::Dies { failpoint.to_owned() } else { format!("stop:{failpoint}") };
    for each in Service::ALL {
        let more = [("QUAYSIDE_FAILPOINT", place.as_str())];
        story.stack.start_service(each, 0, if each == service { &more } else { &[] })?;
    }
    story.stack.wait_ready().await
}

/// Waits until the service met its fate.
async fn reached(story: &mut Story, service: Service, fate: Fate) -> Result<()> {
    let program = &mut story.stack.service(service, 0)?.program;
    if fate == Fate::Dies {
        tokio::time::timeout(LIMIT, program.wait()).await.context("the failpoint was not reached")??;
        return Ok(());
    }
    let process = program.identity()?;
    wait_until("the service stands still", LIMIT, || async { is_stopped(process) }).await
}

fn is_stopped(process: ProcessIdentity) -> Result<()> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid))?;
    if stat.contains(") T ") { Ok(()) } else { bail!("it runs") }
}

async fn goes_on(story: &mut Story, service: Service, fate: Fate) -> Result<()> {
    if fate == Fate::Dies {
        story.stack.start_service(service, 0, &[])?;
    } else {
        story.stack.service(service, 0)?.program.identity()?.signal(Signal::CONT)?;
    }
    story.stack.wait_ready().await
}

/// A job is dismissed while a service is at a place of its life, dead or not.
async fn at_stage(backend: Backend, process: &str, service: Service, failpoint: &str, fate: Fate) {
    let mut setting = setting(backend);
    setting.start_services = false;
    let end = if fate == Fate::Dies { "dies" } else { "stops" };
    tell(&format!("dismiss-{failpoint}-{end}-{backend:?}"), setting, async |story| {
        start(story, service, failpoint, fate).await?;
        let job = story.submit(process, json!({})).await?;
        if failpoint == "dispatcher.before-cancel" {
            begun(story, &job).await?;
            dismissed(story, &job).await?;
            reached(story, service, fate).await?;
        } else {
            reached(story, service, fate).await?;
            dismissed(story, &job).await?;
        }
        goes_on(story, service, fate).await?;
        ends_clean(story, &job).await
    })
    .await;
}

on_each!(before_create: Local as dismissed_while_the_dispatcher_dies_before_it_creates_locally,
    Simulated as dismissed_while_the_dispatcher_dies_before_it_creates_on_the_simulated_node);

async fn before_create(backend: Backend) {
    at_stage(backend, "waits", Service::Dispatcher, "dispatcher.before-create", Fate::Dies).await;
}

on_each!(during_create: Local as dismissed_while_the_dispatcher_is_about_to_create_locally,
    Simulated as dismissed_while_the_dispatcher_is_about_to_create_on_the_simulated_node);

async fn during_create(backend: Backend) {
    at_stage(backend, "waits", Service::Dispatcher, "dispatcher.before-create", Fate::StandsStill).await;
}

on_each!(after_create: Local as dismissed_while_the_dispatcher_dies_after_it_created_locally,
    Simulated as dismissed_while_the_dispatcher_dies_after_it_created_on_the_simulated_node);

async fn after_create(backend: Backend) {
    at_stage(backend, "waits", Service::Dispatcher, "dispatcher.after-create", Fate::Dies).await;
}

on_each!(before_record: Local as dismissed_between_create_and_record_locally,
    Simulated as dismissed_between_create_and_record_on_the_simulated_node);

async fn before_record(backend: Backend) {
    at_stage(backend, "waits", Service::Dispatcher, "dispatcher.after-create", Fate::StandsStill).await;
}

on_each!(before_cancel: Local as dismissed_while_the_dispatcher_dies_before_it_cancels_locally,
    Simulated as dismissed_while_the_dispatcher_dies_before_it_cancels_on_the_simulated_node);

async fn before_cancel(backend: Backend) {
    at_stage(backend, "waits", Service::Dispatcher, "dispatcher.before-cancel", Fate::Dies).await;
}

on_each!(before_seal: Local as dismissed_while_the_finalizer_dies_before_it_seals_locally,
    Simulated as dismissed_while_the_finalizer_dies_before_it_seals_on_the_simulated_node);

async fn before_seal(backend: Backend) {
    at_stage(backend, "talks", Service::Finalizer, "finalizer.before-seal", Fate::Dies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dismissed_while_the_finalizer_is_about_to_seal() {
    at_stage(Backend::Local, "talks", Service::Finalizer, "finalizer.before-seal", Fate::StandsStill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_finalizer_dies_before_it_tells_that_the_log_of_a_dismissed_job_is_archived() {
    let mut setting = setting(Backend::Local);
    setting.start_services = false;
    tell("dismiss-before-archived", setting, async |story| {
        start(story, Service::Finalizer, "finalizer.before-archived", Fate::Dies).await?;
        let job = story.submit("waits", json!({})).await?;
        begun(story, &job).await?;
        dismissed(story, &job).await?;
        reached(story, Service::Finalizer, Fate::Dies).await?;
        goes_on(story, Service::Finalizer, Fate::Dies).await?;
        ends_clean(story, &job).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_dismissed_and_removed_while_its_finalizer_dies_leaves_no_archive() {
    let mut setting = setting(Backend::Local);
    setting.start_services = false;
    tell("remove-before-archived", setting, async |story| {
        start(story, Service::Finalizer, "finalizer.before-archived", Fate::Dies).await?;
        let job = story.submit("waits", json!({})).await?;
        begun(story, &job).await?;
        dismissed(story, &job).await?;
        reached(story, Service::Finalizer, Fate::Dies).await?;
        dismissed(story, &job).await?;
        goes_on(story, Service::Finalizer, Fate::Dies).await?;
        removed(story, &job).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_that_wakes_after_its_job_was_removed_deletes_what_it_stored() {
    let mut setting = setting(Backend::Local);
    setting.start_services = false;
    setting.replicas = 2;
    tell("remove-stopped-finalizer", setting, async |story| {
        start(story, Service::Finalizer, "finalizer.before-seal", Fate::StandsStill).await?;
        let job = story.submit("talks", json!({})).await?;
        reached(story, Service::Finalizer, Fate::StandsStill).await?;
        dismissed(story, &job).await?;
        dismissed(story, &job).await?;
        story.stack.start_service(Service::Finalizer, 1, &[])?;
        story.stack.service(Service::Finalizer, 1)?.wait_ready(LIMIT).await?;
        removed(story, &job).await?;
        goes_on(story, Service::Finalizer, Fate::StandsStill).await?;
        let log = story.stack.logs().join("log-finalizer-0.log");
        wait_until("the sleeper finds the job gone", LIMIT, || async {
            let text = fs::read_to_string(&log)?;
            if text.contains("the job was removed meanwhile") { Ok(()) } else { bail!("not yet") }
        })
        .await?;
        removed(story, &job).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_gateway_dies_after_the_dismissal_is_dismissed_all_the_same() {
    let mut setting = setting(Backend::Local);
    setting.start_services = false;
    tell("dismiss-gateway-dies", setting, async |story| {
        start(story, Service::Gateway, "gateway.after-dismissal", Fate::Dies).await?;
        let job = story.submit("waits", json!({})).await?;
        begun(story, &job).await?;
        ensure!(delete(story, 0, &job).await.is_err(), "the gateway died before it could answer");
        reached(story, Service::Gateway, Fate::Dies).await?;
        goes_on(story, Service::Gateway, Fate::Dies).await?;
        ends_clean(story, &job).await
    })
    .await;
}

/// A finished job is removed while a service dies at a place of its way.
async fn removal(service: Service, failpoint: &str) {
    let mut setting = setting(Backend::Local);
    setting.start_services = false;
    tell(&format!("remove-{failpoint}"), setting, async |story| {
        start(story, service, failpoint, Fate::Dies).await?;
        let job = story.submit("talks", json!({})).await?;
        ensure!(story.wait_done(&job).await?["status"] == "successful", "{job}");
        if failpoint == "finalizer.after-seal" {
            reached(story, service, Fate::Dies).await?;
            dismissed(story, &job).await?;
        } else {
            let answer = dismissed(story, &job).await;
            ensure!(answer.is_ok() == (service != Service::Gateway), "{answer:?}");
            reached(story, service, Fate::Dies).await?;
        }
        goes_on(story, service, Fate::Dies).await?;
        removed(story, &job).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_while_the_finalizer_dies_right_after_the_seal() {
    removal(Service::Finalizer, "finalizer.after-seal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_while_the_finalizer_dies_amid_the_removal() {
    removal(Service::Finalizer, "finalizer.amid-removal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_while_the_gateway_dies_before_it_answers() {
    removal(Service::Gateway, "gateway.after-removal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_bucket_results_in_the_stream_go_too() {
    let mut setting = setting(Backend::Local);
    setting.store = end_to_end::stack::StoreChoice::Absent;
    tell("remove-without-bucket", setting, async |story| {
        let job = story.submit("talks", json!({})).await?;
        ensure!(story.wait_done(&job).await?["status"] == "successful", "{job}");
        let results = story.get(&format!("/jobs/{job}/results")).await?.text().await?;
        ensure!(results.contains("secret"), "{results}");
        dismissed(story, &job).await?;
        wait_until("only the removal is left", LIMIT, || async {
            let messages = story.messages().await?.into_iter().map(|(subject, _)| subject);
            let left: Vec<_> = messages.filter(|subject| subject.contains(&job.to_string())).collect();
            ensure!(matches!(left.as_slice(), [only] if only.ends_with(".removed")), "{left:?}");
            gone(story, &job).await
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_that_dismiss_one_job_at_once_agree() {
    let mut setting = setting(Backend::Local);
    setting.replicas = 2;
    tell("dismiss-twice", setting, async |story| {
        for _ in 0..8 {
            let job = story.submit("waits", json!({})).await?;
            begun(story, &job).await?;
            let (one, other) = join(delete(story, 0, &job), delete(story, 1, &job)).await;
            let (one, other) = (one?, other?);
            for (status, document) in [&one, &other] {
                ensure!(*status == 200 && document["status"] == "dismissed", "{status} {document}");
            }
            // The later one may have found the job dismissed, and removed it.
            let found = story.get(&format!("/jobs/{job}")).await?.status().as_u16();
            if found == 200 {
                ends_clean(story, &job).await?;
            } else {
                ensure!(found == 404, "{found}");
                removed(story, &job).await?;
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_a_job_that_is_being_removed_elsewhere_are_there_or_not_but_no_defect() {
    let mut setting = setting(Backend::Local);
    setting.replicas = 2;
    tell("removed_while_read", setting, async |story| {
        for _ in 0..10 {
            let job = story.submit("talks", json!({})).await?;
            story.wait_done(&job).await?;
            let path = format!("/jobs/{job}/results");
            let reads = async {
                loop {
                    let answer = story.get_at(1, &path).await?;
                    match answer.status().as_u16() {
                        200 => {}
                        404 => return anyhow::Ok(()),
                        other => bail!("{other}: {}", answer.text().await?),
                    }
                }
            };
            let (read, deleted) = join(reads, delete(story, 0, &job)).await;
            read?;
            ensure!(deleted?.0 == 200);
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dismissal_that_races_with_the_end_has_one_outcome() {
    let mut setting = setting(Backend::Local);
    setting.replicas = 2;
    tell("dismiss-races", setting, async |story| {
        let shared: &Story = story;
        let jobs = try_join_all((0..20).map(|_| shared.submit("talks", json!({})))).await?;
        let race = async |(number, job): (usize, &JobId)| -> Result<()> {
            tokio::time::sleep(Duration::from_millis(60 * u64::try_from(number)?)).await;
            let before = shared.status(job).await?["status"].as_str().unwrap_or_default().to_owned();
            let (status, document) = delete(shared, number % 2, job).await?;
            match (status, before.as_str()) {
                (200, "accepted" | "running") => {
                    ensure!(document["status"] == "dismissed", "{document}");
                    let found = shared.get(&format!("/jobs/{job}")).await?;
                    // It may have ended between the two requests: then it was removed.
                    if found.status().as_u16() == 200 {
                        ends_clean(shared, job).await?;
                    }
                }
                (200, "successful") => removed(shared, job).await?,
                (409, "accepted" | "running") => {
                    let status = shared.status(job).await?;
                    ensure!(status["status"] == "successful", "{status}: nothing is removed by accident");
                    let results = shared.get(&format!("/jobs/{job}/results")).await?.text().await?;
                    ensure!(results.contains("secret"), "{results}");
                }
                other => bail!("{other:?} {document}"),
            }
            Ok(())
        };
        let outcomes = join_all(jobs.iter().enumerate().map(race)).await;
        outcomes.into_iter().collect::<Result<Vec<()>>>()?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_removed_right_after_its_seal_leaves_nothing() {
    let mut setting = setting(Backend::Local);
    (setting.replicas, setting.start_services) = (2, false);
    tell("dismiss-after-seal", setting, async |story| {
        let finalizer = Service::Finalizer;
        start(story, finalizer, "finalizer.after-seal", Fate::StandsStill).await?;
        let job = story.submit("talks", json!({})).await?;
        reached(story, finalizer, Fate::StandsStill).await?;
        story.wait_done(&job).await?;
        dismissed(story, &job).await?;
        story.stack.start_service(finalizer, 1, &[])?;
        removed(story, &job).await?;
        // The one that sealed goes on as if nothing had happened.
        goes_on(story, finalizer, Fate::StandsStill).await?;
        let log = story.stack.logs().join("log-finalizer-0.log");
        wait_until("it finds the job removed", LIMIT, || async {
            ensure!(fs::read_to_string(&log)?.contains("the job was removed meanwhile"));
            Ok(())
        })
        .await?;
        removed(story, &job).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_offers_no_dismiss_refuses_it_with_the_reason_until_its_job_is_done() {
    let mut setting = setting(Backend::Local);
    let options = "        jobControlOptions: [async-execute]\n        inputs:\n";
    let stays = process_yaml("stays", "while [ ! -e go ]; do sleep 0.1; done").replace("        inputs:\n", options);
    let guarded = process_yaml("guarded", "sleep 600").replace("check_auth: false", "check_auth: true");
    setting = setting.with_processes(&format!("{stays}{guarded}"));
    tell("dismiss-not-offered", setting, async |story| {
        let job = story.submit("stays", json!({})).await?;
        story.wait_for(&job, &["running"]).await?;
        let (status, exception) = delete(story, 0, &job).await?;
        ensure!(status == 405, "{status} {exception}");
        ensure!(exception["detail"].as_str().unwrap_or_default().contains("jobControlOptions"), "{exception}");
        fs::write(local_folder(story, &job)?.work().join("go"), "")?;
        ensure!(story.wait_done(&job).await?["status"] == "successful", "{job}");
        dismissed(story, &job).await?;
        removed(story, &job).await?;

        let bearer = format!("Bearer {TOKEN}");
        let headers = [("Prefer", "respond-async"), ("Authorization", bearer.as_str())];
        let answer = story.post(0, "guarded", &headers, json!({ "inputs": {} }).to_string()).await?;
        let job: JobId = answer.json::<Value>().await?["jobID"].as_str().context("no job")?.parse()?;
        let refused = story.http.delete(format!("{}/jobs/{job}", story.stack.url(0))).send().await?;
        ensure!(refused.status().as_u16() == 401, "{} without the token", refused.status());
        dismissed(story, &job).await?;
        let told = events(story, &job).await?;
        ensure!(told.last().is_some_and(|(_, last)| last.record().status == Status::Dismissed), "{told:?}");
        Ok(())
    })
    .await;
}
