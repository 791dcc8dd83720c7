//! The log-finalizer.

use std::process::ExitCode;

fn main() -> ExitCode {
    match log_finalizer::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("log-finalizer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
