//! A node that runs containers: containerd and the kubelet, with folders, sockets, bridge and cgroups of their own.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use kube::Client;
use serde_json::json;

pub(super) use self::places::Places;
use super::{
    NODE_LABEL, NodeKind, control_plane::ControlPlane, control_plane::file, images, packages::Packages, packages::run,
    ready_node, state::Roster,
};
use crate::{
    ports,
    program::{Launch, Program},
    tools::{Tool, Tools},
};

mod places;

/// How long containerd, and then the kubelet, may take.
const START_LIMIT: Duration = Duration::from_secs(90);

/// Starts containerd and gives it the images.
pub(super) async fn start_containerd(
    folder: &Path,
    places: &Places,
    packages: &Packages,
    roster: &Roster<'_>,
) -> Result<Program> {
    places.make()?;
    let config = folder.join("containerd.toml");
    fs::write(&config, containerd_config(places, packages))?;
    let networks = places.data.join("networks");
    fs::create_dir_all(&networks)?;
    fs::write(networks.join("10-bridge.conflist"), network_config(places).to_string())?;
    let launch = Launch::new("containerd", packages.containerd(), folder.join("containerd.log"))
        .arg("--config")
        .arg(&config)
        .env("PATH", packages.search_path());
    let mut containerd = roster.spawn(launch)?;
    let address = places.containerd_socket();
    containerd.wait_ready(START_LIMIT, || ctr(packages, &address, &["version"])).await?;
    for archive in images::standard(packages, &places.data.join("images")).await? {
        import(packages, places, &archive).await?;
    }
    Ok(containerd)
}

/// Starts the kubelet and waits until pods can be bound to its node.
pub(super) async fn start_kubelet(
    folder: &Path,
    places: &Places,
    plane: &ControlPlane,
    tools: &Tools,
    client: &Client,
    roster: &Roster<'_>,
) -> Result<Program> {
    let config = folder.join("kubelet.json");
    fs::write(&config, kubelet_config(places, plane)?.to_string())?;
    let launch = Launch::new("kubelet", tools.path(Tool::Kubelet)?, folder.join("kubelet.log"))
        .args([
            file("config", &config),
            file("kubeconfig", &plane.kubeconfig(&format!("system:node:{}", NodeKind::Real.node_name()))),
        ])
        .args([file("root-dir", &places.kubelet()), file("cert-dir", &places.kubelet().join("pki"))])
        .arg(format!("--hostname-override={}", NodeKind::Real.node_name()))
        .arg(format!("--node-labels={NODE_LABEL}={}", NodeKind::Real));
    let mut kubelet = roster.spawn(launch)?;
    kubelet.wait_ready(START_LIMIT, || ready_node(client.clone(), NodeKind::Real)).await?;
    Ok(kubelet)
}

/// Makes the image in the archive known to the node.
pub(super) async fn import(packages: &Packages, places: &Places, archive: &Path) -> Result<()> {
    let archive = archive.to_string_lossy();
    ctr(packages, &places.containerd_socket(), &["--namespace", "k8s.io", "images", "import", &archive]).await
}

async fn ctr(packages: &Packages, address: &Path, arguments: &[&str]) -> Result<()> {
    ensure!(address.exists(), "{} is not there", address.display());
    let address = address.to_string_lossy();
    let mut all = vec!["--address", &address];
    all.extend(arguments);
    run(packages.ctr(), Path::new("/"), &all).await
}

fn containerd_config(places: &Places, packages: &Packages) -> String {
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # A machine without CAP_SYS_RESOURCE can't give a container a better score than our own.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "{networks}"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "{snapshotter}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  Root = "{state}/runc"
  SystemdCgroup = false
"#,
        root = places.data.join("containerd").display(),
        state = places.short.join("containerd").display(),
        socket = places.containerd_socket().display(),
        pause = images::PAUSE,
        plugins = packages.network_plugins().display(),
        networks = places.data.join("networks").display(),
        snapshotter = places.snapshotter(),
        runc = packages.runc().display(),
    )
}

fn network_config(places: &Places) -> serde_json::Value {
    json!({
        "cniVersion": "0.4.0", "name": "quayside-tests",
        "plugins": [{
            "type": "bridge", "bridge": places.bridge, "isGateway": true, "ipMasq": false,
            "ipam": {
                "type": "host-local", "dataDir": places.data.join("addresses"),
                "ranges": [[{ "subnet": places.subnet }]], "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    })
}

fn kubelet_config(places: &Places, plane: &ControlPlane) -> Result<serde_json::Value> {
    let (certificate, key) = plane.certificates.node();
    let mut config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": "127.0.0.1", "port": ports::free()?, "readOnlyPort": 0, "healthzPort": 0,
        "tlsCertFile": certificate, "tlsPrivateKeyFile": key,
        // Only who has a certificate of our authority is let in, and that is the API server.
        "authentication": {
            "anonymous": { "enabled": false }, "webhook": { "enabled": false },
            "x509": { "clientCAFile": plane.certificates.authority() },
        },
        "authorization": { "mode": "AlwaysAllow" },
        "containerRuntimeEndpoint": format!("unix://{}", places.containerd_socket().display()),
        "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{}", places.cgroup),
        "failSwapOn": false, "failCgroupV1": false, "enforceNodeAllocatable": [], "oomScoreAdj": 0,
        // A developer's disk is often fuller than a node's may be.
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        // So that a log of some ten megabytes is rotated several times, of which only the newest file can be read.
        "containerLogMaxSize": "5Mi", "containerLogMaxFiles": 2, "containerLogMonitorInterval": "3s",
        "makeIPTablesUtilChains": false,
        "podLogsDir": places.data.join("pods"),
        "volumePluginDir": places.kubelet().join("volume-plugins"),
    });
    if !Path::new("/etc/resolv.conf").exists() {
        config.as_object_mut().context("a configuration is an object")?.insert("resolvConf".to_owned(), json!(""));
    }
    Ok(config)
}
