//! Looks through the events of some kinds in their order, at a page of them at a time, without what they tell.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
    stream::Stream,
};
use futures::TryStreamExt;
use jiff::Timestamp;
use protocol::{Event, JobId, names::subjects};

/// Events of one page.
const PAGE: usize = 500;
/// A consumer that nobody deleted, as its process died, is gone after this time.
const IDLE: Duration = Duration::from_secs(60);

/// The stream can't be looked through.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error("a consumer can't be made")]
    Create(#[source] async_nats::jetstream::stream::ConsumerError),
    #[error("what is still to be removed can't be counted")]
    Count(#[source] async_nats::jetstream::context::ConsumerInfoError),
    #[error("events can't be read")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An event that is in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Its job.
    pub(super) job: JobId,
    /// Its sequence.
    pub(super) sequence: u64,
    /// When the stream took it.
    pub(super) stored: Timestamp,
    /// How many of these kinds came after it.
    pub(super) later: u64,
}

/// Where one look through the stream is.
pub(super) struct Scan {
    stream: Stream<()>,
    consumer: PullConsumer,
}

impl Scan {
    /// Begins after this sequence.
    pub(super) async fn after(stream: &Stream<()>, sequence: u64, kinds: &[Event]) -> Result<Self, ScanError> {
        let config = pull::Config {
            description: Some("a look of a log-finalizer's sweep".to_owned()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: sequence + 1 },
            ack_policy: AckPolicy::None,
            filter_subjects: kinds.iter().map(|kind| subjects::events_of_kind(*kind)).collect(),
            headers_only: true,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: IDLE,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(ScanError::Create)?;
        Ok(Self { stream: stream.clone(), consumer })
    }

    /// The next page; empty at the end of the stream.
    pub(super) async fn page(&self) -> Result<Vec<Found>, ScanError> {
        let read = |error: Box<dyn std::error::Error + Send + Sync>| ScanError::Read(error);
        let batch = self.consumer.fetch().max_messages(PAGE).messages().await;
        let mut batch = batch.map_err(|error| read(Box::new(error)))?;
        let mut page = Vec::new();
        while let Some(message) = batch.try_next().await.map_err(read)? {
            let Some((_, job, _)) = subjects::parse_event(&message.subject) else { continue };
            let info = message.info().map_err(read)?;
            let stored = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos()).unwrap_or(Timestamp::MAX);
            page.push(Found { job, sequence: info.stream_sequence, stored, later: info.pending });
        }
        Ok(page)
    }

    /// Ends it.
    pub(super) async fn end(self) {
        // It would go by itself, later.
        self.stream.delete_consumer(&self.consumer.cached_info().name).await.ok();
    }
}

/// How many removals are not carried through yet: the ends of their jobs are still in the stream.
pub(super) async fn unfinished_removals(stream: &Stream<()>) -> Result<u64, ScanError> {
    match stream.consumer_info(subjects::REMOVING_CONSUMER).await {
        Ok(info) => Ok(info.num_pending + info.num_ack_pending as u64),
        Err(error) => Err(ScanError::Count(error)),
    }
}
