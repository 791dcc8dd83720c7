//! The level behind the messages: subscriptions are compared with their jobs on a timer. What a lost message left untold is
//! queued, and subscriptions of jobs that never were are deleted.

use std::time::Duration;

use async_nats::jetstream::stream::RawMessageErrorKind;
use jiff::{SignedDuration, Timestamp};
use platform::{job_store::JobStoreError, publish::StreamError, telemetry::chain};
use protocol::{
    JobId, ProcessId,
    names::subjects::{ALL_SUBSCRIPTIONS, DELIVERING_CONSUMER, parse_subscription},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{queue, spread};
use crate::app::Gateway;

const EVERY: Duration = Duration::from_secs(60);
/// Messages do their work within this time.
const AFTER: Duration = Duration::from_secs(600);
/// Subscriptions that one round looks at; the next one goes on from there.
const PAGE: usize = 500;
/// A job may be committed for as long as its idempotency key is known, which is a day at most; and clocks differ.
const UNCOMMITTED: Duration = Duration::from_secs(25 * 3600);

/// A subscription in the stream.
struct Found {
    process: ProcessId,
    job: JobId,
    sequence: u64,
    written: Timestamp,
}

/// Sweeps until `stop`.
pub(super) async fn run(gateway: Gateway, stop: CancellationToken) {
    let mut cursor = 0;
    while !stop.is_cancelled() {
        let round = async {
            count_waiting(&gateway).await;
            if let Err(error) = round(&gateway, &mut cursor).await {
                warn!(error = %chain(&error), "callbacks could not be swept");
            }
            tokio::time::sleep(spread(EVERY)).await;
        };
        tokio::select! {
            () = round => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn count_waiting(gateway: &Gateway) {
    let stream = &gateway.store.nats().callbacks;
    match stream.consumer_info(DELIVERING_CONSUMER).await {
        Ok(info) => gateway.metrics.callbacks_waiting(info.num_pending + info.num_ack_pending as u64),
        Err(error) => debug!(%error, "waiting callbacks could not be counted"),
    }
}

async fn round(gateway: &Gateway, cursor: &mut u64) -> Result<(), JobStoreError> {
    for _ in 0..PAGE {
        let found = next(gateway, *cursor + 1).await?;
        let Some(found) = found.filter(|found| age(found.written) >= AFTER) else {
            // All that is old enough was looked at: the next round begins anew.
            *cursor = 0;
            return Ok(());
        };
        *cursor = found.sequence;
        look(gateway, &found).await?;
    }
    Ok(())
}

async fn look(gateway: &Gateway, found: &Found) -> Result<(), JobStoreError> {
    match gateway.store.job(&found.job).await? {
        Some(stored) => {
            for kind in queue::due(&stored.record) {
                queue::queue(gateway, &stored.record, kind).await?;
            }
            queue::settle(gateway, &stored.record).await?;
        }
        None if age(found.written) >= UNCOMMITTED || gateway.store.removal(&found.job).await?.is_some() => {
            info!(job_id = %found.job, "callbacks of a job that is not there are forgotten");
            gateway.store.forget_callbacks(&found.process, &found.job).await?;
        }
        None => {}
    }
    Ok(())
}

/// The next subscription from this sequence on.
async fn next(gateway: &Gateway, from: u64) -> Result<Option<Found>, StreamError> {
    let stream = &gateway.store.nats().callbacks;
    let mut from = from;
    loop {
        let message = match stream.get_first_raw_message_by_subject(ALL_SUBSCRIPTIONS, from).await {
            Ok(message) => message,
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(None),
            Err(error) => return Err(StreamError::Read(Box::new(error))),
        };
        if let Some((process, job)) = parse_subscription(&message.subject) {
            let written = Timestamp::from_nanosecond(message.time.unix_timestamp_nanos());
            let written = written.unwrap_or(Timestamp::MAX);
            return Ok(Some(Found { process, job, sequence: message.sequence, written }));
        }
        from = message.sequence + 1;
    }
}

fn age(written: Timestamp) -> Duration {
    Timestamp::now().duration_since(written).max(SignedDuration::ZERO).unsigned_abs()
}
