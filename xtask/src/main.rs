//! Developer commands: `cargo xtask <command>`.

use clap::{Parser, Subcommand};

mod cluster;
mod tools;

/// Developer commands of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the programs that stand around the services in tests.
    Tools(tools::Arguments),
    /// Start, stop or look at a Kubernetes cluster on this machine.
    Cluster(cluster::Arguments),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Tools(arguments) => tools::run(arguments).await,
        Command::Cluster(arguments) => cluster::run(arguments).await,
    }
}
