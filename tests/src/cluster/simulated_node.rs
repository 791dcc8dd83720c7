//! A node that runs nothing: kwok moves the pods bound to it through their phases, thousands of them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::{
    api::core::v1::Node, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use super::{NodeKind, control_plane::ControlPlane, control_plane::file, ready_node, state::Roster};
use crate::{
    ports,
    program::{Launch, Program, wait_until},
    tools::{Progress, Tool, Tools},
};

/// How long kwok may take to declare its node ready.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What we take from kwok's own sources: pods that run and complete at once, and a node that stays ready.
const STAGES: [&str; 5] = [
    "kustomize/stage/pod/fast/pod-ready.yaml",
    "kustomize/stage/pod/fast/pod-complete.yaml",
    "kustomize/stage/pod/fast/pod-delete.yaml",
    "kustomize/stage/node/fast/node-initialize.yaml",
    "kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
];
const LOGS_DEFINITION: &str = "kustomize/crd/bases/kwok.x-k8s.io_clusterlogs.yaml";
/// Ours: see the file.
const OUTCOME: (&str, &str) = ("simulated_outcome.yaml", include_str!("simulated_outcome.yaml"));

/// Starts kwok and its one node, and waits until pods can be bound to it.
pub(super) async fn start(
    folder: &Path,
    plane: &ControlPlane,
    tools: &Tools,
    client: &Client,
    roster: &Roster<'_>,
    progress: Progress<'_>,
) -> Result<Program> {
    let kwok = tools.path(Tool::Kwok)?;
    let sources = from_sources(kwok, progress).await?;
    define_logs(client, &sources.join(LOGS_DEFINITION)).await?;
    let outcome = folder.join(OUTCOME.0);
    fs::write(&outcome, OUTCOME.1)?;
    let port = ports::free()?;
    let (certificate, key) = plane.certificates.node();
    let launch = Launch::new("kwok", kwok, folder.join("kwok.log"))
        .args([file("kubeconfig", &plane.kubeconfig("admin")), file("config", &outcome)])
        .args(STAGES.iter().map(|stage| file("config", &sources.join(stage))))
        .args(["--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake", "--enable-crds=ClusterLogs"])
        .args(["--cidr=10.128.0.0/9", "--node-lease-duration-seconds=40", "--node-ip=127.0.0.1"])
        .args([format!("--node-port={port}"), format!("--server-address=127.0.0.1:{port}")])
        .args([file("tls-cert-file", &certificate), file("tls-private-key-file", &key)]);
    let mut program = roster.spawn(launch)?;
    let room = json!({ "cpu": "100k", "memory": "1Pi", "ephemeral-storage": "1Pi", "pods": "1M" });
    let node: Node = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": NodeKind::Simulated.node_name(),
            "annotations": { "kwok.x-k8s.io/node": "fake" },
            "labels": { (super::NODE_LABEL): NodeKind::Simulated.to_string(), "kubernetes.io/os": "linux" },
        },
        "status": { "allocatable": room, "capacity": room },
    }))?;
    Api::<Node>::all(client.clone()).create(&PostParams::default(), &node).await?;
    program.wait_ready(START_LIMIT, || ready_node(client.clone(), NodeKind::Simulated)).await?;
    Ok(program)
}

/// Copies the files we use from the module's sources beside the program, once.
async fn from_sources(kwok: &Path, progress: Progress<'_>) -> Result<PathBuf> {
    let beside = kwok.parent().context("kwok lies in no folder")?.join(format!("../kwok-{}", Tool::Kwok.version()?));
    if !beside.join("complete").exists() {
        progress("copying the stages of simulated pods from kwok's sources");
        let sources = Tool::Kwok.sources().await?;
        for name in STAGES.iter().chain([&LOGS_DEFINITION]) {
            let copy = beside.join(name);
            fs::create_dir_all(copy.parent().context("a file lies in a folder")?)?;
            // Read and written: the sources are write-protected, and a plain copy would be too.
            let text = fs::read(sources.join(name)).with_context(|| format!("kwok's sources have no {name}"))?;
            fs::write(copy, text)?;
        }
        fs::write(beside.join("complete"), "")?;
    }
    Ok(beside)
}

/// Tells the API server about `ClusterLogs`, the objects that name the file served as a pod's log.
async fn define_logs(client: &Client, file: &Path) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let value: serde_json::Value = serde_saphyr::from_str(&text).with_context(|| format!("{}", file.display()))?;
    let definition: CustomResourceDefinition = serde_json::from_value(value)?;
    let name = definition.metadata.name.clone().context("the definition of ClusterLogs has no name")?;
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    definitions.create(&PostParams::default(), &definition).await?;
    wait_until("ClusterLogs are served", START_LIMIT, || async {
        let conditions = definitions.get(&name).await?.status.and_then(|status| status.conditions).unwrap_or_default();
        let established = conditions.iter().any(|one| one.type_ == "Established" && one.status == "True");
        established.then_some(()).context("not established")
    })
    .await
}
