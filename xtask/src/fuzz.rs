//! `cargo xtask fuzz`: gives parsers of foreign bytes inputs that look for their faults, for a given time.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use end_to_end::tools::{target_directory, workspace_directory};
use tokio::process::Command;

/// The version of cargo-fuzz that is installed below the target folder.
const VERSION: &str = "0.13.2";

/// What to fuzz.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Names of targets; all of them if none is given.
    names: Vec<String>,
    /// How long each is fuzzed.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

/// Fuzzes one target after the other.
///
/// # Errors
/// When one finds something, or a tool is missing.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let folder = workspace_directory().join("tests/fuzz");
    let targets = targets(&folder)?;
    if let Some(name) = arguments.names.iter().find(|name| !targets.contains(name)) {
        bail!("there is no target {name}; there are {}", targets.join(", "));
    }
    let wanted = if arguments.names.is_empty() { targets } else { arguments.names };
    let program = cargo_fuzz().await?;
    for name in wanted {
        fuzz(&program, &folder, &name, arguments.seconds).await?;
        println!("{name}: {} s, nothing found", arguments.seconds);
    }
    Ok(())
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.join("targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

async fn fuzz(program: &Path, folder: &Path, name: &str, seconds: u32) -> Result<()> {
    let work = target_directory().join("fuzz");
    let (corpus, found) = (work.join("corpus").join(name), work.join("found").join(name));
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&found)?;
    let status = Command::new("cargo")
        .env("PATH", path_with(program)?)
        // A pinned toolchain goes before the one asked for, unless it is asked for in this way.
        .env("RUSTUP_TOOLCHAIN", "nightly")
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .current_dir(workspace_directory())
        .args(["fuzz", "run", "--fuzz-dir"])
        .arg(folder)
        .arg("--target-dir")
        .arg(work.join("build"))
        .arg(name)
        .arg(&corpus)
        .arg(folder.join("seeds").join(name))
        .args(["--", &format!("-max_total_time={seconds}"), "-max_len=65536", "-rss_limit_mb=2048", "-timeout=20"])
        .arg(format!("-artifact_prefix={}/", found.display()))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .context("cargo can't be started; install Rust from rustup.rs")?;
    ensure!(
        status.success(),
        "{name}: the fuzzer could not run (it needs a nightly toolchain: rustup toolchain install nightly), or it found \
         something in {}: put that into tests/fuzz/seeds/{name}, where tests replay it",
        found.display()
    );
    Ok(())
}

async fn cargo_fuzz() -> Result<PathBuf> {
    let root = target_directory().join("tools");
    let program = root.join("bin/cargo-fuzz");
    if !program.exists() {
        println!("- installing cargo-fuzz {VERSION}");
        let status = Command::new("cargo")
            .env("CARGO_TARGET_DIR", root.join("cargo-fuzz-build"))
            .args(["install", "--quiet", "--locked", "--debug", "--version", VERSION, "--root"])
            .arg(&root)
            .arg("cargo-fuzz")
            .status()
            .await?;
        ensure!(status.success(), "cargo-fuzz can't be installed");
        std::fs::remove_dir_all(root.join("cargo-fuzz-build")).ok();
    }
    Ok(program)
}

fn path_with(program: &Path) -> Result<std::ffi::OsString> {
    let own = program.parent().map(Path::to_path_buf);
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(own.into_iter().chain(std::env::split_paths(&inherited)))?)
}
