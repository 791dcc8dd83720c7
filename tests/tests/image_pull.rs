//! An image that can't be pulled: the fault that the original shows as `running` for ever.

use anyhow::{Context, ensure};
use end_to_end::{
    program::wait_until,
    story::{Backend, LIMIT, Setting, process_yaml, tell},
};
use protocol::job_record::Reason;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_fails_after_the_deadline_and_leaves_nothing() {
    let yaml = process_yaml("absent", "true").replace("bash:5", "127.0.0.1:1/absent:1");
    let setting = Setting::new(Backend::Real)
        .with_processes(&yaml)
        .with("QUAYSIDE_DISPATCHER__START_DEADLINE", "8")
        .with("QUAYSIDE_DISPATCHER__SWEEP_EVERY", "2");
    tell("image-pull", setting, async |story| {
        let job = story.submit("absent", json!({})).await?;
        let status = story.wait_done(&job).await?;
        assert_eq!(status["status"], "failed", "{status}");
        let message = status["message"].as_str().context("no message")?;
        assert!(message.contains("127.0.0.1:1/absent:1"), "{message}");
        let outcome = story.manifest(&job).await?.record.outcome.context("no outcome")?;
        assert_eq!(outcome.reason, Some(Reason::ImagePull));
        wait_until("nothing is left in the cluster", LIMIT, || async {
            ensure!(story.kubernetes_job(&job).await?.is_none(), "the Job is there");
            ensure!(story.kubernetes_pods(&job).await?.is_empty(), "a pod is there");
            Ok(())
        })
        .await
    })
    .await;
}
