//! The Go programs that stand around the services in tests: built once from the modules in `tests/tools`, then reused.
//!
//! Each program's version is written in the `go.mod` of its module and nowhere else. A program is built again when that
//! version or its build flags change. `nats-server` and `kubectl` are taken from `PATH` when they are recent enough.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};
use tokio::{io::AsyncReadExt, process::Command, time::MissedTickBehavior};

/// Receives one line about what is being done. Everything in this crate that can take longer than a second reports so.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// How often a long build says that it is still going on.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// A program from a Go module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// The NATS server.
    NatsServer,
    /// The `nats` command, for benchmarks.
    NatsCli,
    /// The Kubernetes API server's store.
    Etcd,
    /// The Kubernetes API server.
    KubeApiserver,
    /// Kubernetes' controllers, the Job controller among them.
    KubeControllerManager,
    /// The Kubernetes scheduler.
    KubeScheduler,
    /// The Kubernetes node agent.
    Kubelet,
    /// The Kubernetes command line: for people, and to apply `deploy/` as they do.
    Kubectl,
    /// The simulated node.
    Kwok,
    /// An S3 server on a folder.
    Versitygw,
    /// An issuer of OpenID Connect.
    ZitadelOidc,
}

/// Where the tools that were asked for are.
#[derive(Clone, Debug)]
pub struct Tools {
    paths: BTreeMap<Tool, PathBuf>,
}

impl Tools {
    /// The program's path; an error if it was not among those required.
    pub fn path(&self, tool: Tool) -> Result<&Path> {
        self.paths.get(&tool).map(PathBuf::as_path).ok_or_else(|| anyhow!("{} was not required", tool.name()))
    }

    /// All programs by name, for people.
    pub fn iter(&self) -> impl Iterator<Item = (Tool, &Path)> {
        self.paths.iter().map(|(tool, path)| (*tool, path.as_path()))
    }
}

/// Builds the tools that are not there yet, and says where all of them are.
///
/// Two processes may call this at the same time: the second waits for the first. A build that is cut short leaves
/// nothing behind that would be taken for a finished one.
pub async fn require(tools: &[Tool], progress: Progress<'_>) -> Result<Tools> {
    let mut paths = BTreeMap::new();
    for &tool in tools {
        let path = match tool.on_path().await {
            Some(path) => path,
            None => built(tool, progress).await?,
        };
        paths.insert(tool, path);
    }
    Ok(Tools { paths })
}

/// Where the tool is, if it need not be built.
pub async fn find(tool: Tool) -> Option<PathBuf> {
    match tool.on_path().await {
        Some(path) => Some(path),
        None => Some(target_directory().join("tools/bin").join(tool.name())).filter(|path| path.is_file()),
    }
}

/// Where cargo puts what it builds: `CARGO_TARGET_DIR`, or `target` in the workspace.
pub fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => workspace_directory().join(directory),
        None => workspace_directory().join("target"),
    }
}

/// The folder of the workspace's `Cargo.toml`.
pub fn workspace_directory() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

impl Tool {
    /// Every tool, quickest build first.
    pub const ALL: [Self; 11] = [
        Self::NatsServer,
        Self::ZitadelOidc,
        Self::Versitygw,
        Self::Kwok,
        Self::Etcd,
        Self::NatsCli,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubelet,
        Self::Kubectl,
    ];

    /// The name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::NatsServer => "nats-server",
            Self::NatsCli => "nats",
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Kubectl => "kubectl",
            Self::Kwok => "kwok",
            Self::Versitygw => "versitygw",
            Self::ZitadelOidc => "zitadel-oidc",
        }
    }

    /// The version pinned in the program's `go.mod`, such as `v1.34.4`.
    pub fn version(self) -> Result<&'static str> {
        let module = self.module();
        // The line is `require module version` or, inside a block, `module version // indirect`.
        module
            .go_mod
            .lines()
            .filter_map(|line| line.trim().trim_start_matches("require ").strip_prefix(module.path))
            .find_map(|rest| rest.strip_prefix(' ')?.split_whitespace().next())
            .ok_or_else(|| anyhow!("tests/tools/{}/go.mod does not require {}", module.folder, module.path))
    }

    /// The folder of the sources of this tool's module, downloaded when they are not there.
    pub async fn sources(self) -> Result<PathBuf> {
        let module = self.module();
        let output = go(module.folder)
            .args(["mod", "download", "-json", module.path])
            .output()
            .await
            .map_err(|error| no_go(&error))?;
        let answer: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("go mod download answered no JSON")?;
        match answer["Dir"].as_str() {
            Some(directory) => Ok(PathBuf::from(directory)),
            None => bail!("the sources of {} can't be downloaded: {}", module.path, answer["Error"]),
        }
    }

    fn module(self) -> Module {
        match self {
            Self::NatsServer => Module {
                folder: "nats-server",
                path: "github.com/nats-io/nats-server/v2",
                go_mod: include_str!("../tools/nats-server/go.mod"),
            },
            Self::NatsCli => Module {
                folder: "nats-cli",
                path: "github.com/nats-io/natscli",
                go_mod: include_str!("../tools/nats-cli/go.mod"),
            },
            Self::Etcd => Module {
                folder: "etcd",
                path: "go.etcd.io/etcd/server/v3",
                go_mod: include_str!("../tools/etcd/go.mod"),
            },
            Self::KubeApiserver | Self::KubeControllerManager | Self::KubeScheduler | Self::Kubelet | Self::Kubectl => {
                Module {
                    folder: "kubernetes",
                    path: "k8s.io/kubernetes",
                    go_mod: include_str!("../tools/kubernetes/go.mod"),
                }
            }
            Self::Kwok => {
                Module { folder: "kwok", path: "sigs.k8s.io/kwok", go_mod: include_str!("../tools/kwok/go.mod") }
            }
            Self::Versitygw => Module {
                folder: "versitygw",
                path: "github.com/versity/versitygw",
                go_mod: include_str!("../tools/versitygw/go.mod"),
            },
            Self::ZitadelOidc => Module {
                folder: "zitadel-oidc",
                path: "github.com/zitadel/oidc/v3",
                go_mod: include_str!("../tools/zitadel-oidc/go.mod"),
            },
        }
    }

    fn package(self) -> String {
        let module = self.module().path;
        match self {
            Self::NatsServer | Self::Etcd => module.to_owned(),
            Self::NatsCli => format!("{module}/nats"),
            // A program of our own around the module.
            Self::ZitadelOidc => "quayside.dev/tools/zitadel-oidc".to_owned(),
            _ => format!("{module}/cmd/{}", self.name()),
        }
    }

    /// Linker flags: no debug tables, and the version where a program would otherwise not know its own.
    fn linker_flags(self) -> Result<String> {
        let version = self.version()?;
        let named = match self {
            Self::KubeApiserver | Self::KubeControllerManager | Self::KubeScheduler | Self::Kubelet | Self::Kubectl => {
                let mut parts = version.trim_start_matches('v').split('.');
                let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                let package = "k8s.io/component-base/version";
                format!(
                    " -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
                )
            }
            Self::Kwok => format!(" -X sigs.k8s.io/kwok/pkg/consts.Version={version}"),
            Self::Versitygw => format!(" -X main.Version={version}"),
            Self::NatsCli => format!(" -X main.version={version}"),
            Self::NatsServer | Self::Etcd | Self::ZitadelOidc => String::new(),
        };
        Ok(format!("-s -w{named}"))
    }

    /// What tells versions of a program of our own apart: nothing for the others.
    fn own_source(self) -> String {
        match self {
            Self::ZitadelOidc => {
                let digest = Sha256::digest(include_str!("../tools/zitadel-oidc/main.go"));
                digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
            }
            _ => String::new(),
        }
    }

    /// The program on `PATH`, if its version will do: nats-server from 2.12 (the first with all that JetStream must do
    /// for us), kubectl within one minor version of the API server, which is what Kubernetes supports.
    async fn on_path(self) -> Option<PathBuf> {
        let arguments: &[&str] = match self {
            Self::NatsServer => &["--version"],
            Self::Kubectl => &["version", "--client"],
            _ => return None,
        };
        let path = find_on_path(self.name())?;
        let output = Command::new(&path).args(arguments).stdin(Stdio::null()).output().await.ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().find_map(|word| word.strip_prefix('v'))?;
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        let fits = match self {
            Self::NatsServer => (major, minor) >= (2, 12),
            _ => major == 1 && (33..=35).contains(&minor),
        };
        fits.then_some(path)
    }
}

/// The first file of that name in the folders of `PATH`.
pub(crate) fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A module in `tests/tools`.
struct Module {
    folder: &'static str,
    path: &'static str,
    go_mod: &'static str,
}

async fn built(tool: Tool, progress: Progress<'_>) -> Result<PathBuf> {
    let folder = target_directory().join("tools/bin");
    fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let program = folder.join(tool.name());
    let stamp = folder.join(format!("{}.stamp", tool.name()));
    let wanted = format!("{}@{} {} {}\n", tool.package(), tool.version()?, tool.linker_flags()?, tool.own_source());
    let is_built = || program.is_file() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted);
    if is_built() {
        return Ok(program);
    }
    // One lock for all tools: two builds at once would only take each other's processors.
    let _lock = lock(&folder.join("lock"), progress).await?;
    if is_built() {
        return Ok(program);
    }
    match fs::remove_file(&stamp) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    build(tool, &program, progress).await?;
    fs::write(&stamp, wanted)?;
    Ok(program)
}

pub(crate) async fn lock(path: &Path, progress: Progress<'_>) -> Result<fs::File> {
    let file = fs::File::create(path)?;
    let mut waiting = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                if !waiting {
                    progress("waiting for another process that builds tools");
                    waiting = true;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

async fn build(tool: Tool, program: &Path, progress: Progress<'_>) -> Result<()> {
    let (name, version) = (tool.name(), tool.version()?);
    progress(&format!("building {name} {version} with go"));
    let started = Instant::now();
    let mut child = go(tool.module().folder)
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", &tool.linker_flags()?, "-o"])
        .arg(program)
        .arg(tool.package())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| no_go(&error))?;
    let mut stderr = child.stderr.take().context("go has no standard error")?;
    let finished = async {
        let mut messages = Vec::new();
        stderr.read_to_end(&mut messages).await?;
        Ok::<_, std::io::Error>((child.wait().await?, messages))
    };
    tokio::pin!(finished);
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let (status, messages) = loop {
        tokio::select! {
            finished = &mut finished => break finished?,
            _ = ticks.tick() => progress(&format!("building {name}: {} s", started.elapsed().as_secs())),
        }
    };
    ensure!(status.success(), "go can't build {name} {version}:\n{}", String::from_utf8_lossy(&messages));
    progress(&format!("built {name} {version} in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// The `go` command in a module of `tests/tools`, untouched by what the developer's environment says about Go modules.
fn go(module_folder: &str) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(module_folder))
        .env_remove("GOFLAGS")
        .env("GOWORK", "off")
        .stdin(Stdio::null());
    command
}

fn no_go(error: &std::io::Error) -> anyhow::Error {
    let needed = [Tool::NatsServer, Tool::Kwok, Tool::Etcd, Tool::KubeApiserver]
        .iter()
        .filter_map(|tool| tool.module().go_mod.lines().find_map(|line| line.strip_prefix("go ")))
        .max()
        .unwrap_or("1.26");
    anyhow!(
        "Go {needed} or later is needed to build the tools of the tests, and can't be run ({error}): install it from https://go.dev/dl/ or with your package manager, and put `go` on PATH"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_pinned_version() {
        for tool in Tool::ALL {
            let version = tool.version().unwrap();
            assert!(version.starts_with('v'), "{}: {version}", tool.name());
        }
    }

    #[test]
    fn kubernetes_programs_know_their_own_version() {
        let flags = Tool::Kubelet.linker_flags().unwrap();
        assert!(flags.contains("gitMajor=1 ") && flags.contains("gitMinor=34"), "{flags}");
    }
}
