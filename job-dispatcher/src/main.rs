//! The job-dispatcher.

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, subcommand, folder] = arguments.as_slice()
        && subcommand == job_dispatcher::executor::local::SHIM_SUBCOMMAND
    {
        return job_dispatcher::executor::local::shim_main(Path::new(folder));
    }
    match job_dispatcher::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("job-dispatcher: {error:#}");
            ExitCode::FAILURE
        }
    }
}
