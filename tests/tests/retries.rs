//! Pods that fail, on the real node: why, and what follows them.

use std::fs;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    story::{Backend, LIMIT, Setting, Story, tell},
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use protocol::{JobId, names::kubernetes::POD_FINALIZER};
use serde_json::{Value, json};

fn process(id: &str, options: &str) -> String {
    format!(
        "  {id}:
    type: process
    processor:
      name: pygeoapi_k8s_manager.process.GenericImageProcessor
      check_auth: false
      default_image: busybox:1
      metadata:
        version: 1.0.0
        title: Retries
        description: Retries
        outputs: {{out: {{title: Out, schema: {{type: string, contentMediaType: text/plain}}}}}}
      resources: {{limits: {{cpu: 500m, memory: 16Mi}}, requests: {{cpu: 10m, memory: 16Mi}}}}
{options}"
    )
}

/// Fails until it was started twice before.
const THIRD: &str = r#"      retries: 2
      command: [sh, -c]
      args:
        - |
          n=$(ls /claim | wc -l); touch /claim/$n; echo "start $n"
          test $n -ge 2 || exit 7
          echo PYGEOAPI_K8S_MANAGER_RESULT_START
          echo "the third"
      storage: [{name: claim, mount_path: /claim, persistent_volume_claim_name: a-claim}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_tried_again_on_the_real_node_until_it_succeeds_or_may_not() {
    let name = format!("retries-{}", std::process::id());
    let given_up = "      retries: 5\n      fail_on_exit_codes: [65]\n      command: [sh, -c, exit 65]\n";
    let processes = format!("{}{}", process("third", THIRD), process("given-up", given_up));
    tell("retries", Setting::new(Backend::Real).with_processes(&processes), async |story| {
        let (namespace, client) = story.cluster()?;
        let claimed = story.stack.folder().join("claimed");
        fs::create_dir(&claimed)?;
        claim(client, namespace.name(), &name, &claimed.display().to_string()).await?;
        let told = tries(story).await;
        Api::<PersistentVolume>::all(client.clone()).delete(&name, &DeleteParams::default()).await?;
        told
    })
    .await;
}

async fn tries(story: &Story) -> Result<()> {
    let job = story.submit("third", json!({})).await?;
    let given_up = story.submit("given-up", json!({})).await?;
    let status = story.wait_done(&job).await?;
    ensure!(status["status"] == "successful", "{status}");
    let seen = story.get(&format!("/jobs/{job}/results")).await?.text().await?;
    ensure!(seen == "the third\n", "{seen}");
    let outcome = story.manifest(&job).await?.record.outcome.context("no outcome")?;
    ensure!(outcome.message.starts_with("attempt 3 of 3"), "{}", outcome.message);
    let archive = story.archive(&job).await?;
    ensure!(archive.contains("start 2"), "{archive}");
    all_are_released(story, &job).await?;
    failed(story, &given_up, "ExitCode", "not tried again after this code").await
}

async fn all_are_released(story: &Story, job: &JobId) -> Result<()> {
    wait_until("every pod of the job is released", LIMIT, || async {
        let pods = story.kubernetes_pods(job).await?;
        let is_held = |pod: &Pod| pod.metadata.finalizers.iter().flatten().any(|name| name == POD_FINALIZER);
        ensure!(!pods.iter().any(is_held), "a pod is held");
        Ok(())
    })
    .await
}

async fn failed(story: &Story, job: &JobId, reason: &str, words: &str) -> Result<()> {
    let status = story.wait_done(job).await?;
    let outcome = story.manifest(job).await?.record.outcome.context("no outcome")?;
    let told = outcome.reason.context("no reason")?.to_string();
    ensure!(status["status"] == "failed" && told == reason && outcome.message.contains(words), "{told}: {status}");
    Ok(())
}

async fn claim(client: &Client, namespace: &str, name: &str, folder: &str) -> Result<()> {
    fn object<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
        Ok(serde_json::from_value(value)?)
    }
    let sized = json!({ "storage": "1Mi" });
    let volume: PersistentVolume = object(json!({
        "metadata": { "name": name },
        "spec": {
            "capacity": sized, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "hostPath": { "path": folder }, "claimRef": { "namespace": namespace, "name": "a-claim" },
        },
    }))?;
    Api::<PersistentVolume>::all(client.clone()).create(&PostParams::default(), &volume).await?;
    let claim: PersistentVolumeClaim = object(json!({
        "metadata": { "name": "a-claim" },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": name,
            "resources": { "requests": sized },
        },
    }))?;
    Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace).create(&PostParams::default(), &claim).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_are_killed_or_never_start_say_why_on_the_real_node() {
    let processes = [
        process("hungry", "      command: [sh, -c, \"tail /dev/zero\"]\n"),
        process("no-command", "      command: [/nowhere]\n"),
        process("no-secret", "      env: [{name: A, secret_name: nowhere, secret_key: a}]\n"),
        process("slow", "      active_deadline_seconds: 3\n      command: [sh, -c, \"sleep 600 & wait\"]\n"),
        process(
            "init",
            "      init_containers: [{name: fetch, image: \"busybox:1\", command: [sh, -c, exit 4], resources: {limits: {memory: \
             16Mi}}}]\n",
        ),
    ];
    let setting = Setting::new(Backend::Real)
        .with_processes(&processes.concat())
        .with("QUAYSIDE_DISPATCHER__START_DEADLINE", "15");
    tell("reasons-real", setting, async |story| {
        let cases = [
            ("hungry", "OOMKilled", "limit of 16Mi"),
            ("no-command", "StartError", "/nowhere"),
            ("no-secret", "ConfigError", "nowhere"),
            ("slow", "Deadline", "longer than allowed"),
            ("init", "ExitCode", "init container 'fetch' ended with exit code 4"),
        ];
        let mut jobs = Vec::new();
        for (process, reason, words) in cases {
            jobs.push((story.submit(process, json!({})).await?, reason, words));
        }
        for (job, reason, words) in &jobs {
            failed(story, job, reason, words).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_deleted_by_hand_while_it_runs_ends_its_job_on_the_real_node() {
    let long = process("long", "      command: [sh, -c, \"trap 'exit 0' TERM; echo begun; sleep 600 & wait\"]\n");
    tell("pod-deleted", Setting::new(Backend::Real).with_processes(&long), async |story| {
        let job = story.submit("long", json!({})).await?;
        story.wait_for(&job, &["running"]).await?;
        let (namespace, client) = story.cluster()?;
        let pods = Api::<Pod>::namespaced(client.clone(), namespace.name());
        let pod = story.kubernetes_pods(&job).await?.pop().and_then(|pod| pod.metadata.name).context("no pod")?;
        pods.delete(&pod, &DeleteParams::default()).await?;
        failed(story, &job, "Deleted", "deleted").await?;
        wait_until("the pod is let go", LIMIT, || async {
            ensure!(pods.get_opt(&pod).await?.is_none(), "it is held");
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_one_too_many_costs_its_job_no_result_on_the_real_node() {
    let script = "echo begun; sleep 10; echo PYGEOAPI_K8S_MANAGER_RESULT_START; echo the result";
    let patient = process("patient", &format!("      command: [sh, -c, \"{script}\"]\n"));
    tell("pod-too-many", Setting::new(Backend::Real).with_processes(&patient), async |story| {
        let job = story.submit("patient", json!({})).await?;
        story.wait_for(&job, &["running"]).await?;
        let (namespace, client) = story.cluster()?;
        let pods = Api::<Pod>::namespaced(client.clone(), namespace.name());
        // As the Job controller does when the API server has died before it answered that the first one is made.
        let mut another = story.kubernetes_pods(&job).await?.pop().context("no pod")?;
        let first = another.metadata.name.take().context("no name")?;
        another.metadata.name = Some(format!("{first}-again"));
        (another.metadata.resource_version, another.metadata.uid, another.status) = (None, None, None);
        let spec = another.spec.as_mut().context("no spec")?;
        (spec.node_name, spec.termination_grace_period_seconds) = (None, Some(1));
        pods.create(&PostParams::default(), &another).await?;
        wait_until("the Job controller deletes one of them", LIMIT, || async {
            let there = story.kubernetes_pods(&job).await?;
            let stay = there.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count();
            ensure!(stay == 1, "{stay} stay");
            Ok(())
        })
        .await?;
        let status = story.wait_done(&job).await?;
        ensure!(status["status"] == "successful", "{status}");
        let seen = story.get(&format!("/jobs/{job}/results")).await?.text().await?;
        ensure!(seen == "the result\n", "{seen}");
        let record = story.manifest(&job).await?.record;
        let named = record.workload.and_then(|workload| workload.pod_name);
        ensure!(named.as_ref() == Some(&first), "the end is that of {named:?}");
        ensure!(story.archive(&job).await?.contains("begun"), "the log is not archived");
        all_are_released(story, &job).await
    })
    .await;
}
