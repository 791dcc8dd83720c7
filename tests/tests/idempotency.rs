//! Requests with an Idempotency-Key that are sent again: at another replica, all at once, after a gateway died.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream;
use end_to_end::{
    program::{Signal, wait_until},
    services::Service,
    stack::StoreChoice,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use futures::future::try_join_all;
use protocol::{
    JobId,
    idempotency::ClaimedKey,
    names::subjects::{IDEMPOTENCY_KEYS, IDEMPOTENCY_STREAM},
};
use reqwest::{Response, header};
use serde_json::{Value, json};

use crate::inputs::serve_until_aborted;

const SCRIPT: &str = "echo ran\necho PYGEOAPI_K8S_MANAGER_RESULT_START\nprintf %s \"$PYGEOAPI_K8S_MANAGER_INPUTS\"";
const KEY: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";

fn setting(replicas: usize) -> Setting {
    let mut setting = Setting::new(Backend::Local).with_processes(&process_yaml("echo", SCRIPT));
    setting.replicas = replicas;
    setting
}

fn body(text: &str) -> String {
    json!({ "inputs": { "text": text } }).to_string()
}

async fn submit(story: &Story, replica: usize, key: &str, body: String) -> Result<Response> {
    story.post(replica, "echo", &[("Prefer", "respond-async"), ("Idempotency-Key", key)], body).await
}

fn location(answer: &Response) -> Result<JobId> {
    ensure!(answer.status().as_u16() == 201, "{}", answer.status());
    let location = answer.headers().get(header::LOCATION).context("no Location")?.to_str()?;
    Ok(location.rsplit('/').next().context("empty")?.parse()?)
}

fn is_replayed(answer: &Response) -> bool {
    answer.headers().get("idempotent-replayed").is_some_and(|value| value == "true")
}

/// Sends a request again while the first one is still being accepted.
async fn insist(story: &Story, replica: usize, key: &str) -> Result<Response> {
    wait_until("the key's job", LIMIT, || async {
        let answer = submit(story, replica, key, body("a")).await?;
        if answer.status().as_u16() == 409 {
            ensure!(answer.headers().contains_key(header::RETRY_AFTER), "409 without Retry-After");
            bail!("still being accepted");
        }
        Ok(answer)
    })
    .await
}

async fn jobs(story: &Story, replica: usize) -> Result<usize> {
    let list: Value = story.list_at(replica, "").await?.json().await?;
    Ok(list["jobs"].as_array().context("no list")?.len())
}

/// Every job that the stream knows.
async fn jobs_in_stream(story: &Story) -> Result<HashSet<String>> {
    let told = story.messages().await?;
    Ok(told.iter().filter_map(|(subject, _)| subject.split('.').nth(2).map(str::to_owned)).collect())
}

async fn only_key(story: &Story) -> Result<(String, ClaimedKey)> {
    let jetstream = jetstream::new(async_nats::connect(story.stack.nats.url()).await?);
    let stream = jetstream.get_stream(IDEMPOTENCY_STREAM).await?;
    let config = &stream.cached_info().config;
    ensure!(config.max_age.as_secs() == 86400 && !config.allow_direct, "{config:?}");
    let message = stream.get_last_raw_message_by_subject(IDEMPOTENCY_KEYS).await?;
    let text = format!("{} {}", message.subject, String::from_utf8_lossy(&message.payload));
    Ok((text, serde_json::from_slice(&message.payload)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_job_though_its_reference_leads_nowhere_any_more() {
    let setting = setting(1)
        .with("QUAYSIDE_GATEWAY__REFERENCES__ALLOW_HTTP", "true")
        .with("QUAYSIDE_GATEWAY__REFERENCES__ALLOW_PRIVATE", "127.0.0.0/8");
    tell("idempotency-reference", setting, async |story| {
        let (url, serving) = serve_until_aborted("application/json", "\"a\"").await?;
        let body = json!({"inputs": {"text": {"href": url}}}).to_string();
        let first = location(&submit(story, 0, KEY, body.clone()).await?)?;
        serving.abort();
        ensure!(serving.await.is_err(), "nobody answers any more");
        let again = submit(story, 0, KEY, body.clone()).await?;
        ensure!(is_replayed(&again) && location(&again)? == first);
        let other = submit(story, 0, "another", body).await?;
        ensure!(other.status().as_u16() == 400, "{}", other.status());
        let reused =
            submit(story, 0, KEY, json!({"inputs": {"text": {"href": format!("{url}x")}}}).to_string()).await?;
        ensure!(reused.status().as_u16() == 422, "{}", reused.status());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_and_request_is_the_same_job_at_every_replica() {
    tell("idempotency", setting(2), async |story| {
        let refused = submit(story, 0, KEY, r#"{"inputs": {"nope": 1}}"#.to_owned()).await?;
        ensure!(refused.status().as_u16() == 400, "a request that is no good uses no key: {}", refused.status());
        let first = submit(story, 0, KEY, body("a")).await?;
        let job = location(&first)?;
        ensure!(!is_replayed(&first), "this one made the job");
        let again = submit(story, 1, &format!("\"{KEY}\""), body("a")).await?;
        ensure!(location(&again)? == job && is_replayed(&again), "the same job, quoted or not");
        // Synchronously the same job's results, whether it has ended by now or not.
        let sync = story.post(1, "echo", &[("Idempotency-Key", KEY)], body("a")).await?;
        ensure!(sync.status().as_u16() == 200 && is_replayed(&sync), "{}", sync.status());
        ensure!(sync.text().await? == r#"{"text":"a"}"#);
        let other = submit(story, 1, KEY, body("b")).await?;
        ensure!(other.status().as_u16() == 422, "another request under the same key: {}", other.status());
        for key in ["", "a b", &"k".repeat(256)] {
            let answer = submit(story, 0, key, body("a")).await?;
            ensure!(answer.status().as_u16() == 400, "{key}: {}", answer.status());
        }
        ensure!(jobs(story, 0).await? == 1);
        let (text, claim) = only_key(story).await?;
        ensure!(claim.job_id == job && !text.contains(KEY) && !text.contains("text"), "{text}");

        story.wait_done(&job).await?;
        let removed = story.delete_at(0, &job).await?;
        ensure!(removed.status().as_u16() == 200, "{}", removed.status());
        let gone = submit(story, 0, KEY, body("a")).await?;
        ensure!(gone.status().as_u16() == 410, "a removed job is not made anew: {}", gone.status());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_with_one_key_at_two_replicas_make_one_job() {
    tell("idempotency-fifty", setting(2), async |story| {
        let shared: &Story = story;
        let answers = try_join_all((0..50).map(|number| insist(shared, number % 2, KEY))).await?;
        let found: HashSet<JobId> = answers.iter().map(location).collect::<Result<_>>()?;
        ensure!(found.len() == 1, "{found:?}");
        ensure!(answers.iter().filter(|answer| !is_replayed(answer)).count() == 1, "one of them made it");
        ensure!(jobs_in_stream(story).await?.len() == 1);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_killed_between_key_and_commit_leaves_one_job_to_the_retry() {
    let mut setting = setting(2).with("QUAYSIDE_GATEWAY__ACCEPT_LIMIT", "2");
    setting.start_services = false;
    tell("idempotency-crash", setting, async |story| {
        for service in Service::ALL {
            story.stack.start_service(service, 0, &[("QUAYSIDE_FAILPOINT", "gateway.after-key")])?;
        }
        story.stack.start_service(Service::Gateway, 1, &[])?;
        story.stack.wait_ready().await?;
        ensure!(submit(story, 0, KEY, body("a")).await.is_err(), "the gateway died before it could answer");
        let (_, claim) = only_key(story).await?;
        ensure!(jobs_in_stream(story).await?.is_empty(), "nothing was committed");
        let job = location(&insist(story, 1, KEY).await?)?;
        ensure!(job == claim.job_id, "committed under the id that the key names");
        story.stack.start_service(Service::Gateway, 0, &[])?;
        story.stack.wait_ready().await?;
        let again = submit(story, 0, KEY, body("a")).await?;
        ensure!(location(&again)? == job && is_replayed(&again));
        ensure!(story.wait_done(&job).await?["status"] == "successful");
        ensure!(jobs_in_stream(story).await?.len() == 1);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_taken_over_is_not_given_back_as_the_first_commit_may_still_come() {
    let mut setting = setting(2).with("QUAYSIDE_GATEWAY__ACCEPT_LIMIT", "2");
    (setting.start_services, setting.store) = (false, StoreChoice::Absent);
    tell("idempotency-taken-over", setting, async |story| {
        story.stack.start_service(Service::Dispatcher, 0, &[])?;
        story.stack.start_service(Service::Finalizer, 0, &[])?;
        story.stack.start_service(Service::Gateway, 0, &[("QUAYSIDE_FAILPOINT", "gateway.after-key")])?;
        let refusing = [("QUAYSIDE_GATEWAY__INLINE_INPUTS_WITHOUT_BUCKET", "100")];
        story.stack.start_service(Service::Gateway, 1, &refusing)?;
        story.stack.wait_ready().await?;
        let large = body(&"x".repeat(200));
        ensure!(submit(story, 0, KEY, large.clone()).await.is_err(), "the gateway died before it could answer");
        let (_, first) = only_key(story).await?;

        let shared: &Story = story;
        wait_until("the key is taken over, and its job refused", LIMIT, || async {
            let status = submit(shared, 1, KEY, large.clone()).await?.status().as_u16();
            ensure!(status == 413, "{status}");
            Ok(())
        })
        .await?;
        let (text, claim) = only_key(story).await?;
        ensure!(!claim.released && claim.job_id == first.job_id, "{text}");
        let other = submit(story, 1, KEY, body("b")).await?;
        ensure!(other.status().as_u16() == 422, "another request gets no key that is not free: {}", other.status());

        story.stack.start_service(Service::Gateway, 0, &[])?;
        story.stack.wait_ready().await?;
        let shared: &Story = story;
        let answer = wait_until("the job of the key is made after all", LIMIT, || async {
            let answer = submit(shared, 0, KEY, large.clone()).await?;
            ensure!(answer.status().as_u16() == 201, "{}", answer.status());
            Ok(answer)
        })
        .await?;
        ensure!(location(&answer)? == first.job_id, "under the id that the key names");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_first_is_still_being_accepted_is_told_to_wait() {
    let mut setting = setting(2).with("QUAYSIDE_GATEWAY__ACCEPT_LIMIT", "600");
    setting.start_services = false;
    tell("idempotency-in-use", setting, async |story| {
        for service in Service::ALL {
            story.stack.start_service(service, 0, &[("QUAYSIDE_FAILPOINT", "stop:gateway.after-key")])?;
        }
        story.stack.start_service(Service::Gateway, 1, &[])?;
        story.stack.wait_ready().await?;
        let stopped = story.stack.service(Service::Gateway, 0)?.program.identity()?;
        let shared: &Story = story;
        let first = submit(shared, 0, KEY, body("a"));
        let meanwhile = async {
            wait_until("the key is taken", LIMIT, || only_key(shared)).await?;
            let second = submit(shared, 1, KEY, body("a")).await?;
            ensure!(second.status().as_u16() == 409, "{}", second.status());
            ensure!(second.headers().contains_key(header::RETRY_AFTER));
            let exception: Value = second.json().await?;
            ensure!(exception["status"] == 409, "{exception}");
            let other = submit(shared, 1, KEY, body("b")).await?;
            ensure!(other.status().as_u16() == 422, "{}", other.status());
            Ok(())
        };
        tokio::pin!(first);
        let told: Result<()> = tokio::select! {
            answer = &mut first => bail!("answered while it stands still: {:?}", answer.map(|answer| answer.status())),
            told = meanwhile => told,
        };
        told?;
        stopped.signal(Signal::CONT)?;
        let job = location(&first.await?)?;
        let second = submit(shared, 1, KEY, body("a")).await?;
        ensure!(location(&second)? == job && is_replayed(&second));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_job_was_refused_is_free_again() {
    let mut setting = setting(1).with("QUAYSIDE_GATEWAY__INLINE_INPUTS_WITHOUT_BUCKET", "100");
    setting.store = StoreChoice::Absent;
    tell("idempotency-refused", setting, async |story| {
        let refused = submit(story, 0, KEY, body(&"x".repeat(200))).await?;
        ensure!(refused.status().as_u16() == 413, "{}", refused.status());
        let taken = submit(story, 0, KEY, body("a")).await?;
        location(&taken)?;
        ensure!(!is_replayed(&taken));
        Ok(())
    })
    .await;
}
