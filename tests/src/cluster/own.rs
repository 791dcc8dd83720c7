//! A cluster of a story's own, which may do to it what would disturb the other stories of the run.

use std::{fs, path::PathBuf};

use anyhow::Result;
use tokio::sync::{Mutex, MutexGuard};

use super::{Cluster, ControllerLimits, NodeKind, Options};
use crate::{failures, strays};

/// One at a time: a cluster takes much of a small machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// It ends when it is dropped; the logs of its programs stay, unless it was [stopped](Self::stop).
#[derive(Debug)]
pub struct OwnCluster {
    /// The cluster.
    pub cluster: Cluster,
    folder: PathBuf,
    // Dropped last.
    _turn: MutexGuard<'static, ()>,
}

impl OwnCluster {
    /// Starts one for the story of this name.
    ///
    /// # Errors
    /// When it can't be started.
    pub async fn start(story: &str, nodes: Vec<NodeKind>) -> Result<Self> {
        let turn = TURN.lock().await;
        let folder = strays::folder().join(format!("{story}-cluster"));
        // What a run that was cut short left.
        Cluster::clear(&folder).await?;
        let options = Options { dir: folder.clone(), nodes, controllers: ControllerLimits::Raised, audit: false };
        let started = Cluster::start(&options, &|_| ()).await;
        let cluster = started.inspect_err(|error| failures::keep(&folder, error))?;
        Ok(Self { cluster, folder, _turn: turn })
    }

    /// Ends it and leaves nothing.
    ///
    /// # Errors
    /// When something of it can't be ended or removed.
    pub async fn stop(self) -> Result<()> {
        let stopped = self.cluster.stop().await;
        stopped.inspect_err(|error| failures::keep(&self.folder, error))?;
        Ok(fs::remove_dir_all(&self.folder)?)
    }
}
