//! S3 that is not configured, and is later.

use anyhow::{Context, ensure};
use end_to_end::{
    program::wait_until,
    services::Service,
    stack::StoreChoice,
    story::{Backend, LIMIT, Setting, tell},
};
use protocol::{
    job_record::{ArchiveState, Place},
    names::kubernetes as names,
};
use serde_json::{Value, json};

const RESULT: &str = r#"{"id": "echo", "value": "Hello 'N'!"}"#;

on_each!(no_store: Local as without_s3_jobs_end_with_their_results_and_are_archived_later_locally,
    Simulated as without_s3_jobs_end_with_their_results_and_are_archived_later_on_the_simulated_node);

async fn no_store(backend: Backend) {
    let mut setting = Setting::new(backend).with("QUAYSIDE_FINALIZER__SWEEP_EVERY", "1");
    setting.store = StoreChoice::Absent;
    tell(&format!("no-store-{backend:?}"), setting, async |story| {
        let log = format!(
            "about to greet someone\nPYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: application/json\n\
             PYGEOAPI_K8S_MANAGER_RESULT_START\n{RESULT}"
        );
        if backend == Backend::Simulated {
            let (namespace, client) = story.cluster()?;
            namespace.serve_log(client, &log).await?;
        }
        let job = story.submit("hello-world-k8s", json!({ "name": "N" })).await?;
        let status = story.wait_done(&job).await?;
        assert_eq!(status["status"], "successful", "{status}");
        let message = status["message"].as_str().context("no message")?;
        assert!(message.contains("no bucket is configured"), "{message}");
        assert_eq!(story.get(&format!("/jobs/{job}/results")).await?.text().await?, RESULT);
        let told = story.messages().await?;
        let (_, last) = told.iter().rfind(|(subject, _)| subject.ends_with(".successful")).context("not told")?;
        let record: protocol::JobRecord = serde_json::from_value(last["data"].clone())?;
        assert_eq!(record.archive.state, ArchiveState::Unavailable);
        assert!(matches!(record.results[0].place, Place::Stream(_)));
        if backend == Backend::Simulated {
            let pods = story.kubernetes_pods(&job).await?;
            let held = pods[0].metadata.finalizers.clone().unwrap_or_default();
            assert!(held.iter().any(|name| name == names::POD_FINALIZER), "the pod stays: {held:?}");
        }
        let finalizer = std::fs::read_to_string(story.stack.logs().join("log-finalizer-0.log"))?;
        assert!(finalizer.contains("ERROR"), "missing variables are said at start: {finalizer}");

        story.stack.add_store().await?;
        for service in [Service::Finalizer, Service::Gateway] {
            story.stack.service(service, 0)?.program.stop(LIMIT).await?;
            story.stack.start_service(service, 0, &[])?;
        }
        story.stack.wait_ready().await?;
        let manifest = story.manifest(&job).await?;
        assert_eq!(manifest.record.archive.state, ArchiveState::Stored);
        assert!(story.archive(&job).await?.ends_with(&log));
        wait_until("the archived event", LIMIT, || async {
            let told = story.messages().await?;
            let found: Option<&Value> =
                told.iter().find(|(subject, _)| subject.ends_with(".archived")).map(|(_, event)| event);
            ensure!(found.context("not told")?["data"]["archive"]["state"] == "stored", "{found:?}");
            Ok(())
        })
        .await?;
        assert_eq!(story.get(&format!("/jobs/{job}/results")).await?.text().await?, RESULT);
        Ok(())
    })
    .await;
}
