//! An image that can't be pulled: the fault that the original shows as `running` for ever.

use anyhow::{Result, ensure};
use end_to_end::{
    program::wait_until,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use protocol::JobId;
use serde_json::json;

use crate::reasons::failed;

fn setting(start_deadline: u32, options: &str) -> Setting {
    let yaml = process_yaml("absent", "true").replace("bash:5", "127.0.0.1:1/absent:1");
    let yaml = yaml.replace("      resources:\n", &format!("{options}      resources:\n"));
    Setting::new(Backend::Real)
        .with_processes(&yaml)
        .with("QUAYSIDE_DISPATCHER__START_DEADLINE", &start_deadline.to_string())
        .with("QUAYSIDE_DISPATCHER__SWEEP_EVERY", "2")
}

async fn leaves_nothing(story: &Story, job: &JobId) -> Result<()> {
    wait_until("nothing is left in the cluster", LIMIT, || async {
        ensure!(story.kubernetes_job(job).await?.is_none(), "the Job is there");
        ensure!(story.kubernetes_pods(job).await?.is_empty(), "a pod is there");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_fails_after_the_deadline_and_leaves_nothing() {
    tell("image-pull", setting(8, ""), async |story| {
        let job = story.submit("absent", json!({})).await?;
        failed(story, &job, "ImagePull", "127.0.0.1:1/absent:1").await?;
        leaves_nothing(story, &job).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_init_container_printed_is_archived_though_the_main_one_never_starts_and_its_time_is_its_own() {
    // It takes longer than a container may take to start.
    let init =
        "      init_containers: [{name: fetch, image: \"bash:5\", command: [sh, -c, \"echo tile 7; sleep 24\"]}]\n";
    tell("image-pull-after-init", setting(20, init), async |story| {
        let job = story.submit("absent", json!({})).await?;
        failed(story, &job, "ImagePull", "127.0.0.1:1/absent:1").await?;
        let manifest = story.manifest(&job).await?;
        ensure!(manifest.gaps.is_empty(), "{:?}", manifest.gaps);
        let archive = story.archive(&job).await?;
        ensure!(archive.contains("Init Container 'fetch'\ntile 7\n"), "{archive}");
        leaves_nothing(story, &job).await
    })
    .await;
}
