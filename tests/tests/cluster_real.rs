//! The real node does what the stories lean on: containers run, their logs, exit codes and failures are what they are.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    cluster::{Namespace, NodeKind, client_of_run},
    program::wait_until,
};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerStatus, Pod},
};
use kube::{
    Api, Client,
    api::{ListParams, LogParams, PostParams},
};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_job_on_the_real_node_completes_and_its_log_can_be_read() -> Result<()> {
    let client = client_of_run().await?;
    let namespace = Namespace::create(&client, "real", NodeKind::Real).await?;
    let started = Instant::now();
    create(&client, &namespace, "busybox:1", "echo hello; echo $((6 * 7))").await?;
    let pod = ended(&client, &namespace).await?;
    println!("a bare Job on the real node took {:?}", started.elapsed());

    ensure!(exit_code(&pod) == Some(0), "{:?}", pod.status);
    let pods = Api::<Pod>::namespaced(client.clone(), namespace.name());
    let log = pods.logs(pod.metadata.name.as_deref().context("a pod has a name")?, &LogParams::default()).await?;
    ensure!(log == "hello\n42\n", "{log:?}");
    namespace.delete(&client).await
}

#[tokio::test]
async fn a_container_on_the_real_node_runs_bash_and_keeps_its_exit_code() -> Result<()> {
    let client = client_of_run().await?;
    let namespace = Namespace::create(&client, "real", NodeKind::Real).await?;
    create(&client, &namespace, "bash:5", "exec /bin/bash -c 'words=(a b c); exit ${#words[@]}'").await?;
    let pod = ended(&client, &namespace).await?;

    ensure!(exit_code(&pod) == Some(3), "{:?}", pod.status);
    namespace.delete(&client).await
}

#[tokio::test]
async fn a_container_beyond_its_memory_limit_is_killed() -> Result<()> {
    let client = client_of_run().await?;
    let namespace = Namespace::create(&client, "real", NodeKind::Real).await?;
    create(&client, &namespace, "busybox:1", "exec tail /dev/zero").await?;
    let pod = ended(&client, &namespace).await?;

    let container = container(&pod).context("no container")?;
    let ended = container.state.and_then(|state| state.terminated).context("not terminated")?;
    ensure!(ended.reason.as_deref() == Some("OOMKilled"), "{ended:?}");
    namespace.delete(&client).await
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_reported() -> Result<()> {
    let client = client_of_run().await?;
    let namespace = Namespace::create(&client, "real", NodeKind::Real).await?;
    create(&client, &namespace, "127.0.0.1:9/no/such-image:1", "true").await?;
    wait_until("the missing image is reported", LIMIT, || async {
        let pod = pod(&client, &namespace).await?;
        let reason = container(&pod).and_then(|one| one.state?.waiting?.reason).context("nothing is reported")?;
        ensure!(matches!(reason.as_str(), "ErrImagePull" | "ImagePullBackOff"), "{reason}");
        Ok(())
    })
    .await?;
    namespace.delete(&client).await
}

async fn create(client: &Client, namespace: &Namespace, image: &str, script: &str) -> Result<()> {
    let job: Job = serde_json::from_value(json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "bare" },
        "spec": { "backoffLimit": 0, "template": { "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": image, "command": ["sh", "-c", script],
                "resources": { "limits": { "memory": "32Mi", "cpu": "500m" } },
            }],
        } } },
    }))?;
    Api::<Job>::namespaced(client.clone(), namespace.name()).create(&PostParams::default(), &job).await?;
    Ok(())
}

async fn ended(client: &Client, namespace: &Namespace) -> Result<Pod> {
    let jobs = Api::<Job>::namespaced(client.clone(), namespace.name());
    wait_until("the Job ends", LIMIT, || async {
        let conditions = jobs.get("bare").await?.status.and_then(|status| status.conditions).unwrap_or_default();
        ensure!(conditions.iter().any(|one| matches!(one.type_.as_str(), "Complete" | "Failed")), "{conditions:?}");
        Ok(())
    })
    .await?;
    pod(client, namespace).await
}

async fn pod(client: &Client, namespace: &Namespace) -> Result<Pod> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace.name()).list(&ListParams::default()).await?;
    pods.items.into_iter().next().context("the Job has no pod")
}

fn container(pod: &Pod) -> Option<ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first().cloned()
}

fn exit_code(pod: &Pod) -> Option<i32> {
    Some(container(pod)?.state?.terminated?.exit_code)
}
