//! A whole Quayside: NATS, S3 and any number of each service, in one folder. `cargo xtask up` and every story stand on it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use platform::object_store::{ObjectStore, StoreSettings};

use crate::{
    nats_server::NatsServer,
    ports,
    s3_server::{S3Server, Versitygw},
    services::{Running, Service},
    tools::{Progress, Tools},
};

/// What runs the jobs.
#[derive(Clone, Debug)]
pub enum ExecutorChoice {
    /// Child processes.
    Local,
    /// The cluster of a kubeconfig.
    Kubernetes {
        /// Path of the dispatcher's kubeconfig.
        dispatcher: PathBuf,
        /// Path of the finalizer's kubeconfig.
        finalizer: PathBuf,
        /// Namespace of the Jobs; the kubeconfig's when `None`.
        namespace: Option<String>,
    },
}

/// Which S3 server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    /// The one inside this process.
    Embedded,
    /// versitygw.
    Versitygw,
    /// None configured.
    Absent,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything is kept here.
    pub folder: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The API token; the gateway alone gets it.
    pub token: Option<String>,
    /// Port of the first gateway; free ones when `None`.
    pub port: Option<u16>,
    /// How many of each service.
    pub replicas: usize,
    /// What runs the jobs.
    pub executor: ExecutorChoice,
    /// Which S3.
    pub store: StoreChoice,
    /// Whether services inherit this process's environment.
    pub inherit_environment: bool,
    /// More variables for every service.
    pub environment: Vec<(String, String)>,
}

/// The S3 server of a stack.
#[derive(Debug)]
pub enum Store {
    /// The one inside this process.
    Embedded(S3Server),
    /// versitygw.
    Versitygw(Box<Versitygw>),
    /// None.
    Absent,
}

impl Store {
    /// Settings that reach it.
    pub fn settings(&self) -> Option<StoreSettings> {
        match self {
            Self::Embedded(server) => Some(server.settings()),
            Self::Versitygw(server) => Some(server.settings()),
            Self::Absent => None,
        }
    }

    /// Its port on this machine.
    pub fn port(&self) -> Option<u16> {
        reqwest::Url::parse(&self.settings()?.endpoint).ok()?.port()
    }
}

/// A running Quayside. Dropped, it stops all of it.
#[derive(Debug)]
pub struct Stack {
    options: Options,
    services: BTreeMap<(Service, usize), Running>,
    gateway_ports: Vec<u16>,
    started: usize,
    /// NATS.
    pub nats: NatsServer,
    /// S3.
    pub store: Store,
}

const READY_WITHIN: Duration = Duration::from_secs(60);

impl Stack {
    /// Starts all of it and waits until all of it is ready.
    pub async fn start(options: Options, tools: &Tools, progress: Progress<'_>) -> Result<Self> {
        let mut stack = Self::start_servers(options, tools, progress).await?;
        for service in Service::ALL {
            for replica in 0..stack.options.replicas {
                progress(&format!("starting {}", service.name()));
                stack.start_service(service, replica, &[])?;
            }
        }
        stack.wait_ready().await?;
        Ok(stack)
    }

    /// Starts NATS and S3, none of the services.
    pub async fn start_servers(options: Options, tools: &Tools, progress: Progress<'_>) -> Result<Self> {
        let folder = &options.folder;
        fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        progress("starting nats-server");
        let nats = NatsServer::start(tools, &folder.join("nats"), None).await?;
        let store = match options.store {
            StoreChoice::Embedded => {
                progress("starting the embedded S3 server");
                Store::Embedded(S3Server::start(folder.join("s3"), None).await?)
            }
            StoreChoice::Versitygw => {
                progress("starting versitygw");
                Store::Versitygw(Box::new(Versitygw::start(tools, &folder.join("s3")).await?))
            }
            StoreChoice::Absent => Store::Absent,
        };
        let mut gateway_ports = Vec::new();
        for replica in 0..options.replicas {
            let wanted = options.port.and_then(|port| port.checked_add(u16::try_from(replica).ok()?));
            gateway_ports.push(wanted.map_or_else(ports::free, Ok)?);
        }
        Ok(Self { options, services: BTreeMap::new(), gateway_ports, started: 0, nats, store })
    }

    /// Starts one service, with more variables than the others have.
    pub fn start_service(&mut self, service: Service, replica: usize, more: &[(&str, &str)]) -> Result<()> {
        let mut environment = self.environment(service, replica);
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.started += 1;
        let log = self.logs().join(format!("{}-{replica}.log", service.name()));
        let running = Running::start(service, &environment, self.options.inherit_environment, &log)?;
        self.services.insert((service, replica), running);
        Ok(())
    }

    /// Waits until every service that was started is ready.
    pub async fn wait_ready(&mut self) -> Result<()> {
        for running in self.services.values_mut() {
            running.wait_ready(READY_WITHIN).await?;
        }
        Ok(())
    }

    /// A running service.
    pub fn service(&mut self, service: Service, replica: usize) -> Result<&mut Running> {
        let found = self.services.get_mut(&(service, replica));
        found.with_context(|| format!("{} {replica} was not started", service.name()))
    }

    /// All running services.
    pub fn services(&mut self) -> impl Iterator<Item = (Service, &mut Running)> {
        self.services.iter_mut().map(|((service, _), running)| (*service, running))
    }

    /// URL of a gateway.
    pub fn url(&self, replica: usize) -> String {
        format!("http://127.0.0.1:{}", self.gateway_ports[replica])
    }

    /// Folder of everything.
    pub fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// Folder of the services' logs.
    pub fn logs(&self) -> PathBuf {
        self.options.folder.join("log")
    }

    /// A client of its bucket.
    pub fn objects(&self) -> Result<ObjectStore> {
        let settings = self.store.settings().context("this stack has no S3")?;
        Ok(ObjectStore::new(&settings)?)
    }

    /// Kills all services and NATS, as a power cut would; NATS is started again, the services are not.
    pub async fn crash(&mut self) -> Result<()> {
        for running in self.services.values_mut() {
            running.program.kill().await?;
        }
        self.services.clear();
        self.nats.crash_and_restart().await
    }

    /// Stops all of it, the services first, each given time to finish what it has in hand.
    pub async fn stop(&mut self) -> Result<()> {
        for ((_, _), running) in &mut self.services {
            running.program.signal(crate::program::Signal::TERM).ok();
        }
        for ((_, _), running) in &mut self.services {
            running.program.stop(Duration::from_secs(25)).await?;
        }
        self.services.clear();
        self.nats.program.stop(Duration::from_secs(10)).await?;
        match &mut self.store {
            Store::Embedded(server) => server.stop().await,
            Store::Versitygw(server) => {
                server.program.stop(Duration::from_secs(10)).await?;
            }
            Store::Absent => {}
        }
        Ok(())
    }

    /// S3 configured later than the rest: services started from now on use it.
    pub async fn add_store(&mut self) -> Result<()> {
        self.store = Store::Embedded(S3Server::start(self.options.folder.join("s3"), None).await?);
        Ok(())
    }

    fn environment(&self, service: Service, replica: usize) -> Vec<(String, String)> {
        let options = &self.options;
        let mut environment = vec![
            ("PYGEOAPI_CONFIG".to_owned(), options.config.display().to_string()),
            ("QUAYSIDE_NATS__URL".to_owned(), self.nats.url()),
        ];
        let mut set = |name: &str, value: String| environment.push((name.to_owned(), value));
        if let Some(store) = self.store.settings() {
            set("PYGEOAPI_K8S_MANAGER_FINALIZER_BUCKET_ENDPOINT", store.endpoint.clone());
            set("PYGEOAPI_K8S_MANAGER_FINALIZER_BUCKET_KEY", store.key.clone());
            set("PYGEOAPI_K8S_MANAGER_FINALIZER_BUCKET_SECRET", store.secret.reveal().to_owned());
            set("PYGEOAPI_K8S_MANAGER_FINALIZER_BUCKET_NAME", store.bucket.clone());
            set("PYGEOAPI_K8S_MANAGER_FINALIZER_BUCKET_PATH_PREFIX", store.prefix.clone());
        }
        let local = options.folder.join("local").display().to_string();
        match (&options.executor, service) {
            (_, Service::Gateway) => {
                // The public URL is the first gateway's, whichever answers.
                set("QUAYSIDE_URL", self.url(0));
                set("QUAYSIDE_GATEWAY__PUBLIC_URL", self.url(0));
                set("QUAYSIDE_PORT", self.gateway_ports[0].to_string());
                set("CONTAINER_HOST", "127.0.0.1".to_owned());
                set("CONTAINER_PORT", self.gateway_ports[replica].to_string());
                if let Some(token) = &options.token {
                    set("PYGEOAPI_K8S_MANAGER_API_TOKEN", token.clone());
                }
            }
            (ExecutorChoice::Local, Service::Dispatcher) => {
                set("QUAYSIDE_DISPATCHER__EXECUTOR", "local".to_owned());
                set("QUAYSIDE_DISPATCHER__LOCAL_DIR", local);
            }
            (ExecutorChoice::Local, Service::Finalizer) => set("QUAYSIDE_FINALIZER__LOCAL_DIR", local),
            (ExecutorChoice::Kubernetes { dispatcher, finalizer, namespace }, service) => {
                let kubeconfig = if service == Service::Dispatcher { dispatcher } else { finalizer };
                set("KUBECONFIG", kubeconfig.display().to_string());
                if let Some(namespace) = namespace {
                    set("PYGEOAPI_K8S_MANAGER_NAMESPACE", namespace.clone());
                }
            }
        }
        environment.extend(options.environment.iter().cloned());
        environment
    }
}
