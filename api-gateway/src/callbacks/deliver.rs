//! One delivery: its message is the lease, and each attempt is written down beside it. A process that dies between the
//! attempt and that writes nothing: the receiver is told again, under the same id.

use std::time::Duration;

use jiff::Timestamp;
use platform::{
    consume::{Delivery, Verdict},
    failpoint,
    job_store::JobStoreError,
    publish::{self, StreamError, Written},
    telemetry::chain,
};
use protocol::{
    JobId, JobRecord, ProcessId,
    callback::{CallbackKind, DeliveryRecord, DeliveryState, QueuedDelivery, Subscription},
    names::subjects,
};
use tracing::{info, instrument, warn};

use super::{
    Callbacks, LARGE_RESULT,
    body::{self, Body},
    queue,
    schedule::{Attempted, Due},
    send::Message,
    spread,
};
use crate::{app::Gateway, error::GatewayError};

const RETRY_LIMIT: Duration = Duration::from_secs(60);
/// How long one that finds no place waits at first and at most.
const TURNED_AWAY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// How long an attempt may still take once this process is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// What a newer version queued is left to a newer version.
const NOT_OURS: Duration = Duration::from_secs(60);

/// What is delivered.
struct Call {
    process: ProcessId,
    job: JobId,
    kind: CallbackKind,
    host: String,
}

/// Handles the message of one delivery.
pub(super) async fn handle(gateway: Gateway, delivery: Delivery) -> Verdict {
    let Some((process, job, kind)) = subjects::parse_delivery(&delivery.subject) else {
        return Verdict::Poison { why: "the subject is none of a delivery".to_owned() };
    };
    if matches!(kind, CallbackKind::Other(_)) {
        return Verdict::Later { after: spread(NOT_OURS) };
    }
    let host = match serde_json::from_slice::<QueuedDelivery>(&delivery.payload) {
        Ok(queued) => queued.host,
        Err(error) => return Verdict::Poison { why: chain(&error) },
    };
    match deliver(&gateway, &delivery, &Call { process, job, kind, host }).await {
        Ok(verdict) => verdict,
        Err(JobStoreError::Stream(error @ StreamError::Decode { .. })) => Verdict::Poison { why: chain(&error) },
        Err(error) => Verdict::Retry { after: delivery.backoff(RETRY_LIMIT), why: chain(&error) },
    }
}

#[instrument(skip_all, fields(job_id = %call.job, kind = %call.kind, host = %call.host))]
async fn deliver(gateway: &Gateway, delivery: &Delivery, call: &Call) -> Result<Verdict, JobStoreError> {
    let (nats, callbacks) = (gateway.store.nats(), &gateway.callbacks);
    let state_subject = subjects::delivery_state(&call.process, &call.job, call.kind);
    let found = publish::last_callback::<DeliveryRecord>(nats, &state_subject).await?;
    let (before, sequence) = found.unwrap_or_else(|| (DeliveryRecord::pending(call.kind), 0));
    let schedule = callbacks.0.settings.schedule();
    match schedule.due(&before, Timestamp::now()) {
        Due::Attempt => {}
        Due::Rest(after) => return Ok(Verdict::Later { after }),
        // Who wrote that died before it could clean up.
        Due::Nothing => return done(gateway, call).await,
        Due::Unknown => return Ok(Verdict::Later { after: spread(NOT_OURS) }),
    }
    let turned_away = || Ok(Verdict::Later { after: waiting_time(delivery.delivered) });
    let Some(_place) = callbacks.0.places.take(&call.host, before.attempts == 0) else { return turned_away() };
    let Some(stored) = gateway.store.job(&call.job).await? else {
        info!("the job was removed: nobody is called back");
        gateway.store.forget_callbacks(&call.process, &call.job).await?;
        return Ok(Verdict::Done);
    };
    let record = stored.record;
    let _large = match is_large(&record, call.kind) {
        true => match callbacks.0.large.take(&call.host, before.attempts == 0) {
            Some(place) => Some(place),
            None => return turned_away(),
        },
        false => None,
    };
    let subscription = subjects::subscription(&call.process, &call.job);
    let subscription = publish::last_callback::<Subscription>(nats, &subscription).await?;
    if delivery.stop.is_cancelled() {
        return Ok(Verdict::Release);
    }
    let Some((subscription, _)) = subscription else { return done(gateway, call).await };
    let told_to_stop = async {
        delivery.stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let attempted = tokio::select! {
        attempted = attempt(gateway, call, &record, &subscription) => attempted,
        // The next one tells it again, under the same id.
        () = told_to_stop => return Ok(Verdict::Release),
    };
    let Some(attempted) = attempted else { return turned_away() };
    failpoint::reach("gateway.after-callback");
    let settings = &callbacks.0.settings;
    let after = schedule.after(&before, &attempted, Timestamp::now(), rand::random());
    // What is final gets its age when all of the job's callbacks are.
    let keep = (!after.state.is_final()).then(|| settings.retry_for + settings.keep_done);
    if publish::callback(nats, &state_subject, &after, sequence, keep).await? == Written::Conflict {
        // Another one holds it, as our lease was lost: what that one wrote counts.
        return Ok(Verdict::Later { after: nats.ack_wait });
    }
    tell(gateway, &after);
    match schedule.due(&after, Timestamp::now()) {
        Due::Rest(after) => Ok(Verdict::Later { after }),
        Due::Nothing => done(gateway, call).await,
        Due::Attempt | Due::Unknown => Ok(Verdict::Later { after: Duration::ZERO }),
    }
}

/// One attempt; `None` when there is no memory for what is to be told.
async fn attempt(gateway: &Gateway, call: &Call, record: &JobRecord, subscription: &Subscription) -> Option<Attempted> {
    let callbacks: &Callbacks = &gateway.callbacks;
    let Some(uri) = subscription.uri(call.kind) else {
        return Some(Attempted::Failed { reason: "nobody is to be told".to_owned() });
    };
    // Its memory is held until it is sent.
    let Body { bytes, memory: _memory } = match body::of(gateway, record, call.kind).await {
        Ok(body) => body,
        Err(GatewayError::ResultsBusy) => return None,
        Err(error) => {
            warn!(error = %chain(&error), "what is to be told can't be read");
            return Some(Attempted::Failed { reason: "the results could not be read".to_owned() });
        }
    };
    let id = format!("{}-{}", call.job, call.kind);
    let message = Message { id, job: gateway.urls.job(&call.job), body: bytes };
    Some(callbacks.send(uri, message, Timestamp::now().as_second()).await)
}

fn tell(gateway: &Gateway, after: &DeliveryRecord) {
    let (attempts, status) = (after.attempts, after.last_status);
    let reason = after.last_reason.as_deref();
    match after.state {
        DeliveryState::Delivered => info!(attempts, status, "called back"),
        DeliveryState::GivenUp => warn!(attempts, status, reason, "a callback is given up"),
        _ => info!(attempts, status, reason, "a callback failed, it will be tried again"),
    }
    gateway.metrics.called_back(after.kind.as_str(), after.state);
}

/// Cleans up after a delivery that is not tried any more. The job is looked at again: it may have been removed meanwhile, and
/// what was written since then is known to nobody else.
async fn done(gateway: &Gateway, call: &Call) -> Result<Verdict, JobStoreError> {
    failpoint::reach("gateway.before-callback-done");
    gateway.store.forget_callback(subjects::delivery(&call.process, &call.job, call.kind)).await?;
    match gateway.store.job(&call.job).await? {
        Some(stored) => queue::settle(gateway, &stored.record).await?,
        None => gateway.store.forget_callbacks(&call.process, &call.job).await?,
    }
    Ok(Verdict::Done)
}

fn is_large(record: &JobRecord, kind: CallbackKind) -> bool {
    let size: u64 = record.results.iter().map(|result| result.size).sum();
    kind == CallbackKind::Success && size > LARGE_RESULT
}

/// How long one that found no place waits: the more often, the longer, so that many that wait for one receiver cost little.
fn waiting_time(delivered: u64) -> Duration {
    let (first, most) = TURNED_AWAY;
    let exponent = u32::try_from(delivered.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    spread(first.saturating_mul(1 << exponent).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_place_comes_back_soon_at_first_and_seldom_later() {
        assert!(waiting_time(1) < Duration::from_millis(400));
        assert!(waiting_time(u64::MAX) > Duration::from_secs(20) && waiting_time(100) < Duration::from_secs(40));
    }
}
