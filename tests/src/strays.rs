//! What a run of stories that was cut short left on the machine.
//!
//! A story ends what it started, also when it fails. When the program that tells stories is killed it can't, and what they
//! started is in process groups of its own, where no Ctrl-C reaches it. All of that inherits a variable, by which it is found.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    cluster::Cluster,
    local_jobs,
    program::{ProcessIdentity, Signal},
    tools::target_directory,
};

/// The variable. Its value is the [folder] of the run's stories, so that runs of other workspaces are left alone.
pub const VARIABLE: &str = "QUAYSIDE_TEST_RUN";

/// How long what is asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How long all of it may take to be gone. Something that is ended may have been about to start something.
const LIMIT: Duration = Duration::from_secs(30);

/// Where stories have their folders.
pub fn folder() -> PathBuf {
    target_directory().join("quayside-test")
}

/// Ends the clusters, the local jobs and all other processes of the run that uses this folder. Returns how many of these processes there were.
///
/// # Errors
/// When something of it can't be ended.
pub async fn end(run: &Path) -> Result<usize> {
    for story in folders(run)? {
        Cluster::clear(&story).await.with_context(|| format!("the cluster in {}", story.display()))?;
        local_jobs::stop_all(&story.join("local"))?;
    }
    let run = run.to_path_buf();
    tokio::task::spawn_blocking(move || end_processes(&run)).await?
}

/// The folders of a run's stories; none where it has not begun.
pub(crate) fn folders(run: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(run) {
        Ok(entries) => {
            let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
            Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("{} can't be read", run.display())),
    }
}

fn end_processes(run: &Path) -> Result<usize> {
    let started = Instant::now();
    let mut ended = Vec::new();
    loop {
        let found = of_run(run)?;
        if found.is_empty() {
            return Ok(ended.len());
        }
        let age = started.elapsed();
        if age > LIMIT {
            bail!("{} processes of {} do not end", found.len(), run.display());
        }
        for process in found {
            if !ended.contains(&process) {
                process.signal(Signal::TERM)?;
                ended.push(process);
            } else if age > GRACE {
                process.signal(Signal::KILL)?;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that have the variable with this value.
fn of_run(run: &Path) -> Result<Vec<ProcessIdentity>> {
    let wanted = format!("{VARIABLE}={}", run.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("/proc can't be read")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile, or be somebody else's.
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        let is_of_run = environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
        if let Ok(process) = ProcessIdentity::of(pid)
            && is_of_run
            && process.is_running()
        {
            found.push(process);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Launch, wait_until};

    #[tokio::test]
    async fn what_has_the_variable_is_ended_with_what_it_started_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let start = |name: &str, value: PathBuf, script: &str| {
            let launch = Launch::new(name, "/bin/sh", folder.path().join(name)).args(["-c", script]);
            launch.env(VARIABLE, value).spawn().unwrap()
        };
        let run = folder.path().join("run");
        // The child's parent is gone, it ignores TERM, and has a process group of its own.
        let script = "setsid sh -c 'trap \"\" TERM; echo armed; while :; do sleep 1; done' &\nsleep 60";
        let mut parent = start("parent", run.clone(), script);
        let mut other = start("other", folder.path().join("another-run"), "exec sleep 60");
        let log = parent.log().to_path_buf();
        wait_until("the child is there", Duration::from_secs(20), || async {
            anyhow::ensure!(fs::read_to_string(&log)?.contains("armed"));
            Ok(())
        })
        .await
        .unwrap();
        parent.kill().await.unwrap();
        assert!(end(&run).await.unwrap() >= 2, "the child, and one of the two that sleep");
        assert!(of_run(&run).unwrap().is_empty());
        assert!(other.exit_status().unwrap().is_none(), "another run's");
        assert_eq!(end(&run).await.unwrap(), 0);
    }
}
