//! The list of jobs: filters and pages, at any replica; and a job that everybody knows as soon as its client does.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use futures::future::try_join_all;
use protocol::JobId;
use reqwest::StatusCode;
use serde_json::{Value, json};

const SUBMISSIONS: usize = 200;

async fn page(story: &Story, replica: usize, query: &str) -> Result<Value> {
    let answer = story.list_at(replica, query).await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status == StatusCode::OK, "{query}: {status} {text}");
    Ok(serde_json::from_str(&text)?)
}

fn ids(page: &Value) -> Result<Vec<String>> {
    let jobs = page["jobs"].as_array().context("no jobs")?;
    jobs.iter().map(|job| Ok(job["jobID"].as_str().context("no jobID")?.to_owned())).collect()
}

/// Where a link leads to, as a path of any replica.
fn link(page: &Value, rel: &str) -> Option<String> {
    let found = page["links"].as_array()?.iter().find(|link| link["rel"] == rel)?;
    Some(format!("/jobs{}", found["href"].as_str()?.split_once("/jobs")?.1))
}

#[tokio::test(flavor = "multi_thread")]
async fn links_alone_lead_through_all_jobs_and_filters_find_theirs() {
    let two = format!("{}{}", process_yaml("quick", "true"), process_yaml("slow", "sleep 2"));
    let mut setting = Setting::new(Backend::Local).with_processes(&two);
    setting.replicas = 2;
    tell("lists", setting, async |story| {
        let shared: &Story = story;
        let mut jobs: Vec<JobId> =
            try_join_all((0..12).map(|number| shared.submit_at(number % 2, "quick", json!({})))).await?;
        jobs.push(story.submit("slow", json!({})).await?);
        for job in &jobs {
            story.wait_done(job).await?;
        }
        let all: HashSet<String> = jobs.iter().map(JobId::to_string).collect();
        wait_until("the other replica lists all of them as done", LIMIT, || async {
            let found: HashSet<String> =
                ids(&page(story, 1, "?limit=100&status=successful").await?)?.into_iter().collect();
            ensure!(found == all, "{found:?}");
            Ok(())
        })
        .await?;

        let (mut seen, mut next, mut last) = (Vec::new(), Some("/jobs?limit=5".to_owned()), Value::Null);
        let mut replica = 0;
        while let Some(path) = next {
            last = page(story, replica, path.strip_prefix("/jobs").unwrap_or_default()).await?;
            ensure!(link(&last, "self").as_deref() == Some(path.as_str()), "{last}");
            seen.extend(ids(&last)?);
            next = link(&last, "next");
            // A cursor is good at every replica.
            replica = 1 - replica;
        }
        ensure!(seen.len() == all.len() && seen.iter().cloned().collect::<HashSet<_>>() == all, "{seen:?}");
        ensure!(seen.is_sorted_by(|newer, older| newer > older), "the newest first: {seen:?}");
        let before = link(&last, "prev").context("no way back")?;
        let before = page(story, 0, before.strip_prefix("/jobs").unwrap_or_default()).await?;
        ensure!(ids(&before)? == seen[5..10], "{before}");
        ensure!(ids(&page(story, 0, "?limit=5&offset=5").await?)? == seen[5..10], "an offset counts the same");

        let slow = jobs[12].to_string();
        ensure!(ids(&page(story, 1, "?processID=slow").await?)? == std::slice::from_ref(&slow));
        ensure!(ids(&page(story, 1, "?minDuration=1&type=process").await?)? == std::slice::from_ref(&slow));
        ensure!(ids(&page(story, 1, "?maxDuration=1&limit=100").await?)?.len() == 12);
        ensure!(ids(&page(story, 1, "?status=failed,dismissed").await?)?.is_empty());
        let created = story.status(&jobs[12]).await?["created"].as_str().context("no created")?.to_owned();
        ensure!(ids(&page(story, 1, &format!("?datetime={created}")).await?)?.contains(&slow), "{created}");
        ensure!(
            ids(&page(story, 1, &format!("?datetime={created}/..&processID=slow")).await?)?
                == std::slice::from_ref(&slow)
        );
        ensure!(ids(&page(story, 1, "?datetime=../2001-01-01T00:00:00Z").await?)?.is_empty());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn right_after_201_the_other_replica_knows_each_of_two_hundred_jobs() {
    let mut setting = Setting::new(Backend::Local)
        .with_processes(&process_yaml("sleeps", "sleep 600"))
        .with("QUAYSIDE_DISPATCHER__MAX_LIVE_PER_PROCESS", "2");
    setting.replicas = 2;
    tell("two-hundred", setting, async |story| {
        let shared: &Story = story;
        let submit = async |number: usize| -> Result<JobId> {
            let job = shared.submit_at(number % 2, "sleeps", json!({})).await?;
            let answer = shared.get_at((number + 1) % 2, &format!("/jobs/{job}")).await?;
            ensure!(answer.status() == StatusCode::OK, "{} right after 201, at the other replica", answer.status());
            Ok(job)
        };
        let jobs = try_join_all((0..SUBMISSIONS).map(submit)).await?;
        ensure!(jobs.iter().collect::<HashSet<_>>().len() == SUBMISSIONS, "ids are not given twice");
        Ok(())
    })
    .await;
}
