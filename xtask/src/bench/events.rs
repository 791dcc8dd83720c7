//! A subscriber of the job events, as any program may be one: notes when it hears of what.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, pull::OrderedConfig},
};
use futures::StreamExt;
use jiff::Timestamp;
use protocol::{
    Event, JobId,
    names::subjects::{self, STREAM},
};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Events {
    heard: Arc<Heard>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Heard {
    jobs: Mutex<HashMap<JobId, HashMap<Event, Timestamp>>>,
    lost: Mutex<Option<String>>,
    changed: Notify,
}

impl Heard {
    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, HashMap<Event, Timestamp>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, Option<String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    /// Hears of every step of every job from now on.
    pub(super) async fn listen(nats: &str) -> Result<Self> {
        let client = async_nats::connect(nats).await?;
        let stream = jetstream::new(client).get_stream_no_info(STREAM).await?;
        let config = OrderedConfig {
            filter_subject: subjects::ALL_EVENTS.to_owned(),
            deliver_policy: DeliverPolicy::New,
            ..OrderedConfig::default()
        };
        let mut messages = stream.create_consumer(config).await?.messages().await?;
        let heard = Arc::new(Heard::default());
        let notes = heard.clone();
        let task = tokio::spawn(async move {
            while let Some(next) = messages.next().await {
                match next {
                    Ok(message) => {
                        let now = Timestamp::now();
                        if let Some((_, job, event)) = subjects::parse_event(&message.subject) {
                            notes.jobs().entry(job).or_default().entry(event).or_insert(now);
                        }
                    }
                    Err(error) => *notes.lost() = Some(error.to_string()),
                }
                notes.changed.notify_waiters();
            }
        });
        Ok(Self { heard, _task: AbortOnDropHandle::new(task) })
    }

    /// Waits until every one of these jobs was heard to be successful; after `limit` fails, and says where they are.
    pub(super) async fn successful(&self, jobs: &[JobId], limit: Duration) -> Result<()> {
        match tokio::time::timeout(limit, self.all_successful(jobs)).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("after {} s {}", limit.as_secs(), self.whereabouts(jobs)),
        }
    }

    async fn all_successful(&self, jobs: &[JobId]) -> Result<()> {
        let mut waiting: HashSet<JobId> = jobs.iter().copied().collect();
        loop {
            let changed = self.heard.changed.notified();
            {
                let heard = self.heard.jobs();
                let told = |job: &JobId, event| heard.get(job).is_some_and(|events| events.contains_key(&event));
                waiting.retain(|job| !told(job, Event::Successful));
                if let Some(job) = waiting.iter().find(|job| told(job, Event::Failed) || told(job, Event::Dismissed)) {
                    bail!("job {job} was not successful");
                }
            }
            if waiting.is_empty() {
                return Ok(());
            }
            if let Some(error) = self.heard.lost().take() {
                bail!("the job events can't be followed: {error}");
            }
            changed.await;
        }
    }

    fn whereabouts(&self, jobs: &[JobId]) -> String {
        let heard = self.heard.jobs();
        let newest = |job: &JobId| {
            let events = heard.get(job)?.iter();
            events.max_by_key(|(_, time)| **time).map(|(event, _)| event.as_str())
        };
        let open: Vec<(&JobId, &str)> = jobs.iter().map(|job| (job, newest(job).unwrap_or("nothing"))).collect();
        let open: Vec<_> = open.into_iter().filter(|(_, newest)| *newest != Event::Successful.as_str()).collect();
        let one = open.first().map(|(job, newest)| format!("; of {job} the last that was told is {newest}"));
        format!("{} of {} jobs are not successful{}", open.len(), jobs.len(), one.unwrap_or_default())
    }

    /// When it heard of that.
    pub(super) fn when(&self, job: &JobId, event: Event) -> Result<Timestamp> {
        let heard = self.heard.jobs();
        let events = heard.get(job).with_context(|| format!("nothing was heard of job {job}"))?;
        events.get(&event).copied().with_context(|| format!("the event {event} of job {job} was not heard"))
    }

    /// When the last of these jobs was heard to have taken that step.
    pub(super) fn last(&self, jobs: &[JobId], event: Event) -> Option<Timestamp> {
        let heard = self.heard.jobs();
        jobs.iter().filter_map(|job| heard.get(job)?.get(&event).copied()).max()
    }
}
