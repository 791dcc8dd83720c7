//! The one consume loop: durable pull consumers whose unacknowledged message is the lease on a piece of work. Only this
//! file acknowledges.

use std::{fmt, sync::Arc, time::Duration};

use async_nats::jetstream::{AckKind, Message, consumer, context::ConsumerInfoErrorKind, stream};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture};
use protocol::{digest, names::subjects};
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info_span, warn};

use crate::nats::Nats;

/// How much work may be taken that is not bounded by one queue alone.
pub trait Room: fmt::Debug + Send + Sync {
    /// How many more pieces may be taken now.
    fn free(&self) -> BoxFuture<'_, usize>;
}

/// A durable consumer and how much of it one replica takes.
#[derive(Debug, Clone)]
pub struct WorkQueue {
    /// Name of the durable consumer, shared by all replicas.
    pub consumer: String,
    /// Subjects of the work.
    pub filters: Vec<String>,
    /// Pieces of work in hand over all replicas.
    pub max_in_hand: usize,
    /// Pieces of work in hand at this replica.
    pub max_here: usize,
    /// Asked before each fetch; none: only the numbers above count.
    pub room: Option<Arc<dyn Room>>,
}

/// One piece of work.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Subject of the message.
    pub subject: String,
    /// The message.
    pub payload: Bytes,
    /// Its place in the stream: it was written after all that have a lower one.
    pub sequence: u64,
    /// How often it was delivered, this time included.
    pub delivered: u64,
    /// Cancelled when this process is told to stop: answer [`Verdict::Release`] soon.
    pub stop: CancellationToken,
}

impl Delivery {
    /// A delay before the next try that grows with each, from one second to `limit`.
    pub fn backoff(&self, limit: Duration) -> Duration {
        let exponent = u32::try_from(self.delivered.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        Duration::from_secs(1 << exponent).min(limit)
    }
}

/// What became of a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done, or found done.
    Done,
    /// It did not work for a passing cause.
    Retry {
        /// When to try again.
        after: Duration,
        /// The cause, for the log.
        why: String,
    },
    /// Its time has not come yet. Nothing went wrong.
    Later {
        /// When to look again.
        after: Duration,
    },
    /// Another replica shall have it at once.
    Release,
    /// It can't ever work: kept among the dead letters.
    Poison {
        /// Why.
        why: String,
    },
}

/// Takes work until `shutdown`, then lets what is in hand finish. A lease is prolonged every third of its time for as
/// long as the handler runs.
pub async fn run<H, F>(nats: Nats, queue: WorkQueue, handler: H, shutdown: CancellationToken)
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
{
    let stream = nats.stream.clone();
    run_on(nats, stream, queue, handler, shutdown).await;
}

/// As [`run`], of another stream than that of the jobs.
pub async fn run_on<H, F>(
    nats: Nats,
    stream: stream::Stream<()>,
    queue: WorkQueue,
    handler: H,
    shutdown: CancellationToken,
) where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
{
    let handler = Arc::new(handler);
    let places = Arc::new(Semaphore::new(queue.max_here));
    let mut in_hand = JoinSet::new();
    let mut failures = 0_u32;
    while !shutdown.is_cancelled() {
        while in_hand.try_join_next().is_some() {}
        let taken = tokio::select! {
            // Asked first, so that it gives back what it was sent before it leaves.
            biased;
            taken = take(&nats, &stream, &queue, &places, &handler, &mut in_hand, &shutdown) => taken,
            () = shutdown.cancelled() => break,
        };
        match taken {
            Ok(()) => failures = 0,
            Err(error) => {
                failures = (failures + 1).min(6);
                warn!(consumer = %queue.consumer, %error, "work can't be taken, trying again");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(100 << failures)) => {}
                    () = shutdown.cancelled() => {}
                }
            }
        }
    }
    while in_hand.join_next().await.is_some() {}
}

/// A pull request ends after this time, so that places freed meanwhile are offered again.
const PULL_EXPIRES: Duration = Duration::from_secs(2);
/// A pull request asks for at most this many messages.
const PULL_BATCH: usize = 64;

/// Why work can't be taken, or counted.
pub type TakeError = Box<dyn std::error::Error + Send + Sync>;

#[allow(clippy::too_many_arguments, reason = "each is a part of one loop's state")]
async fn take<H, F>(
    nats: &Nats,
    stream: &stream::Stream<()>,
    queue: &WorkQueue,
    places: &Arc<Semaphore>,
    handler: &Arc<H>,
    in_hand: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> Result<(), TakeError>
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
{
    let consumer = stream.create_consumer(config(nats, queue)).await?;
    loop {
        // Only as many are asked for as can be held: a message that waits here would lose its lease.
        let first = places.clone().acquire_owned().await?;
        let mut permits = vec![first];
        let most = match &queue.room {
            None => PULL_BATCH,
            Some(room) => wait_for(room.as_ref(), shutdown).await.min(PULL_BATCH),
        };
        if most == 0 {
            return Ok(());
        }
        while permits.len() < most
            && let Ok(permit) = places.clone().try_acquire_owned()
        {
            permits.push(permit);
        }
        let mut batch = consumer.batch().max_messages(permits.len()).expires(PULL_EXPIRES).messages().await?;
        loop {
            let next = tokio::select! {
                next = batch.next() => next,
                () = shutdown.cancelled() => {
                    while let Some(Some(Ok(message))) = batch.next().now_or_never() {
                        settle(nats, queue, &message, Verdict::Release).await;
                    }
                    return Ok(());
                }
            };
            let Some(message) = next else { break };
            let message = message?;
            let Some(permit) = permits.pop() else { break };
            let (nats, queue, handler, stop) = (nats.clone(), queue.clone(), handler.clone(), shutdown.clone());
            let span = info_span!("work", consumer = %queue.consumer, subject = %message.subject);
            in_hand.spawn(
                async move {
                    let verdict = hold(&nats, &message, handler.as_ref(), stop).await;
                    settle(&nats, &queue, &message, verdict).await;
                    drop(permit);
                }
                .instrument(span),
            );
        }
        while in_hand.try_join_next().is_some() {}
    }
}

/// How soon room is asked for again where there is none.
const ROOM_LOOK: Duration = Duration::from_millis(100);

/// How much room there is, once there is any; 0 when it is time to stop.
async fn wait_for(room: &dyn Room, shutdown: &CancellationToken) -> usize {
    loop {
        let free = tokio::select! {
            free = room.free() => free,
            () = shutdown.cancelled() => return 0,
        };
        if free > 0 {
            return free;
        }
        tokio::select! {
            () = tokio::time::sleep(ROOM_LOOK) => {}
            () = shutdown.cancelled() => return 0,
        }
    }
}

/// Pieces of work of these consumers that are in somebody's hand, or wait to be tried again, over all replicas. A consumer that is
/// not there yet has none.
///
/// # Errors
/// When one does not answer.
pub async fn in_hand(nats: &Nats, consumers: &[String]) -> Result<usize, TakeError> {
    const AT_ONCE: usize = 16;
    let count = |consumer: &String| {
        let consumer = consumer.clone();
        async move {
            match nats.stream.consumer_info(consumer).await {
                Ok(told) => Ok(told.num_ack_pending),
                Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(0),
                Err(error) => Err(error),
            }
        }
    };
    let counted = futures::stream::iter(consumers).map(count).buffer_unordered(AT_ONCE);
    Ok(counted.try_fold(0, async |all, held| Ok(all + held)).await?)
}

fn config(nats: &Nats, queue: &WorkQueue) -> consumer::pull::Config {
    consumer::pull::Config {
        durable_name: Some(queue.consumer.clone()),
        filter_subjects: queue.filters.clone(),
        ack_policy: consumer::AckPolicy::Explicit,
        ack_wait: nats.ack_wait,
        max_deliver: -1,
        max_ack_pending: i64::try_from(queue.max_in_hand).unwrap_or(i64::MAX),
        max_waiting: 2048,
        num_replicas: nats.replicas,
        ..consumer::pull::Config::default()
    }
}

/// Runs the handler and prolongs the lease meanwhile.
async fn hold<H, F>(nats: &Nats, message: &Message, handler: &H, stop: CancellationToken) -> Verdict
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Verdict> + Send + 'static,
{
    let (delivered, sequence) =
        message.info().map_or((1, 0), |info| (u64::try_from(info.delivered).unwrap_or(1), info.stream_sequence));
    let (subject, payload) = (message.subject.to_string(), message.payload.clone());
    let delivery = Delivery { subject, payload, sequence, delivered, stop };
    // A task of its own: a panic in a handler ends one piece of work, not the loop.
    let mut work = tokio::spawn(handler(delivery).in_current_span());
    let mut lease = tokio::time::interval(nats.ack_wait / 3);
    lease.set_missed_tick_behavior(MissedTickBehavior::Delay);
    lease.tick().await;
    loop {
        tokio::select! {
            done = &mut work => {
                return done.unwrap_or_else(|panic| {
                    error!(%panic, "the handler of a message ended by a panic");
                    Verdict::Retry { after: Duration::from_secs(30), why: "the handler panicked".to_owned() }
                });
            }
            _ = lease.tick() => {
                if let Err(error) = message.ack_with(AckKind::Progress).await {
                    warn!(%error, "the lease could not be prolonged");
                }
            }
        }
    }
}

async fn settle(nats: &Nats, queue: &WorkQueue, message: &Message, verdict: Verdict) {
    let kind = match verdict {
        Verdict::Done => AckKind::Ack,
        Verdict::Retry { after, why } => {
            warn!(after_seconds = after.as_secs_f64(), %why, "will be tried again");
            AckKind::Nak(Some(after))
        }
        Verdict::Later { after } => AckKind::Nak(Some(after)),
        Verdict::Release => AckKind::Nak(None),
        Verdict::Poison { why } => {
            error!(%why, "a message can't be used, kept among the dead letters");
            match bury(nats, queue, message, &why).await {
                Ok(()) => AckKind::Term,
                Err(error) => {
                    warn!(%error, "the dead letter could not be kept");
                    AckKind::Nak(Some(Duration::from_secs(30)))
                }
            }
        }
    };
    if let Err(error) = message.ack_with(kind).await {
        // The message comes again, and the handler finds its work done.
        debug!(%error, "an acknowledgement could not be sent");
    }
}

async fn bury(nats: &Nats, queue: &WorkQueue, message: &Message, why: &str) -> Result<(), TakeError> {
    const THIRTY_DAYS: Duration = Duration::from_secs(30 * 86_400);
    nats.jetstream
        .get_or_create_stream(stream::Config {
            name: subjects::DEAD_LETTER_STREAM.to_owned(),
            subjects: vec![subjects::DEAD_LETTERS.to_owned()],
            max_age: THIRTY_DAYS,
            max_bytes: 1024 * 1024 * 1024,
            num_replicas: nats.replicas,
            ..stream::Config::default()
        })
        .await?;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Quayside-Reason", one_line(why).as_str());
    let subject = subjects::dead_letter(&queue.consumer, &message.subject);
    let kept = kept(&message.subject, &message.payload, why);
    nats.jetstream.publish_with_headers(subject, headers, kept).await?.await?;
    Ok(())
}

/// What is kept of a message. A request holds inputs, which may be secret and are not to outlive their job, and callbacks
/// are private, too: of these only what tells them from others.
fn kept(subject: &str, payload: &Bytes, why: &str) -> Bytes {
    if !["executions.", "callbacks."].iter().any(|private| subject.starts_with(private)) {
        return payload.clone();
    }
    let told =
        json!({ "subject": subject, "size": payload.len(), "sha256": digest::sha256(payload), "why": one_line(why) });
    told.to_string().into()
}

/// Header values hold no line ends.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1024).collect()
}

impl fmt::Display for Delivery {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (delivery {})", self.subject, self.delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_request_that_cannot_be_used_no_input_is_kept() {
        let payload = Bytes::from_static(br#"{"inputs": "hush"}"#);
        let dead = String::from_utf8(kept("executions.p.j", &payload, "not\na request").to_vec()).unwrap();
        assert!(!dead.contains("hush") && dead.contains("executions.p.j") && dead.contains("\"size\":18"), "{dead}");
        assert!(dead.contains("not a request"), "{dead}");
        let dead = kept("callbacks.p.j.queued.success", &payload, "w");
        assert!(!String::from_utf8_lossy(&dead).contains("hush"), "{dead:?}");
        assert_eq!(kept("jobs.p.j.accepted", &payload, "w"), payload, "events are public anyway");
    }
}
