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

/// Subscriptions that one round looks at; the next one goes on from there.
const PAGE: usize = 500;
/// Clocks differ, and a commit takes its time.
const MARGIN: Duration = Duration::from_secs(3600);

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
            tokio::time::sleep(spread(gateway.callbacks.0.settings.sweep_every)).await;
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
    let after = gateway.callbacks.0.settings.sweep_after;
    for _ in 0..PAGE {
        let found = next(gateway, *cursor + 1).await?;
        let Some(found) = found.filter(|found| age(found.written, Timestamp::now()) >= after) else {
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
        None if is_orphan(age(found.written, Timestamp::now()), gateway.settings.idempotency_age)
            || gateway.store.removal(&found.job).await?.is_some() =>
        {
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

fn age(written: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(written).max(SignedDuration::ZERO).unsigned_abs()
}

/// True of the subscription of a job that was never committed, and never will be: that may happen for as long as an
/// idempotency key is known.
fn is_orphan(age: Duration, idempotency_age: Duration) -> bool {
    age >= idempotency_age + MARGIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_without_a_job_is_kept_as_long_as_a_key_may_still_make_it() {
        let day = Duration::from_secs(86_400);
        assert!(!is_orphan(day, day) && is_orphan(day + MARGIN, day));
        let (written, now) = (Timestamp::from_second(100).unwrap(), Timestamp::from_second(160).unwrap());
        assert_eq!((age(written, now), age(now, written)), (Duration::from_secs(60), Duration::ZERO));
    }
}
