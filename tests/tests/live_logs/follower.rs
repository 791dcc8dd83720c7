//! A follower that a test writes: parts in the bucket, and answers, as the ledger has them.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use platform::object_store::ObjectStore;
use protocol::{
    JobRecord, SCHEMA, Unknown, digest,
    job_id::Epoch,
    ledger::{
        self, LogOf, PartHeader, PartKey, Previous,
        tail::{Answer, Followed, MOST_BYTES, Question},
    },
    names::subjects,
};
use tokio::{sync::watch, task::AbortHandle};

/// Names of the containers, in their order.
pub(super) const CONTAINERS: [&str; 2] = ["fetch", "generic-image-processor"];
/// Name of the pod.
pub(super) const POD: &str = "pod-1";
/// Lines are so far apart.
const SECOND: Duration = Duration::from_secs(1);

struct Log {
    of: LogOf,
    /// What was read of it.
    bytes: Vec<u8>,
    /// Place of the first of them.
    begin: usize,
    stored: usize,
    ended: bool,
    previous: Option<Previous>,
}

impl Log {
    fn read(&self) -> usize {
        self.begin + self.bytes.len()
    }
}

struct State {
    epoch: Epoch,
    logs: Vec<Log>,
}

/// A follower; killed when it is dropped.
pub(super) struct Follower {
    record: JobRecord,
    store: Option<ObjectStore>,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
    task: AbortHandle,
}

/// When the line that begins at a place was written: one second later for each hundred bytes.
pub(super) fn time_of(place: usize) -> Timestamp {
    let begin: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    begin + SECOND * u32::try_from(place / 100).unwrap()
}

impl Follower {
    pub(super) async fn start(
        nats: &async_nats::Client,
        store: Option<ObjectStore>,
        record: &JobRecord,
    ) -> Result<Self> {
        let state = Arc::new(Mutex::new(State { epoch: Epoch::generate(), logs: Vec::new() }));
        let (changed, changes) = watch::channel(());
        let subject = subjects::log_tail(&record.process_id, &record.job_id);
        let mut questions = nats.subscribe(subject).await?;
        nats.flush().await?;
        let (nats, answering) = (nats.clone(), state.clone());
        let task = tokio::spawn(async move {
            while let Some(message) = questions.next().await {
                let Some(reply) = message.reply.clone() else { continue };
                let (nats, state, mut changes) = (nats.clone(), answering.clone(), changes.clone());
                tokio::spawn(async move {
                    let question: Question = serde_json::from_slice(&message.payload).unwrap();
                    let answer = answered(&state, &question, &mut changes).await;
                    nats.publish(reply, answer).await.unwrap();
                });
            }
        });
        let task = task.abort_handle();
        Ok(Self { record: record.clone(), store, state, changed, task })
    }

    /// Goes on after what another one stored of this container.
    pub(super) fn go_on(&self, container: &str, other: &Self) {
        let (from, epoch) = {
            let state = other.lock();
            let log = state.logs.iter().find(|log| log.of.container == container).unwrap();
            (log.stored, state.epoch.clone())
        };
        let last = other.last_part(container, from);
        let previous = last.map(|(start, size)| Previous { epoch, start, size });
        let mut state = self.lock();
        let mut log = new_log(container);
        (log.begin, log.stored, log.previous) = (from, from, previous);
        state.logs.push(log);
    }

    /// Reads bytes.
    pub(super) fn write(&self, container: &str, bytes: &[u8]) {
        {
            let mut state = self.lock();
            log_of(&mut state, container).bytes.extend_from_slice(bytes);
        }
        self.changed.send_replace(());
    }

    /// The container has ended.
    pub(super) fn end(&self, container: &str) {
        log_of(&mut self.lock(), container).ended = true;
        self.changed.send_replace(());
    }

    /// Stores everything that was read of a container as one part.
    pub(super) async fn ship(&self, container: &str) -> Result<()> {
        let (key, framed, stored) = {
            let mut state = self.lock();
            let epoch = state.epoch.clone();
            let log = log_of(&mut state, container);
            let (start, end) = (log.stored, log.read());
            let bytes = &log.bytes[start - log.begin..];
            let lines = line_begins(bytes, start);
            let key = PartKey {
                epoch,
                pod: POD.into(),
                container: container.into(),
                start: start as u64,
                size: bytes.len() as u64,
            };
            let header = PartHeader {
                schema: SCHEMA,
                of: log.of.clone(),
                start: key.start,
                size: key.size,
                sha256: digest::sha256(bytes),
                first: lines.first().map(|(_, time)| *time),
                last: lines.last().map(|(_, time)| *time),
                index: lines.iter().step_by(10).copied().collect(),
                mark: None,
                gaps: Vec::new(),
                previous: log.previous.take(),
                ended: log.ended,
                unknown: Unknown::new(),
            };
            (key, ledger::framed(&header, bytes)?, end)
        };
        let store = self.store.as_ref().context("no bucket")?;
        let object = key.object(store.prefix(), &self.record.job_id);
        store.put(&object, framed.into(), "application/octet-stream").await?;
        let mut state = self.lock();
        let log = log_of(&mut state, container);
        log.stored = stored;
        // It does not hold what is stored.
        let behind = stored - log.begin;
        log.bytes.drain(..behind);
        log.begin = stored;
        drop(state);
        self.changed.send_replace(());
        Ok(())
    }

    /// As a full ring without a bucket does: forgets bytes.
    pub(super) fn forget(&self, container: &str, before: usize) {
        let mut state = self.lock();
        let log = log_of(&mut state, container);
        log.bytes.drain(..before - log.begin);
        log.begin = before;
    }

    fn last_part(&self, container: &str, end: usize) -> Option<(u64, u64)> {
        let store = self.store.clone()?;
        let prefix = protocol::names::objects::log_parts_prefix(store.prefix(), &self.record.job_id);
        let job = self.record.job_id;
        let listed = futures::executor::block_on(async { store.list(&prefix, None, 1000).await }).ok()?;
        let parts = listed.iter().filter_map(|listed| PartKey::parse(store.prefix(), &job, &listed.key));
        let last = parts.filter(|part| part.container == container).find(|part| part.end() == end as u64)?;
        Some((last.start, last.size))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn line_begins(bytes: &[u8], start: usize) -> Vec<(u64, Timestamp)> {
    let mut at = 0;
    let mut begins = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        begins.push(((start + at) as u64, time_of(start + at)));
        at += line.len();
    }
    begins
}

fn new_log(container: &str) -> Log {
    let place = CONTAINERS.iter().position(|name| *name == container).unwrap();
    let of = LogOf {
        pod: POD.into(),
        pod_created: None,
        container: container.into(),
        place: u32::try_from(place).unwrap(),
        init: place == 0,
        main: place == 1,
        unknown: Unknown::new(),
    };
    Log { of, bytes: Vec::new(), begin: 0, stored: 0, ended: false, previous: None }
}

fn log_of<'a>(state: &'a mut State, container: &str) -> &'a mut Log {
    let at = state.logs.iter().position(|log| log.of.container == container).unwrap_or_else(|| {
        state.logs.push(new_log(container));
        state.logs.len() - 1
    });
    &mut state.logs[at]
}

async fn answered(state: &Mutex<State>, question: &Question, changes: &mut watch::Receiver<()>) -> Bytes {
    if let Question::Bytes { wait, .. } = question {
        let deadline = tokio::time::Instant::now() + Duration::from_millis(u64::from(*wait));
        loop {
            changes.mark_unchanged();
            if has_some(&state.lock().unwrap(), question) {
                break;
            }
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                break;
            }
        }
    }
    let state = state.lock().unwrap();
    let mut answer = Answer {
        epoch: state.epoch.clone(),
        logs: state.logs.iter().map(followed).collect(),
        from: None,
        unknown: Unknown::new(),
    };
    let mut bytes: &[u8] = &[];
    if let Question::Bytes { container, from, max, .. } = question
        && let Some(log) = state.logs.iter().find(|log| log.of.container == *container)
    {
        let at = usize::try_from(*from).unwrap().max(log.begin);
        answer.from = Some(at as u64);
        if at <= log.read() {
            bytes = &log.bytes[at - log.begin..];
            bytes = &bytes[..bytes.len().min((*max).min(MOST_BYTES) as usize)];
        }
    }
    ledger::framed(&answer, bytes).unwrap().into()
}

fn has_some(state: &State, question: &Question) -> bool {
    let Question::Bytes { container, from, .. } = question else { return true };
    let log = state.logs.iter().find(|log| log.of.container == *container);
    log.is_none_or(|log| log.ended || log.read() as u64 > *from)
}

fn followed(log: &Log) -> Followed {
    Followed {
        of: log.of.clone(),
        stored: log.stored as u64,
        held: log.begin as u64,
        read: log.read() as u64,
        gaps: 0,
        ended: log.ended,
        unknown: Unknown::new(),
    }
}
