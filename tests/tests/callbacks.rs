//! Callbacks: what subscribers are told, and that neither a hostile receiver nor the death of everything does any harm.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use end_to_end::{
    ports,
    program::wait_until,
    python,
    receiver::{Manner, Received, Receiver},
    services::Service,
    story::{Backend, ECHO, LIMIT, Setting, Story, process_yaml, tell},
};
use platform::{nats, publish};
use protocol::{
    Event, JobId, JobRecord, ProcessId,
    callback::{CallbackKind, CallbackUri, Subscription},
    job_record::{ArchiveState, Status},
    names::subjects::{CALLBACK_STREAM, CALLING_CONSUMER, subscription},
};
use reqwest::header;
use serde_json::{Value, json};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SCRIPT: &str = "echo ran\necho PYGEOAPI_K8S_MANAGER_RESULT_START\nprintf %s \"$PYGEOAPI_K8S_MANAGER_INPUTS\"";

/// Callbacks to this machine, and no long pauses between attempts.
pub(crate) fn setting(processes: &str) -> Setting {
    Setting::new(Backend::Local)
        .with_processes(processes)
        .with("QUAYSIDE_GATEWAY__CALLBACKS__ALLOW_HTTP", "true")
        .with("QUAYSIDE_GATEWAY__CALLBACKS__ALLOW_PRIVATE", "127.0.0.0/8")
        .with("QUAYSIDE_GATEWAY__CALLBACKS__FIRST_PAUSE", "0.1")
        .with("QUAYSIDE_GATEWAY__CALLBACKS__MAX_PAUSE", "1")
        .with("QUAYSIDE_GATEWAY__CALLBACKS__TIMEOUT", "2")
}

fn echo() -> String {
    process_yaml("echo", SCRIPT)
}

async fn submit(story: &Story, process: &str, body: Value) -> Result<JobId> {
    let answer = story.post(0, process, &[("Prefer", "respond-async")], body.to_string()).await?;
    ensure!(answer.status().as_u16() == 201, "{}: {}", answer.status(), answer.text().await?);
    let location = answer.headers().get(header::LOCATION).context("no Location")?.to_str()?;
    Ok(location.rsplit('/').next().context("empty")?.parse()?)
}

/// The member `callbacks` of a job's status once it says this of this kind.
async fn callback(story: &Story, job: &JobId, kind: &str, state: &str) -> Result<Value> {
    wait_until(&format!("{kind} of {job} is {state}"), LIMIT, || async {
        let status = story.status(job).await?;
        let all = status["callbacks"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|it| it["kind"] == kind && it["state"] == state);
        found.with_context(|| status.to_string())
    })
    .await
}

async fn subjects_left(story: &Story) -> Result<Vec<String>> {
    use futures::TryStreamExt;
    let jetstream = async_nats::jetstream::new(async_nats::connect(story.stack.nats.url()).await?);
    let stream = jetstream.get_stream(CALLBACK_STREAM).await?;
    let mut listed = stream.info_with_subjects(">").await?;
    let mut found = Vec::new();
    while let Some((subject, _)) = listed.try_next().await? {
        found.push(subject);
    }
    Ok(found)
}

/// Waits until nothing but what became of deliveries is left.
async fn no_address_is_kept(story: &Story) -> Result<()> {
    wait_until("no address is kept", LIMIT, || async {
        let left = subjects_left(story).await?;
        ensure!(left.iter().all(|subject| subject.contains(".state.")), "{left:?}");
        Ok(())
    })
    .await
}

fn ids(received: &[Received]) -> BTreeSet<String> {
    received.iter().map(|it| it.header("webhook-id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_is_told_the_start_and_the_results_signed_and_of_the_addresses_nobody_learns() {
    let mut setting = setting(ECHO).with("QUAYSIDE_GATEWAY__CALLBACKS__SECRET", SECRET);
    setting = setting.with("QUAYSIDE_TELEMETRY__FILTER", "debug");
    tell("callbacks", setting, async |story| {
        let receiver = Receiver::start(0, Manner::status(204)).await?;
        let subscriber = json!({
            "successUri": receiver.url("/done?key=HUSHHUSH"), "inProgressUri": receiver.url("/start?key=HUSHHUSH"),
            "failedUri": receiver.url("/failed?key=HUSHHUSH"),
        });
        let inputs = json!({"echoInput": "Ahoy", "pause": 1});
        // Synchronously and raw: the subscriber gets the document all the same.
        let body = json!({"inputs": inputs, "subscriber": subscriber, "response": "raw"});
        let answer = story.post(0, "echo", &[], body.to_string()).await?;
        ensure!(answer.status().as_u16() == 200, "{}", answer.status());
        let monitor = answer.headers().get(header::LINK).context("no Link")?.to_str()?.to_owned();
        let job: JobId =
            monitor.split("/jobs/").nth(1).and_then(|it| it.split('>').next()).context("no job")?.parse()?;

        let done = receiver.wait_for("/done?key=HUSHHUSH", 1, LIMIT).await?;
        ensure!(done[0].json()?["echoInput"] == "Ahoy", "{:?}", done[0].json()?);
        let start = receiver.wait_for("/start?key=HUSHHUSH", 1, LIMIT).await?;
        let status = start[0].json()?;
        ensure!(status["jobID"] == job.to_string() && status["processID"] == "echo", "{status}");
        ensure!(start[0].header("webhook-id") == format!("{job}-in-progress"), "{:?}", start[0]);
        ensure!(done[0].header("webhook-id") == format!("{job}-success"), "{:?}", done[0]);
        ensure!(done[0].header("user-agent").starts_with("Quayside/"), "{:?}", done[0]);

        let told = callback(story, &job, "success", "delivered").await?;
        ensure!(told["attempts"] == 1 && told["lastStatus"] == 204 && told.get("nextAttempt").is_none(), "{told}");
        callback(story, &job, "in-progress", "delivered").await?;
        let status = story.status(&job).await?;
        ensure!(status["callbacks"].as_array().is_some_and(|all| all.len() == 2), "{status}");
        verified(story, &receiver.received()).await?;

        // The addresses are gone once everything was told, and were only in the one private stream before.
        wait_until("only what became of them is left", LIMIT, || async {
            let left = subjects_left(story).await?;
            ensure!(left.len() == 2 && left.iter().all(|subject| subject.contains(".state.")), "{left:?}");
            Ok(())
        })
        .await?;
        let refused = json!({"subscriber": {"successUri": "ftp://127.0.0.1/HUSHHUSH"}});
        let answer = story.post(0, "echo", &[], refused.to_string()).await?;
        ensure!(answer.status().as_u16() == 400 && !answer.text().await?.contains("HUSHHUSH"));
        let shown = format!("{status} {:?} {}", story.messages().await?, metrics(story).await?);
        ensure!(!shown.contains("HUSHHUSH"), "{shown}");
        ensure!(
            shown.contains("quayside_gateway_callback_attempts_total{kind=\"success\",end=\"delivered\"} 1"),
            "{shown}"
        );
        let searched = search(&story.stack.logs())? + search(&story.stack.folder().join("s3"))?;
        ensure!(searched > 3, "{searched} files");
        Ok(())
    })
    .await;
}

/// The metrics of the first gateway.
async fn metrics(story: &mut Story) -> Result<String> {
    let probe = story.stack.service(Service::Gateway, 0)?.probe;
    Ok(story.http.get(format!("http://127.0.0.1:{probe}/metrics")).send().await?.text().await?)
}

/// How many files there are, none of which has an address's secret part.
fn search(folder: &Path) -> Result<usize> {
    let mut searched = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            searched += search(&path)?;
        } else {
            let bytes = fs::read(&path)?;
            ensure!(!bytes.windows(8).any(|window| window == b"HUSHHUSH"), "an address is in {}", path.display());
            searched += 1;
        }
    }
    Ok(searched)
}

/// Has the library of Standard Webhooks verify what came.
async fn verified(story: &Story, received: &[Received]) -> Result<()> {
    let Some(python) = python::require_or_skip("standardwebhooks").await else { return Ok(()) };
    let deliveries: Vec<Value> =
        received.iter().map(|it| json!({"headers": it.headers, "body": String::from_utf8_lossy(&it.body)})).collect();
    let forged: Vec<Value> =
        received.iter().map(|it| json!({"headers": it.headers, "body": "{\"forged\": true}"})).collect();
    let folder = fs::canonicalize(story.stack.folder())?;
    let file = folder.join("deliveries.json");
    fs::write(&file, json!({"secret": SECRET, "deliveries": deliveries, "forged": forged}).to_string())?;
    let printed = python.script(&folder, "verify_webhook.py", &[&file.display().to_string()], LIMIT).await?;
    fs::remove_file(&file)?;
    ensure!(printed.contains(&format!("{} verified", received.len())), "{printed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_and_a_dismissed_one_are_told_to_the_address_of_failures() {
    tell("callbacks-failed", setting(ECHO), async |story| {
        let receiver = Receiver::start(0, Manner::status(200)).await?;
        let subscriber =
            |name: &str| json!({"successUri": receiver.url("/done"), "failedUri": receiver.url(&format!("/{name}"))});
        let job = submit(story, "failing", json!({"subscriber": subscriber("failed")})).await?;
        let told = receiver.wait_for("/failed", 1, LIMIT).await?[0].json()?;
        ensure!(
            told["status"] == "failed" && told["reason"] == "ExitCode" && told["jobID"] == job.to_string(),
            "{told}"
        );
        ensure!(told["message"].as_str().is_some_and(|message| message.contains("exit code")), "{told}");
        let body = json!({"inputs": {"echoInput": "a", "pause": 60}, "subscriber": subscriber("dismissed")});
        let job = submit(story, "echo", body).await?;
        story.wait_for(&job, &["running"]).await?;
        let answer = story.delete_at(0, &job).await?;
        ensure!(answer.status().as_u16() == 200, "{}", answer.status());
        let told = receiver.wait_for("/dismissed", 1, LIMIT).await?[0].json()?;
        ensure!(told["status"] == "dismissed" && told.get("reason").is_none(), "{told}");
        callback(story, &job, "failed", "delivered").await?;
        // Nobody asked to be told of the failure: there is nothing to tell, and no address is kept.
        let only = json!({"subscriber": {"successUri": receiver.url("/done")}});
        let job = submit(story, "failing", only).await?;
        let status = story.wait_done(&job).await?;
        ensure!(status.get("callbacks").is_none(), "{status}");
        no_address_is_kept(story).await?;
        ensure!(receiver.received().len() == 2, "{:?}", receiver.received());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_receiver_harms_nothing() {
    let setting = setting(&echo()).with("QUAYSIDE_GATEWAY__CALLBACKS__ALLOW_PRIVATE", "127.0.0.1");
    tell("callbacks-hostile", setting, async |story| {
        let inside = Receiver::start(0, Manner::status(200)).await?;
        let subscriber = |uri: &str| json!({"inputs": {"text": "a"}, "subscriber": {"successUri": uri}});
        // Refused at once, as far as the address shows it; nothing was asked.
        for uri in ["http://10.0.0.1/", "http://127.0.0.2/", "http://[::1]/", "file:///etc/passwd", "/x", ""] {
            let answer = story.post(0, "echo", &[], subscriber(uri).to_string()).await?;
            ensure!(answer.status().as_u16() == 400, "{uri}: {}", answer.status());
        }
        // A redirect inside is not followed, whatever allows it.
        let redirecting = Receiver::start(0, Manner::redirect(&inside.url("/inside"))).await?;
        let redirected = submit(story, "echo", subscriber(&redirecting.url("/"))).await?;
        // One is slow, one sends an answer without end, one is not there.
        let slow = Receiver::start(0, Manner::SaysNothing).await?;
        let slowly = submit(story, "echo", subscriber(&slow.url("/"))).await?;
        let endless = Receiver::start(0, Manner::TalksForEver).await?;
        let endlessly = submit(story, "echo", subscriber(&endless.url("/"))).await?;
        let nobody = submit(story, "echo", subscriber(&format!("http://127.0.0.1:{}/", ports::free()?))).await?;
        for (job, status, reason) in [
            (redirected, json!(307), Value::Null),
            (slowly, Value::Null, json!("did not answer within 2 seconds")),
            (endlessly, json!(500), Value::Null),
            (nobody, Value::Null, json!("could not be reached")),
        ] {
            let told = callback(story, &job, "success", "failing").await?;
            ensure!(told["lastStatus"] == status && told["lastReason"] == reason, "{told}");
            ensure!(told["nextAttempt"].is_string() && story.status(&job).await?["status"] == "successful", "{told}");
        }
        // Meanwhile others are told as ever.
        let live = submit(story, "echo", subscriber(&inside.url("/live"))).await?;
        callback(story, &live, "success", "delivered").await?;
        ensure!(inside.received().len() == 1, "the redirect was followed: {:?}", inside.received());
        // 410 is the end of it.
        redirecting.behave(Manner::status(410));
        let told = callback(story, &redirected, "success", "given-up").await?;
        ensure!(told["lastStatus"] == 410 && told.get("nextAttempt").is_none(), "{told}");
        // Who answers 500 gets the same again, until it is well.
        endless.behave(Manner::status(500));
        let before = endless.received().len();
        endless.wait_for("/", before + 2, LIMIT).await?;
        endless.behave(Manner::status(200));
        let told = callback(story, &endlessly, "success", "delivered").await?;
        let received = endless.received();
        ensure!(told["attempts"].as_u64() >= Some(3) && ids(&received).len() == 1, "{told} {:?}", ids(&received));
        let log = fs::read_to_string(story.stack.logs().join("api-gateway-0.log"))?;
        ensure!(!log.contains("panicked") && !log.contains(" ERROR "), "{log}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_resolves_inside_is_never_connected_to() {
    let setting = setting(&echo()).with("QUAYSIDE_GATEWAY__CALLBACKS__ALLOW_PRIVATE", "10.99.0.0/16");
    tell("callbacks-inside", setting, async |story| {
        let inside = Receiver::start(0, Manner::status(200)).await?;
        let uri = format!("http://localhost:{}/", inside.port());
        let job = submit(story, "echo", json!({"subscriber": {"successUri": uri}})).await?;
        let told = callback(story, &job, "success", "failing").await?;
        ensure!(told["lastReason"] == "leads to a loopback address; only public addresses are allowed", "{told}");
        ensure!(inside.received().is_empty(), "{:?}", inside.received());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_pending_when_everything_is_killed_arrives_once_all_is_back() {
    let mut setting = setting(&echo()).with("QUAYSIDE_NATS__ACK_WAIT", "2");
    setting.replicas = 2;
    tell("callbacks-killed", setting, async |story| {
        let port = ports::free()?;
        let uri = format!("http://127.0.0.1:{port}/done");
        let body = json!({"inputs": {"text": "a"}, "subscriber": {"successUri": uri, "failedUri": uri}});
        let waiting = submit(story, "echo", body.clone()).await?;
        let told = callback(story, &waiting, "success", "failing").await?;
        ensure!(told["attempts"].as_u64() >= Some(1), "{told}");
        // Another one is on its way somewhere when everything dies.
        let under_way = submit(story, "echo", body).await?;
        story.stack.crash().await?;
        let receiver = Receiver::start(port, Manner::status(200)).await?;
        for service in Service::ALL {
            for replica in 0..2 {
                story.stack.start_service(service, replica, &[])?;
            }
        }
        story.stack.wait_ready().await?;
        for job in [&waiting, &under_way] {
            callback(story, job, "success", "delivered").await?;
        }
        let received = receiver.received();
        let expected: BTreeSet<String> = [waiting, under_way].iter().map(|job| format!("{job}-success")).collect();
        ensure!(ids(&received) == expected, "{:?}", ids(&received));
        let results = received.iter().map(Received::json).collect::<Result<Vec<_>>>()?;
        ensure!(results.iter().all(|it| it.to_string().contains("\"text\":\"a\"")), "{results:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_killed_at_each_step_of_a_callback_leaves_it_to_the_next() {
    let mut setting = setting(&echo()).with("QUAYSIDE_NATS__ACK_WAIT", "2");
    setting.start_services = false;
    tell("callbacks-crash", setting, async |story| {
        let receiver = Receiver::start(0, Manner::status(200)).await?;
        for service in [Service::Dispatcher, Service::Finalizer] {
            story.stack.start_service(service, 0, &[])?;
        }
        for place in ["gateway.after-callback-queued", "gateway.after-callback", "gateway.before-callback-done"] {
            story.stack.start_service(Service::Gateway, 0, &[("QUAYSIDE_FAILPOINT", place)])?;
            story.stack.wait_ready().await?;
            let target = format!("/{place}");
            let body = json!({"inputs": {"text": "a"}, "subscriber": {"successUri": receiver.url(&target)}});
            let job = submit(story, "echo", body).await?;
            let program = &mut story.stack.service(Service::Gateway, 0)?.program;
            let status = tokio::time::timeout(LIMIT, program.wait()).await.context("not reached")??;
            ensure!(!status.success(), "{place}: it ended well");
            story.stack.start_service(Service::Gateway, 0, &[])?;
            story.stack.wait_ready().await?;
            callback(story, &job, "success", "delivered").await?;
            let received = receiver.wait_for(&target, 1, LIMIT).await?;
            let most = if place == "gateway.after-callback" { 2 } else { 1 };
            ensure!(received.len() <= most && ids(&received).len() == 1, "{place}: {} times", received.len());
            // What is left of this one is not to meet the next failpoint.
            no_address_is_kept(story).await?;
            let program = &mut story.stack.service(Service::Gateway, 0)?.program;
            program.kill().await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_dead_callbacks_do_not_delay_a_live_one() {
    let setting = setting(&echo())
        .with("QUAYSIDE_GATEWAY__CALLBACKS__ALLOW_PRIVATE", "127.0.0.0/8, localhost")
        .with("QUAYSIDE_GATEWAY__CALLBACKS__SWEEP_EVERY", "0.5")
        .with("QUAYSIDE_GATEWAY__CALLBACKS__TIMEOUT", "60");
    tell("callbacks-dead", setting, async |story| {
        let slow = Receiver::start(0, Manner::SaysNothing).await?;
        let settings = nats::NatsSettings { url: story.stack.nats.url(), ..nats::NatsSettings::default() };
        let nats = nats::connect(&settings, "story").await?;
        let free = ports::free()?;
        // Half of them refuse connections, on many hosts; half of them never answer.
        for number in 0..1000_u16 {
            let uri = match number % 2 {
                0 => format!("http://127.0.{}.{}:{free}/", number / 250, number % 250 + 2),
                _ => slow.url("/"),
            };
            successful(&nats, &subscribed(&uri), Order::SubscriptionFirst).await?;
        }
        let began = std::time::Instant::now();
        slow.wait_for("/", 8, LIMIT).await?;
        let live = Receiver::start(0, Manner::status(200)).await?;
        let uri = format!("http://localhost:{}/", live.port());
        let mut slowest = Duration::ZERO;
        for _ in 0..3 {
            let body = json!({"inputs": {"text": "a"}, "subscriber": {"successUri": uri}});
            let job = submit(story, "echo", body).await?;
            story.wait_done(&job).await?;
            let began = std::time::Instant::now();
            callback(story, &job, "success", "delivered").await?;
            slowest = slowest.max(began.elapsed());
        }
        println!("told {slowest:?} after the end of its job at the latest, beside 1000 dead callbacks");
        // It did not even wait for one of those that never answer.
        ensure!(slowest < Duration::from_secs(50), "{slowest:?}");
        // Each takes one of its host's places for a minute.
        let (tried, rounds) = (slow.received().len(), began.elapsed().as_secs() / 60 + 2);
        ensure!(tried as u64 <= 10 * rounds, "{tried} attempts at one slow host in {:?}", began.elapsed());
        let waiting = subjects_left(story).await?.iter().filter(|subject| subject.contains(".queued.")).count();
        ensure!(waiting == 1000, "{waiting} dead callbacks wait");
        let probe = story.stack.service(Service::Gateway, 0)?.probe;
        wait_until("the metric says so", LIMIT, || async {
            let text = story.http.get(format!("http://127.0.0.1:{probe}/metrics")).send().await?.text().await?;
            ensure!(text.contains("quayside_gateway_callbacks_waiting 1000"), "{text}");
            Ok(())
        })
        .await?;
        Ok(())
    })
    .await;
}

/// Whether a subscription is there before its job's event, as the gateway has it.
#[derive(PartialEq)]
enum Order {
    SubscriptionFirst,
    EventFirst,
}

fn subscribed(uri: &str) -> Subscription {
    Subscription::new(CallbackUri::new(uri), None, None)
}

/// A job that is successful and has no results, whose subscriber is to be told so.
async fn successful(nats: &nats::Nats, told: &Subscription, order: Order) -> Result<JobId> {
    let process: ProcessId = "echo".parse()?;
    let now = jiff::Timestamp::now();
    let job = JobId::generate(u64::try_from(now.as_millisecond())?);
    let subject = subscription(&process, &job);
    if order == Order::SubscriptionFirst {
        publish::callback(nats, &subject, told, 0, None).await?;
    }
    let mut record = JobRecord::accepted(job, process, "1".into(), now, ArchiveState::Off);
    record.callbacks = vec![CallbackKind::Success];
    (record.status, record.finished) = (Status::Successful, Some(now));
    publish::event(nats, Event::Successful, record, 0).await?;
    if order == Order::EventFirst {
        nothing_waits(nats, CALLING_CONSUMER).await?;
        publish::callback(nats, &subject, told, 0, None).await?;
    }
    Ok(job)
}

/// Waits until a consumer of the job events has nothing left to do.
async fn nothing_waits(nats: &nats::Nats, consumer: &str) -> Result<()> {
    wait_until("all events are looked at", LIMIT, || async {
        let info = nats.stream.consumer_info(consumer).await?;
        ensure!(info.num_pending == 0 && info.num_ack_pending == 0, "{info:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_whose_event_was_lost_is_made_by_the_sweep() {
    let setting = setting(&echo())
        .with("QUAYSIDE_GATEWAY__CALLBACKS__SWEEP_EVERY", "0.5")
        .with("QUAYSIDE_GATEWAY__CALLBACKS__SWEEP_AFTER", "1");
    tell("callbacks-swept", setting, async |story| {
        let receiver = Receiver::start(0, Manner::status(200)).await?;
        let settings = nats::NatsSettings { url: story.stack.nats.url(), ..nats::NatsSettings::default() };
        let nats = nats::connect(&settings, "story").await?;
        // When the event is looked at there is nobody to tell yet: the same as an event that nobody ever got.
        let job = successful(&nats, &subscribed(&receiver.url("/done")), Order::EventFirst).await?;
        callback(story, &job, "success", "delivered").await?;
        ensure!(receiver.received().len() == 1, "{:?}", receiver.received());
        // A subscription of a removed job is deleted.
        let removed = successful(&nats, &subscribed(&receiver.url("/never")), Order::SubscriptionFirst).await?;
        callback(story, &removed, "success", "delivered").await?;
        let gone = story.delete_at(0, &removed).await?;
        ensure!(gone.status().as_u16() == 200, "{}", gone.status());
        let subject = subscription(&"echo".parse()?, &removed);
        wait_until("the removal is done with", LIMIT, || async {
            let left = subjects_left(story).await?;
            ensure!(!left.iter().any(|subject| subject.contains(&removed.to_string())), "{left:?}");
            Ok(())
        })
        .await?;
        publish::callback(&nats, &subject, &subscribed(&receiver.url("/late")), 0, None).await?;
        wait_until("it is deleted", LIMIT, || async {
            let left = subjects_left(story).await?;
            ensure!(!left.contains(&subject), "{left:?}");
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_of_a_job_that_runs_for_longer_than_what_became_of_it_is_kept_is_told_once() {
    let setting = setting(&(ECHO.to_owned() + &echo().replace("  echo:", "  other:")))
        .with("QUAYSIDE_GATEWAY__CALLBACKS__KEEP_DONE", "1")
        .with("QUAYSIDE_GATEWAY__CALLBACKS__SWEEP_EVERY", "0.3")
        .with("QUAYSIDE_GATEWAY__CALLBACKS__SWEEP_AFTER", "4");
    tell("callbacks-long-job", setting, async |story| {
        let receiver = Receiver::start(0, Manner::status(200)).await?;
        let subscriber = json!({
            "successUri": receiver.url("/done"), "inProgressUri": receiver.url("/start"),
            "failedUri": receiver.url("/failed"),
        });
        let body = json!({"inputs": {"echoInput": "a", "pause": 60}, "subscriber": subscriber});
        let job = submit(story, "echo", body).await?;
        receiver.wait_for("/start", 1, LIMIT).await?;
        callback(story, &job, "in-progress", "delivered").await?;
        // The sweep tells of a later subscription when what became of the first one would be forgotten, and looks at that first.
        let settings = nats::NatsSettings { url: story.stack.nats.url(), ..nats::NatsSettings::default() };
        let nats = nats::connect(&settings, "story").await?;
        successful(&nats, &subscribed(&receiver.url("/swept")), Order::EventFirst).await?;
        receiver.wait_for("/swept", 1, LIMIT).await?;
        callback(story, &job, "in-progress", "delivered").await?;
        let answer = story.delete_at(0, &job).await?;
        ensure!(answer.status().as_u16() == 200, "{}", answer.status());
        receiver.wait_for("/failed", 1, LIMIT).await?;
        wait_until("nothing is told of it any more", LIMIT, || async {
            let left = subjects_left(story).await?;
            if left.is_empty() { Ok(()) } else { bail!("{left:?}") }
        })
        .await?;
        let told: Vec<String> = receiver.received().into_iter().map(|it| it.target).collect();
        ensure!(told == ["/start", "/swept", "/failed"], "{told:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_too_large_for_a_document_come_by_reference_and_what_became_of_it_is_forgotten_in_time() {
    let setting = setting(&echo())
        .with("QUAYSIDE_GATEWAY__MAX_DOCUMENT", "100")
        .with("QUAYSIDE_GATEWAY__CALLBACKS__KEEP_DONE", "2");
    tell("callbacks-large", setting, async |story| {
        let receiver = Receiver::start(0, Manner::status(200)).await?;
        let text = "x".repeat(300);
        let body = json!({"inputs": {"text": text}, "subscriber": {"successUri": receiver.url("/done")}});
        let job = submit(story, "echo", body).await?;
        let told = receiver.wait_for("/done", 1, LIMIT).await?[0].json()?;
        end_to_end::ogc_schemas::check("results", &told)?;
        let url = told["out"]["href"].as_str().with_context(|| told.to_string())?;
        let value: Value = story.http.get(url).send().await?.json().await?;
        ensure!(value["text"] == text && told["out"]["type"] == "application/json", "{told}");
        story.wait_done(&job).await?;
        wait_until("nothing is told of it any more", LIMIT, || async {
            let (status, left) = (story.status(&job).await?, subjects_left(story).await?);
            ensure!(status.get("callbacks").is_none() && left.is_empty(), "{status} {left:?}");
            Ok(())
        })
        .await?;
        ensure!(receiver.received().len() == 1, "{:?}", receiver.received());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_results_for_a_slow_receiver_do_not_delay_those_for_others() {
    let script = "echo PYGEOAPI_K8S_MANAGER_RESULT_START\nhead -c 300000 /dev/zero | tr '\\0' 'x'";
    let setting = setting(&process_yaml("large", script)).with("QUAYSIDE_GATEWAY__CALLBACKS__TIMEOUT", "100");
    tell("callbacks-large-slow", setting, async |story| {
        let slow = Receiver::start(0, Manner::SaysNothing).await?;
        let live = Receiver::start(0, Manner::status(200)).await?;
        for _ in 0..8 {
            let subscriber = json!({"successUri": slow.url("/slow")});
            let job = submit(story, "large", json!({"subscriber": subscriber})).await?;
            story.wait_done(&job).await?;
        }
        slow.wait_for("/slow", 1, LIMIT).await?;
        // The same machine by another name: places are counted by names.
        let url = live.url("/live").replace("127.0.0.1", "localhost");
        submit(story, "large", json!({"subscriber": {"successUri": url}})).await?;
        live.wait_for("/live", 1, Duration::from_secs(40)).await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_told_to_stop_does_not_wait_for_a_slow_receiver() {
    let mut setting = setting(&echo()).with("QUAYSIDE_GATEWAY__CALLBACKS__TIMEOUT", "100");
    setting.start_services = false;
    tell("callbacks-stop", setting, async |story| {
        for service in Service::ALL {
            story.stack.start_service(service, 0, &[])?;
        }
        story.stack.wait_ready().await?;
        let receiver = Receiver::start(0, Manner::SaysNothing).await?;
        let body = json!({"inputs": {"text": "a"}, "subscriber": {"successUri": receiver.url("/done")}});
        let job = submit(story, "echo", body).await?;
        receiver.wait_for("/done", 1, LIMIT).await?;
        let began = std::time::Instant::now();
        let program = &mut story.stack.service(Service::Gateway, 0)?.program;
        let status = program.stop(Duration::from_secs(60)).await?;
        ensure!(status.success() && began.elapsed() < Duration::from_secs(20), "{status} {:?}", began.elapsed());
        receiver.behave(Manner::status(200));
        story.stack.start_service(Service::Gateway, 0, &[])?;
        story.stack.wait_ready().await?;
        callback(story, &job, "success", "delivered").await?;
        ensure!(ids(&receiver.received()).len() == 1, "{:?}", receiver.received());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_job_calls_nobody_and_leaves_nothing() {
    tell("callbacks-removed", setting(&echo()), async |story| {
        let receiver = Receiver::start(0, Manner::status(503)).await?;
        let body = json!({"inputs": {"text": "a"}, "subscriber": {"successUri": receiver.url("/done")}});
        let job = submit(story, "echo", body).await?;
        callback(story, &job, "success", "failing").await?;
        let answer = story.delete_at(0, &job).await?;
        ensure!(answer.status().as_u16() == 200, "{}", answer.status());
        wait_until("nothing is left", LIMIT, || async {
            let left = subjects_left(story).await?;
            if left.is_empty() { Ok(()) } else { bail!("{left:?}") }
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_is_part_of_the_request_that_an_idempotency_key_stands_for() {
    tell("callbacks-idempotency", setting(&echo()), async |story| {
        let receiver = Receiver::start(0, Manner::status(200)).await?;
        let send = async |target: &str| {
            let body = json!({"inputs": {"text": "a"}, "subscriber": {"successUri": receiver.url(target)}});
            story.post(0, "echo", &[("Prefer", "respond-async"), ("Idempotency-Key", "k")], body.to_string()).await
        };
        let statuses = [send("/a").await?.status(), send("/a").await?.status(), send("/b").await?.status()];
        ensure!(statuses.map(|status| status.as_u16()) == [201, 201, 422], "{statuses:?}");
        receiver.wait_for("/a", 1, LIMIT).await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_calling_back_is_switched_off_a_subscriber_is_refused_and_the_class_is_not_claimed() {
    let setting = setting(&echo()).with("QUAYSIDE_GATEWAY__CALLBACKS__ENABLED", "false");
    tell("callbacks-off", setting, async |story| {
        let body = json!({"inputs": {"text": "a"}, "subscriber": {"successUri": "https://example.org/"}});
        let answer = story.post(0, "echo", &[], body.to_string()).await?;
        ensure!(answer.status().as_u16() == 400 && answer.text().await?.contains("does not call back"));
        let classes = story.get("/conformance").await?.text().await?;
        ensure!(!classes.contains("callback"), "{classes}");
        ensure!(!story.get("/openapi?f=json").await?.text().await?.contains("subscriber"));
        Ok(())
    })
    .await;
}
