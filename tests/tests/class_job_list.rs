//! Class job-list of OGC API - Processes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    story::{Backend, ECHO, LIMIT, Setting, Story, tell},
};
use serde_json::{Value, json};

use crate::ogc::{check_links, definition, get, link, links, parameter, submit, wait_for};

async fn told(name: &str, body: impl AsyncFnOnce(&mut Story) -> Result<()>) {
    tell(name, Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_jobs_is_filtered_by_process_status_type_and_time() {
    told("job-list-filters", async |story| {
        let text = done(story, "text", json!({})).await?;
        let failed = done(story, "failing", json!({})).await?;
        let echo = done(story, "echo", json!({"inputs": {"echoInput": "a"}})).await?;
        let running = submit(story, "echo", &json!({"inputs": {"echoInput": "a", "pause": 60}})).await?;
        wait_for(story, &running, &["running"]).await?;
        // Sync ones are jobs, too.
        crate::ogc::execute(story, "echo-sync", &[], &json!({"inputs": {"echoInput": "a"}})).await?.has_status(200)?;
        let all = listed(story, "").await?;
        ensure!(all.len() == 5 && [&text, &failed, &echo, &running].iter().all(|job| all.contains(*job)), "{all:?}");
        for (query, expected) in [
            ("processID=text", vec![&text]),
            ("processID=text&processID=failing", vec![&text, &failed]),
            ("processID=text,failing", vec![&text, &failed]),
            ("processID=echo", vec![&echo, &running]),
            ("processID=no-such-process", vec![]),
            ("status=failed", vec![&failed]),
            ("status=failed,running", vec![&failed, &running]),
            ("status=failed&status=running", vec![&failed, &running]),
            ("status=dismissed", vec![]),
            ("processID=echo&status=successful", vec![&echo]),
        ] {
            let found = listed(story, query).await?;
            ensure!(found == expected.into_iter().cloned().collect(), "{query}: {found:?}");
        }
        ensure!(listed(story, "type=process").await? == all, "all jobs are of the type process");
        in_time(story, &all).await?;
        for wrong in [
            "status=finished",
            "datetime=yesterday",
            "datetime=2026-01-01",
            "minDuration=x",
            "maxDuration=-1",
            "datetime=2027-01-01T00:00:00Z/2026-01-01T00:00:00Z/",
        ] {
            get(story, &format!("/jobs?{wrong}")).await?.exception(400, "invalid-parameter-value")?;
        }
        Ok(())
    })
    .await;
}

/// `datetime` meets `created`: instants, closed intervals, and those that are open at one end.
async fn in_time(story: &Story, all: &BTreeSet<String>) -> Result<()> {
    let (past, future) = ("2020-01-01T00:00:00Z", "2100-01-01T00:00:00%2B01:00");
    for (interval, fits) in [
        (format!("{past}/{future}"), true),
        (format!("../{future}"), true),
        (format!("/{future}"), true),
        (format!("{past}/.."), true),
        (format!("{past}/"), true),
        (format!("../{past}"), false),
        (format!("{future}/.."), false),
        (past.to_owned(), false),
    ] {
        let found = listed(story, &format!("datetime={interval}")).await?;
        ensure!(found == if fits { all.clone() } else { BTreeSet::new() }, "{interval}: {found:?}");
    }
    let one = all.iter().next().context("no job")?;
    let created = get(story, one).await?.document("statusInfo")?["created"].as_str().context("not created")?.to_owned();
    ensure!(listed(story, &format!("datetime={created}")).await?.contains(one), "{created}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_jobs_is_filtered_by_how_long_they_took() {
    told("job-list-duration", async |story| {
        let quick = done(story, "text", json!({})).await?;
        let slow = done(story, "echo", json!({"inputs": {"echoInput": "a", "pause": 4}})).await?;
        let running = submit(story, "echo", &json!({"inputs": {"echoInput": "a", "pause": 60}})).await?;
        // What runs counts from its start until now.
        wait_until("the running job has run for two seconds", LIMIT, || async {
            ensure!(listed(story, "minDuration=2").await?.contains(&running), "not yet");
            Ok(())
        })
        .await?;
        ensure!(listed(story, "minDuration=2&status=successful").await? == set(&[&slow]), "at least");
        ensure!(listed(story, "maxDuration=3&status=successful").await? == set(&[&quick]), "at most");
        ensure!(listed(story, "minDuration=2&maxDuration=50").await? == set(&[&slow, &running]), "both");
        ensure!(listed(story, "minDuration=1000").await?.is_empty(), "longer than any");
        let status = get(story, &slow).await?.document("statusInfo")?;
        let at = |member: &str| status[member].as_str().unwrap_or_default().parse::<jiff::Timestamp>();
        ensure!(at("finished")?.duration_since(at("started")?).as_secs() >= 4, "{status}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_jobs_is_limited_linked_and_defined() {
    told("job-list-limit", async |story| {
        let mut jobs = BTreeSet::new();
        for _ in 0..3 {
            jobs.insert(done(story, "text", json!({})).await?);
        }
        let mut paged = BTreeSet::new();
        let mut next = Some("/jobs?limit=2&processID=text".to_owned());
        while let Some(url) = next {
            let page = get(story, &url).await?.document("jobList")?;
            check_links(story, &page).await?;
            link(&page, "self")?;
            let shown = of_list(story, &page)?;
            ensure!((1..=2).contains(&shown.len()) && shown.is_disjoint(&paged), "{shown:?}");
            paged.extend(shown);
            next = links(&page, "next").first().and_then(|link| link["href"].as_str()).map(str::to_owned);
        }
        ensure!(paged == jobs, "{paged:?}");
        ensure!(listed(story, "limit=10000").await?.len() == 3, "a high limit is taken down");
        for wrong in ["0", "-1", "x"] {
            get(story, &format!("/jobs?limit={wrong}")).await?.exception(400, "invalid-parameter-value")?;
        }
        let definition = definition(story).await?;
        for (name, kind) in [
            ("type", "array"),
            ("processID", "array"),
            ("status", "array"),
            ("datetime", "string"),
            ("limit", "integer"),
        ] {
            let parameter = parameter(&definition, "/jobs", name)?;
            ensure!(parameter["in"] == "query" && parameter["required"] != true, "{parameter}");
            ensure!(parameter["schema"]["type"] == kind, "{parameter}");
        }
        for name in ["minDuration", "maxDuration"] {
            let schema = parameter(&definition, "/jobs", name)?["schema"].clone();
            let kind = if schema["type"] == "array" { &schema["items"]["type"] } else { &schema["type"] };
            ensure!(kind == "integer", "{name}: {schema}");
        }
        Ok(())
    })
    .await;
}

/// Executes and waits for the end; where the job is.
async fn done(story: &Story, process: &str, body: Value) -> Result<String> {
    let location = submit(story, process, &body).await?;
    wait_for(story, &location, &["successful", "failed"]).await?;
    Ok(location)
}

/// Where the jobs are that a list shows.
async fn listed(story: &Story, query: &str) -> Result<BTreeSet<String>> {
    let url = if query.is_empty() { "/jobs".to_owned() } else { format!("/jobs?{query}") };
    of_list(story, &get(story, &url).await?.document("jobList")?)
}

fn of_list(story: &Story, list: &Value) -> Result<BTreeSet<String>> {
    let jobs = list["jobs"].as_array().context("no jobs")?;
    let ids = jobs.iter().map(|job| job["jobID"].as_str().context("no jobID"));
    ids.map(|id| Ok(format!("{}/jobs/{}", story.stack.url(0), id?))).collect()
}

fn set(jobs: &[&String]) -> BTreeSet<String> {
    jobs.iter().map(|job| (*job).clone()).collect()
}
