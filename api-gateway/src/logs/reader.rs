//! Reads the log of one container from a place on: parts, then what its follower holds, then the archive, wherever the bytes
//! are by then. Holds one piece at a time.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures::{TryStreamExt, stream::BoxStream};
use platform::{
    log_parts,
    object_store::{ByteRange, StoreError},
    telemetry::chain,
};
use protocol::ledger::{
    PartKey,
    tail::{Answer, LONGEST_WAIT, MOST_BYTES, Question},
};
use tokio::time::Instant;
use tracing::debug;

use super::{
    MOST_PARTS,
    known::{Archived, Known},
    source::{ReadError, Source},
};

/// So often it is looked where the log is, while nobody tells.
const LOOK: Duration = Duration::from_secs(1);
/// Tries at the same place, each after a longer pause.
const TRIES: u32 = 6;

/// What comes next.
pub(super) enum Step {
    /// Bytes of the log, one at least.
    Bytes(Bytes),
    /// Nothing now.
    Nothing,
    /// Nothing any more.
    Ended,
}

/// Reads one log.
pub(super) struct Reader {
    source: Source,
    pod: String,
    container: String,
    place: u64,
    /// Those that are not behind, and the last one: it tells where to look for more.
    parts: VecDeque<PartKey>,
    archived: Option<Archived>,
    /// Where the log ends, once that is known.
    end: Option<u64>,
    open: Option<Open>,
    looked: Option<Instant>,
    failures: u32,
}

/// An object that is being read.
struct Open {
    stream: BoxStream<'static, Result<Bytes, StoreError>>,
    /// How many of its bytes are before the place.
    skip: u64,
    /// The place after its last byte.
    end: u64,
}

impl Reader {
    /// Reads this log from `place` on.
    pub(super) fn new(source: Source, known: Known, place: u64) -> Self {
        Self {
            source,
            pod: known.pod,
            container: known.container,
            place,
            parts: known.parts.into(),
            archived: known.archived,
            end: known.ended.then_some(known.end),
            open: None,
            looked: None,
            failures: 0,
        }
    }

    /// Place of the next byte.
    pub(super) fn place(&self) -> u64 {
        self.place
    }

    /// What comes next; waits for it no longer than so, or a little.
    pub(super) async fn next(&mut self, wait: Duration) -> Result<Step, ReadError> {
        loop {
            if let Some(open) = &mut self.open {
                match open.next().await {
                    Ok(Some(bytes)) => return Ok(self.read(bytes)),
                    Ok(None) => {
                        let is_whole = open.end <= self.place;
                        self.open = None;
                        if !is_whole {
                            self.failed(ReadError::Shorter).await?;
                        }
                    }
                    Err(error) => {
                        self.open = None;
                        self.failed(error).await?;
                    }
                }
            }
            if let Some(archived) = self.archived.clone() {
                if self.place >= archived.size {
                    return Ok(Step::Ended);
                }
                if let Err(error) = self.open_archive(&archived).await {
                    self.failed(error).await?;
                }
                continue;
            }
            self.forget_what_is_behind();
            if self.covers() {
                self.open_part().await?;
                continue;
            }
            if self.end.is_some_and(|end| end <= self.place) {
                return Ok(Step::Ended);
            }
            let step = self.ask(wait).await?;
            if !matches!(step, Step::Nothing) || (!self.covers() && self.archived.is_none()) {
                return Ok(step);
            }
        }
    }

    fn read(&mut self, bytes: Bytes) -> Step {
        self.failures = 0;
        self.place += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Step::Bytes(bytes)
    }

    fn forget_what_is_behind(&mut self) {
        while self.parts.len() > 1 && self.parts.front().is_some_and(|part| part.end() <= self.place) {
            self.parts.pop_front();
        }
    }

    /// Whether the first part has the next byte.
    fn covers(&self) -> bool {
        self.parts.iter().take(2).any(|part| part.start <= self.place && self.place < part.end())
    }

    async fn open_part(&mut self) -> Result<(), ReadError> {
        let Some(objects) = self.source.store.objects() else { return Err(ReadError::Shorter) };
        let has_place = |part: &&PartKey| part.start <= self.place && self.place < part.end();
        let Some(part) = self.parts.iter().find(has_place).cloned() else { return Ok(()) };
        match log_parts::open(objects, &self.source.record.job_id, &part).await {
            Ok(Some((_, stream))) => self.open = Some(Open { stream, skip: self.place - part.start, end: part.end() }),
            // It was deleted as the log is archived, or another follower's chain has become longer.
            Ok(None) => {
                self.parts.clear();
                self.failed(ReadError::Shorter).await?;
                self.look_again().await?;
            }
            Err(error) => self.failed(error).await?,
        }
        Ok(())
    }

    async fn open_archive(&mut self, archived: &Archived) -> Result<(), StoreError> {
        let range = ByteRange { offset: archived.start + self.place, length: archived.size - self.place };
        let Some(objects) = self.source.store.objects() else { return Ok(()) };
        match objects.get_range(&archived.key, Some(range)).await? {
            Some(content) => self.open = Some(Open { stream: content.stream, skip: 0, end: archived.size }),
            None => self.failures = TRIES,
        }
        Ok(())
    }

    /// Asks the follower, and looks for parts or the archive where it does not have the bytes.
    async fn ask(&mut self, wait: Duration) -> Result<Step, ReadError> {
        let millis = u32::try_from(wait.as_millis()).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        let question = Question::Bytes {
            pod: self.pod.clone(),
            container: self.container.clone(),
            from: self.place,
            max: MOST_BYTES,
            wait: millis,
        };
        let began = Instant::now();
        let Some((answer, bytes)) = self.source.follower.ask(&question).await else {
            self.look().await?;
            return Ok(Step::Nothing);
        };
        if answer.from == Some(self.place) && !bytes.is_empty() {
            return Ok(self.read(bytes));
        }
        self.after_answer(&answer).await?;
        if self.end.is_some_and(|end| end <= self.place) {
            return Ok(Step::Ended);
        }
        if began.elapsed() < LOOK && !self.covers() && self.archived.is_none() {
            // It did not wait: it may have begun anew, and not be as far as this.
            tokio::time::sleep_until(began + LOOK.min(wait)).await;
        }
        Ok(Step::Nothing)
    }

    /// An answer without bytes: they are in parts, the log has ended, or there are none yet.
    async fn after_answer(&mut self, answer: &Answer) -> Result<(), ReadError> {
        let own = answer.logs.iter().find(|log| log.of.pod == self.pod && log.of.container == self.container);
        let Some(own) = own else { return self.look().await };
        if own.ended {
            self.end = Some(own.read);
        }
        let is_stored = own.stored > self.place;
        if is_stored && self.source.store.objects().is_some() {
            return self.look_for_parts().await;
        }
        if own.held > self.place && self.source.store.objects().is_none() {
            self.place = own.held;
        }
        Ok(())
    }

    /// Parts that the same follower stored meanwhile, else everything anew.
    async fn look_for_parts(&mut self) -> Result<(), ReadError> {
        if let (Some(objects), Some(last)) = (self.source.store.objects(), self.parts.back()) {
            let job = &self.source.record.job_id;
            let room = MOST_PARTS.saturating_sub(self.parts.len());
            self.parts.extend(log_parts::after(objects, job, last, room).await?);
            self.forget_what_is_behind();
            if self.covers() {
                return Ok(());
            }
        }
        self.look().await
    }

    /// Looks where the log is, not too often.
    async fn look(&mut self) -> Result<(), ReadError> {
        if let Some(looked) = self.looked {
            tokio::time::sleep_until(looked + LOOK).await;
        }
        self.look_again().await
    }

    async fn look_again(&mut self) -> Result<(), ReadError> {
        let found = self.source.find().await;
        self.looked = Some(Instant::now());
        let found = match found {
            Ok(found) => found,
            Err(error @ ReadError::Removed) => return Err(error),
            Err(error) => return self.failed(error).await,
        };
        match found.logs.into_iter().find(|log| log.is(&self.pod, &self.container)) {
            Some(known) => {
                self.end = known.ended.then_some(known.end);
                self.archived = known.archived;
                self.parts = known.parts.into();
                self.forget_what_is_behind();
            }
            // It is not in the archive, or nobody will ever have more of it.
            None if found.is_all => self.end = Some(self.place),
            None => {}
        }
        if found.is_all && self.archived.is_none() && !self.covers() {
            self.end = Some(self.place);
        }
        Ok(())
    }

    async fn failed(&mut self, error: impl Into<ReadError>) -> Result<(), ReadError> {
        let error = error.into();
        self.failures += 1;
        if self.failures > TRIES {
            return Err(error);
        }
        debug!(error = %chain(&error), "a log is read again from where it was");
        tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(self.failures)).await;
        Ok(())
    }
}

impl Open {
    /// The next bytes, without those before the place.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        while let Some(mut bytes) = self.stream.try_next().await? {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            drop(bytes.split_to(skipped));
            self.skip -= u64::try_from(skipped).unwrap_or_default();
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}
