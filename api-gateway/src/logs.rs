//! The log of a job, while it runs and afterwards, under one URL.
//!
//! `asked` is what is wanted; `source` finds what there is of the log: parts in the bucket, what the `follower` holds, or the
//! archive, put together by `known`. `reader` reads the log of one container through all three, `selection` chooses
//! what is sent (pure), `sending` sends it, no faster than it is taken; `answer` is the HTTP around it.

mod answer;
mod asked;
mod follower;
mod known;
mod reader;
mod selection;
mod sending;
mod settings;
mod since;
mod source;
mod tail;

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::{
    answer::answer,
    asked::Asked,
    tail::{Tail, tail},
};
pub use self::{settings::LogSettings, source::ReadError};
use crate::{
    error::GatewayError,
    memory::{Memory, Portion},
    metrics::{Metrics, UnderWay},
};

/// Bytes that a reader takes: what is under way to it, and answers of a follower.
const READER: usize = 1024 * 1024;
/// Bytes that one known part takes.
const PART: usize = 256;
/// More parts of a job are not read while it runs: some 10 GB.
const MOST_PARTS: usize = 20_000;
/// How long memory is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who reads logs of jobs that run; cheap to clone.
#[derive(Clone)]
pub struct Logs {
    readers: Arc<Semaphore>,
    memory: Memory,
    metrics: Metrics,
}

/// A reader's place and memory.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    portion: Portion,
    _counted: UnderWay,
}

impl Logs {
    /// None yet, under these limits. The memory is shared with who counts it.
    pub fn new(settings: &LogSettings, memory: Memory, metrics: Metrics) -> Self {
        Self { readers: Arc::new(Semaphore::new(settings.max_readers)), memory, metrics }
    }

    /// A place for one more reader, and memory for all the parts that a log may have.
    async fn place(&self) -> Result<Place, GatewayError> {
        let permit = self.readers.clone().try_acquire_owned().map_err(|_| GatewayError::LogsBusy)?;
        let portion = self.memory.take_within(READER + MOST_PARTS * PART, PATIENCE).await;
        let portion = portion.ok_or(GatewayError::LogsBusy)?;
        Ok(Place { _permit: permit, portion, _counted: self.metrics.reading_log() })
    }
}

impl Place {
    /// Gives back what is not needed for so many parts.
    fn has_parts(&mut self, parts: usize) {
        self.portion.shrink(READER + parts.min(MOST_PARTS) * PART);
    }
}
