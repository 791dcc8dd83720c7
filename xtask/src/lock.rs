//! One command a folder.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

/// Makes the folder if need be, and holds it until the file is dropped. `remedy` is what to do when somebody else holds it.
///
/// # Errors
/// When another one of this command holds it, or it can't be made.
pub(crate) fn take(folder: &Path, command: &str, remedy: &str) -> Result<fs::File> {
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let file = fs::File::create(folder.join("lock"))?;
    if file.try_lock().is_err() {
        bail!("another cargo xtask {command} uses {}; {remedy}", folder.display());
    }
    Ok(file)
}
