//! No more jobs are live than may be; the others wait in their order, and all of them end well.

use std::{collections::HashSet, fs};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    live_jobs::LiveJobs,
    program::wait_until,
    services::Service,
    story::{Backend, LIMIT, Setting, Story, process_yaml, skips, tell},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use protocol::{
    Event, JobId,
    names::subjects::{ALL_EVENTS, STREAM, launching_consumer, parse_event},
};
use serde_json::json;

/// The cap on all jobs, and the processes that share it.
const TOTAL: usize = 12;
const PROCESSES: [&str; 6] = ["one", "two", "a", "b", "c", "d"];
const REPLICAS: usize = 2;
/// By so many the cap may be passed while launches wait for long.
const SLACK: usize = REPLICAS * PROCESSES.len();

fn processes(more: &str) -> String {
    let with = |id: &str| {
        let cap = match id {
            "one" => "      max_live: 1\n",
            "two" => "      max_live: 2\n",
            _ => "",
        };
        process_yaml(id, "sleep 0.3")
            .replace("      check_auth: false\n", &format!("      check_auth: false\n{cap}"))
            .replace("      resources:\n", &format!("{more}      resources:\n"))
    };
    PROCESSES.map(with).concat()
}

async fn submit_to_each(story: &Story, rounds: usize) -> Result<Vec<(&'static str, JobId)>> {
    let submitted = stream::iter(0..rounds)
        .flat_map(|_| stream::iter(PROCESSES))
        .map(|process| async move { Ok::<_, anyhow::Error>((process, story.submit(process, json!({})).await?)) });
    submitted.buffered(8).try_collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_never_has_more_live_jobs_than_two_dispatchers_may_have_together() {
    if skips("caps", Backend::Simulated) {
        return;
    }
    let mut setting = Setting::new(Backend::Simulated)
        .with_processes(&processes("      env: [{name: SIMULATED_DURATION, value: 1s}]\n"))
        .with("QUAYSIDE_DISPATCHER__MAX_LIVE", &TOTAL.to_string());
    setting.replicas = REPLICAS;
    tell("caps", setting, async |story| {
        let (namespace, client) = story.cluster()?;
        let live = LiveJobs::watch(client, namespace.name());
        let jobs = submit_to_each(story, 12).await?;
        for (_, job) in &jobs {
            let status = story.wait_done(job).await?;
            ensure!(status["status"] == "successful", "{status}");
        }
        wait_until("the watch has told of every job", LIMIT, || async {
            ensure!(live.made().len() == jobs.len(), "it has told of {}", live.made().len());
            Ok(())
        })
        .await?;
        for (process, cap) in [("one", 1), ("two", 2)] {
            let most = live.most(|one| one == process);
            ensure!(most == cap, "{most} of {process} were live at one time");
        }
        let all = live.most(|_| true);
        ensure!((TOTAL / 2..=TOTAL + SLACK).contains(&all), "{all} jobs were live at one time");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_jobs_run_than_may_be_live_locally() {
    let mut setting = Setting::new(Backend::Local)
        .with_processes(&processes(""))
        .with("QUAYSIDE_DISPATCHER__MAX_LIVE", &TOTAL.to_string());
    setting.replicas = REPLICAS;
    tell("caps-local", setting, async |story| {
        let jobs = submit_to_each(story, 6).await?;
        let mut spans = Vec::new();
        for (process, job) in &jobs {
            spans.push((*process, span(story, job).await?));
        }
        let most = |wanted: &dyn Fn(&str) -> bool| {
            let chosen: Vec<_> = spans.iter().filter(|(process, _)| wanted(process)).map(|(_, span)| *span).collect();
            let at = |time: Timestamp| chosen.iter().filter(|(start, end)| *start <= time && time < *end).count();
            chosen.iter().map(|(start, _)| at(*start)).max().unwrap_or_default()
        };
        ensure!(most(&|process| process == "one") == 1, "{}", most(&|process| process == "one"));
        ensure!(most(&|process| process == "two") <= 2, "{}", most(&|process| process == "two"));
        let all = most(&|_| true);
        ensure!((2..=TOTAL + SLACK).contains(&all), "{all} jobs ran at one time");
        Ok(())
    })
    .await;
}

/// From when to when a job's container ran.
async fn span(story: &Story, job: &JobId) -> Result<(Timestamp, Timestamp)> {
    let status = story.wait_done(job).await?;
    ensure!(status["status"] == "successful", "{status}");
    let time = |name: &str| status[name].as_str().context("no time")?.parse::<Timestamp>().context("no time");
    Ok((time("started")?, time("finished")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_process_that_wait_are_launched_in_the_order_in_which_they_were_taken() {
    let yaml = process_yaml("one", "true")
        .replace("      check_auth: false\n", "      check_auth: false\n      max_live: 1\n");
    let setting = Setting::new(Backend::Local).with_processes(&yaml);
    tell("caps-order", setting, async |story| {
        let client = async_nats::connect(story.stack.nats.url()).await?;
        let stream = async_nats::jetstream::new(client).get_stream(STREAM).await?;
        let config = async_nats::jetstream::consumer::pull::OrderedConfig {
            filter_subject: ALL_EVENTS.to_owned(),
            ..Default::default()
        };
        let mut messages = stream.create_consumer(config).await?.messages().await?;
        let mut taken = Vec::new();
        for _ in 0..15 {
            taken.push(story.submit("one", json!({})).await?);
        }
        let mut launched = Vec::new();
        while launched.len() < taken.len() {
            let message = tokio::time::timeout(LIMIT, messages.next()).await?.context("the stream ended")??;
            let (_, job, event) = parse_event(&message.subject).context("an unknown subject")?;
            if event == Event::Launching && !launched.contains(&job) {
                launched.push(job);
            }
        }
        ensure!(launched == taken, "launched {launched:?}, taken {taken:?}");
        Ok(())
    })
    .await;
}

/// Restarts of the dispatcher with another cap: the queue that is there already gets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cap_that_was_changed_counts_once_the_dispatcher_is_started_again() {
    let script = "while [ ! -e \"$GATE\" ]; do sleep 0.05; done";
    let yaml = process_yaml("p", script).replace(
        "      resources:\n",
        "      env:\n        - name: GATE\n          value: ${GATE}\n      resources:\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("open");
    let mut setting = Setting::new(Backend::Local).with_processes(&yaml).with("GATE", &gate.display().to_string());
    setting.start_services = false;
    tell("caps-changed", setting, async |story| {
        story.stack.start_service(Service::Gateway, 0, &[])?;
        story.stack.start_service(Service::Finalizer, 0, &[])?;
        dispatch_at_most(story, 1).await?;
        let mut jobs = Vec::new();
        for _ in 0..6 {
            jobs.push(story.submit("p", json!({})).await?);
        }
        let mut running = HashSet::new();
        // Raised, what waits comes at once. Lowered, nothing more comes, and what runs goes on.
        for (cap, expected) in [(1, 1), (3, 3), (2, 3), (4, 4)] {
            dispatch_at_most(story, cap).await?;
            wait_until(&format!("{expected} jobs run with a cap of {cap}"), LIMIT, || async {
                let now = running_jobs(story, &jobs).await?;
                ensure!(now.len() == expected, "{} run", now.len());
                Ok(())
            })
            .await?;
            let (now, pending) = (running_jobs(story, &jobs).await?, pending(story).await?);
            ensure!(now.is_superset(&running), "a job that ran does not run any more");
            ensure!(pending == (i64::try_from(cap)?, expected), "the queue has {pending:?}");
            running = now;
        }
        fs::write(&gate, "")?;
        for job in &jobs {
            let status = story.wait_done(job).await?;
            ensure!(status["status"] == "successful", "{status}");
        }
        Ok(())
    })
    .await;
}

async fn dispatch_at_most(story: &mut Story, cap: usize) -> Result<()> {
    if let Ok(running) = story.stack.service(Service::Dispatcher, 0) {
        running.program.stop(LIMIT).await?;
    }
    let cap = cap.to_string();
    story.stack.start_service(Service::Dispatcher, 0, &[("QUAYSIDE_DISPATCHER__MAX_LIVE_PER_PROCESS", &cap)])?;
    story.stack.wait_ready().await
}

async fn running_jobs(story: &Story, jobs: &[JobId]) -> Result<HashSet<JobId>> {
    let mut running = HashSet::new();
    for job in jobs {
        if story.status(job).await?["status"] == "running" {
            running.insert(*job);
        }
    }
    Ok(running)
}

/// The queue's cap, and how much is in hand.
async fn pending(story: &Story) -> Result<(i64, usize)> {
    let client = async_nats::connect(story.stack.nats.url()).await?;
    let stream = async_nats::jetstream::new(client).get_stream(STREAM).await?;
    let told = stream.consumer_info(launching_consumer(&"p".parse()?)).await?;
    Ok((told.config.max_ack_pending, told.num_ack_pending))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launched_job_whose_pod_has_not_started_is_before_no_job_that_waits() {
    if skips("queue-place-launched", Backend::Simulated) {
        return;
    }
    let yaml = process_yaml("p", "true")
        .replace("      check_auth: false\n", "      check_auth: false\n      max_live: 1\n")
        .replace("      resources:\n", "      node_selector: {no: such}\n      resources:\n");
    tell("queue-place-launched", Setting::new(Backend::Simulated).with_processes(&yaml), async |story| {
        let mut jobs = Vec::new();
        for _ in 0..3 {
            jobs.push(story.submit("p", json!({})).await?);
        }
        wait_until("the first is launched, and the others tell their places", LIMIT, || async {
            let mut places = Vec::new();
            for job in &jobs {
                places.push(story.status(job).await?["jobsAhead"].clone());
            }
            ensure!(story.kubernetes_job(&jobs[0]).await?.is_some(), "it is not");
            ensure!(places == [json!(null), json!(0), json!(1)], "{places:?}");
            Ok(())
        })
        .await?;
        ensure!(story.status(&jobs[0]).await?["status"] == "accepted", "its pod has started");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_tells_about_how_many_are_before_it() {
    let mut setting = Setting::new(Backend::Local).with_processes(&process_yaml("p", "true"));
    setting.start_services = false;
    tell("queue-place", setting, async |story| {
        story.stack.start_service(Service::Gateway, 0, &[])?;
        story.stack.wait_ready().await?;
        let mut jobs = Vec::new();
        for _ in 0..3 {
            jobs.push(story.submit("p", json!({})).await?);
        }
        for (ahead, words) in
            ["about 0 jobs are before", "about 1 job is before", "about 2 jobs are before"].iter().enumerate()
        {
            wait_until("the job tells its place", LIMIT, || async {
                let status = story.status(&jobs[ahead]).await?;
                let message = status["message"].as_str().context("no message")?;
                ensure!(status["jobsAhead"] == ahead && message.contains(words), "{status}");
                Ok(())
            })
            .await?;
        }
        story.stack.start_service(Service::Dispatcher, 0, &[])?;
        story.stack.start_service(Service::Finalizer, 0, &[])?;
        for job in &jobs {
            let status = story.wait_done(job).await?;
            ensure!(status["status"] == "successful" && status.get("jobsAhead").is_none(), "{status}");
        }
        Ok(())
    })
    .await;
}
