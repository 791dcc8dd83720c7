//! Ctrl-C and SIGTERM.

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// Fails when this program is told to end. What runs beside it has to end with its dropped future.
///
/// # Errors
/// That it was interrupted, or that signals can't be waited for.
pub(crate) async fn interrupted() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}
