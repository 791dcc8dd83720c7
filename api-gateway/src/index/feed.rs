//! Keeps the index up to date: one ordered pull consumer over every event, from the first on.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use futures::StreamExt;
use platform::{nats::Nats, probe::Health, telemetry::chain};
use protocol::names::subjects;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Index;

/// The part of readiness that says whether the index has caught up.
pub const READY_PART: &str = "index";

/// A consumer that was silent for this long is made again: it may be gone, and the library would not always say so
/// (nats.rs, issue 1584).
const SILENCE: Duration = Duration::from_secs(60);
/// A pull request ends after this time, which is when the library sees that a server has lost the consumer.
const PULL_EXPIRES: Duration = Duration::from_secs(4);
/// How often to look whether the connection is still the same: a new one may be to a server without our consumer.
const LOOK: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The events can't be followed for now.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("the state of the stream can't be read")]
    State(#[source] async_nats::jetstream::stream::InfoError),
    #[error("the consumer can't be made")]
    Create(#[source] async_nats::jetstream::stream::ConsumerError),
    #[error("the consumer can't be read")]
    Messages(#[source] async_nats::jetstream::consumer::StreamError),
    #[error("a message can't be had")]
    Next(#[source] async_nats::jetstream::consumer::pull::OrderedError),
    #[error("the consumer ended")]
    Ended,
}

/// Follows the events until `shutdown`. Says that the index is ready once it holds what the stream held at the start.
pub async fn follow(nats: Nats, index: Index, health: Health, shutdown: CancellationToken) {
    let mut pause = Duration::from_millis(100);
    let mut made = None;
    while !shutdown.is_cancelled() {
        let before = index.sequence();
        let followed = tokio::select! {
            followed = follow_consumer(&nats, &index, &health, &mut made) => followed,
            () = shutdown.cancelled() => break,
        };
        let Err(error) = followed else { continue };
        if index.sequence() > before {
            pause = Duration::from_millis(100);
        }
        warn!(error = %chain(&error), "the job events can't be followed, trying again");
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = shutdown.cancelled() => break,
        }
    }
    health.set(READY_PART, false);
}

/// Makes a consumer behind what is known and reads it until it is silent, or the connection is another. `made` is when
/// the stream that the index knows was created, in nanoseconds.
async fn follow_consumer(
    nats: &Nats,
    index: &Index,
    health: &Health,
    made: &mut Option<i128>,
) -> Result<(), FeedError> {
    let connections = || nats.client.statistics().connects.load(Ordering::Relaxed);
    let connection = connections();
    let info = nats.stream.get_info().await.map_err(FeedError::State)?;
    let (state, created) = (info.state, info.created.unix_timestamp_nanos());
    let is_another = made.replace(created).is_some_and(|before| before != created);
    if is_another || state.last_sequence < index.sequence() {
        warn!(known = index.sequence(), last = state.last_sequence, "the stream was replaced, reading it anew");
        health.set(READY_PART, false);
        index.clear();
    }
    let deliver_policy = match index.sequence() {
        0 => DeliverPolicy::All,
        known => DeliverPolicy::ByStartSequence { start_sequence: known + 1 },
    };
    let config = OrderedConfig {
        description: Some("job index of an api-gateway".to_owned()),
        filter_subject: subjects::ALL_EVENTS.to_owned(),
        deliver_policy,
        max_expires: PULL_EXPIRES,
        ..OrderedConfig::default()
    };
    let consumer = nats.stream.create_consumer(config).await.map_err(FeedError::Create)?;
    let mut caught_up = consumer.cached_info().num_pending == 0;
    if caught_up {
        say_ready(index, health);
    }
    let mut messages = consumer.messages().await.map_err(FeedError::Messages)?;
    let mut look = tokio::time::interval(LOOK);
    let mut heard = Instant::now();
    loop {
        let next = tokio::select! {
            next = messages.next() => next.ok_or(FeedError::Ended)?.map_err(FeedError::Next)?,
            _ = look.tick() => {
                if connections() != connection || heard.elapsed() > SILENCE {
                    return Ok(());
                }
                continue;
            }
        };
        heard = Instant::now();
        let Ok(told) = next.info() else { continue };
        index.apply(&next.subject, told.stream_sequence, &next.payload);
        let reached = told.pending == 0 || told.stream_sequence >= state.last_sequence;
        if !caught_up && reached {
            caught_up = true;
            say_ready(index, health);
        }
    }
}

fn say_ready(index: &Index, health: &Health) {
    if health.not_ready().contains(&READY_PART) {
        let jobs: usize = index.sizes().jobs.iter().map(|(_, count)| count).sum();
        info!(jobs, sequence = index.sequence(), "the job index has caught up");
        health.set(READY_PART, true);
    }
}
