//! The companion of a process's container: it writes the container's inputs into a file before it starts, or stores the files of its
//! outputs after it has ended. It talks to nobody but the bucket, under URLs that were made for this one job.

mod collect;
mod inputs;
mod transfer;

// The one file of the protocol that it needs.
#[allow(dead_code, unreachable_pub)]
#[path = "../../protocol/src/companion.rs"]
mod protocol;

use std::{fs, process::ExitCode};

/// Where the kubelet reads why a container failed
/// (<https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>).
const TERMINATION_LOG: &str = "/dev/termination-log";

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    let done = match argument.as_str() {
        protocol::INPUTS => inputs::write().map_err(|error| chain(&error)),
        protocol::COLLECT => collect::run().map_err(|error| chain(&error)),
        _ => Err(format!("expected the argument {} or {}", protocol::INPUTS, protocol::COLLECT)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            // It may not be there: then the log has to do.
            fs::write(TERMINATION_LOG, &why).ok();
            ExitCode::FAILURE
        }
    }
}

/// What went wrong, with its causes. None of them shows a URL: its signature is a secret.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A variable that the dispatcher sets.
fn variable(name: &'static str) -> Result<String, MissingVariable> {
    std::env::var(name).map_err(|_| MissingVariable(name))
}

/// A variable is not there, or no text.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable {0} is not set")]
struct MissingVariable(&'static str);
