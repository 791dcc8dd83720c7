//! A Kubernetes cluster without a container engine: a real control plane, and nodes that are simulated, real, or both.
//!
//! Everything listens on 127.0.0.1 only, with certificates, tokens and RBAC as in any cluster. A namespace is bound to a
//! kind of node by an annotation (see [`Namespace`]), so pods need nothing special to run on either.
//!
//! A cluster stores nothing that outlives it: whoever starts one gets an empty one.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::{Deserialize, Serialize};

pub use self::{
    account::{deployed_rules, deployed_rules_elsewhere},
    images::Image,
    namespace::{Namespace, manifest as namespace_manifest},
    own::OwnCluster,
    pod_network::Forward,
    simulated_node::OwnNode,
};
use self::{
    control_plane::ControlPlane,
    packages::Packages,
    real_node::Places,
    state::{Roster, State},
};
use crate::{
    program::{Program, Signal},
    tools::{self, Progress, Tool, Tools},
};

mod account;
mod certificates;
mod control_plane;
mod images;
mod namespace;
mod own;
mod packages;
pub mod permissions;
mod pod_network;
mod real_node;
mod simulated_node;
mod state;

/// The label that says a node's kind.
pub const NODE_LABEL: &str = "quayside.dev/node";

/// The environment variable that gives stories the kubeconfig of the run's cluster.
pub const KUBECONFIG_VARIABLE: &str = "QUAYSIDE_TEST_KUBECONFIG";

/// A kind of node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// Pods go through their phases, but no container runs: thousands of them.
    Simulated,
    /// Containers run: needs root, and takes a second or two for each pod.
    Real,
}

impl NodeKind {
    /// The name of the one node of this kind.
    pub fn node_name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            // The kubelet refuses to be told a loopback address, but takes a name that is one for its address.
            Self::Real => "127.0.0.1",
        }
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Simulated => "simulated",
            Self::Real => "real",
        })
    }
}

impl FromStr for NodeKind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "simulated" => Ok(Self::Simulated),
            "real" => Ok(Self::Real),
            other => bail!("a node is simulated or real, not {other}"),
        }
    }
}

/// How many requests a second the controllers and the scheduler may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ControllerLimits {
    /// As Kubernetes ships: some 3 to 5 Jobs a second.
    #[default]
    Stock,
    /// Out of the way of what is measured. A figure must say that it was so.
    Raised,
}

impl FromStr for ControllerLimits {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "stock" => Ok(Self::Stock),
            "raised" => Ok(Self::Raised),
            other => bail!("the controllers' limits are stock or raised, not {other}"),
        }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's folder: its state, certificates, kubeconfig and logs.
    pub dir: PathBuf,
    /// At most one node of each kind.
    pub nodes: Vec<NodeKind>,
    /// The controllers' limits.
    pub controllers: ControllerLimits,
    /// Whether the API server writes each request's metadata, a line of JSON each, to [`Cluster::audit_log`].
    pub audit: bool,
}

/// A running cluster.
///
/// The one who started it ends it by dropping it, unless it was [detached](Self::detach); one that was
/// [attached](Self::attach) runs on.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    state: State,
    /// Empty if another process started them.
    programs: Vec<Program>,
    ends_when_dropped: bool,
}

impl Cluster {
    /// Starts a cluster, building or downloading what it is made of where that is missing.
    ///
    /// What an earlier one in the same folder left is cleared away first; one that still runs is an error.
    pub async fn start(options: &Options, progress: Progress<'_>) -> Result<Self> {
        let mut wanted = control_plane::TOOLS.to_vec();
        wanted.extend(options.nodes.iter().map(|kind| match kind {
            NodeKind::Simulated => Tool::Kwok,
            NodeKind::Real => Tool::Kubelet,
        }));
        // First, since it says at once when this machine can't have a real node.
        let packages = match options.nodes.contains(&NodeKind::Real) {
            true => Some(Packages::require(progress).await?),
            false => None,
        };
        let tools = tools::require(&wanted, progress).await?;
        let mut cluster = Self::empty(options)?;
        cluster.start_all(options, &tools, packages.as_ref(), progress).await?;
        cluster.state.ready = true;
        cluster.state.write(&cluster.dir)?;
        progress("the cluster is ready");
        Ok(cluster)
    }

    /// The cluster that runs in this folder, or `None`.
    pub fn attach(dir: &Path) -> Result<Option<Self>> {
        let dir = std::path::absolute(dir)?;
        let Some(state) = State::read(&dir)?.filter(|state| state.ready && state.is_running()) else {
            return Ok(None);
        };
        Ok(Some(Self { dir, state, programs: Vec::new(), ends_when_dropped: false }))
    }

    /// Ends whatever runs, or was left by a crash, in this folder. Returns whether there was anything.
    pub async fn clear(dir: &Path) -> Result<bool> {
        let dir = std::path::absolute(dir)?;
        let Some(state) = State::read(&dir)? else { return Ok(false) };
        tokio::task::spawn_blocking(move || state.end(&dir)).await??;
        Ok(true)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// A client with all rights.
    pub async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig()).await
    }

    /// The folder with the logs of its programs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The API server's audit log, if it was asked for.
    pub fn audit_log(&self) -> Option<PathBuf> {
        self.state.audit.then(|| self.dir.join("audit.log"))
    }

    /// The kinds of its nodes.
    pub fn nodes(&self) -> &[NodeKind] {
        &self.state.nodes
    }

    /// The controllers' limits.
    pub fn controllers(&self) -> ControllerLimits {
        self.state.controllers
    }

    /// Name, process id, and whether it runs, of each of its programs.
    pub fn members(&self) -> impl Iterator<Item = (&str, i32, bool)> {
        self.state.members.iter().map(|member| (member.name.as_str(), member.process.pid, member.process.is_running()))
    }

    /// The address at which pods on the real node reach servers on this machine, which must listen on it: a pod's
    /// 127.0.0.1 is its own.
    pub fn host_address(&self) -> Option<String> {
        self.state.real_node.as_ref().map(Places::host_address)
    }

    /// Kills one of its programs, such as `kube-apiserver`, as a crash would. Only of a cluster that was started here.
    pub async fn kill(&mut self, member: &str) -> Result<()> {
        self.program(member)?.kill().await?;
        Ok(())
    }

    /// Sends a signal (STOP and CONT among them) to one of its programs. Only of a cluster that was started here.
    pub fn signal(&mut self, member: &str, signal: Signal) -> Result<()> {
        self.program(member)?.signal(signal)
    }

    /// Starts a program that was killed again, as it was. It may take a moment to answer.
    pub fn start_again(&mut self, member: &str) -> Result<()> {
        let program = self.program(member)?;
        program.start_again()?;
        let process = program.identity()?;
        self.state.replace(member, process);
        self.state.write(&self.dir)
    }

    fn program(&mut self, name: &str) -> Result<&mut Program> {
        let found = self.programs.iter_mut().find(|program| program.name() == name);
        found.with_context(|| format!("{name} was not started here"))
    }

    /// Makes an image known to the real node: an archive as [`Image::write`] or `docker save` make it.
    pub async fn import_image(&self, archive: &Path) -> Result<()> {
        let places = self.state.real_node.as_ref().context("the cluster has no real node")?;
        real_node::import(&Packages::require(&|_| ()).await?, places, archive).await
    }

    /// Lets it run on when this value is dropped.
    pub fn detach(mut self) -> Result<()> {
        self.ends_when_dropped = false;
        for program in self.programs.drain(..) {
            program.detach()?;
        }
        Ok(())
    }

    /// Ends it, also if it was attached to, and removes what it left on the machine except its logs.
    pub async fn stop(mut self) -> Result<()> {
        self.ends_when_dropped = false;
        let (state, dir) = (self.state.clone(), self.dir.clone());
        tokio::task::spawn_blocking(move || state.end(&dir)).await?
    }

    fn empty(options: &Options) -> Result<Self> {
        let dir = std::path::absolute(&options.dir)?;
        if let Some(before) = State::read(&dir)? {
            ensure!(!(before.ready && before.is_running()), "a cluster runs in {} already", dir.display());
            before.end(&dir).context("what an earlier cluster left can't be cleared away")?;
        }
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} can't be emptied", dir.display()));
            }
            _ => fs::create_dir_all(&dir)?,
        }
        let real_node = match options.nodes.contains(&NodeKind::Real) {
            true => Some(Places::choose(&dir)?),
            false => None,
        };
        let state = State {
            ready: false,
            nodes: options.nodes.clone(),
            controllers: options.controllers,
            audit: options.audit,
            members: Vec::new(),
            real_node,
        };
        state.write(&dir)?;
        Ok(Self { dir, state, programs: Vec::new(), ends_when_dropped: true })
    }

    async fn start_all(
        &mut self,
        options: &Options,
        tools: &Tools,
        packages: Option<&Packages>,
        progress: Progress<'_>,
    ) -> Result<()> {
        let roster = Roster::new(&self.dir, self.state.clone());
        let started = self.start_programs(options, tools, packages, &roster, progress).await;
        self.state = roster.into_state();
        self.programs = started?;
        Ok(())
    }

    async fn start_programs(
        &self,
        options: &Options,
        tools: &Tools,
        packages: Option<&Packages>,
        roster: &Roster<'_>,
        progress: Progress<'_>,
    ) -> Result<Vec<Program>> {
        progress("starting the control plane");
        let mut plane = ControlPlane::prepare(&self.dir)?;
        let real = packages.zip(self.state.real_node.as_ref());
        let control_plane = async {
            let etcd = plane.start_etcd(tools, roster).await?;
            let apiserver = plane.start_apiserver(tools, options, roster).await?;
            let controllers = roster.spawn(plane.controller_manager(tools, options.controllers)?)?;
            let scheduler = roster.spawn(plane.scheduler(tools, options.controllers)?)?;
            Ok(vec![etcd, apiserver, controllers, scheduler])
        };
        let containerd = async {
            match real {
                Some((packages, places)) => {
                    real_node::start_containerd(&self.dir, places, packages, roster).await.map(Some)
                }
                None => Ok(None),
            }
        };
        let (mut programs, containerd) = tokio::try_join!(control_plane, containerd)?;
        programs.extend(containerd);

        let client = self.client().await?;
        let simulated = async {
            if !options.nodes.contains(&NodeKind::Simulated) {
                return Ok(None);
            }
            progress("starting the simulated node");
            simulated_node::start(&self.dir, &plane, tools, &client, roster, progress).await.map(Some)
        };
        let real = async {
            let Some((_, places)) = real else { return Ok(None) };
            progress("starting the real node");
            real_node::start_kubelet(&self.dir, places, &plane, tools, &client, roster).await.map(Some)
        };
        let (simulated, real) = tokio::try_join!(simulated, real)?;
        programs.extend(simulated.into_iter().chain(real));
        Ok(programs)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.ends_when_dropped
            && let Err(error) = self.state.end(&self.dir)
        {
            tracing::warn!(error = format!("{error:#}"), "the cluster did not end cleanly");
        }
    }
}

/// A client from a kubeconfig. Requests are not repeated behind the caller's back.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// A client for the cluster that the test runner started: see [`KUBECONFIG_VARIABLE`].
pub async fn client_of_run() -> Result<Client> {
    client(&kubeconfig_of_run()?).await
}

/// The cluster that the test runner started, for what its API server can't do: import an image, read the audit log.
pub fn of_run() -> Result<Cluster> {
    let kubeconfig = kubeconfig_of_run()?;
    let dir = kubeconfig.parent().context("a kubeconfig lies in a folder")?;
    Cluster::attach(dir)?.with_context(|| format!("no cluster runs in {}", dir.display()))
}

pub(crate) fn kubeconfig_of_run() -> Result<PathBuf> {
    std::env::var_os(KUBECONFIG_VARIABLE)
        .map(PathBuf::from)
        .ok_or_else(|| anyhow!("{KUBECONFIG_VARIABLE} is not set: run this story with `cargo xtask test`"))
}

/// Succeeds once pods can be bound to the node.
async fn ready_node(client: Client, kind: NodeKind) -> Result<()> {
    let node = Api::<Node>::all(client).get(kind.node_name()).await?;
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.iter().find(|one| one.type_ == "Ready").context("the node says nothing yet")?;
    ensure!(ready.status == "True", "the node is not ready: {}", ready.message.as_deref().unwrap_or_default());
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    ensure!(taints.is_empty(), "the node is still tainted");
    Ok(())
}
