//! `cargo xtask up`: the whole of Quayside on this machine.

use std::{
    fs,
    io::{IsTerminal, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use end_to_end::{
    cluster::{self, Cluster, ControllerLimits, Forward, Namespace, NodeKind},
    services,
    stack::{ExecutorChoice, Options, Stack, StoreChoice},
    tools::{self, Tool, target_directory, workspace_directory},
};
use protocol::{configuration::Configuration, names::environment, process::ProcessDefinition};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::lock;

/// What can be asked of `up`.
#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Port of the gateway on 127.0.0.1; further replicas take the ports after it.
    #[arg(long, default_value_t = 5000)]
    port: u16,
    /// The configuration file [default: quayside-config.yaml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How many of each service.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    replicas: u16,
    /// What runs the jobs.
    #[arg(long, value_enum, default_value = "local")]
    executor: ExecutorKind,
    /// Starts a Kubernetes control plane with such a node first, and uses it.
    #[arg(long, value_enum)]
    cluster: Option<ClusterKind>,
    /// Where everything is kept [default: target/quayside].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Starts empty: forgets what an earlier start kept.
    #[arg(long)]
    fresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ExecutorKind {
    /// Child processes of this machine.
    Local,
    /// The cluster of the current kubeconfig.
    Kubernetes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ClusterKind {
    /// A node that only pretends to run pods.
    Simulated,
    /// A node that runs containers.
    Real,
}

/// Starts all of it, says how to use it, and stops all of it at Ctrl-C.
///
/// # Errors
/// When a port is in use, a tool is missing, the configuration is broken, or a service ends by itself.
pub(crate) async fn run(up: Up) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut asked_to_stop = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let mut running = None;
    let started = tokio::select! {
        started = start(&up, &mut running) => Some(started),
        () = asked_to_stop() => None,
    };
    let outcome = match started {
        None => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(())) => match running.as_mut() {
            Some(Everything { stack, .. }) => tokio::select! {
                () = asked_to_stop() => Ok(()),
                ended = any_ends(stack) => Err(ended),
            },
            None => Ok(()),
        },
    };
    if let Some(mut everything) = running {
        say("stopping");
        everything.stop().await?;
        say("everything is stopped; what was stored is kept");
    }
    outcome
}

struct Everything {
    stack: Stack,
    /// Lets pods reach S3.
    _forward: Option<Forward>,
    cluster: Option<Cluster>,
    data: PathBuf,
    _lock: fs::File,
}

impl Everything {
    async fn stop(&mut self) -> Result<()> {
        let services = self.stack.stop().await;
        let jobs = end_to_end::local_jobs::stop_all(&self.data.join("local"));
        if let Some(cluster) = self.cluster.take() {
            cluster.stop().await?;
            Namespace::usual(NodeKind::Simulated).remove_log()?;
        }
        services.and(jobs)
    }
}

async fn start(up: &Up, running: &mut Option<Everything>) -> Result<()> {
    let data = up.data.clone().unwrap_or_else(|| target_directory().join("quayside"));
    let data = std::path::absolute(&data)?;
    let lock = lock::take(&data, "up", "stop it, or choose another folder with --data")?;
    for replica in 0..up.replicas {
        let port = up.port.checked_add(replica).context("--port and --replicas: there are no ports above 65535")?;
        TcpListener::bind(("127.0.0.1", port))
            .with_context(|| format!("port {port} on 127.0.0.1 can't be used; choose another with --port"))?;
    }
    let config = match &up.config {
        Some(file) => std::path::absolute(file)?,
        None => workspace_directory().join("quayside-config.yaml"),
    };
    let configuration = read_configuration(&config, up.port)?;
    if up.fresh {
        say("starting empty");
        forget(&data)?;
    }
    let token = token(&data)?;
    let tools = tools::require(&[Tool::NatsServer], &say).await?;
    services::build(&say).await?;
    let cluster = match up.cluster {
        None => None,
        Some(kind) => Some(start_cluster(kind, data.join("cluster")).await?),
    };
    let executor = match (&cluster, up.executor) {
        (Some((_, kubeconfig)), _) => of_kubeconfig(kubeconfig.clone(), Some("default".to_owned())),
        (None, ExecutorKind::Kubernetes) => {
            of_kubeconfig(current_kubeconfig()?, std::env::var(environment::NAMESPACE).ok())
        }
        (None, ExecutorKind::Local) => ExecutorChoice::Local,
    };
    let kubeconfig = match &executor {
        ExecutorChoice::Kubernetes { dispatcher, .. } => Some(dispatcher.clone()),
        ExecutorChoice::Local => None,
    };
    let options = Options {
        folder: data.clone(),
        config,
        token: Some(token.clone()),
        port: Some(up.port),
        replicas: usize::from(up.replicas),
        executor,
        store: StoreChoice::Embedded,
        inherit_environment: true,
        // Ctrl-C ends what is in hand after a few seconds; a job goes on at the next start.
        environment: vec![("QUAYSIDE_SHUTDOWN_LIMIT".to_owned(), "5".to_owned())],
    };
    let stack = Stack::start(options, &tools, &say).await?;
    let forward = match (&cluster, up.cluster, stack.store.port()) {
        (Some((_, kubeconfig)), Some(ClusterKind::Real), Some(port)) => Some(Forward::start(kubeconfig, port)?),
        _ => None,
    };
    let hint = configuration.processes.values().next().map(|process| hint(process, &token));
    describe(up, &stack, &token, kubeconfig.as_deref(), hint.as_deref());
    *running = Some(Everything {
        stack,
        _forward: forward,
        cluster: cluster.and_then(|(cluster, _)| cluster),
        data,
        _lock: lock,
    });
    Ok(())
}

fn read_configuration(file: &Path, port: u16) -> Result<Configuration> {
    let text = fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
    let variables = |name: &str| match name {
        "QUAYSIDE_URL" => Some(format!("http://127.0.0.1:{port}")),
        "QUAYSIDE_PORT" => Some(port.to_string()),
        _ => std::env::var(name).ok(),
    };
    let (configuration, warnings) = Configuration::read(&text, &file.display().to_string(), &variables)?;
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
    Ok(configuration)
}

/// How to execute a process, as far as it does not depend on what was started: the end of a command line.
fn hint(process: &ProcessDefinition, token: &str) -> String {
    let example = process.description.example.clone().unwrap_or_else(|| json!({ "inputs": {} }));
    let token = if process.check_auth { format!(" -H 'Authorization: Bearer {token}'") } else { String::new() };
    let body = example.to_string().replace('\'', "'\\''");
    format!("/processes/{}/execution -H 'Content-Type: application/json'{token} \\\n    -d '{body}'", process.id)
}

/// Removes what earlier starts kept, and nothing else that may be in the folder.
fn forget(data: &Path) -> Result<()> {
    end_to_end::local_jobs::stop_all(&data.join("local"))?;
    for part in ["nats", "s3", "local", "log"] {
        let folder = data.join(part);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("{} can't be removed", folder.display()))?;
        }
    }
    Ok(())
}

/// The token of the environment, else the one of an earlier start, else a new one.
fn token(data: &Path) -> Result<String> {
    if let Some(token) = std::env::var(environment::API_TOKEN).ok().filter(|token| !token.is_empty()) {
        return Ok(token);
    }
    let file = data.join("token");
    if let Ok(token) = fs::read_to_string(&file)
        && !token.trim().is_empty()
    {
        return Ok(token.trim().to_owned());
    }
    let token = format!("{:032x}", rand::random::<u128>());
    use std::os::unix::fs::OpenOptionsExt;
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file)?;
    out.write_all(token.as_bytes())?;
    Ok(token)
}

fn current_kubeconfig() -> Result<PathBuf> {
    let file = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    let file = file.or_else(|| std::env::home_dir().map(|home| home.join(".kube/config")));
    let file = file.context("there is no kubeconfig: set KUBECONFIG")?;
    ensure!(file.exists(), "there is no kubeconfig at {}: set KUBECONFIG, or use --cluster simulated", file.display());
    Ok(file)
}

async fn any_ends(stack: &mut Stack) -> anyhow::Error {
    loop {
        for (service, running) in stack.services() {
            match running.program.exit_status() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    return anyhow::anyhow!("{} ended ({status}):\n{}", service.name(), running.program.log_tail());
                }
                Err(error) => return error,
            }
        }
        match stack.nats.program.exit_status() {
            Ok(None) => {}
            Ok(Some(status)) => return anyhow::anyhow!("nats-server ended ({status})"),
            Err(error) => return error,
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn start_cluster(kind: ClusterKind, folder: PathBuf) -> Result<(Option<Cluster>, PathBuf)> {
    let node = match kind {
        ClusterKind::Simulated => NodeKind::Simulated,
        ClusterKind::Real => NodeKind::Real,
    };
    let options =
        cluster::Options { dir: folder, nodes: vec![node], controllers: ControllerLimits::Stock, audit: false };
    let cluster = Cluster::start(&options, &say).await?;
    if kind == ClusterKind::Simulated {
        // A simulated pod prints nothing: its log is empty, not missing.
        let namespace = Namespace::usual(node);
        namespace.remove_log()?;
        namespace.serve_log(&cluster.client().await?, "").await?;
        say("simulated pods print nothing: jobs end well, without a result");
    }
    let kubeconfig = cluster.kubeconfig();
    Ok((Some(cluster), kubeconfig))
}

/// `kubeconfig`: of the cluster that runs the jobs, where one does.
fn describe(up: &Up, stack: &Stack, token: &str, kubeconfig: Option<&Path>, hint: Option<&str>) {
    let url = stack.url(0);
    let nats = stack.nats.url();
    let mut text = format!("\nQuayside is up\n\n  gateway   {url}\n");
    for replica in 1..usize::from(up.replicas) {
        text += &format!("            {}\n", stack.url(replica));
    }
    text += &format!("  token     {token}\n  NATS      {nats}\n");
    if let Some(store) = stack.store.settings() {
        text += &format!(
            "  S3        {} bucket {} key {} secret {}\n",
            store.endpoint,
            store.bucket,
            store.key,
            store.secret.reveal()
        );
    }
    text += &format!("  logs      {}\n", stack.logs().display());
    if let Some(kubeconfig) = kubeconfig {
        text += &format!("  cluster   kubeconfig {}\n", kubeconfig.display());
    } else {
        text += "\nJobs run as child processes of this machine: the images are ignored.\n";
    }
    if let Some(hint) = hint {
        text += &format!("\nTry it:\n\n  curl -X POST {url}{hint}\n");
    }
    text += &format!(
        "\nWatch the events of every job:\n\n  nats --server {nats} sub --stream JOBS --new 'jobs.>'\n\n\
         Ctrl-C stops all of it.\n"
    );
    println!("{text}");
}

/// One line about what is being done.
fn say(line: &str) {
    let dash = if std::io::stdout().is_terminal() { "·" } else { "-" };
    println!("{dash} {line}");
}

/// Both services use the same one.
fn of_kubeconfig(kubeconfig: PathBuf, namespace: Option<String>) -> ExecutorChoice {
    ExecutorChoice::Kubernetes { dispatcher: kubeconfig.clone(), finalizer: kubeconfig, namespace }
}
