//! `cargo xtask tools`

use anyhow::{Result, bail};
use clap::Args;
use end_to_end::tools::{self, Tool};

/// Which tools.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Names of programs; all of them if none is given.
    names: Vec<String>,
}

/// Builds what is not built yet, and prints a line for each tool.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let mut wanted = Vec::new();
    for name in &arguments.names {
        match Tool::ALL.iter().find(|tool| tool.name() == name) {
            Some(tool) => wanted.push(*tool),
            None => bail!("there is no tool {name}; there are {}", Tool::ALL.map(Tool::name).join(", ")),
        }
    }
    if wanted.is_empty() {
        wanted = Tool::ALL.to_vec();
    }
    let found = tools::require(&wanted, &|line| eprintln!("{line}")).await?;
    for (tool, path) in found.iter() {
        println!("{:<24} {}", tool.name(), path.display());
    }
    Ok(())
}
