//! The jobs of the local executor, from outside: they outlive the services on purpose.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use protocol::local::{Folder, Shim};

use crate::program::ProcessIdentity;

/// Ends every job that still runs below `root`; the next start finds them failed.
pub fn stop_all(root: &Path) -> Result<()> {
    let folders = match fs::read_dir(root) {
        Ok(folders) => folders,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("{} can't be read", root.display())),
    };
    for entry in folders {
        let folder = Folder::at(entry?.path());
        let Ok(text) = fs::read(folder.shim()) else { continue };
        let Ok(shim) = serde_json::from_slice::<Shim>(&text) else { continue };
        ProcessIdentity { pid: shim.pid, started: shim.start_ticks }.stop_blocking(Duration::from_secs(5))?;
    }
    Ok(())
}
