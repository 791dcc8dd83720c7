//! No more jobs are live than may be; the others wait, and all of them end well.

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    services::Service,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use protocol::JobId;
use serde_json::json;

on_each!(capped: Local as no_more_jobs_are_live_than_may_be_locally,
    Simulated as no_more_jobs_are_live_than_may_be_on_the_simulated_node);

/// The cap on all jobs, and the processes that share it: each may pass it by one fetch, of one job where so little is left.
const TOTAL: usize = 6;
const PROCESSES: usize = 3;

async fn capped(backend: Backend) {
    let jobs = if backend == Backend::Local { 12 } else { 20 };
    let pause = |id: &str, options: &str| {
        let yaml = process_yaml(id, "sleep 0.3")
            .replace("      check_auth: false\n", &format!("      check_auth: false\n{options}"));
        yaml.replace(
            "      resources:\n",
            "      env:\n        - {name: SIMULATED_DURATION, value: \"1s\"}\n      resources:\n",
        )
    };
    let yaml = pause("one", "      max_live: 1\n") + &pause("two", "      max_live: 2\n") + &pause("many", "");
    let setting = Setting::new(backend).with_processes(&yaml).with("QUAYSIDE_DISPATCHER__MAX_LIVE", &TOTAL.to_string());
    tell(&format!("caps-{backend:?}"), setting, async |story| {
        let story = &*story;
        let processes = ["one", "two", "many"];
        let submitted = stream::iter(0..jobs)
            .flat_map(|_| stream::iter(processes))
            .map(|process| async move { Ok::<_, anyhow::Error>((process, story.submit(process, json!({})).await?)) });
        let submitted: Vec<(&str, JobId)> = submitted.buffered(8).try_collect().await?;
        let mut spans = Vec::new();
        for (process, job) in &submitted {
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
        ensure!((2..=TOTAL + PROCESSES).contains(&all), "{all} jobs ran at one time");
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
