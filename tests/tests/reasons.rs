//! Why jobs fail, on a simulated node: what Kubernetes itself does to them, each with its own word.

use anyhow::{Context, Result, bail, ensure};
use end_to_end::{
    program::wait_until,
    stack::Store,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::{Node, Pod, ResourceQuota},
    scheduling::v1::PriorityClass,
};
use kube::{
    Api,
    api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams},
};
use protocol::{Event, JobId, names::subjects::parse_event};
use serde_json::{Value, json};

/// A process whose pod runs for long, with more options.
fn long(id: &str, options: &str) -> String {
    process_yaml(id, "true").replace(
        "      resources:\n",
        &format!("      env: [{{name: SIMULATED_DURATION, value: 600s}}]\n{options}      resources:\n"),
    )
}

pub(crate) fn object<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    Ok(serde_json::from_value(value)?)
}

/// The job failed for this reason: in the status document, in the event and in the exception.
pub(crate) async fn failed(story: &Story, job: &JobId, reason: &str, words: &str) -> Result<()> {
    let status = story.wait_done(job).await?;
    let message = status["message"].as_str().context("no message")?;
    ensure!(status["status"] == "failed" && message.contains(words), "{status}");
    ensure!(status["reason"] == reason, "{status}");
    let event = story
        .messages()
        .await?
        .into_iter()
        .find(|(subject, _)| matches!(parse_event(subject), Some((_, of, Event::Failed)) if of == *job));
    let (_, event) = event.context("no event tells that it failed")?;
    ensure!(event["data"]["outcome"]["reason"] == reason, "{event}");
    let exception: Value = story.get(&format!("/jobs/{job}/results")).await?.json().await?;
    ensure!(exception["reason"] == reason, "{exception}");
    ensure!(exception["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{exception}");
    Ok(())
}

async fn running_pod(story: &Story, job: &JobId) -> Result<String> {
    story.wait_for(job, &["running"]).await?;
    let pods = story.kubernetes_pods(job).await?;
    pods.first().and_then(|pod| pod.metadata.name.clone()).context("no pod")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_evicted_or_deleted_by_hand_says_which() {
    let setting = Setting::new(Backend::Simulated).with_processes(&long("long", ""));
    tell("reasons-evicted", setting, async |story| {
        let (namespace, client) = story.cluster()?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace.name());
        let evicted = story.submit("long", json!({})).await?;
        pods.evict(&running_pod(story, &evicted).await?, &EvictParams::default()).await?;
        failed(story, &evicted, "Evicted", "EvictionByEvictionAPI").await?;
        let deleted = story.submit("long", json!({})).await?;
        pods.delete(&running_pod(story, &deleted).await?, &DeleteParams::default()).await?;
        failed(story, &deleted, "Deleted", "deleted").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_log_the_bucket_does_not_take_in_time_says_so() {
    let setting = Setting::new(Backend::Simulated)
        .with_processes(&process_yaml("p", "true"))
        .with("QUAYSIDE_FINALIZER__SEAL_DEADLINE", "5")
        .with("QUAYSIDE_FINALIZER__LOG_DEADLINE", "5");
    tell("reasons-bucket", setting, async |story| {
        let Store::Embedded(server) = &story.stack.store else { bail!("another store than was asked for") };
        server.refuse(|_, _| true);
        let job = story.submit("p", json!({})).await?;
        failed(story, &job, "StoreUnavailable", "its result could not be stored").await
    })
    .await;
}

/// A node of the story's own, beside those of the cluster: only pods that bear its taint come to it.
async fn own_node(story: &Story, name: &str) -> Result<Api<Node>> {
    let (_, client) = story.cluster()?;
    let room = json!({ "cpu": "1", "memory": "1Gi", "pods": "10" });
    let node: Node = object(json!({
        "metadata": {
            "name": name,
            "annotations": { "kwok.x-k8s.io/node": "fake" },
            "labels": { "quayside.dev/node": "simulated", "quayside.dev/story": name, "kubernetes.io/os": "linux" },
        },
        "spec": { "taints": [{ "key": "quayside.dev/story", "value": name, "effect": "NoSchedule" }] },
        "status": { "allocatable": room, "capacity": room },
    }))?;
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &node).await?;
    Ok(nodes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_makes_room_for_a_more_important_one_or_loses_its_node_says_so() {
    let name = format!("reasons-{}", std::process::id());
    let options = format!(
        "      node_selector: {{quayside.dev/story: {name}}}\n      tolerations: [{{key: quayside.dev/story, operator: Exists, \
         effect: NoSchedule}}]\n"
    );
    let low = long("low", &options).replace("cpu: 10m", "cpu: 800m");
    let high = long("high", &format!("{options}      priority_class_name: {name}\n")).replace("cpu: 10m", "cpu: 800m");
    let setting = Setting::new(Backend::Simulated).with_processes(&format!("{low}{high}"));
    tell("reasons-node", setting, async |story| {
        let (_, client) = story.cluster()?;
        let classes: Api<PriorityClass> = Api::all(client.clone());
        classes
            .create(&PostParams::default(), &object(json!({ "metadata": { "name": name }, "value": 1000 }))?)
            .await?;
        let nodes = own_node(story, &name).await?;
        let told = preempted_and_lost(story, &nodes, &name).await;
        // These do not go with the story's namespace.
        nodes.delete(&name, &DeleteParams::default()).await?;
        classes.delete(&name, &DeleteParams::default()).await?;
        told
    })
    .await;
}

async fn preempted_and_lost(story: &Story, nodes: &Api<Node>, name: &str) -> Result<()> {
    let low = story.submit("low", json!({})).await?;
    running_pod(story, &low).await?;
    let high = story.submit("high", json!({})).await?;
    failed(story, &low, "Preempted", "PreemptionByScheduler").await?;
    running_pod(story, &high).await?;
    let taints = json!([
        { "key": "quayside.dev/story", "value": name, "effect": "NoSchedule" },
        { "key": "quayside.dev/lost", "effect": "NoExecute" },
    ]);
    nodes.patch(name, &PatchParams::default(), &Patch::Merge(json!({ "spec": { "taints": taints } }))).await?;
    failed(story, &high, "NodeLost", "DeletionByTaintManager").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_quota_forbids_waits_and_says_so_until_there_is_room_or_its_time_is_over() {
    let setting = Setting::new(Backend::Simulated)
        .with_processes(&process_yaml("quick", "true"))
        .with("QUAYSIDE_DISPATCHER__QUOTA_DEADLINE", "20");
    tell("reasons-quota", setting, async |story| {
        let (namespace, client) = story.cluster()?;
        let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), namespace.name());
        let none =
            object(json!({ "metadata": { "name": "a-quota" }, "spec": { "hard": { "count/jobs.batch": "0" } } }))?;
        quotas.create(&PostParams::default(), &none).await?;
        let waits = story.submit("quick", json!({})).await?;
        wait_until("it says that it waits for the quota", LIMIT, || async {
            let status = story.status(&waits).await?;
            let message = status["message"].as_str().unwrap_or_default();
            ensure!(status["status"] == "accepted", "{status}");
            ensure!(message.contains("QuotaExceeded") && message.contains("a-quota"), "{status}");
            Ok(())
        })
        .await?;
        failed(story, &waits, "QuotaExceeded", "a-quota").await?;
        let goes_on = story.submit("quick", json!({})).await?;
        quotas.delete("a-quota", &DeleteParams::default()).await?;
        let status = story.wait_done(&goes_on).await?;
        ensure!(status["status"] == "successful", "{status}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_policy_refuses_or_no_node_takes_says_why() {
    let nowhere = long("nowhere", "      node_selector: {quayside.dev/story: nowhere}\n");
    let setting = Setting::new(Backend::Simulated)
        .with_processes(&format!("{nowhere}{}", process_yaml("quick", "true")))
        .with("QUAYSIDE_DISPATCHER__START_DEADLINE", "3");
    tell("reasons-refused", setting, async |story| {
        let unschedulable = story.submit("nowhere", json!({})).await?;
        failed(story, &unschedulable, "Unschedulable", "node affinity/selector").await?;
        let (namespace, client) = story.cluster()?;
        let name = namespace.name();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
        let jobs =
            json!({ "apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"] });
        let policy = object(json!({
            "metadata": { "name": name },
            "spec": {
                "matchConstraints": { "resourceRules": [jobs] },
                "validations": [{ "expression": "false", "message": "no Jobs today" }],
            },
        }))?;
        let binding = object(json!({
            "metadata": { "name": name },
            "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } },
            },
        }))?;
        policies.create(&PostParams::default(), &policy).await?;
        bindings.create(&PostParams::default(), &binding).await?;
        let told = refused(story).await;
        bindings.delete(name, &DeleteParams::default()).await?;
        policies.delete(name, &DeleteParams::default()).await?;
        told
    })
    .await;
}

/// A policy holds some time after it was made: until then jobs end well.
async fn refused(story: &Story) -> Result<()> {
    wait_until("the policy refuses a job", LIMIT, || async {
        let job = story.submit("quick", json!({})).await?;
        failed(story, &job, "AdmissionRejected", "no Jobs today").await
    })
    .await
}
