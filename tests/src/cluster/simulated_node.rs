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

use super::{
    NodeKind,
    certificates::Certificates,
    client,
    control_plane::{CERTIFICATES, ControlPlane, file},
    ready_node,
    state::Roster,
};
use crate::{
    ports,
    program::{Launch, Program, wait_until},
    tools::{self, Progress, Tool, Tools},
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
    let launch = launch(kwok, &sources, &plane.kubeconfig("admin"), &plane.certificates, "fake", folder)?;
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

/// A node of a story's own, which goes silent with the program that simulates it. The node stays: whoever starts it deletes it.
#[derive(Debug)]
pub struct OwnNode {
    program: Program,
}

impl OwnNode {
    /// Starts it in a cluster, whose administrator's kubeconfig this is. Its taint, `quayside.dev/story` with its name, keeps the pods
    /// of others away; its label, the same, calls its own.
    ///
    /// # Errors
    /// When it can't be started.
    pub async fn start(admin: &Path, name: &str, folder: &Path) -> Result<Self> {
        let tools = tools::require(&[Tool::Kwok], &|_| ()).await?;
        let kwok = tools.path(Tool::Kwok)?;
        let sources = from_sources(kwok, &|_| ()).await?;
        let cluster = admin.parent().context("a kubeconfig lies in a folder")?;
        let certificates = Certificates::of(&cluster.join(CERTIFICATES));
        let mut program = launch(kwok, &sources, admin, &certificates, name, folder)?.spawn()?;
        let client = client(admin).await?;
        let room = json!({ "cpu": "1", "memory": "1Gi", "pods": "10" });
        let node: Node = serde_json::from_value(json!({
            "metadata": {
                "name": name,
                "annotations": { "kwok.x-k8s.io/node": name },
                "labels": {
                    (super::NODE_LABEL): NodeKind::Simulated.to_string(), "quayside.dev/story": name, "kubernetes.io/os": "linux",
                },
            },
            "spec": { "taints": [{ "key": "quayside.dev/story", "value": name, "effect": "NoSchedule" }] },
            "status": { "allocatable": room, "capacity": room },
        }))?;
        Api::<Node>::all(client.clone()).create(&PostParams::default(), &node).await?;
        program.wait_ready(START_LIMIT, || is_ready(client.clone(), name.to_owned())).await?;
        Ok(Self { program })
    }

    /// From now on nothing is heard of it.
    ///
    /// # Errors
    /// When its program can't be killed.
    pub async fn die(&mut self) -> Result<()> {
        self.program.kill().await?;
        Ok(())
    }
}

async fn is_ready(client: Client, name: String) -> Result<()> {
    let node = Api::<Node>::all(client).get(&name).await?;
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True").then_some(()).context("not ready")
}

/// kwok for the nodes whose annotation has this value.
fn launch(
    kwok: &Path,
    sources: &Path,
    admin: &Path,
    certificates: &Certificates,
    annotation: &str,
    folder: &Path,
) -> Result<Launch> {
    let outcome = folder.join(OUTCOME.0);
    fs::write(&outcome, OUTCOME.1)?;
    let port = ports::free()?;
    let (certificate, key) = certificates.node();
    // Without a name kwok writes a node that was taken for lost, and is back, without any address: no log could be read any more.
    let place = ["--node-ip=127.0.0.1", "--node-name=127.0.0.1"];
    Ok(Launch::new("kwok", kwok, folder.join("kwok.log"))
        .args([file("kubeconfig", admin), file("config", &outcome)])
        .args(STAGES.iter().map(|stage| file("config", &sources.join(stage))))
        .arg(format!("--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node={annotation}"))
        .args(["--enable-crds=ClusterLogs", "--cidr=10.128.0.0/9"])
        .args(place)
        .arg("--node-lease-duration-seconds=40")
        .args([format!("--node-port={port}"), format!("--server-address=127.0.0.1:{port}")])
        .args([file("tls-cert-file", &certificate), file("tls-private-key-file", &key)]))
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
