//! The browser that opens the pages.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::tools::{Progress, find_on_path, lock, target_directory};

/// What it is called, here and there.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Names the program where it is called otherwise.
const VARIABLE: &str = "QUAYSIDE_CHROMIUM";

/// Finds the browser; as root on Debian it is installed where there is none. Two processes may call this at the same time: the
/// second waits for the first.
///
/// # Errors
/// When there is none: the message says what to do.
pub async fn require(progress: Progress<'_>) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) {
        ensure!(path.is_file(), "{VARIABLE} is {}, which there is not", path.display());
        return Ok(path);
    }
    if let Some(path) = found() {
        return Ok(path);
    }
    if !rustix::process::geteuid().is_root() || find_on_path("apt-get").is_none() {
        bail!("the pages are opened in Chromium, and there is none: `apt-get install chromium`, or {VARIABLE}=<path>");
    }
    let tools = target_directory().join("tools");
    fs::create_dir_all(&tools)?;
    let _lock = lock(&tools.join("chromium.lock"), progress).await?;
    if let Some(path) = found() {
        return Ok(path);
    }
    // Unlike what a node needs it can't be unpacked beside the others: it wants the system's fonts and libraries.
    progress("installing chromium with apt-get");
    install().await?;
    found().context("the package chromium brings no program chromium here")
}

/// As [`require`], for a test: `None`, and a line that says why, where there is none.
///
/// # Panics
/// When there is none and nothing may be left out.
pub async fn require_or_skip(test: &str) -> Option<PathBuf> {
    match require(&|_| {}).await {
        Ok(path) => Some(path),
        Err(error) => {
            assert!(std::env::var_os("QUAYSIDE_REQUIRE_ALL").is_none(), "{error:#}");
            println!("skipped {test}: {error:#}");
            None
        }
    }
}

fn found() -> Option<PathBuf> {
    NAMES.iter().find_map(|name| find_on_path(name))
}

async fn install() -> Result<()> {
    let apt = async |arguments: &[&str]| -> Result<bool> {
        let status = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status().await;
        Ok(status.context("apt-get can't be run")?.success())
    };
    let package = ["install", "-qq", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"];
    // A fresh machine has no lists of packages.
    if !apt(&package).await? {
        ensure!(apt(&["update", "-qq"]).await? && apt(&package).await?, "apt-get can't install chromium");
    }
    Ok(())
}
