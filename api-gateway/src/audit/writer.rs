use std::time::Duration;

use async_nats::connection::State;
use futures::{StreamExt, stream};
use platform::{
    nats::Nats,
    publish::{self, StreamError},
    telemetry::chain,
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Audit, Waiting, log};
use crate::metrics::Metrics;

/// Entries that are written at one time.
const AT_ONCE: usize = 16;
/// How often refusals are summed up.
const MINUTE: Duration = Duration::from_secs(60);
/// What there is at least for the last entries, when answering the last requests took all of the time.
const LEAST: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The entries that wait, for the one who writes them.
pub struct Queue {
    waiting: mpsc::Receiver<Waiting>,
    audit: Audit,
    metrics: Metrics,
}

/// The writing that goes on, until it is ended.
pub struct Writing {
    task: JoinHandle<()>,
    stopped: JoinHandle<Instant>,
    limit: Duration,
    closing: Closing,
}

/// The end of writing, in two steps.
#[derive(Debug, Clone, Default)]
struct Closing {
    /// Nothing more comes: what waits is written.
    flush: CancellationToken,
    /// There is no more time: what still waits is logged.
    give_up: CancellationToken,
}

impl Writing {
    /// Writes what comes, each entry for at most `retry_for`. Once `shutdown` is cancelled, it may go on for `limit`.
    pub fn start(queue: Queue, nats: Nats, retry_for: Duration, limit: Duration, shutdown: CancellationToken) -> Self {
        let closing = Closing::default();
        let task = tokio::spawn(queue.write(nats, retry_for, closing.clone()));
        let stopped = tokio::spawn(async move {
            shutdown.cancelled().await;
            Instant::now()
        });
        Self { task, stopped, limit, closing }
    }

    /// Writes what still waits, in what is left of the time; what can't be written by then is logged. To be called once requests
    /// are answered and `shutdown` is cancelled.
    pub async fn end(self, audit: &Audit) {
        let Self { mut task, stopped, limit, closing } = self;
        audit.tell_sums();
        closing.flush.cancel();
        let stopped = stopped.await.unwrap_or_else(|_| Instant::now());
        let deadline = (stopped + limit).max(Instant::now() + LEAST);
        if timeout_at(deadline, &mut task).await.is_err() {
            closing.give_up.cancel();
            if let Err(lost) = task.await {
                warn!(error = %lost, "writing the audit ended");
            }
        }
    }
}

impl Queue {
    pub(super) fn new(waiting: mpsc::Receiver<Waiting>, audit: Audit, metrics: Metrics) -> Self {
        Self { waiting, audit, metrics }
    }

    /// What waits.
    #[cfg(test)]
    pub(crate) fn taken(&mut self) -> Vec<protocol::audit::AuditEvent> {
        std::iter::from_fn(|| self.waiting.try_recv().ok()).map(|waiting| waiting.event).collect()
    }

    async fn write(self, nats: Nats, retry_for: Duration, closing: Closing) {
        let Self { waiting, audit, metrics } = self;
        let summing = sum_up(audit, closing.flush.clone());
        let next = |(mut waiting, flush): (mpsc::Receiver<Waiting>, CancellationToken)| async move {
            let next = tokio::select! {
                biased;
                next = waiting.recv() => next,
                () = flush.cancelled() => {
                    waiting.close();
                    waiting.recv().await
                }
            };
            next.map(|next| ((next, waiting.len()), (waiting, flush)))
        };
        let entries = stream::unfold((waiting, closing.flush.clone()), next);
        let writing = entries.for_each_concurrent(AT_ONCE, move |(entry, left)| {
            metrics.audit_waiting(left);
            write(nats.clone(), entry, retry_for, closing.give_up.clone(), metrics.clone())
        });
        tokio::join!(summing, writing);
    }
}

async fn sum_up(audit: Audit, flush: CancellationToken) {
    let mut timer = tokio::time::interval(MINUTE);
    loop {
        tokio::select! {
            _ = timer.tick() => audit.tell_sums(),
            () = flush.cancelled() => return,
        }
    }
}

/// Writes one entry, or logs it. That it is written again changes nothing: the stream knows its id.
async fn write(nats: Nats, entry: Waiting, retry_for: Duration, give_up: CancellationToken, metrics: Metrics) {
    let Waiting { event, since } = entry;
    let deadline = since + retry_for;
    let mut pause = FIRST_PAUSE;
    loop {
        let attempt = async {
            // The library would keep the message and send it some time after the next connect.
            match nats.client.connection_state() {
                State::Connected => {
                    publish::audit(&nats, &event).await.map_err(|error| (can_pass(&error), chain(&error).to_string()))
                }
                State::Disconnected | State::Pending => Err((true, "there is no connection to NATS".to_owned())),
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = attempt => outcome,
            () = give_up.cancelled() => Err((false, "the gateway was stopped".to_owned())),
        };
        match outcome {
            Ok(()) => return metrics.audited("written"),
            Err((can_pass, why)) if !can_pass || Instant::now() + pause >= deadline || give_up.is_cancelled() => {
                return log(&metrics, &event, &why);
            }
            Err((_, why)) => debug!(%why, "an entry of the audit is written again"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = give_up.cancelled() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn can_pass(error: &StreamError) -> bool {
    match error {
        StreamError::Encode(_) | StreamError::Decode { .. } | StreamError::TooLarge { .. } => false,
        StreamError::Publish(_) | StreamError::Read(_) | StreamError::Delete(_) => true,
    }
}
