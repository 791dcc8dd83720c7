//! The simulated node does what the stories lean on: Jobs end as asked, and their pods have the logs they are given.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    cluster::{Namespace, NodeKind, client_of_run},
    program::wait_until,
};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client,
    api::{ListParams, LogParams, PostParams},
};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_job_on_the_simulated_node_completes_and_has_the_log_it_was_given() -> Result<()> {
    let client = client_of_run().await?;
    let namespace = Namespace::create(&client, "simulated", NodeKind::Simulated).await?;
    namespace.serve_log(&client, "hello\nworld\n").await?;
    let started = Instant::now();
    let pod = finished_pod(&client, namespace.name(), json!([])).await?;
    println!("a bare Job on the simulated node took {:?}", started.elapsed());

    ensure!(phase(&pod) == "Succeeded", "{:?}", pod.status);
    let pods = Api::<Pod>::namespaced(client.clone(), namespace.name());
    let name = pod.metadata.name.context("a pod has a name")?;
    wait_until("the log is served", LIMIT, || async {
        let log = pods.logs(&name, &LogParams::default()).await?;
        ensure!(log == "hello\nworld\n", "{log:?}");
        Ok(())
    })
    .await?;
    namespace.delete(&client).await
}

#[tokio::test]
async fn a_job_on_the_simulated_node_fails_with_the_exit_code_it_was_given() -> Result<()> {
    let client = client_of_run().await?;
    let namespace = Namespace::create(&client, "simulated", NodeKind::Simulated).await?;
    let started = Instant::now();
    let environment = json!([
        { "name": "SIMULATED_EXIT_CODE", "value": "3" },
        { "name": "SIMULATED_DURATION", "value": "2s" },
    ]);
    let pod = finished_pod(&client, namespace.name(), environment).await?;

    ensure!(phase(&pod) == "Failed" && started.elapsed() >= Duration::from_secs(2), "{:?}", pod.status);
    let containers = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
    let code = containers.iter().find_map(|one| Some(one.state.as_ref()?.terminated.as_ref()?.exit_code));
    ensure!(code == Some(3), "{containers:?}");
    namespace.delete(&client).await
}

async fn finished_pod(client: &Client, namespace: &str, environment: serde_json::Value) -> Result<Pod> {
    let job: Job = serde_json::from_value(json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "bare" },
        "spec": { "backoffLimit": 0, "template": { "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": "main", "image": "busybox:1", "env": environment }],
        } } },
    }))?;
    let jobs = Api::<Job>::namespaced(client.clone(), namespace);
    jobs.create(&PostParams::default(), &job).await?;
    wait_until("the Job ends", LIMIT, || async {
        let conditions = jobs.get("bare").await?.status.and_then(|status| status.conditions).unwrap_or_default();
        ensure!(conditions.iter().any(|one| matches!(one.type_.as_str(), "Complete" | "Failed")), "{conditions:?}");
        Ok(())
    })
    .await?;
    let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    pods.items.into_iter().next().context("the Job has no pod")
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}
