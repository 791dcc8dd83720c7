//! Ten thousand bodies that were right once: whatever is broken in them, each is answered, and none is accepted that
//! violates what its process asks for. That is told by rules written down here, not by the gateway's own.

mod bodies;
mod rules;

use std::{collections::BTreeMap, net::Ipv4Addr};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    services::Service,
    stack::StoreChoice,
    story::{Backend, Setting, Story, tell},
};
use futures::{StreamExt, TryStreamExt, stream};
use platform::{
    nats::{self, NatsSettings},
    publish,
};
use protocol::{JobRecord, callback::Subscription, names::subjects::subscription};
use serde_json::Value;

const BODIES: usize = 10_000;
const AT_ONCE: usize = 32;
/// Another one is taken from this variable; a failure names the one that it came of.
const SEED_VARIABLE: &str = "QUAYSIDE_TEST_SEED";
const SEED: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn mutated_bodies_are_all_answered_and_none_is_accepted_that_violates_its_schema() {
    let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let mut setting = Setting::new(Backend::Local).with_processes(&bodies::processes());
    setting.start_services = false;
    setting.store = StoreChoice::Absent;
    tell("mutated-bodies", setting.with("QUAYSIDE_TELEMETRY__FILTER", "warn"), async |story| {
        story.stack.start_service(Service::Gateway, 0, &[])?;
        story.stack.wait_ready().await?;
        let asked = bodies::generate(seed, BODIES);
        let (http, url) = (&story.http, story.stack.url(0));
        let answers = stream::iter(asked).map(|asked| {
            let request = http
                .post(format!("{url}/processes/{}/execution", asked.process))
                .header("content-type", "application/json")
                .header("prefer", "respond-async")
                .body(asked.body.clone());
            async move {
                let shown = String::from_utf8_lossy(&asked.body).into_owned();
                let answer = request.send().await.with_context(|| format!("seed {seed}: no answer to {shown}"))?;
                let status = answer.status().as_u16();
                let text = answer.text().await?;
                ensure!(matches!(status, 201 | 400 | 413), "seed {seed}: {status} {text} to {shown}");
                let document: Value = serde_json::from_str(&text)?;
                ensure!(status == 201 || document["detail"].is_string(), "seed {seed}: {text} to {shown}");
                Ok::<u16, anyhow::Error>(status)
            }
        });
        let answers: Vec<u16> = answers.buffer_unordered(AT_ONCE).try_collect().await?;
        let mut counted: BTreeMap<u16, usize> = BTreeMap::new();
        for status in &answers {
            *counted.entry(*status).or_default() += 1;
        }
        println!("seed {seed}: answers by status: {counted:?}");
        let accepted = counted.get(&201).copied().unwrap_or_default();
        ensure!(
            accepted > BODIES / 20 && accepted < BODIES * 3 / 4,
            "seed {seed}: the bodies are too alike: {counted:?}"
        );
        let requests: Vec<(String, Value)> =
            story.messages().await?.into_iter().filter(|(subject, _)| subject.starts_with("executions.")).collect();
        ensure!(requests.len() == accepted, "seed {seed}: {} requests of {accepted} accepted", requests.len());
        for (subject, request) in &requests {
            let process = subject.split('.').nth(1).unwrap_or_default();
            let inputs = &request["inputs"]["inline"];
            if let Err(why) = rules::check(process, inputs) {
                anyhow::bail!("seed {seed}: accepted by {process}: {inputs}: {why}");
            }
        }
        let told = subscribers(story, &requests).await?;
        ensure!(told > 0, "seed {seed}: nobody subscribed");
        let log = std::fs::read_to_string(story.stack.logs().join("api-gateway-0.log"))?;
        ensure!(!log.contains("panicked") && !log.contains("a request failed"), "seed {seed}: {log}");
        Ok(())
    })
    .await;
}

/// How many of the accepted have subscribers, all of which may be called.
async fn subscribers(story: &Story, requests: &[(String, Value)]) -> Result<usize> {
    let settings = NatsSettings { url: story.stack.nats.url(), ..NatsSettings::default() };
    let nats = nats::connect(&settings, "story").await?;
    let mut count = 0;
    for (_, request) in requests.iter().filter(|(_, request)| request["record"].get("callbacks").is_some()) {
        let record: JobRecord = serde_json::from_value(request["record"].clone())?;
        let subject = subscription(&record.process_id, &record.job_id);
        let (told, _) = publish::last_callback::<Subscription>(&nats, &subject).await?.context("no subscription")?;
        ensure!(told.kinds() == record.callbacks, "{:?} of {:?}", record.callbacks, told.kinds());
        for kind in told.kinds() {
            let url = reqwest::Url::parse(told.uri(kind).context("nobody")?.reveal())?;
            let is_inner = match url.host_str().map(str::parse::<Ipv4Addr>) {
                Some(Ok(address)) => address.is_loopback() || address.is_private() || address.is_link_local(),
                Some(Err(_)) => false,
                None => true,
            };
            let is_right = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
            ensure!(is_right && !is_inner, "{url} was accepted");
        }
        count += 1;
    }
    Ok(count)
}

#[test]
fn the_rules_take_what_is_right_and_refuse_what_is_not() -> Result<()> {
    for asked in bodies::right() {
        let inputs = &asked.1["inputs"];
        rules::check(asked.0, inputs).map_err(anyhow::Error::msg).with_context(|| inputs.to_string())?;
    }
    for asked in bodies::wrong() {
        ensure!(rules::check(asked.0, &asked.1["inputs"]).is_err(), "{}", asked.1);
    }
    Ok(())
}
