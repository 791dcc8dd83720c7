//! What is told of callbacks on their job: no address, nor anything that a receiver sent but its status.

use std::time::Duration;

use async_nats::connection::State;
use futures::future::try_join_all;
use jiff::Timestamp;
use platform::{
    nats::Nats,
    publish::{self, StreamError},
    telemetry::chain,
};
use protocol::{
    JobRecord,
    callback::{CallbackKind, DeliveryRecord, DeliveryState, Subscription},
    names::subjects,
};
use serde::Serialize;
use tracing::debug;

use super::queue;
use crate::app::Gateway;

/// A status is not kept waiting for longer by what its callbacks do.
const LIMIT: Duration = Duration::from_secs(5);

/// One callback of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackInfo {
    kind: CallbackKind,
    state: DeliveryState,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_attempt: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<Timestamp>,
}

impl From<DeliveryRecord> for CallbackInfo {
    fn from(delivery: DeliveryRecord) -> Self {
        Self {
            kind: delivery.kind,
            state: delivery.state,
            attempts: delivery.attempts,
            last_attempt: delivery.last_attempt,
            last_status: delivery.last_status,
            last_reason: delivery.last_reason,
            next_attempt: delivery.next_attempt,
        }
    }
}

/// The callbacks of a job, those that are done for as long as that is kept. None where that can't be read: the rest of the
/// status is worth more.
pub async fn of(gateway: &Gateway, record: &JobRecord) -> Vec<CallbackInfo> {
    if record.callbacks.is_empty() || gateway.store.nats().client.connection_state() != State::Connected {
        return Vec::new();
    }
    let (nats, record) = (gateway.store.nats().clone(), record.clone());
    let reading = gateway.runtime.spawn(async move { tokio::time::timeout(LIMIT, read(&nats, &record)).await });
    match reading.await {
        Ok(Ok(Ok(callbacks))) => callbacks,
        Ok(Ok(Err(error))) => {
            debug!(error = %chain(&error), "callbacks could not be read");
            Vec::new()
        }
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

async fn read(nats: &Nats, record: &JobRecord) -> Result<Vec<CallbackInfo>, StreamError> {
    let (process, job) = (&record.process_id, &record.job_id);
    let kinds = if record.status.is_terminal() { queue::due(record) } else { record.callbacks.clone() };
    let states = kinds.iter().map(async |kind| {
        let subject = subjects::delivery_state(process, job, *kind);
        Ok::<_, StreamError>((*kind, publish::last_callback::<DeliveryRecord>(nats, &subject).await?))
    });
    let states = try_join_all(states).await?;
    let is_subscribed = match states.iter().any(|(_, state)| state.is_none()) {
        true => publish::last_callback::<Subscription>(nats, &subjects::subscription(process, job)).await?.is_some(),
        false => false,
    };
    let shown = states.into_iter().filter_map(|(kind, state)| match state {
        Some((delivery, _)) => Some(delivery.into()),
        None => is_subscribed.then(|| DeliveryRecord::pending(kind).into()),
    });
    Ok(shown.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let shown = CallbackInfo::from(DeliveryRecord::pending(CallbackKind::InProgress));
        assert_eq!(
            serde_json::to_value(shown).unwrap(),
            json!({"kind": "in-progress", "state": "pending", "attempts": 0})
        );
    }
}
