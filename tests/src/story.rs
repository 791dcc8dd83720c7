//! A story: one whole Quayside in a folder of its own, a client, and everything kept when it fails.

use std::{
    fs,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Event, Pod},
};
use kube::{Api, api::ListParams};
use protocol::{
    JobId, Manifest,
    names::{
        environment::JOB_NAME_PREFIX_DEFAULT,
        kubernetes::{LABEL_JOB_ID, job_name},
        objects,
        subjects::STREAM,
    },
};
use reqwest::{Client, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    cluster::{
        self, Forward, KUBECONFIG_VARIABLE, Namespace, NodeKind, OwnCluster, deployed_rules, permissions::SERVICES,
    },
    failures,
    program::wait_until,
    stack::{ExecutorChoice, Options, Stack, StoreChoice},
    strays,
    tools::{self, Tool, workspace_directory},
};

/// What runs the jobs of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Child processes.
    Local,
    /// The simulated node of the run's cluster.
    Simulated,
    /// The real node of the run's cluster.
    Real,
}

/// Names the nodes that the run's cluster has, where it lacks one; set by the test command.
pub const NODES_VARIABLE: &str = "QUAYSIDE_TEST_NODES";

/// The token of every story.
pub const TOKEN: &str = "story-token-6f1c";

/// YAML of the processes that tests of the API run: above all `echo`, which has inputs and outputs of every form. With it are
/// one that needs the token, one for each mode of execution alone, one with a text as its only output, and one that fails.
pub const ECHO: &str = include_str!("../data/echo.yaml");

/// Things are waited for this long: generous, as machines are shared.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How a story's Quayside differs from the usual one.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What runs the jobs.
    pub backend: Backend,
    /// How many of each service.
    pub replicas: usize,
    /// Which S3.
    pub store: StoreChoice,
    /// The token; `None`: none configured.
    pub token: Option<String>,
    /// The configuration file's text; the example's when `None`.
    pub config: Option<String>,
    /// More variables for every service.
    pub environment: Vec<(String, String)>,
    /// The administrator's kubeconfig of the story's own cluster; the run's when `None`.
    pub kubeconfig: Option<PathBuf>,
    /// False: only the servers are started.
    pub start_services: bool,
}

impl Setting {
    /// The usual one: one of each service, the embedded S3, the example configuration.
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            replicas: 1,
            store: StoreChoice::Embedded,
            token: Some(TOKEN.to_owned()),
            config: None,
            environment: Vec::new(),
            kubeconfig: None,
            start_services: true,
        }
    }

    /// With a variable for every service.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// On a cluster of its own.
    #[must_use]
    pub fn on(mut self, own: &OwnCluster) -> Self {
        self.kubeconfig = Some(own.cluster.kubeconfig());
        self
    }

    /// With a configuration whose processes are these: YAML, indented by two.
    #[must_use]
    pub fn with_processes(mut self, processes: &str) -> Self {
        self.config = Some(format!("{CONFIG_HEAD}{processes}"));
        self
    }

    /// With more settings of `server.manager`: YAML without indentation. Call it after [`Self::with_processes`].
    ///
    /// # Panics
    /// When there is no configuration to put them into.
    #[must_use]
    pub fn with_manager(mut self, settings: &str) -> Self {
        let config = self.config.as_deref().unwrap_or_default();
        let lines: String = settings.lines().map(|line| format!("    {line}\n")).collect();
        let changed = config.replacen("  manager:\n", &format!("  manager:\n{lines}"), 1);
        assert_ne!(changed, config, "the configuration has no manager");
        self.config = Some(changed);
        self
    }

    /// With everything about jobs open to everybody, as suites want it that know of no token.
    #[must_use]
    pub fn open_to_all(self) -> Self {
        self.with_manager("protect_jobs: false\nprotect_dismiss: false")
    }
}

const CONFIG_HEAD: &str = "server:
  bind: {host: 127.0.0.1, port: \"5000\"}
  url: ${QUAYSIDE_URL:-http://127.0.0.1:5000}
  limits: {default_items: 10, max_items: 100}
  manager:
    name: pygeoapi_k8s_manager.manager.KubernetesManager
    finalizer_controller: true
metadata:
  identification: {title: Stories, description: Stories}
resources:
";

/// YAML of one process that runs `script` with a shell and has one output.
pub fn process_yaml(id: &str, script: &str) -> String {
    let indented: String = script.lines().map(|line| format!("          {line}\n")).collect();
    format!(
        "  {id}:
    type: process
    processor:
      name: pygeoapi_k8s_manager.process.GenericImageProcessor
      check_auth: false
      default_image: bash:5
      command:
        - bash
        - -c
        - |
{indented}      resources:
        requests: {{cpu: 10m, memory: 16Mi}}
        limits: {{cpu: \"1\", memory: 256Mi}}
      metadata:
        version: 1.0.0
        title: {id}
        description: {id}
        keywords: [story]
        links: []
        inputs:
          text:
            title: Text
            description: Text
            schema: {{type: string}}
            minOccurs: 0
            maxOccurs: 1
        outputs:
          out:
            title: Out
            description: Out
            schema: {{type: object, contentMediaType: application/json}}
        example: {{inputs: {{}}}}
"
    )
}

/// A running story.
pub struct Story {
    /// Quayside.
    pub stack: Stack,
    /// What runs its jobs.
    pub backend: Backend,
    /// Its namespace, on a cluster.
    pub namespace: Option<Namespace>,
    /// An administrator of its cluster.
    pub kube: Option<kube::Client>,
    /// The kubeconfig of that administrator.
    pub kubeconfig: Option<PathBuf>,
    /// Talks HTTP.
    pub http: Client,
    /// Lets pods reach S3.
    _forward: Option<Forward>,
}

/// Runs a story; what it left is kept in a folder when it fails, and removed when it does not.
///
/// # Panics
/// When the story fails.
pub async fn tell(name: &str, setting: Setting, body: impl AsyncFnOnce(&mut Story) -> Result<()>) {
    if skips(name, setting.backend) {
        return;
    }
    let folder = strays::folder().join(name);
    let outcome = tell_in(&folder, setting, body).await;
    match outcome {
        Ok(()) => {
            fs::remove_dir_all(&folder).ok();
        }
        Err(error) => {
            // Not `panic!`: it would add a backtrace that is the same for every story, behind which CI's output lost the words.
            eprintln!("{name}: {error:#}\n\neverything that is known is in {}", folder.display());
            failures::keep(&folder, &error);
            std::panic::resume_unwind(Box::new("the story failed"));
        }
    }
}

/// True, and said, where a story can't be told on this machine.
///
/// # Panics
/// When nothing may be left out.
pub fn skips(name: &str, backend: Backend) -> bool {
    let Some(missing) = missing(backend) else { return false };
    assert!(std::env::var_os("QUAYSIDE_REQUIRE_ALL").is_none(), "{missing}");
    println!("skipped {name}: {missing}");
    true
}

/// What keeps a story from being told on this machine.
fn missing(backend: Backend) -> Option<String> {
    let kind = match backend {
        Backend::Local => return None,
        Backend::Simulated => NodeKind::Simulated,
        Backend::Real => NodeKind::Real,
    };
    if std::env::var_os(KUBECONFIG_VARIABLE).is_none() {
        return Some("there is no cluster: run it by `cargo xtask test`".to_owned());
    }
    // Without it the cluster is expected to have both.
    let is_missing =
        std::env::var(NODES_VARIABLE).is_ok_and(|nodes| !nodes.split(',').any(|node| node == kind.node_name()));
    is_missing.then(|| format!("the cluster has no {kind} node"))
}

async fn tell_in(folder: &Path, setting: Setting, body: impl AsyncFnOnce(&mut Story) -> Result<()>) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut story = Story::start(folder, setting).await?;
    let told = AssertUnwindSafe(body(&mut story)).catch_unwind().await;
    let outcome = match told {
        Ok(outcome) => outcome,
        Err(panic) => Err(anyhow::anyhow!(panic_text(panic.as_ref()))),
    };
    if outcome.is_err() {
        story.dump().await;
    }
    let stopped = story.stop().await;
    outcome.and(stopped)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "panic".to_owned())
}

impl Story {
    async fn start(folder: &Path, setting: Setting) -> Result<Self> {
        let quiet = |_: &str| {};
        let mut wanted = vec![Tool::NatsServer];
        if setting.store == StoreChoice::Versitygw {
            wanted.push(Tool::Versitygw);
        }
        let tools = tools::require(&wanted, &quiet).await?;
        let config = match &setting.config {
            Some(text) => {
                let file = folder.join("config.yaml");
                fs::write(&file, text)?;
                file
            }
            None => workspace_directory().join("quayside-config.yaml"),
        };
        let (mut namespace, mut kube, mut kubeconfig) = (None, None, None);
        let executor = match setting.backend {
            Backend::Local => ExecutorChoice::Local,
            kubernetes => {
                let kind = if kubernetes == Backend::Real { NodeKind::Real } else { NodeKind::Simulated };
                let admin = setting.kubeconfig.map_or_else(cluster::kubeconfig_of_run, Ok)?;
                let client = cluster::client(&admin).await?;
                let made = Namespace::create(&client, "story", kind).await?;
                let name = made.name().to_owned();
                // Each service has the rights of its Role and no others.
                let [dispatcher, finalizer] = SERVICES;
                let dispatcher = made.account(&client, &admin, dispatcher, deployed_rules(dispatcher)?, folder).await?;
                let finalizer = made.account(&client, &admin, finalizer, deployed_rules(finalizer)?, folder).await?;
                namespace = Some(made);
                kube = Some(client);
                kubeconfig = Some(admin);
                ExecutorChoice::Kubernetes { dispatcher, finalizer, namespace: Some(name) }
            }
        };
        let mut environment = vec![
            ("QUAYSIDE_TELEMETRY__FILTER".to_owned(), "info".to_owned()),
            ("QUAYSIDE_NATS__ACK_WAIT".to_owned(), "5".to_owned()),
        ];
        environment.extend(setting.environment);
        let options = Options {
            folder: folder.to_path_buf(),
            config,
            token: setting.token,
            port: None,
            replicas: setting.replicas,
            executor,
            store: setting.store,
            inherit_environment: false,
            environment,
        };
        let stack = if setting.start_services {
            Stack::start(options, &tools, &quiet).await?
        } else {
            Stack::start_servers(options, &tools, &quiet).await?
        };
        let http = Client::builder().timeout(LIMIT).build()?;
        let forward = match (setting.backend, &kubeconfig, stack.store.port()) {
            (Backend::Real, Some(kubeconfig), Some(port)) => Some(Forward::start(kubeconfig, port)?),
            _ => None,
        };
        Ok(Self { stack, backend: setting.backend, namespace, kube, kubeconfig, http, _forward: forward })
    }

    async fn stop(&mut self) -> Result<()> {
        let stopped = self.stack.stop().await;
        crate::local_jobs::stop_all(&self.stack.folder().join("local"))?;
        if let (Some(namespace), Some(kube)) = (self.namespace.take(), &self.kube) {
            namespace.delete(kube).await?;
        }
        stopped
    }

    /// POSTs an execution as it is.
    pub async fn post(
        &self,
        replica: usize,
        process: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Response> {
        let url = format!("{}/processes/{process}/execution", self.stack.url(replica));
        let mut request = self.http.post(url).header(header::CONTENT_TYPE, "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?)
    }

    /// Executes synchronously.
    pub async fn execute(&self, process: &str, inputs: Value) -> Result<Response> {
        self.post(0, process, &[], json!({ "inputs": inputs }).to_string()).await
    }

    /// Executes asynchronously, at this replica; the job's id.
    pub async fn submit_at(&self, replica: usize, process: &str, inputs: Value) -> Result<JobId> {
        let body = json!({ "inputs": inputs }).to_string();
        let answer = self.post(replica, process, &[("Prefer", "respond-async")], body).await?;
        let status = answer.status();
        let location = answer.headers().get(header::LOCATION).cloned();
        let text = answer.text().await?;
        ensure!(status == StatusCode::CREATED, "expected 201, got {status}: {text}");
        let location = location.context("201 without Location")?;
        let id = location.to_str()?.rsplit('/').next().context("empty Location")?.to_owned();
        Ok(id.parse()?)
    }

    /// Executes asynchronously; the job's id.
    pub async fn submit(&self, process: &str, inputs: Value) -> Result<JobId> {
        self.submit_at(0, process, inputs).await
    }

    /// GETs a path of a gateway.
    pub async fn get_at(&self, replica: usize, path: &str) -> Result<Response> {
        Ok(self.http.get(format!("{}{path}", self.stack.url(replica))).send().await?)
    }

    /// GETs a path.
    pub async fn get(&self, path: &str) -> Result<Response> {
        self.get_at(0, path).await
    }

    /// GETs the list of jobs of a gateway, with the token. `query` is empty or begins with a question mark.
    pub async fn list_at(&self, replica: usize, query: &str) -> Result<Response> {
        let url = format!("{}/jobs{query}", self.stack.url(replica));
        Ok(self.http.get(url).bearer_auth(TOKEN).send().await?)
    }

    /// DELETEs a job at a gateway, with the token.
    pub async fn delete_at(&self, replica: usize, job: &JobId) -> Result<Response> {
        let url = format!("{}/jobs/{job}", self.stack.url(replica));
        Ok(self.http.delete(url).bearer_auth(TOKEN).send().await?)
    }

    /// The status document of a job.
    pub async fn status(&self, job: &JobId) -> Result<Value> {
        let answer = self.get(&format!("/jobs/{job}")).await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status == StatusCode::OK, "status of {job}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Waits until a job's status is one of these.
    pub async fn wait_for(&self, job: &JobId, wanted: &[&str]) -> Result<Value> {
        wait_until(&format!("{job} {wanted:?}"), LIMIT, || async {
            let status = self.status(job).await?;
            let word = status["status"].as_str().unwrap_or_default();
            if wanted.contains(&word) { Ok(status) } else { bail!("{status}") }
        })
        .await
    }

    /// Waits until a job has ended.
    pub async fn wait_done(&self, job: &JobId) -> Result<Value> {
        self.wait_for(job, &["successful", "failed", "dismissed"]).await
    }

    /// The manifest that counts; waits for it, as it is written after the job is seen to have ended.
    pub async fn manifest(&self, job: &JobId) -> Result<Manifest> {
        let store = self.stack.objects()?;
        let key = objects::manifest(store.prefix(), job);
        wait_until("the manifest", LIMIT, || async {
            let bytes = store.get(&key, 1 << 23).await?.with_context(|| format!("no object {key}"))?;
            Ok(serde_json::from_slice(&bytes)?)
        })
        .await
    }

    /// The text of the archive object of a job.
    pub async fn archive(&self, job: &JobId) -> Result<String> {
        let manifest = self.manifest(job).await?;
        let key = manifest.record.archive.key.clone().context("the manifest names no archive")?;
        let bytes = self.stack.objects()?.get(&key, 1 << 28).await?.with_context(|| format!("no object {key}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Every message of the stream: subject and payload, in order.
    pub async fn messages(&self) -> Result<Vec<(String, Value)>> {
        self.messages_of(STREAM).await
    }

    /// Every message of another stream: its subject and what it holds.
    pub async fn messages_of(&self, stream: &str) -> Result<Vec<(String, Value)>> {
        let client = async_nats::connect(self.stack.nats.url()).await?;
        let jetstream = async_nats::jetstream::new(client);
        let stream = jetstream.get_stream(stream).await?;
        let (total, last) = (stream.cached_info().state.messages, stream.cached_info().state.last_sequence);
        let consumer = stream.create_consumer(async_nats::jetstream::consumer::pull::OrderedConfig::default()).await?;
        let mut found = Vec::new();
        if total == 0 {
            return Ok(found);
        }
        let mut messages = consumer.messages().await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            let payload = serde_json::from_slice(&message.payload).unwrap_or(Value::Null);
            found.push((message.subject.to_string(), payload));
            let told = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
            // What is purged meanwhile may count as pending for good.
            if told.pending == 0 || told.stream_sequence >= last {
                break;
            }
        }
        Ok(found)
    }

    /// Keeps what else is known: the stream's messages, the namespace's objects.
    async fn dump(&self) {
        let folder = self.stack.folder();
        let messages = match self.messages().await {
            Ok(messages) => {
                messages.iter().map(|(subject, payload)| format!("{subject}\n{payload:#}\n\n")).collect::<String>()
            }
            Err(error) => format!("{error:#}"),
        };
        fs::write(folder.join("messages.txt"), messages).ok();
        let objects = self.kubernetes_objects().await.unwrap_or_else(|error| format!("{error:#}"));
        fs::write(folder.join("kubernetes.txt"), objects).ok();
    }

    /// Every Job, pod and event of the story's namespace, as text; empty without a cluster.
    pub async fn kubernetes_objects(&self) -> Result<String> {
        let (Some(namespace), Some(client)) = (&self.namespace, &self.kube) else { return Ok(String::new()) };
        let all = ListParams::default();
        let jobs = Api::<Job>::namespaced(client.clone(), namespace.name()).list(&all).await?;
        let pods = Api::<Pod>::namespaced(client.clone(), namespace.name()).list(&all).await?;
        let events = Api::<Event>::namespaced(client.clone(), namespace.name()).list(&all).await?;
        let objects = json!({ "jobs": jobs.items, "pods": pods.items, "events": events.items });
        Ok(serde_json::to_string_pretty(&objects)?)
    }

    /// The Job of a job; `None` when it is gone.
    pub async fn kubernetes_job(&self, job: &JobId) -> Result<Option<Job>> {
        let (namespace, client) = self.cluster()?;
        let name = job_name(JOB_NAME_PREFIX_DEFAULT, job);
        Ok(Api::<Job>::namespaced(client.clone(), namespace.name()).get_opt(&name).await?)
    }

    /// The pods of a job.
    pub async fn kubernetes_pods(&self, job: &JobId) -> Result<Vec<Pod>> {
        let (namespace, client) = self.cluster()?;
        let of_job = ListParams::default().labels(&format!("{LABEL_JOB_ID}={job}"));
        Ok(Api::<Pod>::namespaced(client.clone(), namespace.name()).list(&of_job).await?.items)
    }

    /// Namespace and client of a story that has a cluster.
    pub fn cluster(&self) -> Result<(&Namespace, &kube::Client)> {
        let parts = self.namespace.as_ref().zip(self.kube.as_ref());
        parts.context("this story has no cluster")
    }
}
