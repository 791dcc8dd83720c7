//! `cargo xtask test`: every test, with the servers and the cluster that they need.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use end_to_end::{
    chromium,
    cluster::{self, Cluster, ControllerLimits, KUBECONFIG_VARIABLE, NodeKind, permissions},
    failures, python, services,
    story::NODES_VARIABLE,
    strays,
    tools::{self, Tool, target_directory},
};

use crate::{interrupt::interrupted, lock};

/// What can be asked of `test`.
#[derive(Args, Debug)]
pub(crate) struct Test {
    /// Runs only the stories whose name contains this text.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Stories at the same time.
    #[arg(long, default_value_t = 3)]
    jobs: usize,
}

/// Set where nothing may be left out: CI.
const REQUIRE_ALL: &str = "QUAYSIDE_REQUIRE_ALL";
/// Where panics have backtraces (`RUST_BACKTRACE`), the errors that stories end with would have them too, of many lines of the
/// runtime's own, behind which what failed is not found.
const ERRORS_HAVE_BACKTRACES: &str = "RUST_LIB_BACKTRACE";

/// Characters of a failed story's words that are said at the end.
const BRIEFLY: usize = 500;

/// Runs them; what fails, fails the command. Ctrl-C and SIGTERM end it with all that it started.
///
/// # Errors
/// When a test fails, or something that they need can't be had.
pub(crate) async fn run(test: Test) -> Result<()> {
    let run = strays::folder();
    let _lock = lock::take(&run, "test", "wait for it, or stop it")?;
    // A run before this one may have been killed.
    Cluster::clear(&cluster_directory()).await?;
    end_strays(&run).await?;
    let outcome = tokio::select! {
        outcome = run_all(&test) => outcome,
        // The cluster ends with the dropped future.
        outcome = interrupted() => outcome,
    };
    let ended = end_strays(&run).await;
    outcome.and(ended)
}

async fn end_strays(run: &Path) -> Result<()> {
    match strays::end(run).await? {
        0 => {}
        count => say(&format!("ended {count} processes that stories left")),
    }
    Ok(())
}

async fn run_all(test: &Test) -> Result<()> {
    let started = Instant::now();
    let is_all_required = std::env::var_os(REQUIRE_ALL).is_some();
    if test.only.is_none() {
        say("unit and documentation tests");
        cargo(&["test", "--workspace", "--exclude", "end-to-end"], &[]).await?;
        cargo(&["test", "--package", "end-to-end", "--lib"], &[]).await?;
    }
    tools::require(&[Tool::NatsServer, Tool::Versitygw, Tool::Kubectl], &say).await?;
    if let Err(error) = python::require(&say).await {
        ensure!(!is_all_required, "{error:#}");
        say(&format!("the stories in Python are left out: {error:#}"));
    }
    if let Err(error) = chromium::require(&say).await {
        ensure!(!is_all_required, "{error:#}");
        say(&format!("the stories in a browser are left out: {error:#}"));
    }
    services::build(&say).await?;
    cargo(&["test", "--package", "end-to-end", "--test", "stories", "--no-run"], &[]).await?;
    let cluster = start_cluster(is_all_required, &say).await?;
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let nodes: Vec<&str> = cluster.nodes().iter().map(|node| node.node_name()).collect();
    let jobs = test.jobs.to_string();
    let mut arguments = vec!["test", "--package", "end-to-end", "--test", "stories", "--"];
    arguments.extend(["--test-threads", &jobs]);
    arguments.extend(test.only.as_deref());
    say("stories");
    let kept = strays::folder();
    let kept_in = kept.display().to_string();
    let nodes = nodes.join(",");
    let mut variables = vec![
        (KUBECONFIG_VARIABLE, kubeconfig.as_str()),
        (NODES_VARIABLE, nodes.as_str()),
        (strays::VARIABLE, kept_in.as_str()),
    ];
    if std::env::var_os(ERRORS_HAVE_BACKTRACES).is_none() {
        variables.push((ERRORS_HAVE_BACKTRACES, "0"));
    }
    failures::forget(&kept)?;
    let outcome = cargo(&arguments, &variables).await;
    let has_all = test.only.is_none() && cluster.nodes().contains(&NodeKind::Real);
    let outcome = outcome.and_then(|()| match cluster.audit_log().filter(|_| has_all) {
        Some(log) => permissions::check(&log).map(|told| told.iter().for_each(|line| say(line))),
        None => Ok(()),
    });
    if outcome.is_err() {
        keep_cluster_logs(cluster.dir(), &kept.join("cluster-logs")).ok();
    }
    for (story, words) in failures::of_run(&kept)? {
        say(&format!("failed: {story}: {}", briefly(&words)));
    }
    cluster.stop().await?;
    outcome.with_context(|| format!("failed stories left their folders in {}", kept.display()))?;
    say(&format!("all passed in {} s", started.elapsed().as_secs()));
    Ok(())
}

fn cluster_directory() -> PathBuf {
    target_directory().join("quayside-test-cluster")
}

/// One control plane for the whole run, with a simulated and a real node. Where a real one can't be had, its stories are
/// left out, and that is said; unless nothing may be left out.
async fn start_cluster(is_all_required: bool, progress: tools::Progress<'_>) -> Result<Cluster> {
    let options = |nodes| cluster::Options {
        dir: cluster_directory(),
        nodes,
        controllers: ControllerLimits::Raised,
        audit: true,
    };
    match Cluster::start(&options(vec![NodeKind::Simulated, NodeKind::Real]), progress).await {
        Ok(cluster) => Ok(cluster),
        Err(error) if is_all_required => Err(error),
        Err(error) => {
            progress(&format!("no real node here, its stories are left out: {error:#}"));
            Cluster::start(&options(vec![NodeKind::Simulated]), progress).await
        }
    }
}

async fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut command = services::cargo();
    command.args(arguments).envs(environment.iter().copied());
    let status =
        command.kill_on_drop(true).status().await.context("cargo can't be started; install Rust from rustup.rs")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

fn keep_cluster_logs(cluster: &Path, kept: &Path) -> Result<()> {
    std::fs::create_dir_all(kept)?;
    for entry in std::fs::read_dir(cluster)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.path().extension().is_some_and(|extension| extension == "log") {
            std::fs::copy(entry.path(), kept.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn briefly(words: &str) -> String {
    let mut begin: String = words.chars().take(BRIEFLY).collect();
    if begin.len() < words.len() {
        begin.push_str(" …");
    }
    begin
}

fn say(line: &str) {
    println!("- {line}");
}
