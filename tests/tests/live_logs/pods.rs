//! The logs of several containers and pods, followed on the real node.

use anyhow::{Context, ensure};
use end_to_end::{
    services::Service,
    story::{Backend, Setting, tell},
};
use protocol::log_text::container_heading;
use serde_json::json;

use super::{
    feed::{Followed, MAIN, ask},
    kill_follower, of_main,
};

/// Two pods, each with an init container, that both print and fail.
const AGAIN: &str = r#"  again:
    type: process
    processor:
      name: pygeoapi_k8s_manager.process.GenericImageProcessor
      check_auth: false
      default_image: busybox:1
      metadata:
        version: 1.0.0
        title: Again
        description: Again
        outputs: {out: {title: Out, schema: {type: string, contentMediaType: text/plain}}}
      resources: {limits: {cpu: 500m, memory: 16Mi}, requests: {cpu: 10m, memory: 16Mi}}
      retries: 1
      command: [sh, -c]
      args: ['for n in 1 2 3 4 5 6; do echo "line $n"; sleep 1; done; printf "no line end"; exit 7']
      init_containers:
        - {name: fetch, image: "busybox:1", command: [sh, -c, "echo fetched"], resources: {limits: {memory: 16Mi}}}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_of_all_containers_and_pods_of_a_job_are_followed_as_its_archive_has_them() {
    let setting = Setting::new(Backend::Real).with_processes(AGAIN).with("QUAYSIDE_FINALIZER__LOG_PART_AGE", "1");
    tell("live_logs_pods", setting, async |story| {
        let job = story.submit("again", json!({})).await?;
        let mut whole = Followed::begin(ask(story, &job, "?follow=true", &[]).await?)?;
        let heading = container_heading("fetch", true) + "fetched\n" + &container_heading(MAIN, false) + "line 1\n";
        let has_first = |seen: &[u8]| String::from_utf8_lossy(seen).contains(&heading);
        while !has_first(&whole.seen) {
            let more = whole.seen.len() + 1;
            whole.until(more).await?;
        }
        ensure!(!String::from_utf8_lossy(&whole.seen).contains("line 6"), "it comes while it is written");
        let status = story.status(&job).await?;
        ensure!(status["status"] == "running", "{status}");
        kill_follower(story).await?;
        story.stack.start_service(Service::Finalizer, 0, &[])?;

        let whole = whole.until_end().await?;
        let status = story.wait_done(&job).await?;
        ensure!(status["status"] == "failed", "{status}");
        let archive = story.archive(&job).await?;
        ensure!(String::from_utf8_lossy(&whole) == archive, "{}\n---\n{archive}", String::from_utf8_lossy(&whole));
        let lines = archive.matches("line 6\nno line end").count();
        ensure!(lines == 2 && archive.matches("fetched\n").count() == 2, "{archive}");
        let manifest = story.manifest(&job).await?;
        let pods: Vec<&str> = manifest.containers.iter().map(|log| log.pod.as_str()).collect();
        let first = pods.first().context("no pod")?;
        ensure!(pods.len() == 4 && pods[0] == pods[1] && pods[2] == pods[3] && *first != pods[2], "{pods:?}");
        let one = ask(story, &job, &of_main(&format!("&pod={first}")), &[]).await?.text().await?;
        ensure!(one.starts_with("line 1\n") && one.ends_with("line 6\nno line end"), "{one}");
        let one = ask(story, &job, &format!("?pod={first}"), &[]).await?.text().await?;
        ensure!(archive.starts_with(&one) && one.ends_with("no line end"), "{one}");
        Ok(())
    })
    .await;
}
