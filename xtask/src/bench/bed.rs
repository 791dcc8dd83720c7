//! What jobs run on: a cluster with the simulated node, and a whole Quayside whose services have users of their own
//! there, so that the API server's audit log tells them apart from everybody else.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use end_to_end::{
    cluster::{self, Cluster, ControllerLimits, Namespace, NodeKind, Options},
    services::Service,
    stack::{ExecutorChoice, Stack},
    tools::Tools,
};
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    batch::v1::Job,
    core::v1::{Pod, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
    core::PartialObjectMeta,
};
use protocol::names::kubernetes::{LABEL_JOB_ID, POD_FINALIZER};
use serde_json::{Value, json};

use super::{
    bare::{self, Template},
    events::Events,
    gateway::{self, Gateway},
    say,
};

/// How long a few jobs may take.
const LIMIT: Duration = Duration::from_secs(120);

/// How long what follows the last status may take; stock controllers finish some 3 Jobs a second.
const QUIET_LIMIT: Duration = Duration::from_secs(400);

/// The user of the plain client.
const PLAIN: &str = "plain-client";

/// All of it. Dropped, it stops: the services first, the cluster last.
pub(super) struct Bed {
    /// Quayside.
    pub(super) stack: Stack,
    /// Its client.
    pub(super) gateway: Gateway,
    /// Where its Jobs are.
    pub(super) ours: Namespace,
    /// Where the Jobs of the plain client are.
    pub(super) bare: Namespace,
    /// The plain client, with a user of its own.
    pub(super) plain: Client,
    /// Everything runs on it.
    pub(super) cluster: Cluster,
    admin: Client,
    service_processes: Vec<(&'static str, i32)>,
    _logs: PodLogs,
}

/// The files of the namespaces' logs lie outside of our folder: gone with this.
struct PodLogs([Namespace; 2]);

impl Drop for PodLogs {
    fn drop(&mut self) {
        for namespace in &self.0 {
            namespace.remove_log().ok();
        }
    }
}

impl Bed {
    /// Starts all of it and waits until all of it is ready.
    pub(super) async fn start(
        folder: &Path,
        controllers: ControllerLimits,
        audit: bool,
        tools: &Tools,
    ) -> Result<Self> {
        Self::with_dispatchers(folder, controllers, audit, 1, &[], tools).await
    }

    /// The same with so many dispatchers, which have these variables, too.
    pub(super) async fn with_dispatchers(
        folder: &Path,
        controllers: ControllerLimits,
        audit: bool,
        dispatchers: usize,
        variables: &[(&str, &str)],
        tools: &Tools,
    ) -> Result<Self> {
        let options = Options { dir: folder.join("cluster"), nodes: vec![NodeKind::Simulated], controllers, audit };
        let cluster = Cluster::start(&options, &say).await?;
        let admin = cluster.client().await?;
        let ours = Namespace::create(&admin, "ours", NodeKind::Simulated).await?;
        let bare = Namespace::create(&admin, "bare", NodeKind::Simulated).await?;
        let logs = PodLogs([ours.clone(), bare.clone()]);
        ours.serve_log(&admin, gateway::LOG).await?;
        let plain = user(&cluster, &admin, folder, &bare, PLAIN).await?;
        let plain = cluster::client(&plain).await?;
        let executor = ExecutorChoice::Kubernetes {
            dispatcher: cluster.kubeconfig(),
            finalizer: cluster.kubeconfig(),
            namespace: Some(ours.name().to_owned()),
        };
        let mut stack = Stack::start_servers(gateway::options(folder, executor)?, tools, &say).await?;
        say("starting the services");
        for service in Service::ALL {
            let kubeconfig = user(&cluster, &admin, folder, &ours, service.name()).await?.display().to_string();
            let replicas = if service == Service::Dispatcher { dispatchers } else { 1 };
            for replica in 0..replicas {
                stack.start_service(service, replica, &[&[("KUBECONFIG", kubeconfig.as_str())], variables].concat())?;
            }
        }
        stack.wait_ready().await?;
        let service_processes =
            stack.services().map(|(service, running)| (service.name(), running.program.pid())).collect();
        let gateway = Gateway::new(&stack.url(0))?;
        Ok(Self { stack, gateway, ours, bare, plain, cluster, admin, service_processes, _logs: logs })
    }

    /// A few executions, so that connections are made and caches filled; the Job of one, for the plain client.
    pub(super) async fn warm_up(&self) -> Result<Template> {
        let events = Events::listen(&self.stack.nats.url()).await?;
        let mut jobs = Vec::new();
        for _ in 0..4 {
            jobs.push(self.gateway.submit().await?);
        }
        events.successful(&jobs, LIMIT).await?;
        self.wait_quiet().await?;
        let api: Api<Job> = Api::namespaced(self.admin.clone(), self.ours.name());
        let found = api.list(&ListParams::default().labels(&format!("{LABEL_JOB_ID}={}", jobs[0]))).await?;
        let job = found.items.into_iter().next().context("the Job of an execution can't be found")?;
        Template::of(job, &jobs[0])
    }

    /// Waits until nothing is left to do for the jobs so far: no pod is held any more, and the controllers, which may
    /// lag behind, are done too. What comes next has the cluster for itself.
    pub(super) async fn wait_quiet(&self) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), self.ours.name());
        let jobs: Api<Job> = Api::namespaced(self.admin.clone(), self.ours.name());
        let all = ListParams::default();
        let quiet = async {
            loop {
                let held = pods.list_metadata(&all).await?.items.iter().filter(|pod| is_held(pod)).count();
                let active = jobs.list(&all).await?.items.iter().filter(|job| !bare::has(job, "Complete")).count();
                if held == 0 && active == 0 {
                    return Ok(());
                }
                // Seldom: to ask takes the controllers' time.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        within(QUIET_LIMIT, "the releases of pods and the ends of Jobs", quiet).await
    }

    /// Name and process id of everything that takes part but the bench itself.
    pub(super) fn processes(&self) -> impl Iterator<Item = (&str, i32)> {
        let nats = ("nats-server", self.stack.nats.program.pid());
        let ours = self.service_processes.iter().copied().chain([nats]);
        ours.chain(self.cluster.members().map(|(name, pid, _)| (name, pid)))
    }

    /// A client with all rights.
    pub(super) fn admin(&self) -> &Client {
        &self.admin
    }

    /// Stops all of it.
    pub(super) async fn stop(self) -> Result<()> {
        let Self { mut stack, ours, bare, cluster, admin, .. } = self;
        say("stopping");
        let stopped = stack.stop().await;
        ours.delete(&admin).await?;
        bare.delete(&admin).await?;
        cluster.stop().await?;
        stopped
    }
}

fn is_held(pod: &PartialObjectMeta<Pod>) -> bool {
    pod.finalizers().iter().any(|name| name == POD_FINALIZER)
}

/// Fails when it takes longer.
pub(super) async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = tokio::time::timeout(limit, work).await;
    done.with_context(|| format!("{what} took longer than {} s", limit.as_secs()))?
}

/// Makes a user that may do everything in a namespace; the path of its kubeconfig.
async fn user(cluster: &Cluster, admin: &Client, folder: &Path, at: &Namespace, name: &str) -> Result<PathBuf> {
    let post = PostParams::default();
    let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), at.name());
    accounts.create(&post, &account).await?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": at.name() }],
    }))?;
    Api::<RoleBinding>::namespaced(admin.clone(), at.name()).create(&post, &binding).await?;
    let asked: TokenRequest =
        serde_json::from_value(json!({ "spec": { "audiences": [], "expirationSeconds": 14_400 } }))?;
    let token = accounts.create_token_request(name, &post, &asked).await?.status.context("no token was given")?.token;
    let mut config: Value = serde_json::from_slice(&fs::read(cluster.kubeconfig())?)?;
    config["users"][0]["user"] = json!({ "token": token });
    let file = folder.join(format!("{name}.kubeconfig"));
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file)?;
    out.write_all(config.to_string().as_bytes())?;
    Ok(file)
}

/// How the audit log names such a user.
pub(super) fn audit_name(namespace: &Namespace, name: &str) -> String {
    format!("system:serviceaccount:{}:{name}", namespace.name())
}

/// The users of our services, as the audit log names them.
pub(super) fn our_users(bed: &Bed) -> [String; 3] {
    Service::ALL.map(|service| audit_name(&bed.ours, service.name()))
}

/// The user of the plain client, as the audit log names it.
pub(super) fn plain_user(bed: &Bed) -> String {
    audit_name(&bed.bare, PLAIN)
}
