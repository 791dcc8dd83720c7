//! A queue of Kueue: jobs wait in it for as long as it takes, and say so. The test does what Kueue would: it lets a Job go.

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use protocol::JobId;
use serde_json::json;

fn setting() -> Setting {
    let yaml = process_yaml("queued", "true").replace(
        "      resources:\n",
        "      queue_name: a-queue\n      env: [{name: SIMULATED_DURATION, value: 6s}]\n      resources:\n",
    );
    Setting::new(Backend::Simulated)
        .with_processes(&yaml)
        .with("QUAYSIDE_DISPATCHER__START_DEADLINE", "4")
        .with("QUAYSIDE_DISPATCHER__SWEEP_EVERY", "1")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_in_its_queue_without_a_deadline_until_the_queue_lets_it_go_and_may_go_back_into_it() {
    tell("queue", setting(), async |story| {
        let job = story.submit("queued", json!({})).await?;
        waits(story, &job, "accepted").await?;
        let there = story.kubernetes_job(&job).await?.context("no Job")?;
        assert_eq!(there.metadata.labels.context("no labels")?["kueue.x-k8s.io/queue-name"], "a-queue");
        // Far beyond the deadline for its start.
        let submitted = std::time::Instant::now();
        wait_until("the deadline for its start has long passed", LIMIT, || async {
            ensure!(submitted.elapsed().as_secs() > 9, "not yet");
            Ok(())
        })
        .await?;
        waits(story, &job, "accepted").await?;
        suspend(story, &job, false).await?;
        story.wait_for(&job, &["running"]).await?;
        let first = story.kubernetes_pods(&job).await?;
        suspend(story, &job, true).await?;
        waits(story, &job, "running").await?;
        suspend(story, &job, false).await?;
        let status = story.wait_done(&job).await?;
        assert_eq!(status["status"], "successful", "{status}");
        let record = story.manifest(&job).await?.record;
        let pod = record.workload.and_then(|workload| workload.pod_name).context("no pod")?;
        assert_ne!(first[0].metadata.name.as_deref(), Some(pod.as_str()), "the pod that ended it is the second one");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_in_its_queue_can_be_dismissed() {
    tell("queue-dismissed", setting(), async |story| {
        let job = story.submit("queued", json!({})).await?;
        waits(story, &job, "accepted").await?;
        ensure!(story.delete_at(0, &job).await?.status().is_success(), "not dismissed");
        wait_until("its Job is gone", LIMIT, || async {
            ensure!(story.kubernetes_job(&job).await?.is_none(), "the Job is there");
            Ok(())
        })
        .await
    })
    .await;
}

async fn waits(story: &Story, job: &JobId, expected: &str) -> Result<()> {
    wait_until("it says that it waits", LIMIT, || async {
        let status = story.status(job).await?;
        let message = status["message"].as_str().unwrap_or_default();
        ensure!(message.contains("waits in the queue 'a-queue'") && status["status"] == expected, "{status}");
        Ok(())
    })
    .await
}

async fn suspend(story: &Story, job: &JobId, suspend: bool) -> Result<()> {
    let (namespace, client) = story.cluster()?;
    let name = story.kubernetes_job(job).await?.context("no Job")?.metadata.name.context("no name")?;
    let patch = Patch::Merge(json!({ "spec": { "suspend": suspend } }));
    Api::<Job>::namespaced(client.clone(), namespace.name()).patch(&name, &PatchParams::default(), &patch).await?;
    Ok(())
}
