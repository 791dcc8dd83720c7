//! The API server dies while jobs run, and comes back: nothing is lost, and nothing runs twice.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    cluster::{NodeKind, OwnCluster},
    program::wait_until,
    services::Service,
    story::{Backend, LIMIT, Setting, Story, process_yaml, skips, tell},
};
use jiff::Timestamp;
use protocol::JobId;
use serde_json::json;

const NAME: &str = "apiserver-restarted";
const JOBS: usize = 10;
const REPLICAS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_run_while_the_api_server_is_started_again_all_end_and_none_is_launched_twice() -> Result<()> {
    if skips(NAME, Backend::Simulated) {
        return Ok(());
    }
    let mut own = OwnCluster::start(NAME, vec![NodeKind::Simulated]).await?;
    let lasting = |id: &str, variables: &str| {
        process_yaml(id, "true").replace("      resources:\n", &format!("      env: [{variables}]\n      resources:\n"))
    };
    let processes = lasting("good", "{name: SIMULATED_DURATION, value: 20s}")
        + &lasting("bad", "{name: SIMULATED_DURATION, value: 20s}, {name: SIMULATED_EXIT_CODE, value: \"3\"}");
    let mut setting = Setting::new(Backend::Simulated).with_processes(&processes).on(&own);
    setting.replicas = REPLICAS;
    tell(NAME, setting, async |story| {
        let mut expected = BTreeMap::new();
        for number in 0..JOBS {
            let (process, status) = if number % 5 == 4 { ("bad", "failed") } else { ("good", "successful") };
            expected.insert(story.submit_at(number % REPLICAS, process, json!({})).await?, status);
        }
        let launched: Vec<JobId> = expected.keys().copied().collect();
        for job in &launched {
            story.wait_for(job, &["running"]).await?;
        }
        own.cluster.kill("kube-apiserver").await?;
        // One more comes while nothing can be launched.
        expected.insert(story.submit("good", json!({})).await?, "successful");
        for replica in 0..REPLICAS {
            let log = story.stack.logs().join(format!("{}-{replica}.log", Service::Dispatcher.name()));
            wait_until("the dispatchers' watches are broken", LIMIT, || async {
                let log = fs::read_to_string(&log)?;
                ensure!(log.contains("the watch of Jobs broke") && log.contains("the watch of pods broke"), "not yet");
                Ok(())
            })
            .await?;
        }
        let back = Timestamp::now();
        own.cluster.start_again("kube-apiserver")?;
        for (job, status) in &expected {
            ended_once(story, job, status).await?;
        }
        for job in &launched {
            let record = story.manifest(job).await?.record;
            ensure!(record.attempt == 1, "{job} was launched {} times", record.attempt);
            ensure!(
                record.finished.is_some_and(|end| end > back),
                "{job} had ended before: {:?} {back}",
                record.finished
            );
        }
        Ok(())
    })
    .await;
    own.stop().await
}

/// The job ended as it would have, after one launch, one Job and one pod.
async fn ended_once(story: &Story, job: &JobId, expected: &str) -> Result<()> {
    let status = story.wait_done(job).await?;
    ensure!(status["status"] == expected, "{status}");
    let record = story.manifest(job).await?.record;
    let workload = record.workload.context("no workload")?;
    let uid = story.kubernetes_job(job).await?.context("no Job")?.metadata.uid;
    ensure!(workload.job_uid == uid, "the record names {:?}, there is {uid:?}", workload.job_uid);
    let pods = story.kubernetes_pods(job).await?;
    let owners: Vec<_> = pods.iter().flat_map(|pod| pod.metadata.owner_references.iter().flatten()).collect();
    ensure!(owners.len() == 1 && Some(&owners[0].uid) == uid.as_ref(), "{owners:?}");
    Ok(())
}
