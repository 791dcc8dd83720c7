//! Processes whose Jobs are in namespaces of their own, under the Roles that are deployed, granted in each of them.

use anyhow::{Result, ensure};
use end_to_end::{
    cluster::{Namespace, NodeKind, client_of_run, deployed_rules_elsewhere, permissions::GRANTED_ELSEWHERE},
    program::wait_until,
    services::Service,
    story::{Backend, LIMIT, Setting, Story, process_yaml, skips, tell},
};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, ResourceQuota},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use protocol::{
    JobId,
    job_record::ArchiveState,
    names::kubernetes::{LABEL_JOB_ID, POD_FINALIZER},
};
use serde_json::json;

use crate::reasons::object;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_where_their_process_says_and_a_namespace_that_cannot_be_watched_stops_no_other() -> Result<()> {
    if skips("namespaces", Backend::Simulated) {
        return Ok(());
    }
    let client = client_of_run().await?;
    let one = Namespace::create(&client, GRANTED_ELSEWHERE, NodeKind::Simulated).await?;
    let two = Namespace::create(&client, "two", NodeKind::Simulated).await?;
    let of = |id: &str, options: &str| {
        process_yaml(id, "true").replace("      resources:\n", &format!("{options}      resources:\n"))
    };
    let long = "      env: [{name: SIMULATED_DURATION, value: 24h}]\n";
    let processes = [
        of("at-home", ""),
        of("in-one", "      namespace: ${ONE}\n"),
        of("long-in-one", &format!("      namespace: ${{ONE}}\n{long}")),
        of("in-two", "      namespace: ${TWO}\n"),
    ]
    .concat();
    let mut setting = Setting::new(Backend::Simulated)
        .with_processes(&processes)
        .with("ONE", one.name())
        .with("TWO", two.name())
        .with("QUAYSIDE_DISPATCHER__SWEEP_EVERY", "1")
        .with("QUAYSIDE_FINALIZER__NAMESPACES", &format!("{},{}", one.name(), two.name()))
        .with("QUAYSIDE_FINALIZER__SWEEP_EVERY", "1")
        .with("QUAYSIDE_FINALIZER__LOG_DEADLINE", "1")
        .with("QUAYSIDE_FINALIZER__SEAL_DEADLINE", "20");
    setting.start_services = false;
    tell("namespaces", setting, async |story| {
        start(story, &one).await?;
        for process in ["at-home", "in-one"] {
            let job = story.submit(process, json!({})).await?;
            let status = story.wait_done(&job).await?;
            assert_eq!(status["status"], "successful", "{status}");
            assert_eq!(story.manifest(&job).await?.record.archive.state, ArchiveState::Stored);
            ensure!(is_in(&client, &one, &job).await? == (process == "in-one"), "{process} is elsewhere");
        }
        held_up(story, &client, &one).await?;
        cancelled(story, &client, &one).await?;
        abandoned(&client, &one).await?;
        forbidden_then_granted(story, &client, &two).await
    })
    .await;
    one.delete(&client).await?;
    two.delete(&client).await
}

/// Dispatcher and finalizer with the deployed rights at home and in one more namespace.
async fn start(story: &mut Story, one: &Namespace) -> Result<()> {
    for (service, name) in [(Service::Dispatcher, "job-dispatcher"), (Service::Finalizer, "log-finalizer")] {
        let (home, client) = story.cluster()?;
        one.grant(client, name, home, deployed_rules_elsewhere(name)?).await?;
        story.stack.start_service(service, 0, &[])?;
    }
    story.stack.start_service(Service::Gateway, 0, &[])?;
    story.stack.wait_ready().await
}

async fn is_in(client: &Client, namespace: &Namespace, job: &JobId) -> Result<bool> {
    let of_job = ListParams::default().labels(&format!("{LABEL_JOB_ID}={job}"));
    Ok(!Api::<Job>::namespaced(client.clone(), namespace.name()).list(&of_job).await?.items.is_empty())
}

/// Why a Job has no pod is told in its own namespace.
async fn held_up(story: &Story, client: &Client, one: &Namespace) -> Result<()> {
    let quota = object(json!({ "metadata": { "name": "no-pods" }, "spec": { "hard": { "pods": "0" } } }))?;
    let quotas = Api::<ResourceQuota>::namespaced(client.clone(), one.name());
    quotas.create(&PostParams::default(), &quota).await?;
    let job = story.submit("in-one", json!({})).await?;
    wait_until("the job says which quota it waits for", LIMIT, || async {
        let status = story.status(&job).await?;
        let message = status["message"].as_str().unwrap_or_default();
        ensure!(status["reason"] == "QuotaExceeded" && message.contains("exceeded quota: no-pods"), "{status}");
        Ok(())
    })
    .await?;
    quotas.delete("no-pods", &DeleteParams::default()).await?;
    let status = story.wait_done(&job).await?;
    ensure!(status["status"] == "successful", "{status}");
    Ok(())
}

async fn cancelled(story: &Story, client: &Client, one: &Namespace) -> Result<()> {
    let job = story.submit("long-in-one", json!({})).await?;
    story.wait_for(&job, &["running"]).await?;
    ensure!(story.delete_at(0, &job).await?.status().is_success(), "not dismissed");
    wait_until("what the dismissed job ran is gone", LIMIT, || async {
        ensure!(!is_in(client, one, &job).await?, "its Job is there");
        Ok(())
    })
    .await
}

/// A pod that nobody knows is released by the finalizer's sweep.
async fn abandoned(client: &Client, one: &Namespace) -> Result<()> {
    let pods = Api::<Pod>::namespaced(client.clone(), one.name());
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "left", "labels": { LABEL_JOB_ID: JobId::generate(1) }, "finalizers": [POD_FINALIZER] },
        "spec": { "containers": [{ "name": "main", "image": "busybox:1" }], "terminationGracePeriodSeconds": 0 },
    }))?;
    pods.create(&PostParams::default(), &pod).await?;
    pods.delete("left", &DeleteParams::default()).await?;
    wait_until("the pod that nobody knows is released", LIMIT, || async {
        ensure!(pods.get_opt("left").await?.is_none(), "it is held");
        Ok(())
    })
    .await
}

async fn forbidden_then_granted(story: &Story, client: &Client, two: &Namespace) -> Result<()> {
    let job = story.submit("in-two", json!({})).await?;
    wait_until("the job says why it waits", LIMIT, || async {
        let status = story.status(&job).await?;
        let message = status["message"].as_str().unwrap_or_default();
        ensure!(message.contains("can't be watched") && status["status"] == "accepted", "{status}");
        Ok(())
    })
    .await?;
    let log = std::fs::read_to_string(story.stack.logs().join("job-dispatcher-0.log"))?;
    let told =
        log.lines().any(|line| line.contains("ERROR") && line.contains(two.name()) && line.contains("forbidden"));
    ensure!(told, "no ERROR names the namespace: {log}");
    let (home, _) = story.cluster()?;
    for name in ["job-dispatcher", "log-finalizer"] {
        two.grant(client, name, home, deployed_rules_elsewhere(name)?).await?;
    }
    let status = story.wait_done(&job).await?;
    ensure!(status["status"] == "successful", "{status}");
    ensure!(is_in(client, two, &job).await?, "it ran elsewhere");
    Ok(())
}
