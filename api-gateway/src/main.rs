//! The gateway as a program.

use std::process::ExitCode;

use api_gateway::start::RunError;
use platform::{config::process_environment, telemetry::chain};

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not have started yet; everything else has ended, so that this is the last line.
            eprintln!("api-gateway: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve() -> Result<(), RunError> {
    api_gateway::run(&process_environment).await
}
