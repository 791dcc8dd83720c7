//! `cargo xtask tools`

use anyhow::{Result, bail};
use clap::Args;
use end_to_end::{
    python,
    tools::{self, Tool},
};

/// The name under which the Python of the tests is asked for.
const PYTHON: &str = "python";

/// Which tools.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Names of programs; all of them if none is given.
    names: Vec<String>,
}

/// Builds what is not built yet, and prints a line for each tool.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let mut wanted = Vec::new();
    for name in arguments.names.iter().filter(|name| *name != PYTHON) {
        match Tool::ALL.iter().find(|tool| tool.name() == name) {
            Some(tool) => wanted.push(*tool),
            None => bail!("there is no tool {name}; there are {}, {PYTHON}", Tool::ALL.map(Tool::name).join(", ")),
        }
    }
    let are_all = arguments.names.is_empty();
    if are_all {
        wanted = Tool::ALL.to_vec();
    }
    let progress = |line: &str| eprintln!("{line}");
    let found = tools::require(&wanted, &progress).await?;
    for (tool, path) in found.iter() {
        println!("{:<24} {}", tool.name(), path.display());
    }
    if are_all || arguments.names.iter().any(|name| name == PYTHON) {
        println!("{PYTHON:<24} {}", python::require(&progress).await?.program().display());
    }
    Ok(())
}
