//! Developer commands: `cargo xtask <command>`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod cluster;
mod docs;
mod fuzz;
mod interrupt;
mod lock;
mod test;
mod tools;
mod up;

/// Developer commands of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the whole of Quayside on this machine; Ctrl-C stops it.
    Up(up::Up),
    /// Run every test: units, documentation, stories on real servers and on a real control plane.
    Test(test::Test),
    /// Measure Quayside beside plain clients of the same servers, and print one table of ratios.
    Bench(bench::Arguments),
    /// Look for faults in parsers of foreign bytes; needs a nightly toolchain.
    Fuzz(fuzz::Arguments),
    /// Build the programs that stand around the services in tests.
    Tools(tools::Arguments),
    /// Write the pages that are made from the code: docs/configuration.md and docs/settings.md.
    Docs,
    /// Start, stop or look at a Kubernetes cluster on this machine.
    Cluster(cluster::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Up(arguments) => up::run(arguments).await,
        Command::Test(arguments) => test::run(arguments).await,
        Command::Bench(arguments) => bench::run(arguments).await,
        Command::Fuzz(arguments) => fuzz::run(arguments).await,
        Command::Tools(arguments) => tools::run(arguments).await,
        Command::Docs => docs::run(),
        Command::Cluster(arguments) => cluster::run(arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One message, without the backtrace that a returned error would be shown with.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
