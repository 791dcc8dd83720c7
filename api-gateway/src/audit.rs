//! Who did what: entries of the audit, from where it is done into a queue, and from there into a stream of their own. No request ever
//! waits for it, and none fails because of it.
//!
//! An entry that can't be written for long, or finds the queue full, becomes a line of the log, whole and at ERROR. What was
//! refused is summed up (`refusals`), so that nobody can fill the stream.

mod refusals;
mod settings;
mod trail;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use protocol::audit::{Action, AuditEvent, Entry};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::Instant,
};
use tracing::error;

use self::refusals::Refusals;
pub(crate) use self::trail::refused;
pub use self::{
    settings::AuditSettings,
    trail::Trail,
    writer::{Queue, Writing},
};
use crate::metrics::Metrics;

/// Where entries are told; cheap to clone.
#[derive(Clone)]
pub struct Audit(Option<Arc<Inner>>);

struct Inner {
    queue: mpsc::Sender<Waiting>,
    refusals: Mutex<Refusals>,
    metrics: Metrics,
}

/// An entry that waits to be written, and since when.
struct Waiting {
    event: AuditEvent,
    since: Instant,
}

impl Audit {
    /// One that keeps nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// One whose entries wait in a queue, as many as the settings say.
    pub fn new(settings: &AuditSettings, metrics: Metrics) -> (Self, Queue) {
        let (queue, waiting) = mpsc::channel(settings.queue);
        let audit = Self(Some(Arc::new(Inner { queue, refusals: Mutex::default(), metrics: metrics.clone() })));
        (audit.clone(), Queue::new(waiting, audit, metrics))
    }

    fn tell(&self, action: Action, entry: Entry) {
        self.tell_at(action, Timestamp::now(), entry);
    }

    fn tell_at(&self, action: Action, time: Timestamp, entry: Entry) {
        let Some(inner) = &self.0 else { return };
        let waiting = Waiting { event: AuditEvent::new(action, time, entry), since: Instant::now() };
        match inner.queue.try_send(waiting) {
            Ok(()) => inner.metrics.audit_waiting(inner.queue.max_capacity() - inner.queue.capacity()),
            Err(TrySendError::Full(Waiting { event, .. })) => log(&inner.metrics, &event, "the queue is full"),
            Err(TrySendError::Closed(Waiting { event, .. })) => log(&inner.metrics, &event, "the gateway has stopped"),
        }
    }

    /// Tells of a refusal: at once of the first of its kind in a minute, later of how many followed.
    fn tell_refusal(&self, entry: Entry) {
        let Some(inner) = &self.0 else { return };
        let first = inner.refusals.lock().unwrap_or_else(PoisonError::into_inner).add(entry, Timestamp::now());
        if let Some(first) = first {
            self.tell(Action::Refused, first);
        }
    }

    /// Tells how many refusals there were since this was done last.
    fn tell_sums(&self) {
        let Some(inner) = &self.0 else { return };
        let sums = inner.refusals.lock().unwrap_or_else(PoisonError::into_inner).take();
        for (time, entry) in sums {
            self.tell_at(Action::Refused, time, entry);
        }
    }
}

/// The last place for an entry: a line of the log with all of it.
fn log(metrics: &Metrics, event: &AuditEvent, why: &str) {
    metrics.audited("logged");
    let entry = serde_json::to_string(event).unwrap_or_else(|_| format!("{event:?}"));
    error!(%entry, why, "an entry of the audit was not written to its stream");
}
