//! An API server that has too much to do is asked for less, until it can do more again; no job fails of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    api_proxy::{ApiProxy, Refusal},
    program::wait_until,
    services::Service,
    story::{Backend, LIMIT, Setting, Story, process_yaml, skips, tell},
};
use protocol::{
    JobId,
    names::{environment::JOB_NAME_PREFIX_DEFAULT, kubernetes::job_name},
};
use serde_json::json;

const JOBS: usize = 21;
/// What the server asks for; the limit begins at 8.
const RETRY_AFTER: Duration = Duration::from_secs(2);
const FIRST: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_refuses_is_asked_less_and_no_job_fails() {
    if skips("pressure", Backend::Simulated) {
        return;
    }
    let mut setting = Setting::new(Backend::Simulated).with_processes(&process_yaml("p", "true"));
    setting.start_services = false;
    tell("pressure", setting, async |story| {
        let proxy = ApiProxy::start(&story.stack.folder().join("job-dispatcher.kubeconfig")).await?;
        proxy.refuse(Some(Refusal::TooManyRequests { retry_after: RETRY_AFTER.as_secs() }));
        let kubeconfig = proxy.kubeconfig().display().to_string();
        story.stack.start_service(Service::Dispatcher, 0, &[("KUBECONFIG", &kubeconfig)])?;
        story.stack.start_service(Service::Gateway, 0, &[])?;
        story.stack.start_service(Service::Finalizer, 0, &[])?;
        story.stack.wait_ready().await?;
        ensure!(metric(story, "create_limit").await? == FIRST, "the limit is another one at first");

        let mut jobs = Vec::new();
        for _ in 0..JOBS {
            jobs.push(story.submit("p", json!({})).await?);
        }
        let probe = story.stack.service(Service::Dispatcher, 0)?.probe;
        wait_until("the limit falls", LIMIT, || async {
            let limit = metric_at(probe, "create_limit").await?;
            ensure!(limit == 1, "it is {limit}");
            Ok(())
        })
        .await?;
        for job in &jobs {
            let status = story.status(job).await?;
            ensure!(status["status"] == "accepted", "{status}");
        }
        // One that waits to be created can be dismissed, and never is.
        let dismissed = jobs.pop().context("no job")?;
        ensure!(story.delete_at(0, &dismissed).await?.status().is_success(), "not dismissed");
        proxy.refuse(None);
        for job in &jobs {
            let status = story.wait_done(job).await?;
            ensure!(status["status"] == "successful", "{status}");
        }
        ensure!(story.kubernetes_job(&dismissed).await?.is_none(), "the dismissed job was created");
        held_back(&proxy, metric(story, "creates_slowed_total").await?)?;
        in_order(&proxy, &jobs)?;
        let limit = metric(story, "create_limit").await?;
        ensure!((3..FIRST).contains(&limit), "the limit is {limit} after {JOBS} jobs");
        fails(story, &proxy).await?;
        refuses_one(story, &proxy).await
    })
    .await;
}

/// A server that fails, and says nothing of when to come again, is left alone for a second, then for two.
async fn fails(story: &mut Story, proxy: &ApiProxy) -> Result<()> {
    let before = proxy.creates().len();
    proxy.refuse(Some(Refusal::Unavailable));
    let job = story.submit("p", json!({})).await?;
    wait_until("it is asked three times", LIMIT, || async {
        ensure!(proxy.creates().len() >= before + 3, "it is not");
        Ok(())
    })
    .await?;
    proxy.refuse(None);
    let status = story.wait_done(&job).await?;
    ensure!(status["status"] == "successful", "{status}");
    let asked: Vec<_> = proxy.creates()[before..].iter().map(|create| create.at).collect();
    for (pair, pause) in asked.windows(2).zip([1, 2]) {
        ensure!(pair[1] - pair[0] >= Duration::from_secs(pause), "asked again after {:?}", pair[1] - pair[0]);
    }
    Ok(())
}

/// One job at which the server always fails keeps those behind it waiting for some seconds, not for ever.
async fn refuses_one(story: &mut Story, proxy: &ApiProxy) -> Result<()> {
    proxy.refuse_one(Refusal::Unavailable);
    let refused = story.submit("p", json!({})).await?;
    wait_until("it is refused", LIMIT, || async {
        ensure!(proxy.creates().last().is_some_and(|create| create.refused), "it is not");
        Ok(())
    })
    .await?;
    for _ in 0..3 {
        let job = story.submit("p", json!({})).await?;
        let status = story.wait_done(&job).await?;
        ensure!(status["status"] == "successful", "{status}");
    }
    let status = story.status(&refused).await?;
    ensure!(status["status"] == "accepted", "{status}");
    proxy.refuse(None);
    let status = story.wait_done(&refused).await?;
    ensure!(status["status"] == "successful", "{status}");
    Ok(())
}

/// At first as many as the limit allows are refused, then one at a time, each after the time that the server asked for.
fn held_back(proxy: &ApiProxy, counted: usize) -> Result<()> {
    let creates = proxy.creates();
    let refused: Vec<_> = creates.iter().filter(|create| create.refused).collect();
    ensure!(refused.len() == counted, "{counted} of {} refusals are counted", refused.len());
    // Halved from 8 to 1 takes three rounds; one or two more may have gone before the test saw it.
    ensure!((3..=FIRST + 4).contains(&refused.len()), "{} creates were refused", refused.len());
    ensure!(proxy.most_under_way() <= FIRST, "{} were under way at one time", proxy.most_under_way());
    let first = refused.first().context("none was refused")?.at;
    let together = refused.iter().take_while(|create| create.at - first < RETRY_AFTER).count();
    ensure!(together <= FIRST, "{together} before the server asked for more");
    for pair in creates[together - 1..=refused.len()].windows(2) {
        let pause = pair[1].at - pair[0].at;
        ensure!(pause >= RETRY_AFTER, "asked again after {pause:?}");
    }
    Ok(())
}

/// Each is created once, and those that waited in the order in which they were committed.
fn in_order(proxy: &ApiProxy, jobs: &[JobId]) -> Result<()> {
    let created: Vec<String> =
        proxy.creates().into_iter().filter(|create| !create.refused).map(|create| create.name).collect();
    let expected: Vec<String> = jobs.iter().map(|job| job_name(JOB_NAME_PREFIX_DEFAULT, job)).collect();
    let mut sorted = created.clone();
    sorted.sort();
    let mut all = expected.clone();
    all.sort();
    ensure!(sorted == all, "created {created:?}, expected {expected:?}");
    // The first one was alone; of those after it a few are under way at one time.
    let place = |name: &String| expected.iter().position(|one| one == name).unwrap_or_default();
    for (at, name) in created.iter().enumerate() {
        ensure!(place(name).abs_diff(at) < FIRST, "{name} is the {at}. that was created: {created:?} {expected:?}");
    }
    // After a refusal another one is tried, as it may be refused for what it is.
    ensure!(place(&created[0]) < 2, "none of the first two was the first: {created:?}");
    Ok(())
}

async fn metric(story: &mut Story, name: &str) -> Result<usize> {
    let probe = story.stack.service(Service::Dispatcher, 0)?.probe;
    metric_at(probe, name).await
}

async fn metric_at(probe: u16, name: &str) -> Result<usize> {
    let text = reqwest::get(format!("http://127.0.0.1:{probe}/metrics")).await?.text().await?;
    let line = format!("quayside_dispatcher_{name} ");
    let value = text.lines().find_map(|found| found.strip_prefix(&line));
    Ok(value.with_context(|| format!("no {name}"))?.parse()?)
}
