//! The companion that stands beside a process's container: built static, for an image with nothing else in it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::{services, tools::target_directory};

/// The profile that it is built in.
const PROFILE: &str = "small";

/// The image that dispatchers take unless told otherwise.
pub fn image() -> String {
    format!("quayside/companion:{}", env!("CARGO_PKG_VERSION"))
}

/// Builds the program, and the standard library of its target where that is missing.
///
/// # Errors
/// When rustup or cargo fail.
pub async fn build() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let added = Command::new("rustup").args(["target", "add", &target]).output().await;
    let added = added.context("rustup can't be started: it brings the target of static programs; see rustup.rs")?;
    ensure!(added.status.success(), "rustup has no {target}: {}", String::from_utf8_lossy(&added.stderr));
    let mut cargo = services::cargo();
    cargo.args(["build", "--package", "quayside-companion", "--profile", PROFILE, "--target", &target]);
    // Its C code asks nothing of a C library: the machine's own compiler will do.
    let compiler = format!("CC_{}", target.replace('-', "_"));
    if std::env::var_os(&compiler).is_none() {
        cargo.env(compiler, "cc");
    }
    let built = cargo.status().await.context("cargo can't be started")?;
    ensure!(built.success(), "the companion can't be built");
    Ok(target_directory().join(target).join(PROFILE).join("quayside-companion"))
}
