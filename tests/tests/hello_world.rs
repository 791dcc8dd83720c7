//! The README's `curl`: what every user tries first.

use anyhow::{Context, Result};
use end_to_end::story::{Backend, Setting, Story, tell};
use protocol::{
    JobId,
    job_record::{ArchiveState, Status},
    names::kubernetes as names,
};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};

const RESULT: &str = r#"{"id": "echo", "value": "Hello 'John Doe': 'Am I in TV, now?'"}"#;

on_each!(hello_world: Local as hello_world_answers_locally, Simulated as hello_world_answers_on_the_simulated_node,
    Real as hello_world_answers_on_the_real_node);

async fn hello_world(backend: Backend) {
    tell(&format!("hello-world-{backend:?}"), Setting::new(backend), async |story| {
        let log = format!(
            "about to greet someone\nPYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: application/json\n\
             PYGEOAPI_K8S_MANAGER_RESULT_START\n{RESULT}"
        );
        if backend == Backend::Simulated {
            let (namespace, client) = story.cluster()?;
            namespace.serve_log(client, &log).await?;
        }
        let inputs = json!({ "message": "Am I in TV, now?", "name": "John Doe" });
        synchronously(story, &inputs).await?;
        let job = asynchronously(story, &inputs).await?;
        stored(story, &job, &log).await?;
        if backend != Backend::Local {
            annotated_and_released(story, &job).await?;
        }
        Ok(())
    })
    .await;
}

async fn synchronously(story: &Story, inputs: &Value) -> Result<()> {
    let answer = story.execute("hello-world-k8s", inputs.clone()).await?;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
    let link = answer.headers().get(header::LINK).context("a sync answer names its job")?.to_str()?.to_owned();
    assert!(link.contains("/jobs/") && link.contains("monitor"), "{link}");
    assert_eq!(answer.text().await?, RESULT);
    let without_message = story.execute("hello-world-k8s", json!({ "name": "John Doe" })).await?;
    if story.backend != Backend::Simulated {
        assert_eq!(without_message.text().await?, r#"{"id": "echo", "value": "Hello 'John Doe'!"}"#);
    }
    Ok(())
}

async fn asynchronously(story: &Story, inputs: &Value) -> Result<JobId> {
    let job = story.submit("hello-world-k8s", inputs.clone()).await?;
    let first = story.status(&job).await?;
    assert!(["accepted", "running", "successful"].contains(&first["status"].as_str().unwrap_or_default()), "{first}");
    let status = story.wait_done(&job).await?;
    assert_eq!(status["status"], "successful", "{status}");
    assert_eq!(status["jobID"], job.to_string());
    assert_eq!(status["processID"], "hello-world-k8s");
    assert_eq!(status["type"], "process");
    assert!(status.as_object().context("no object")?.values().all(|member| !member.is_null()), "{status}");
    for member in ["created", "started", "finished", "updated"] {
        assert!(status[member].is_string(), "{member} in {status}");
    }
    let results = story.get(&format!("/jobs/{job}/results")).await?;
    assert_eq!(results.status(), StatusCode::OK);
    assert_eq!(results.text().await?, RESULT);
    let list: Value = story.list_at(0, "").await?.json().await?;
    let listed = list["jobs"].as_array().context("no list")?;
    assert!(listed.iter().any(|row| row["jobID"] == job.to_string()), "{list}");
    Ok(job)
}

async fn stored(story: &Story, job: &JobId, log: &str) -> Result<()> {
    let manifest = story.manifest(job).await?;
    let record = &manifest.record;
    assert_eq!(record.status, Status::Successful);
    assert_eq!(record.archive.state, ArchiveState::Stored);
    assert_eq!(record.results.len(), 1);
    assert_eq!(record.results[0].id, "echo");
    assert_eq!(record.results[0].size, RESULT.len() as u64);
    let workload = record.workload.as_ref().context("no workload")?;
    let pod = workload.pod_name.as_ref().context("no pod")?;
    let archive = story.archive(job).await?;
    assert_eq!(archive, format!("Logs of pod '{pod}'\nContainer 'hello-world-k8s'\n{log}"));
    let key = record.archive.key.clone().context("no key")?;
    let day = record.finished.context("not finished")?.strftime("%Y-%m-%d").to_string();
    assert_eq!(key, format!("logs/{day}_pygeoapi-job-{job}-logs.txt"));
    let container = &manifest.containers[0];
    let (start, end) = (container.start as usize, (container.start + container.size) as usize);
    assert_eq!(&archive[start..end], log, "the manifest says where the log is");
    Ok(())
}

async fn annotated_and_released(story: &Story, job: &JobId) -> Result<()> {
    end_to_end::program::wait_until("annotations and release", end_to_end::story::LIMIT, || async {
        let object = story.kubernetes_job(job).await?.context("the Job stays for a while")?;
        let annotations = object.metadata.annotations.clone().unwrap_or_default();
        let annotation = |name: &str| annotations.get(name).map(String::as_str);
        anyhow::ensure!(annotation(names::ANNOTATION_RESULT_MIMETYPE) == Some("application/json"), "{annotations:?}");
        anyhow::ensure!(annotation(names::ANNOTATION_RESULT_VALUE) == Some(RESULT), "{annotations:?}");
        assert_eq!(annotation(names::ANNOTATION_IDENTIFIER), Some(job.to_string().as_str()));
        assert_eq!(annotation(names::ANNOTATION_PROCESS_ID), Some("hello-world-k8s"));
        let finalizers: Vec<String> = story
            .kubernetes_pods(job)
            .await?
            .into_iter()
            .flat_map(|pod| pod.metadata.finalizers.unwrap_or_default())
            .collect();
        anyhow::ensure!(!finalizers.iter().any(|name| name == names::POD_FINALIZER), "{finalizers:?}");
        Ok(())
    })
    .await
}
