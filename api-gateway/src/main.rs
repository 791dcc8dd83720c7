//! The gateway as a program.

use std::process::ExitCode;

use platform::{config::process_environment, telemetry::chain};

#[tokio::main]
async fn main() -> ExitCode {
    match api_gateway::run(&process_environment).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not have started yet.
            eprintln!("api-gateway: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
