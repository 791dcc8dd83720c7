//! A container that fails.

use anyhow::Context;
use end_to_end::story::{Backend, Setting, process_yaml, tell};
use protocol::job_record::Reason;
use reqwest::StatusCode;
use serde_json::{Value, json};

on_each!(exits_with_three: Local as a_failing_container_is_told_with_its_exit_code_locally,
    Simulated as a_failing_container_is_told_with_its_exit_code_on_the_simulated_node,
    Real as a_failing_container_is_told_with_its_exit_code_on_the_real_node);

async fn exits_with_three(backend: Backend) {
    let yaml = process_yaml("fails", "echo the last words\nexit 3").replace(
        "      resources:\n",
        "      env:\n        - {name: SIMULATED_DURATION, value: \"0s\"}\n        - {name: SIMULATED_EXIT_CODE, value: \"3\"}\n      resources:\n",
    );
    tell(&format!("exit-code-{backend:?}"), Setting::new(backend).with_processes(&yaml), async |story| {
        if backend == Backend::Simulated {
            let (namespace, client) = story.cluster()?;
            namespace.serve_log(client, "the last words\n").await?;
        }
        let job = story.submit("fails", json!({})).await?;
        let status = story.wait_done(&job).await?;
        assert_eq!(status["status"], "failed", "{status}");
        assert_eq!(status["reason"], "ExitCode", "{status}");
        let message = status["message"].as_str().context("no message")?;
        assert!(message.contains("exit code 3"), "{message}");
        let results = story.get(&format!("/jobs/{job}/results")).await?;
        assert_eq!(results.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let exception: Value = results.json().await?;
        assert_eq!(exception["reason"], "ExitCode", "{exception}");
        assert!(exception["type"].is_string() && exception["title"].is_string(), "{exception}");
        assert!(exception["detail"].as_str().context("no detail")?.contains("exit code 3"), "{exception}");
        let sync = story.execute("fails", json!({})).await?;
        assert_eq!(sync.status(), StatusCode::INTERNAL_SERVER_ERROR, "a failed job, executed synchronously");
        let manifest = story.manifest(&job).await?;
        let outcome = manifest.record.outcome.context("no outcome")?;
        assert_eq!((outcome.reason, outcome.exit_code), (Some(Reason::ExitCode), Some(3)));
        assert!(story.archive(&job).await?.ends_with("Container 'generic-image-processor'\nthe last words\n"));
        Ok(())
    })
    .await;
}
