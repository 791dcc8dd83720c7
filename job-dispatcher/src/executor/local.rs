//! Runs jobs as child processes of this machine, for trying Quayside out and for fast tests. Everything that is known
//! of them is in one folder ([`protocol::local`]), so that all replicas of the machine see the same, and none is needed
//! while a job runs: a shim of its own watches over each.
//!
//! `create` prepares the folder → the `shim` runs the process → `settle` ends what was cut and removes what may go →
//! `observation`, told by `watch`.

mod create;
mod files;
mod observation;
mod processes;
mod settle;
mod shim;
mod watch;

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use protocol::local::{Folder, GONE, NEW};
use tokio::{process::Command, sync::mpsc, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use self::shim::shim_main;
pub use protocol::local::{NAMESPACE, SHIM_SUBCOMMAND};

use self::{
    files::Level,
    settle::{Settled, settle},
};
use super::{Change, CreateError, ExecutorError, JobPlan, Observation};

/// What a job's message says of this executor.
pub const MESSAGE: &str = "the local executor runs it, without its image, resources, storage and init containers";

/// Runs jobs as child processes; cheap to clone.
#[derive(Debug, Clone)]
pub struct LocalExecutor {
    settings: Arc<LocalSettings>,
}

/// What the local executor needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSettings {
    /// The folder of all jobs; made where it is missing. One per machine: it can't be shared between machines.
    pub dir: PathBuf,
    /// The program that is the shim when it is called with [`SHIM_SUBCOMMAND`]: this one.
    pub shim: PathBuf,
}

/// The local executor can't do something.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file or folder can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or folder can't be written, moved or removed.
    #[error("{} can't be written", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// This program does not know where it is.
    #[error("this program's own file can't be found")]
    Program(#[source] io::Error),
    /// The shim can't be started.
    #[error("the shim can't be started")]
    Shim(#[source] io::Error),
    /// The shim can't do its work.
    #[error("the shim can't {what}")]
    InShim {
        /// What it can't do.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl LocalExecutor {
    /// An executor whose jobs are in `dir` and whose shim is the running program.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn new(dir: &Path) -> Result<Self, LocalError> {
        let shim = std::env::current_exe().map_err(LocalError::Program)?;
        Self::with_settings(LocalSettings { dir: dir.to_owned(), shim })
    }

    /// An executor with another program as its shim.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn with_settings(mut settings: LocalSettings) -> Result<Self, LocalError> {
        // The shim runs elsewhere.
        let absolute = std::path::absolute(&settings.dir);
        settings.dir = absolute.map_err(|source| LocalError::Read { path: settings.dir, source })?;
        for dir in [settings.dir.clone(), settings.dir.join(NEW), settings.dir.join(GONE)] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.map_err(|source| LocalError::Write { path: dir, source })?;
        }
        Ok(Self { settings: Arc::new(settings) })
    }

    pub(super) async fn create(&self, plan: &JobPlan) -> Result<String, CreateError> {
        let folder = self.folder(&plan.job_name).ok_or_else(|| create::not_a_name(&plan.job_name))?;
        let (job, run) = create::describe(plan, &folder)?;
        let inputs = create::inputs(plan);
        let uid = job.uid.clone();
        let (made, hold) = (folder.clone(), plan.hold_pod);
        blocking(move || Ok::<_, LocalError>(create::make(&made, &job, &run, inputs.as_deref(), hold)))
            .await
            .map_err(|error| CreateError::Passing(Box::new(error)))??;
        if let Err(error) = self.start_shim(&folder) {
            let doomed = uid.clone();
            let dropped = blocking(move || create::take_back(&folder, &doomed)).await;
            if let Err(error) = dropped {
                warn!(job_id = %plan.job_id, error = %platform::telemetry::chain(&error), "the folder of a job that can't start stays");
            }
            return Err(CreateError::Passing(Box::new(error)));
        }
        Ok(uid)
    }

    pub(super) async fn observe(&self, job_name: &str) -> Result<Option<Observation>, ExecutorError> {
        let Some(folder) = self.folder(job_name) else { return Ok(None) };
        self.look(folder).await
    }

    pub(super) async fn delete(&self, job_name: &str, uid: &str) -> Result<(), ExecutorError> {
        let Some(folder) = self.folder(job_name) else { return Ok(()) };
        let (asked, uid) = (folder.clone(), uid.to_owned());
        let is_there = blocking(move || {
            let Some(level) = Level::read(&asked)?.filter(|level| level.job.uid == uid) else { return Ok(false) };
            files::mark(&asked.deleted(&uid))?;
            // Read again: a shim that started meanwhile either sees the mark or is seen here.
            let shim = Level::read(&asked)?.filter(|level| level.job.uid == uid).and_then(|level| level.shim);
            if let Some(shim) = shim.or(level.shim) {
                processes::ask_to_stop(&shim);
            }
            Ok::<_, LocalError>(true)
        });
        if is_there.await? {
            self.look(folder).await?;
        }
        Ok(())
    }

    pub(super) async fn watch(&self, changes: mpsc::Sender<Change>, stop: CancellationToken) {
        tokio::select! {
            () = watch::run(self, &changes) => {}
            () = stop.cancelled() => {}
        }
    }

    fn folder(&self, job_name: &str) -> Option<Folder> {
        Folder::of(&self.settings.dir, job_name)
    }

    /// Settles one folder, then observes it.
    async fn look(&self, folder: Folder) -> Result<Option<Observation>, ExecutorError> {
        let settled = folder.clone();
        if blocking(move || settle(&settled)).await? == Settled::NeedsShim {
            self.start_shim(&folder).map_err(|error| ExecutorError(Box::new(error)))?;
        }
        let level = blocking(move || Level::read(&folder)).await?;
        Ok(level.as_ref().map(observation::observe))
    }

    /// The shim is our child, and reaped by us, for as long as we live. Nothing of our environment reaches it.
    fn start_shim(&self, folder: &Folder) -> Result<(), LocalError> {
        let mut command = Command::new(&self.settings.shim);
        command.arg(SHIM_SUBCOMMAND).arg(folder.path()).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(LocalError::Shim)?;
        tokio::spawn(async move {
            match child.wait().await {
                Ok(status) => debug!(%status, "a shim ended"),
                Err(error) => warn!(%error, "a shim can't be waited for"),
            }
        });
        Ok(())
    }

    /// Names of all folders, and those that are half removed or half made for long are cleared.
    async fn list(&self) -> Result<Vec<String>, ExecutorError> {
        let settings = self.settings.clone();
        blocking(move || {
            settle::clear(&settings.dir);
            let unreadable = |source| LocalError::Read { path: settings.dir.clone(), source };
            let mut names = Vec::new();
            for entry in fs::read_dir(&settings.dir).map_err(unreadable)? {
                let name = entry.map_err(unreadable)?.file_name();
                names.extend(name.into_string().ok().filter(|name| !name.starts_with('.')));
            }
            Ok(names)
        })
        .await
    }
}

/// Runs file work where it blocks no other task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, ExecutorError> {
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| ExecutorError(Box::new(error))),
        Err(error) => Err(ExecutorError(Box::new(error))),
    }
}
