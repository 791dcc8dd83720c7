//! What is kept of jobs that are done, and for how long: in the list, in the stream, in the bucket, in the cluster.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream::consumer::pull::OrderedConfig;
use end_to_end::{
    ports,
    program::wait_until,
    receiver::{Manner, Receiver},
    s3_server::S3Server,
    services::Service,
    stack::Store,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use futures::StreamExt;
use protocol::{Event, JobId, names::subjects};
use serde_json::{Value, json};

use crate::{
    callbacks,
    dismiss::{begun, dismissed, gone, removed},
};

const TALKS: &str = "echo ran\necho PYGEOAPI_K8S_MANAGER_RESULT_START\necho '{\"a\": 1}'";
const WAITS: &str = "echo begun\nsleep 600";
const SIMULATED_LOG: &str = "begun\nran\nPYGEOAPI_K8S_MANAGER_RESULT_START\n{\"a\": 1}\n";

fn processes() -> String {
    format!("{}{}", process_yaml("talks", TALKS), process_yaml("waits", WAITS))
}

/// Looks often at what may go.
fn often(setting: Setting) -> Setting {
    setting
        .with("QUAYSIDE_FINALIZER__SWEEP_EVERY", "1")
        .with("QUAYSIDE_FINALIZER__RETRY_LIMIT", "1")
        .with("QUAYSIDE_DISPATCHER__SWEEP_EVERY", "1")
}

fn setting() -> Setting {
    often(Setting::new(Backend::Local).with_processes(&processes()))
}

/// Runs a job to its end.
async fn done(story: &Story) -> Result<JobId> {
    let job = story.submit("talks", json!({})).await?;
    let status = story.wait_done(&job).await?;
    ensure!(status["status"] == "successful", "{status}");
    Ok(job)
}

/// The jobs that a gateway lists.
async fn listed(story: &Story, replica: usize) -> Result<BTreeSet<JobId>> {
    let list: Value = story.list_at(replica, "?limit=100").await?.json().await?;
    let jobs = list["jobs"].as_array().context("no jobs")?;
    jobs.iter().map(|job| Ok(job["jobID"].as_str().context("no id")?.parse()?)).collect()
}

async fn lists_only(story: &Story, jobs: &[JobId]) -> Result<()> {
    let expected: BTreeSet<JobId> = jobs.iter().copied().collect();
    for replica in 0..2 {
        wait_until("only those are listed that are kept", LIMIT, || async {
            let found = listed(story, replica).await?;
            ensure!(found == expected, "{found:?} instead of {expected:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn has_result(story: &Story, job: &JobId) -> Result<()> {
    let result = story.get(&format!("/jobs/{job}/results")).await?.text().await?;
    ensure!(result.contains("\"a\""), "{result}");
    Ok(())
}

/// The events that the stream holds of a job.
async fn kinds(story: &Story, job: &JobId) -> Result<Vec<Event>> {
    let messages = story.messages().await?.into_iter();
    let events = messages.filter_map(|(subject, _)| subjects::parse_event(&subject));
    Ok(events.filter(|(_, of, _)| of == job).map(|(_, _, event)| event).collect())
}

/// The story's bucket.
fn embedded(story: &Story) -> Result<&S3Server> {
    match &story.stack.store {
        Store::Embedded(server) => Ok(server),
        Store::Versitygw(_) | Store::Absent => bail!("another store"),
    }
}

/// The archive of a job can't be stored any more.
fn refuse_archive(story: &Story, job: JobId) -> Result<()> {
    embedded(story)?.refuse(move |_, key| key.contains(&job.to_string()) && key.ends_with("-logs.txt"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_more_jobs_than_are_kept_the_oldest_go_once_each_and_everywhere() {
    let mut setting = setting().with("QUAYSIDE_FINALIZER__RETENTION__MAX_JOBS", "1");
    setting.replicas = 2;
    tell("retention-max-jobs", setting, async |story| {
        let jetstream = async_nats::jetstream::new(async_nats::connect(story.stack.nats.url()).await?);
        let stream = jetstream.get_stream(subjects::STREAM).await?;
        let filter_subject = subjects::events_of_kind(Event::Removed);
        let config = OrderedConfig { filter_subject, ..OrderedConfig::default() };
        let mut told = stream.create_consumer(config).await?.messages().await?;

        let jobs = [done(story).await?, done(story).await?, done(story).await?];
        for job in &jobs[..2] {
            removed(story, job).await?;
        }
        lists_only(story, &jobs[2..]).await?;
        has_result(story, &jobs[2]).await?;
        for job in &jobs[..2] {
            let message = tokio::time::timeout(LIMIT, told.next()).await?.context("it ended")??;
            ensure!(message.subject.contains(&job.to_string()), "the oldest goes first: {}", message.subject);
            let event: Value = serde_json::from_slice(&message.payload)?;
            ensure!(event["data"]["removedBy"] == "retention", "{event}");
            let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
            ensure!(job == &jobs[0] || info.pending == 0, "each is removed once");
        }

        for replica in 0..2 {
            story.stack.service(Service::Gateway, replica)?.program.stop(LIMIT).await?;
            story.stack.start_service(Service::Gateway, replica, &[])?;
        }
        story.stack.wait_ready().await?;
        lists_only(story, &jobs[2..]).await?;
        for job in &jobs[..2] {
            removed(story, job).await?;
        }
        has_result(story, &jobs[2]).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_client_removes_costs_no_other_one_its_place() {
    let mut setting =
        setting().with("QUAYSIDE_FINALIZER__RETENTION__MAX_JOBS", "3").with("QUAYSIDE_FINALIZER__SWEEP_AFTER", "1");
    setting.replicas = 2;
    tell("retention-places", setting, async |story| {
        let mut jobs = vec![done(story).await?, done(story).await?, done(story).await?];
        // What the removed ones leave is still in the stream while the next jobs end.
        embedded(story)?.refuse(|operation, _| operation == "DeleteObject");
        let mut last = jobs[2];
        for _ in 0..3 {
            last = jobs.pop().context("no job")?;
            dismissed(story, &last).await?;
            jobs.push(done(story).await?);
        }
        let log = story.stack.logs().join("log-finalizer-0.log");
        wait_until("a sweep has met what is left of the last one", LIMIT, || async {
            let text = fs::read_to_string(&log)?;
            let met = |line: &str| line.contains("the sweep could not delete") && line.contains(&last.to_string());
            ensure!(text.lines().any(met), "not yet");
            Ok(())
        })
        .await?;
        jobs.push(done(story).await?);
        embedded(story)?.refuse_nothing();
        removed(story, &jobs.remove(0)).await?;
        lists_only(story, &jobs).await?;
        for job in &jobs {
            has_result(story, job).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_at_its_age_but_not_before_its_log_is_archived() {
    let setting = setting().with("QUAYSIDE_FINALIZER__RETENTION__MAX_AGE", "2");
    tell("retention-max-age", setting, async |story| {
        let pending = story.submit("waits", json!({})).await?;
        begun(story, &pending).await?;
        refuse_archive(story, pending)?;
        dismissed(story, &pending).await?;
        let runs = story.submit("waits", json!({})).await?;
        begun(story, &runs).await?;
        // It ends later, and so whatever looked at it has looked at the other one.
        let job = done(story).await?;
        removed(story, &job).await?;
        ensure!(story.status(&pending).await?["status"] == "dismissed");
        let last = kinds(story, &pending).await?.pop();
        ensure!(last == Some(Event::Dismissed), "{last:?}");
        embedded(story)?.refuse_nothing();
        removed(story, &pending).await?;
        ensure!(story.status(&runs).await?["status"] == "running", "what is not done has no age");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_kept_until_everybody_was_told_of_its_end() {
    let setting = often(callbacks::setting(&processes()))
        .with("QUAYSIDE_FINALIZER__RETENTION__MAX_AGE", "1")
        .with("QUAYSIDE_FINALIZER__RETENTION__KEEP_EVENTS", "1");
    tell("retention-callbacks", setting, async |story| {
        let receiver = Receiver::start(ports::free()?, Manner::status(503)).await?;
        let body = json!({ "inputs": {}, "subscriber": { "successUri": receiver.url("/told") } });
        let answer = story.post(0, "talks", &[("Prefer", "respond-async")], body.to_string()).await?;
        let waits: JobId = answer.json::<Value>().await?["jobID"].as_str().context("no job")?.parse()?;
        story.wait_done(&waits).await?;
        receiver.wait_for("/told", 1, LIMIT).await?;
        let job = done(story).await?;
        removed(story, &job).await?;
        let left = kinds(story, &waits).await?;
        ensure!(left.len() > 1 && left.last() == Some(&Event::Successful), "{left:?}");
        receiver.behave(Manner::status(200));
        removed(story, &waits).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_events_go_after_their_time_and_nothing_looks_different() {
    let mut setting = setting().with("QUAYSIDE_FINALIZER__RETENTION__KEEP_EVENTS", "1");
    setting.replicas = 2;
    tell("retention-events", setting, async |story| {
        let runs = story.submit("waits", json!({})).await?;
        begun(story, &runs).await?;
        let before = kinds(story, &runs).await?;
        let ended = story.submit("waits", json!({})).await?;
        begun(story, &ended).await?;
        dismissed(story, &ended).await?;
        let job = done(story).await?;
        let path = format!("/jobs/{job}");
        let status = story.status(&job).await?;
        let list = wait_until("the log of the dismissed job is archived", LIMIT, || async {
            let list: Value = story.list_at(0, "").await?.json().await?;
            ensure!(list["jobs"].to_string().contains(&format!("/jobs/{ended}/logs")), "{list}");
            Ok(list)
        })
        .await?;
        wait_until("only its end is left", LIMIT, || async {
            let left = kinds(story, &job).await?;
            ensure!(left == [Event::Successful], "{left:?}");
            let left = kinds(story, &ended).await?;
            ensure!(left == [Event::Dismissed, Event::Archived], "{left:?}");
            Ok(())
        })
        .await?;
        ensure!(kinds(story, &runs).await? == before, "a job that is not done keeps all of them");
        for replica in 0..2 {
            story.stack.service(Service::Gateway, replica)?.program.stop(LIMIT).await?;
            story.stack.start_service(Service::Gateway, replica, &[])?;
        }
        story.stack.wait_ready().await?;
        for replica in 0..2 {
            let now: Value = story.get_at(replica, &path).await?.json().await?;
            ensure!(now == status, "{now}\ninstead of\n{status}");
            let now: Value = story.list_at(replica, "").await?.json().await?;
            ensure!(now["jobs"] == list["jobs"], "{now}\ninstead of\n{list}");
        }
        has_result(story, &job).await?;
        dismissed(story, &job).await?;
        removed(story, &job).await
    })
    .await;
}

on_each!(keep_jobs: Local as what_ran_a_job_goes_once_its_log_is_stored_and_never_before_locally,
    Simulated as what_ran_a_job_goes_once_its_log_is_stored_and_never_before_on_the_simulated_node);

async fn keep_jobs(backend: Backend) {
    let setting = often(Setting::new(backend).with_processes(&processes())).with("QUAYSIDE_DISPATCHER__KEEP_JOBS", "1");
    tell(&format!("retention-keep-jobs-{backend:?}"), setting, async |story| {
        if backend == Backend::Simulated {
            let (namespace, client) = story.cluster()?;
            namespace.serve_log(client, SIMULATED_LOG).await?;
        }
        // No log can be archived until the id of the first job is known.
        embedded(story)?.refuse(|_, key| key.ends_with("-logs.txt"));
        let waits = story.submit("talks", json!({})).await?;
        wait_until("its log can't be stored", LIMIT, || async {
            let status = story.status(&waits).await?;
            ensure!(status["message"].as_str().unwrap_or_default().contains("can't be stored yet"), "{status}");
            Ok(())
        })
        .await?;
        refuse_archive(story, waits)?;
        let job = done(story).await?;
        wait_until("what ran it is gone", LIMIT, || gone(story, &job)).await?;
        has_result(story, &job).await?;
        ensure!(gone(story, &waits).await.is_err(), "its log would be lost");
        embedded(story)?.refuse_nothing();
        ensure!(story.wait_done(&waits).await?["status"] == "successful");
        ensure!(story.archive(&waits).await?.contains("ran\n"), "all of it is archived");
        wait_until("what ran it is gone, too", LIMIT, || gone(story, &waits)).await
    })
    .await;
}
