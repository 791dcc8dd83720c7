//! Many more jobs than may be live, through two replicas of everything: the API server itself never has more.

use anyhow::{Context, Result, ensure};
use end_to_end::{
    cluster::{NodeKind, OwnCluster},
    live_jobs::LiveJobs,
    stack::StoreChoice,
    story::{Backend, Setting, Story, process_yaml, skips, tell},
};
use futures::{StreamExt, TryStreamExt, stream};
use protocol::{JobId, names::subjects::parse_event};
use serde_json::json;

const NAME: &str = "many";
const JOBS: usize = 2000;
const CAP: usize = 200;

/// Its jobs run for so long that the cap is reached.
fn process(id: &str) -> String {
    let duration = "      env: [{name: SIMULATED_DURATION, value: 25s}]\n";
    process_yaml(id, "true").replace("      resources:\n", &format!("{duration}      resources:\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_jobs_run_once_each_and_never_more_than_two_hundred_at_one_time() -> Result<()> {
    if skips(NAME, Backend::Simulated) {
        return Ok(());
    }
    // Thousands of events wait in its controllers: those that tell other stories why there is no pod would wait behind them.
    let own = OwnCluster::start(NAME, vec![NodeKind::Simulated]).await?;
    let mut setting = Setting::new(Backend::Simulated)
        .with_processes(&process("p"))
        .with("QUAYSIDE_DISPATCHER__MAX_LIVE_PER_PROCESS", &JOBS.to_string())
        .with("QUAYSIDE_DISPATCHER__MAX_LIVE", &CAP.to_string())
        // kwok takes one of the system's few inotify instances for each log that is followed.
        .with("QUAYSIDE_FINALIZER__MAX_FOLLOWED", "0")
        .on(&own);
    setting.replicas = 2;
    // What becomes of their logs is others' story.
    setting.store = StoreChoice::Absent;
    tell(NAME, setting, async |story| {
        let (namespace, client) = story.cluster()?;
        let live = LiveJobs::watch(client, namespace.name());
        let shared: &Story = story;
        let submitted = stream::iter(0..JOBS).map(|number| shared.submit_at(number % 2, "p", json!({})));
        let jobs: Vec<JobId> = submitted.buffered(16).try_collect().await?;
        for job in &jobs {
            // Each is done in its turn: the last one waits for all others.
            let status = story.wait_done(job).await?;
            ensure!(status["status"] == "successful", "{status}");
        }
        once_each(story, &live, &jobs).await?;
        let most = live.most(|_| true);
        ensure!((CAP / 2..=CAP).contains(&most), "{most} were live at one time, {CAP} may be");
        Ok(())
    })
    .await;
    own.stop().await
}

/// One Job for each job, from its first launch.
async fn once_each(story: &Story, live: &LiveJobs, jobs: &[JobId]) -> Result<()> {
    live.one_each(jobs).await?;
    let events = story.messages().await?.into_iter().filter(|(subject, _)| parse_event(subject).is_some());
    for (subject, event) in events {
        let attempt = event["data"]["attempt"].as_u64().context("a record without attempts")?;
        ensure!(attempt <= 1, "{subject} tells of {attempt} attempts");
    }
    Ok(())
}
