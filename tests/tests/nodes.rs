//! What becomes of jobs when something happens to their node.

use anyhow::{Context, Result, ensure};
use end_to_end::{
    cluster::{NodeKind, OwnCluster, OwnNode},
    program::wait_until,
    story::{Backend, LIMIT, Setting, Story, process_yaml, skips, tell},
};
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use kube::{Api, api::DeleteParams};
use protocol::job_record::ArchiveState;
use serde_json::{Value, json};

use crate::reasons::failed;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_node_goes_silent_is_given_up_with_it() {
    let name = format!("silent-{}", std::process::id());
    // Without the second one Kubernetes leaves pods on a silent node for 300 s.
    let options = format!(
        "      env: [{{name: SIMULATED_DURATION, value: 600s}}]
      node_selector: {{quayside.dev/story: {name}}}
      tolerations:
        - {{key: quayside.dev/story, operator: Exists, effect: NoSchedule}}
        - {{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, toleration_seconds: 1}}
      resources:\n"
    );
    let yaml = process_yaml("long", "true").replace("      resources:\n", &options);
    // Its log can't be read any more: that is a gap, after a while.
    let setting = Setting::new(Backend::Simulated).with_processes(&yaml).with("QUAYSIDE_FINALIZER__LOG_DEADLINE", "5");
    tell("node-silent", setting, async |story| {
        let admin = story.kubeconfig.as_deref().context("no kubeconfig")?;
        let folder = story.stack.folder();
        let mut node = OwnNode::start(admin, &name, folder).await?;
        let told = goes_silent(story, &mut node).await;
        // It does not go with the story's namespace.
        let (_, client) = story.cluster()?;
        Api::<Node>::all(client.clone()).delete(&name, &DeleteParams::default()).await?;
        told
    })
    .await;
}

async fn goes_silent(story: &Story, node: &mut OwnNode) -> Result<()> {
    let job = story.submit("long", json!({})).await?;
    story.wait_for(&job, &["running"]).await?;
    node.die().await?;
    // The node's heartbeat is waited for for 50 s.
    wait_until("the execution has ended", LIMIT, || async {
        let status = story.status(&job).await?;
        ensure!(
            status["message"].as_str().is_some_and(|message| message.contains("DeletionByTaintManager")),
            "{status}"
        );
        Ok(())
    })
    .await?;
    failed(story, &job, "NodeLost", "DeletionByTaintManager").await?;
    let archive = story.manifest(&job).await?.record.archive;
    ensure!(archive.state == ArchiveState::Gap, "{archive:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fills_the_disk_of_the_real_node_beyond_its_limit_is_evicted_and_says_so() {
    let script = "echo begun; head -c 33554432 /dev/zero > /tmp/filled; echo written; sleep 600 & wait";
    let yaml = process_yaml("filling", script).replace("memory: 256Mi", "memory: 256Mi, ephemeral-storage: 8Mi");
    tell("node-evicts", Setting::new(Backend::Real).with_processes(&yaml), async |story| {
        let job = story.submit("filling", json!({})).await?;
        failed(story, &job, "Evicted", "ephemeral local storage usage exceeds the total limit of containers 8Mi").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_while_the_kubelet_of_its_node_is_stopped_and_ends_well_with_its_whole_log() -> Result<()> {
    const NAME: &str = "kubelet-stopped";
    if skips(NAME, Backend::Real) {
        return Ok(());
    }
    let mut own = OwnCluster::start(NAME, vec![NodeKind::Real]).await?;
    let script = "for i in $(seq 20); do echo \"tick $i\"; sleep 1; done\n\
                  echo PYGEOAPI_K8S_MANAGER_RESULT_START\necho '{\"ticks\": 20}'";
    let setting = Setting::new(Backend::Real).with_processes(&process_yaml("ticking", script)).on(&own);
    tell(NAME, setting, async |story| {
        let job = story.submit("ticking", json!({})).await?;
        story.wait_for(&job, &["running"]).await?;
        own.cluster.kill("kubelet").await?;
        // By then the container has ended, which nobody could tell.
        let (_, client) = story.cluster()?;
        let nodes = Api::<Node>::all(client.clone());
        wait_until("the node is given up", LIMIT, || async {
            let status = nodes.get(NodeKind::Real.node_name()).await?.status.context("no status")?;
            let is_silent = |one: &NodeCondition| one.type_ == "Ready" && one.status == "Unknown";
            ensure!(status.conditions.iter().flatten().any(is_silent), "not yet");
            Ok(())
        })
        .await?;
        let status = story.status(&job).await?;
        ensure!(status["status"] == "running", "{status}");
        own.cluster.start_again("kubelet")?;
        let status = story.wait_done(&job).await?;
        ensure!(status["status"] == "successful", "{status}");
        let result: Value = story.get(&format!("/jobs/{job}/results")).await?.json().await?;
        ensure!(result == json!({ "ticks": 20 }), "{result}");
        let archive = story.archive(&job).await?;
        let ticks: Vec<&str> = archive.lines().filter(|line| line.starts_with("tick ")).collect();
        let expected: Vec<String> = (1..=20).map(|number| format!("tick {number}")).collect();
        ensure!(ticks == expected, "{archive}");
        let record = story.manifest(&job).await?.record;
        ensure!(record.archive.state == ArchiveState::Stored, "{:?}", record.archive);
        Ok(())
    })
    .await;
    own.stop().await
}
