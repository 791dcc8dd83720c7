//! `cargo xtask docs`: writes the pages that are made from the code.

mod settings;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use end_to_end::tools::workspace_directory;
use protocol::configuration::reference;

/// Writes them.
pub(crate) fn run() -> Result<()> {
    for (path, text) in pages() {
        fs::create_dir_all(path.parent().context("a page is in a folder")?)?;
        fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

fn pages() -> [(PathBuf, String); 2] {
    let folder = workspace_directory().join("docs");
    [(folder.join("configuration.md"), reference::page()), (folder.join("settings.md"), settings::page())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_what_the_code_makes() {
        for (path, text) in pages() {
            let written = fs::read_to_string(&path).unwrap_or_default();
            assert!(written == text, "{} is not what the code makes: run `cargo xtask docs`", path.display());
        }
    }
}
