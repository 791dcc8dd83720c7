//! `cargo xtask cluster up|down|status`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use end_to_end::{
    cluster::{Cluster, ControllerLimits, NodeKind, Options},
    tools::{self, Tool, target_directory},
};

/// What to do with the cluster.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// The cluster's folder [default: quayside/cluster in the target folder].
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start a cluster that runs on after this command.
    Up {
        /// Kinds of node, separated by commas: simulated, real.
        #[arg(long, value_delimiter = ',', default_value = "simulated")]
        node: Vec<NodeKind>,
        /// How many requests the controllers may send: stock or raised.
        #[arg(long, default_value = "stock")]
        controllers: ControllerLimits,
        /// Write an audit log.
        #[arg(long)]
        audit: bool,
    },
    /// Stop it, and remove what it, or one that crashed, left on the machine.
    Down,
    /// Say what runs.
    Status,
}

/// Does it.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let dir = arguments.dir.unwrap_or_else(|| target_directory().join("quayside/cluster"));
    match arguments.action {
        Action::Up { mut node, controllers, audit } => {
            node.dedup();
            up(Options { dir, nodes: node, controllers, audit }).await
        }
        Action::Down => {
            let found = Cluster::clear(&dir).await?;
            println!("{}", if found { "the cluster is stopped" } else { "no cluster runs" });
            Ok(())
        }
        Action::Status => {
            match Cluster::attach(&dir)? {
                Some(cluster) => describe(&cluster).await,
                None => {
                    println!("no cluster runs in {} (`down` clears away what one that crashed left)", dir.display())
                }
            }
            Ok(())
        }
    }
}

async fn up(options: Options) -> Result<()> {
    if let Some(cluster) = Cluster::attach(&options.dir)? {
        println!("a cluster runs already");
        describe(&cluster).await;
        return Ok(());
    }
    let progress = |line: &str| eprintln!("{line}");
    let cluster = tokio::select! {
        started = Cluster::start(&options, &progress) => started?,
        // What was started so far ends with the dropped future.
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    describe(&cluster).await;
    cluster.detach()
}

async fn describe(cluster: &Cluster) {
    for (name, pid, is_running) in cluster.members() {
        println!("{name:<24} {:<8} pid {pid}", if is_running { "runs" } else { "ended" });
    }
    let nodes: Vec<String> = cluster.nodes().iter().map(NodeKind::to_string).collect();
    println!("nodes       {}", nodes.join(", "));
    println!("controllers {:?}", cluster.controllers());
    println!("logs        {}", cluster.dir().display());
    if let Some(file) = cluster.audit_log() {
        println!("audit log   {}", file.display());
    }
    println!("kubeconfig  {}", cluster.kubeconfig().display());
    // Only for this hint: building kubectl for it would be too much.
    let kubectl = tools::find(Tool::Kubectl).await.map_or_else(|| "kubectl".into(), |path| path.display().to_string());
    println!("\n{kubectl} --kubeconfig {} get pods --all-namespaces", cluster.kubeconfig().display());
}
