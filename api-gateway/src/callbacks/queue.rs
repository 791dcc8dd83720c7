//! From a job's event to one queued delivery for each kind, once over all replicas.

use std::time::Duration;

use jiff::Timestamp;
use platform::{
    consume::{Delivery, Verdict},
    failpoint,
    publish::{self, StreamError, Written},
    telemetry::chain,
};
use protocol::{
    JobEvent, JobRecord,
    callback::{CallbackKind, DeliveryRecord, QueuedDelivery, Subscription},
    job_id::WriteId,
    job_record::Status,
    names::subjects,
};
use serde::Deserialize;
use tracing::{info, instrument};
use url::Url;

use crate::app::Gateway;

const RETRY_LIMIT: Duration = Duration::from_secs(60);

/// Handles one event of a job.
pub(super) async fn handle(gateway: Gateway, delivery: Delivery) -> Verdict {
    if !is_of_subscribed(&delivery.payload) {
        return Verdict::Done;
    }
    let kind = subjects::parse_event(&delivery.subject).and_then(|(_, _, event)| CallbackKind::of_event(event));
    let Some(kind) = kind else { return Verdict::Poison { why: "the subject is none of an event to tell".to_owned() } };
    let record = match serde_json::from_slice::<JobEvent>(&delivery.payload) {
        Ok(event) => event.into_record(),
        Err(error) => return Verdict::Poison { why: chain(&error) },
    };
    let queued = async {
        if record.callbacks.contains(&kind) {
            queue(&gateway, &record, kind).await?;
        }
        settle(&gateway, &record).await
    };
    match queued.await {
        Ok(()) => Verdict::Done,
        Err(error @ StreamError::Decode { .. }) => Verdict::Poison { why: chain(&error) },
        Err(error) => Verdict::Retry { after: delivery.backoff(RETRY_LIMIT), why: chain(&error) },
    }
}

/// Whether an event is about a job with callbacks. Most are not, and are not read further; what can't be read is left to
/// those who need it.
fn is_of_subscribed(payload: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Event {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        callbacks: Vec<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Event>(payload).is_ok_and(|event| !event.data.callbacks.is_empty())
}

/// Queues a delivery, unless it was queued before.
///
/// # Errors
/// When the stream did not answer, or holds what can't be read.
#[instrument(skip_all, fields(job_id = %record.job_id, %kind))]
pub(super) async fn queue(gateway: &Gateway, record: &JobRecord, kind: CallbackKind) -> Result<(), StreamError> {
    let (nats, process, job) = (gateway.store.nats(), &record.process_id, &record.job_id);
    let state = subjects::delivery_state(process, job, kind);
    if publish::last_callback::<DeliveryRecord>(nats, &state).await?.is_some() {
        return Ok(());
    }
    let subscription = publish::last_callback::<Subscription>(nats, &subjects::subscription(process, job)).await?;
    // None is there any more once all was delivered, or the job was removed.
    let host = subscription.as_ref().and_then(|(subscription, _)| host(subscription.uri(kind)?.reveal()));
    let Some(host) = host else { return Ok(()) };
    let message = QueuedDelivery::new(host, Timestamp::now());
    let subject = subjects::delivery(process, job, kind);
    if let Written::Won { .. } = publish::callback(nats, &subject, &message, 0, None).await? {
        info!("callback queued");
        failpoint::reach("gateway.after-callback-queued");
    }
    Ok(())
}

/// The host of an address, which is all of it that may be shown.
fn host(url: &str) -> Option<String> {
    Some(Url::parse(url).ok()?.host_str()?.to_owned())
}

/// Forgets who is told about a job once all was told or given up; what became of it is kept for a while longer. Until then it
/// has no age: of a job that runs for long, the sweep would have the start told again.
///
/// # Errors
/// As [`queue`].
pub(super) async fn settle(gateway: &Gateway, record: &JobRecord) -> Result<(), StreamError> {
    if !record.status.is_terminal() {
        return Ok(());
    }
    let (nats, process, job) = (gateway.store.nats(), &record.process_id, &record.job_id);
    let mut told = Vec::new();
    for kind in due(record) {
        let state = subjects::delivery_state(process, job, kind);
        match publish::last_callback::<DeliveryRecord>(nats, &state).await? {
            Some((delivery, sequence)) if delivery.state.is_final() => told.push((state, delivery, sequence)),
            _ => return Ok(()),
        }
    }
    let keep = Some(gateway.callbacks.0.settings.keep_done);
    for (state, delivery, sequence) in told {
        // Where another one does the same at the same time, that is as good.
        let aging = DeliveryRecord { write_id: WriteId::generate(), ..delivery };
        publish::callback(nats, &state, &aging, sequence, keep).await?;
    }
    gateway.store.forget_callback(subjects::subscription(process, job)).await
}

/// What there is to be told about a job as it is now: pure.
pub(super) fn due(record: &JobRecord) -> Vec<CallbackKind> {
    let is_due = |kind: &CallbackKind| match kind {
        CallbackKind::InProgress => record.started.is_some(),
        CallbackKind::Success => record.status == Status::Successful,
        CallbackKind::Failed => matches!(record.status, Status::Failed | Status::Dismissed),
        CallbackKind::Other(_) => false,
    };
    record.callbacks.iter().copied().filter(is_due).collect()
}

#[cfg(test)]
mod tests {
    use protocol::{Event, JobId, job_record::ArchiveState};

    use super::*;

    fn record(status: Status) -> JobRecord {
        let id = JobId::generate(1000);
        let record =
            JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), Timestamp::UNIX_EPOCH, ArchiveState::Off);
        JobRecord { status, callbacks: CallbackKind::ALL.to_vec(), ..record }
    }

    #[test]
    fn what_is_due_follows_from_the_record_alone() {
        use CallbackKind::{Failed, InProgress, Success};
        assert!(due(&record(Status::Accepted)).is_empty());
        let mut running = record(Status::Running);
        running.started = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(due(&running), [InProgress]);
        running.status = Status::Successful;
        assert_eq!(due(&running), [InProgress, Success]);
        assert_eq!(due(&record(Status::Failed)), [Failed], "it never started");
        let mut dismissed = record(Status::Dismissed);
        assert_eq!(due(&dismissed), [Failed]);
        dismissed.callbacks = vec![Success];
        assert!(due(&dismissed).is_empty(), "nobody wants to know");
    }

    #[test]
    fn only_events_of_jobs_with_callbacks_are_read() {
        let event = |record| serde_json::to_vec(&JobEvent::new(Event::Running, record)).unwrap();
        assert!(is_of_subscribed(&event(record(Status::Running))));
        assert!(!is_of_subscribed(&event(JobRecord { callbacks: Vec::new(), ..record(Status::Running) })));
        assert!(!is_of_subscribed(b"nonsense"));
    }

    #[test]
    fn of_an_address_only_its_host_is_kept() {
        assert_eq!(host("https://hooks.example.org:8443/hush?a=hush").as_deref(), Some("hooks.example.org"));
        assert_eq!(host("nonsense"), None);
    }
}
