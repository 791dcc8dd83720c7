//! The Python programs that test as clients do: packages pinned with their hashes in `tests/tools/python`, in a virtual
//! environment under `target/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::{
    program::Launch,
    tools::{Progress, lock, target_directory, workspace_directory},
};

const PINS: &str = include_str!("../tools/python/requirements.txt");
/// The pins were resolved for this version; those of later ones are the same or fewer.
const OLDEST: (u32, u32) = (3, 11);
/// Its presence says that everything is installed.
const STAMP: &str = "installed";
/// How much of a failed program's output an error shows.
const SHOWN: usize = 60_000;

/// A Python with the pinned packages.
#[derive(Clone, Debug)]
pub struct Python {
    program: PathBuf,
}

/// Installs the packages where they are not, and says where their Python is.
///
/// Two processes may call this at the same time: the second waits for the first. An installation that is cut short is made
/// anew.
///
/// # Errors
/// When Python, its module venv or the package registry can't be had: the message says what to install.
pub async fn require(progress: Progress<'_>) -> Result<Python> {
    let root = target_directory().join("tools/python");
    fs::create_dir_all(&root).with_context(|| format!("{} can't be made", root.display()))?;
    let version = base_version().await?;
    let folder = root.join(name_of(&version));
    if let Some(python) = installed(&folder).await {
        return Ok(python);
    }
    let _lock = lock(&root.join("lock"), progress).await?;
    if let Some(python) = installed(&folder).await {
        return Ok(python);
    }
    progress("installing the Python packages of the tests");
    install(&folder).await?;
    installed(&folder).await.with_context(|| format!("{} does not run after its installation", folder.display()))
}

/// As [`require`], for a test: `None`, and a line that says why, where it can't be had.
///
/// # Panics
/// When it can't be had and nothing may be left out.
pub async fn require_or_skip(test: &str) -> Option<Python> {
    match require(&|_| {}).await {
        Ok(python) => Some(python),
        Err(error) => {
            assert!(std::env::var_os("QUAYSIDE_REQUIRE_ALL").is_none(), "{error:#}");
            println!("skipped {test}: {error:#}");
            None
        }
    }
}

impl Python {
    /// Path of the interpreter.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs Python with these arguments in `folder`, where its output is kept in the file `log`; what it printed.
    ///
    /// # Errors
    /// When it fails or takes longer than `limit`; the message has what it printed.
    pub async fn run(&self, folder: &Path, log: &str, arguments: &[&str], limit: Duration) -> Result<String> {
        let log = folder.join(log);
        let mut running = Launch::new("python", &self.program, &log)
            // Isolated: neither the developer's variables nor packages of theirs play a part.
            .arg("-I")
            .args(arguments)
            .current_dir(folder)
            .env("NO_PROXY", "*")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .spawn()?;
        let ended = tokio::time::timeout(limit, running.wait()).await;
        let printed = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        match ended {
            Ok(status) => {
                let status = status?;
                ensure!(status.success(), "python {} ended with {status}:\n{}", arguments.join(" "), end_of(&printed));
                Ok(printed)
            }
            Err(_) => {
                bail!("python {} ran longer than {} s:\n{}", arguments.join(" "), limit.as_secs(), end_of(&printed))
            }
        }
    }

    /// Runs a script of `tests/tests/python`.
    ///
    /// # Errors
    /// As [`Python::run`].
    pub async fn script(&self, folder: &Path, name: &str, arguments: &[&str], limit: Duration) -> Result<String> {
        let script = workspace_directory().join("tests/tests/python").join(name).display().to_string();
        let all: Vec<&str> = std::iter::once(script.as_str()).chain(arguments.iter().copied()).collect();
        self.run(folder, &format!("{name}.log"), &all, limit).await
    }
}

/// Another folder for other pins, another Python, another place.
fn name_of(version: &str) -> String {
    let digest = Sha256::digest(format!("{version}\n{PINS}"));
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn end_of(printed: &str) -> &str {
    let mut start = printed.len().saturating_sub(SHOWN);
    while !printed.is_char_boundary(start) {
        start += 1;
    }
    &printed[start..]
}

/// The version of the system's Python, such as `Python 3.11.7`.
async fn base_version() -> Result<String> {
    let output = python3(&["--version"]).await?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut parts = version.trim_start_matches("Python ").split('.').map(|part| part.parse::<u32>().ok());
    let found = (parts.next().flatten().unwrap_or(0), parts.next().flatten().unwrap_or(0));
    let (major, minor) = OLDEST;
    ensure!(found >= OLDEST, "Python {major}.{minor} or later is needed for the tests; python3 is {version}");
    Ok(version)
}

/// The Python of a finished installation that still runs.
async fn installed(folder: &Path) -> Option<Python> {
    let program = folder.join("bin/python");
    if !folder.join(STAMP).is_file() {
        return None;
    }
    let check = Command::new(&program).args(["-I", "-c", ""]).stdin(Stdio::null()).output().await;
    check.is_ok_and(|output| output.status.success()).then_some(Python { program })
}

async fn install(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} can't be removed", folder.display()))?;
    }
    let made = python3(&["-m", "venv", &folder.display().to_string()]).await?;
    ensure!(
        made.status.success(),
        "python3 can't make a virtual environment; its module venv may be missing (`apt-get install python3-venv`):\n{}",
        said(&made)
    );
    let pins = workspace_directory().join("tests/tools/python/requirements.txt");
    let pip =
        ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--only-binary", ":all:"];
    let done = Command::new(folder.join("bin/python"))
        .args(pip)
        .args(["--require-hashes", "--requirement"])
        .arg(&pins)
        .env_remove("PYTHONPATH")
        .stdin(Stdio::null())
        .output()
        .await
        .context("pip can't be started")?;
    ensure!(
        done.status.success(),
        "pip can't install {}; is the package registry reachable, and is a proxy or mirror configured for pip?\n{}",
        pins.display(),
        said(&done)
    );
    fs::write(folder.join(STAMP), "").context("the installation can't be marked as finished")
}

async fn python3(arguments: &[&str]) -> Result<Output> {
    Command::new("python3").args(arguments).env_remove("PYTHONPATH").stdin(Stdio::null()).output().await.map_err(|error| {
        anyhow!("Python is needed for the tests, and python3 can't be run ({error}): `apt-get install python3 python3-venv`")
    })
}

fn said(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    both.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_with_its_hashes() {
        let mut packages = 0;
        for entry in PINS.replace("\\\n", " ").lines().filter(|line| !line.trim().is_empty()) {
            if entry.trim_start().starts_with('#') {
                continue;
            }
            assert!(entry.contains("==") && entry.contains("--hash=sha256:"), "{entry}");
            packages += 1;
        }
        assert!(packages > 10, "{packages}");
        for wanted in ["owslib==", "schemathesis==", "openapi-spec-validator==", "jsonschema==", "standardwebhooks=="] {
            assert!(PINS.lines().any(|line| line.starts_with(wanted)), "{wanted}");
        }
    }

    #[test]
    fn other_pins_or_another_python_have_another_folder() {
        assert_eq!(name_of("Python 3.11.7"), name_of("Python 3.11.7"));
        assert_ne!(name_of("Python 3.11.7"), name_of("Python 3.13.1"));
    }

    #[test]
    fn the_end_of_what_was_printed_begins_at_a_letter() {
        let text = "ü".repeat(SHOWN);
        assert!(end_of(&text).len() <= SHOWN && end_of(&text).starts_with('ü'));
        assert_eq!(end_of("short"), "short");
    }
}
