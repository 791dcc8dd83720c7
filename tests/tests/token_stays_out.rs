//! The token goes no further than the gateway.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use end_to_end::story::{Backend, Setting, TOKEN, tell};
use serde_json::json;

const PROCESS: &str = "generic-image-processor-example";

on_each!(token: Local as the_token_is_nowhere_after_the_gateway_locally,
    Real as the_token_is_nowhere_after_the_gateway_on_the_real_node);

async fn token(backend: Backend) {
    let setting = Setting::new(backend).with("QUAYSIDE_TELEMETRY__FILTER", "debug");
    tell(&format!("token-{backend:?}"), setting, async |story| {
        for inputs in [json!({ "text": "a", "token": TOKEN }), json!({ "text": 1, "token": TOKEN })] {
            story.execute(PROCESS, inputs).await?;
        }
        let bearer = format!("Bearer {TOKEN}");
        let body = json!({ "inputs": { "text": "b" } }).to_string();
        story.post(0, PROCESS, &[("Authorization", &bearer)], body).await?;
        for broken in [format!("{{\"inputs\": {{\"token\": \"{TOKEN}\""), format!("{{\"inputs\": [\"{TOKEN}\"]}}")] {
            let answer = story.post(0, PROCESS, &[], broken).await?;
            ensure!(!answer.text().await?.contains(TOKEN), "an error shows the token");
        }
        let job = story.submit(PROCESS, json!({ "text": "c", "token": TOKEN })).await?;
        let status = story.wait_done(&job).await?;
        ensure!(status["status"] == "successful", "{status}");
        story.manifest(&job).await?;
        ensure!(!status.to_string().contains(TOKEN), "{status}");
        let objects = story.kubernetes_objects().await?;
        ensure!(backend == Backend::Local || objects.contains(&job.to_string()), "the search finds the job");
        ensure!(!objects.contains(TOKEN), "in Kubernetes: {objects}");
        // NATS' store, S3's objects, the local executor's folders and every log are files below the story's folder.
        let searched = search(story.stack.folder())?;
        ensure!(searched > 10, "the search looked at {searched} files only");
        Ok(())
    })
    .await;
}

/// The number of files searched.
fn search(folder: &Path) -> Result<usize> {
    let mut searched = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            searched += search(&path)?;
        } else if path.is_file() {
            let bytes = fs::read(&path)?;
            let found = bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
            ensure!(!found, "the token is in {}", path.display());
            searched += 1;
        }
    }
    Ok(searched)
}
