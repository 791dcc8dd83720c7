//! `cargo xtask docs`: writes the pages that are made from the code.

use std::fs;

use anyhow::{Context, Result};
use end_to_end::tools::workspace_directory;
use protocol::configuration::reference;

/// Writes them.
pub(crate) fn run() -> Result<()> {
    let folder = workspace_directory().join("docs");
    fs::create_dir_all(&folder)?;
    let page = folder.join("configuration.md");
    fs::write(&page, reference::page()).with_context(|| format!("{} can't be written", page.display()))?;
    println!("wrote {}", page.display());
    Ok(())
}
