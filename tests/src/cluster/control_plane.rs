//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler on 127.0.0.1.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{ControllerLimits, Options, certificates, certificates::Certificates, state::Roster};
use crate::{
    ports,
    program::{Launch, Program},
    tools::{Tool, Tools},
};

/// What the control plane is built from.
pub(super) const TOOLS: [Tool; 4] = [Tool::Etcd, Tool::KubeApiserver, Tool::KubeControllerManager, Tool::KubeScheduler];

/// The folder of the certificates, in the cluster's.
pub(super) const CERTIFICATES: &str = "certificates";

/// On two busy cores the slowest start seen was 15 s.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Who may talk to the API server: user, group, and the kubeconfig's name.
const USERS: [(&str, &str); 4] = [
    ("admin", "system:masters"),
    ("system:kube-controller-manager", ""),
    ("system:kube-scheduler", ""),
    ("system:node:127.0.0.1", "system:nodes"),
];

/// The files and addresses that the programs share.
pub(super) struct ControlPlane {
    folder: PathBuf,
    etcd: String,
    port: u16,
    pub(super) certificates: Certificates,
}

impl ControlPlane {
    /// Writes certificates, tokens and kubeconfigs into the folder.
    pub(super) fn prepare(folder: &Path) -> Result<Self> {
        let certificates = Certificates::create(&folder.join(CERTIFICATES))?;
        let this = Self { folder: folder.to_path_buf(), etcd: String::new(), port: ports::free()?, certificates };
        let mut tokens = String::new();
        for (user, group) in USERS {
            let token = random_token()?;
            tokens.push_str(&format!("{token},{user},{user},\"{group}\"\n"));
            certificates::private(&this.kubeconfig(user), &this.kubeconfig_text(&token)?)?;
        }
        certificates::private(&this.folder.join("tokens.csv"), &tokens)?;
        Ok(this)
    }

    /// The file with which that user reaches the API server.
    pub(super) fn kubeconfig(&self, user: &str) -> PathBuf {
        let name = user.rsplit(':').next().unwrap_or(user);
        self.folder.join(format!("{name}.kubeconfig"))
    }

    /// Starts etcd and waits for it.
    pub(super) async fn start_etcd(&mut self, tools: &Tools, roster: &Roster<'_>) -> Result<Program> {
        let [client, peer] = ports::all_free::<2>()?;
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let launch = self
            .launch(Tool::Etcd, tools)?
            // What it holds is thrown away at the end, so nothing is lost by not waiting for the disk.
            .args(["--name=test", "--unsafe-no-fsync", "--log-level=warn"])
            .arg(format!("--data-dir={}", self.folder.join("etcd").display()))
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .arg(format!("--initial-cluster=test={peer}"));
        let mut etcd = roster.spawn(launch)?;
        let health = format!("{client}/health");
        etcd.wait_ready(START_LIMIT, || answers(reqwest::Client::new(), health.clone())).await?;
        self.etcd = client;
        Ok(etcd)
    }

    /// Starts the API server and waits until it says that it is ready.
    pub(super) async fn start_apiserver(
        &self,
        tools: &Tools,
        options: &Options,
        roster: &Roster<'_>,
    ) -> Result<Program> {
        let (certificate, key) = self.certificates.apiserver();
        let (client_certificate, client_key) = self.certificates.node_client();
        let authority = self.certificates.authority();
        let (account_public, account_key) = self.certificates.service_accounts();
        let mut launch = self
            .launch(Tool::KubeApiserver, tools)?
            .args([format!("--etcd-servers={}", self.etcd), format!("--secure-port={}", self.port)])
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"])
            .args(["--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=Node,RBAC", "--profiling=false"])
            // Binds a namespace's pods to a node by an annotation, so that pods need no tolerations of their own.
            .arg("--enable-admission-plugins=PodNodeSelector")
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(file("token-auth-file", &self.folder.join("tokens.csv")))
            .args([file("tls-cert-file", &certificate), file("tls-private-key-file", &key)])
            .args([
                file("service-account-key-file", &account_public),
                file("service-account-signing-key-file", &account_key),
            ])
            .args([file("client-ca-file", &authority), file("kubelet-certificate-authority", &authority)])
            .args([file("kubelet-client-certificate", &client_certificate), file("kubelet-client-key", &client_key)]);
        if options.controllers == ControllerLimits::Raised {
            launch = launch.args(["--max-requests-inflight=4000", "--max-mutating-requests-inflight=2000"]);
        }
        if options.audit {
            let policy = self.folder.join("audit-policy.json");
            let rules = json!({
                "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
                "omitStages": ["RequestReceived"], "rules": [{ "level": "Metadata" }],
            });
            fs::write(&policy, rules.to_string())?;
            launch = launch
                .args([file("audit-policy-file", &policy), file("audit-log-path", &self.folder.join("audit.log"))])
                .arg("--audit-log-maxsize=4096");
        }
        let mut apiserver = roster.spawn(launch)?;
        let authority = reqwest::Certificate::from_pem(&fs::read(authority)?)?;
        let client = reqwest::Client::builder().add_root_certificate(authority).build()?;
        let ready = format!("https://127.0.0.1:{}/readyz", self.port);
        apiserver.wait_ready(START_LIMIT, || answers(client.clone(), ready.clone())).await?;
        Ok(apiserver)
    }

    /// The controllers.
    pub(super) fn controller_manager(&self, tools: &Tools, limits: ControllerLimits) -> Result<Launch> {
        let mut launch = self
            .launch(Tool::KubeControllerManager, tools)?
            .args(["--leader-elect=false", "--secure-port=0", "--use-service-account-credentials=true"])
            .arg(file("kubeconfig", &self.kubeconfig("system:kube-controller-manager")))
            .arg(file("root-ca-file", &self.certificates.authority()))
            .arg(file("service-account-private-key-file", &self.certificates.service_accounts().1));
        if limits == ControllerLimits::Raised {
            launch = launch.args(["--kube-api-qps=2000", "--kube-api-burst=4000"]);
            launch = launch.args(["--concurrent-job-syncs=50", "--concurrent-gc-syncs=50"]);
        }
        Ok(launch)
    }

    /// The scheduler.
    pub(super) fn scheduler(&self, tools: &Tools, limits: ControllerLimits) -> Result<Launch> {
        let mut launch = self
            .launch(Tool::KubeScheduler, tools)?
            .args(["--leader-elect=false", "--secure-port=0"])
            .arg(file("kubeconfig", &self.kubeconfig("system:kube-scheduler")));
        if limits == ControllerLimits::Raised {
            launch = launch.args(["--kube-api-qps=2000", "--kube-api-burst=4000"]);
        }
        Ok(launch)
    }

    fn launch(&self, tool: Tool, tools: &Tools) -> Result<Launch> {
        Ok(Launch::new(tool.name(), tools.path(tool)?, self.folder.join(format!("{}.log", tool.name()))))
    }

    fn kubeconfig_text(&self, token: &str) -> Result<String> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "quayside-tests",
            "clusters": [{ "name": "quayside-tests", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "certificate-authority": self.certificates.authority(),
            } }],
            "users": [{ "name": "user", "user": { "token": token } }],
            "contexts": [{ "name": "quayside-tests", "context": { "cluster": "quayside-tests", "user": "user" } }],
        });
        Ok(serde_json::to_string_pretty(&config)?)
    }
}

/// A flag with a file for its value.
pub(super) fn file(flag: &str, path: &Path) -> String {
    format!("--{flag}={}", path.display())
}

async fn answers(client: reqwest::Client, url: String) -> Result<()> {
    let response = client.get(&url).timeout(Duration::from_secs(5)).send().await?;
    let status = response.status();
    ensure!(status.is_success(), "{url} answers {status}: {}", response.text().await?);
    Ok(())
}

fn random_token() -> Result<String> {
    let mut bytes = [0; 24];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes).context("no random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
