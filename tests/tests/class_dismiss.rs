//! Class dismiss of OGC API - Processes. What happens inside of Quayside is told by other stories.

use anyhow::ensure;
use end_to_end::story::{Backend, ECHO, Setting, tell};
use serde_json::json;

use crate::ogc::{delete, get, submit, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn delete_dismisses_what_runs_and_removes_what_is_done() {
    tell("class-dismiss", Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), async |story| {
        let running = submit(story, "echo", &json!({"inputs": {"echoInput": "a", "pause": 60}})).await?;
        wait_for(story, &running, &["running"]).await?;
        let answer = delete(story, &running).await?.document("statusInfo")?;
        ensure!(answer["status"] == "dismissed", "{answer}");
        ensure!(running.ends_with(answer["jobID"].as_str().unwrap_or("?")), "{answer}");
        let after = get(story, &running).await?.document("statusInfo")?;
        ensure!(after["status"] == "dismissed", "{after}");
        get(story, &format!("{running}/results")).await?.content("exception")?;
        let again = delete(story, &running).await?.document("statusInfo")?;
        ensure!(again["status"] == "dismissed", "{again}");
        get(story, &running).await?.exception(404, "no-such-job")?;

        let done = submit(story, "text", &json!({})).await?;
        wait_for(story, &done, &["successful"]).await?;
        let answer = delete(story, &done).await?.document("statusInfo")?;
        ensure!(answer["status"] == "dismissed", "{answer}");
        for gone in [done.clone(), format!("{done}/results")] {
            get(story, &gone).await?.exception(404, "no-such-job")?;
        }
        let list = get(story, "/jobs").await?.document("jobList")?;
        ensure!(!list.to_string().contains(&done), "{list}");

        for unknown in [done.as_str(), "/jobs/018f0000-0000-7000-8000-000000000000", "/jobs/nonsense"] {
            delete(story, unknown).await?.exception(404, "no-such-job")?;
        }
        Ok(())
    })
    .await;
}
