//! One token that ends a process: finish what is in hand, then leave, within a limit.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The token of this process, cancelled at SIGTERM or SIGINT.
///
/// # Errors
/// When the signal handlers can't be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => info!(signal = "SIGTERM", "shutting down"),
            _ = interrupt.recv() => info!(signal = "SIGINT", "shutting down"),
        }
        cancelled.cancel();
    });
    Ok(token)
}

/// Waits for `work` to end by itself; once `token` is cancelled, for at most `limit` longer. `None` when the limit passed.
pub async fn within<T>(token: &CancellationToken, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let deadline = async {
        token.cancelled().await;
        tokio::time::sleep(limit).await;
    };
    tokio::select! {
        done = work => Some(done),
        () = deadline => {
            warn!(limit_seconds = limit.as_secs_f64(), "left before everything in hand was finished");
            None
        }
    }
}
