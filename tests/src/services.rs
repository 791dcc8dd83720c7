//! Quayside's own three programs, as separate processes.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::{
    ports,
    program::{Launch, Program},
    tools::{Progress, target_directory, workspace_directory},
};

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Takes requests.
    Gateway,
    /// Runs jobs.
    Dispatcher,
    /// Stores logs and results.
    Finalizer,
}

impl Service {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Dispatcher, Self::Finalizer];

    /// The name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "api-gateway",
            Self::Dispatcher => "job-dispatcher",
            Self::Finalizer => "log-finalizer",
        }
    }

    /// Where cargo puts the program, in the profile of this build.
    pub fn binary(self) -> PathBuf {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        target_directory().join(profile).join(self.name())
    }
}

/// The `cargo` that started this program, in the workspace. What it told this program of its package is taken out of
/// the environment: build scripts that look at such variables, ring's among them, would else run anew each time.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let of_package = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_CRATE_NAME", "CARGO_BIN_", "CARGO_PRIMARY_PACKAGE"];
    for (name, _) in std::env::vars_os() {
        if of_package.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(workspace_directory());
    cargo
}

/// Builds the three programs, in the profile of this build.
pub async fn build(progress: Progress<'_>) -> Result<()> {
    progress("building the services");
    let mut cargo = cargo();
    cargo.arg("build");
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    for service in Service::ALL {
        cargo.args(["--package", service.name()]);
    }
    let status = cargo.status().await.context("cargo can't be started; install Rust from rustup.rs")?;
    ensure!(status.success(), "the services can't be built");
    Ok(())
}

/// One running service.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub program: Program,
    /// Its probe port.
    pub probe: u16,
}

impl Running {
    /// Starts a service, its output in `log`.
    pub fn start(service: Service, environment: &[(String, String)], inherit: bool, log: &Path) -> Result<Self> {
        let binary = service.binary();
        ensure!(binary.exists(), "{} is not built: cargo build", binary.display());
        let probe = ports::free()?;
        let mut launch = Launch::new(service.name(), binary, log);
        if !inherit {
            launch = launch.env_clear();
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let program = launch
            .env("PATH", path)
            .env("QUAYSIDE_PROBE__BIND", format!("127.0.0.1:{probe}"))
            .envs(environment.iter().cloned())
            .spawn()?;
        Ok(Self { program, probe })
    }

    /// Waits until its `/ready` says so.
    pub async fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/ready", self.probe);
        self.program
            .wait_ready(limit, || async {
                let answer = reqwest::get(&url).await?;
                let status = answer.status();
                if status.is_success() { Ok(()) } else { bail!("{}", answer.text().await?.trim()) }
            })
            .await
    }
}
