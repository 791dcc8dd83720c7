//! From the ring into parts in the bucket.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use platform::{failpoint, object_store::ObjectStore, telemetry::chain};
use protocol::{
    JobId, SCHEMA, Unknown, digest,
    job_id::Epoch,
    ledger::{self, INDEX_STEP, LogOf, Mark, PartHeader, PartKey, Previous},
    manifest::Gap,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::ring::{End, Piece, Ring};
use crate::metrics::Metrics;

/// Parts are for programs.
const CONTENT_TYPE: &str = "application/octet-stream";
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A job that runs for long has its parts further apart: so many in the time that it has run for.
const PARTS_OF_LIFE: u32 = 128;
/// Parts are never further apart.
const RAREST: Duration = Duration::from_secs(60);
/// The disk can't be read: nothing else is known that helps.
const DISK_PAUSE: Duration = Duration::from_secs(5);

/// Stores what one ring takes.
pub(super) struct Shipper {
    pub store: ObjectStore,
    pub job: JobId,
    pub epoch: Epoch,
    pub of: LogOf,
    pub ring: Arc<Ring>,
    /// What the first part goes on after, and how the log goes on after that.
    pub previous: Option<Previous>,
    /// How the log goes on after what is stored.
    pub mark: Option<Mark>,
    /// A part is stored as soon as there are so many bytes,
    pub size: usize,
    /// or as the oldest of them has waited for so long.
    pub age: Duration,
    /// Store everything now.
    pub hurry: CancellationToken,
    /// Parts that all logs together store at once.
    pub places: Arc<Semaphore>,
    pub metrics: Metrics,
}

impl Shipper {
    /// Stores until everything is stored and nothing more comes.
    pub(super) async fn run(mut self) {
        let began = Instant::now();
        let mut changes = self.ring.changes();
        let mut has_told_end = false;
        loop {
            changes.mark_unchanged();
            let state = self.ring.state();
            let due = state.oldest.map(|oldest| oldest + age(self.age, began.elapsed()));
            let is_urgent = state.end.is_some() || self.hurry.is_cancelled();
            let is_due = due.is_some_and(|due| is_urgent || due <= Instant::now());
            // Short lines take more memory than they have bytes.
            let is_crowded = state.is_crowded && state.oldest.is_some();
            if is_due || is_crowded || state.read - state.held >= u64::try_from(self.size).unwrap_or(u64::MAX) {
                let Some(is_last) = self.ship().await else { return };
                has_told_end = is_last;
                continue;
            }
            if state.end.is_some() && state.oldest.is_none() {
                if state.end == Some(End::Ended) && !has_told_end {
                    self.put(Vec::new(), state.read, true).await;
                }
                return;
            }
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = wait => {}
                () = self.hurry.cancelled(), if !self.hurry.is_cancelled() => {}
            }
        }
    }

    /// Stores one part: whether it says that the log has ended; `None` when no more can be stored.
    async fn ship(&mut self) -> Option<bool> {
        // Asked before, so that no more is in memory than is being stored.
        let places = self.places.clone();
        let Ok(_place) = places.acquire().await else { return None };
        let pieces = match self.ring.oldest(self.size).await {
            Ok(pieces) => pieces,
            Err(error) => {
                warn!(%error, "a log that waits can't be read from disk");
                tokio::time::sleep(DISK_PAUSE).await;
                return Some(false);
            }
        };
        let first = pieces.first().map(|piece| piece.start)?;
        let (count, size) = (pieces.len(), pieces.iter().map(|piece| piece.chunk.len()).sum::<usize>());
        let state = self.ring.state();
        let is_last = state.end == Some(End::Ended) && first + u64::try_from(size).ok()? == state.read;
        if !self.put(pieces, first, is_last).await {
            return None;
        }
        self.ring.stored(count);
        failpoint::reach("follower.after-part");
        Some(is_last)
    }

    /// Puts one part until that works: once it was tried it stays as it is, as its key may be taken already. False where it
    /// can't be put together.
    async fn put(&mut self, pieces: Vec<Piece>, start: u64, ended: bool) -> bool {
        let part = Part::of(pieces, self.mark.take());
        let size = u64::try_from(part.bytes.len()).unwrap_or_default();
        self.mark.clone_from(&part.mark);
        let header = PartHeader {
            schema: SCHEMA,
            of: self.of.clone(),
            start,
            size,
            sha256: digest::sha256(&part.bytes),
            first: part.first,
            last: part.last,
            index: part.index,
            mark: part.mark,
            gaps: part.gaps,
            previous: self.previous.take(),
            ended,
            unknown: Unknown::new(),
        };
        let key = PartKey { epoch: self.epoch.clone(), log: self.of.name(), start, size };
        let key = key.object(self.store.prefix(), &self.job);
        let framed: Bytes = match ledger::framed(&header, &part.bytes) {
            Ok(framed) => framed.into(),
            Err(problem) => {
                // What was read stays with its container, where whoever seals the job reads it.
                error!(error = %chain(&problem), "a part of a log can't be written as JSON: the log is followed no longer");
                return false;
            }
        };
        drop(part.bytes);
        let mut pause = Duration::from_millis(200);
        while let Err(error) = self.store.put(&key, framed.clone(), CONTENT_TYPE).await {
            debug!(%key, error = %chain(&error), "a part of a log is stored again");
            self.metrics.parts_failed.inc();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.metrics.parts.inc();
        self.metrics.part_bytes.inc_by(size);
        true
    }
}

/// Pieces that become one part.
struct Part {
    bytes: Vec<u8>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    index: Vec<(u64, Timestamp)>,
    gaps: Vec<Gap>,
    mark: Option<Mark>,
}

impl Part {
    /// `mark` is that of the part before.
    fn of(pieces: Vec<Piece>, mark: Option<Mark>) -> Self {
        let bytes = Vec::with_capacity(pieces.iter().map(|piece| piece.chunk.len()).sum());
        let mut part = Self { bytes, first: None, last: None, index: Vec::new(), gaps: Vec::new(), mark };
        for piece in pieces {
            part.gaps.extend(piece.gaps);
            for (place, time) in &piece.chunk.lines {
                let place = piece.start + u64::try_from(*place).unwrap_or_default();
                part.first = part.first.or(Some(*time));
                part.last = Some(*time);
                if part.index.last().is_none_or(|(before, _)| place - before >= INDEX_STEP) {
                    part.index.push((place, *time));
                }
            }
            part.bytes.extend_from_slice(&piece.chunk.bytes);
            part.mark = piece.mark.or(part.mark);
        }
        part
    }
}

/// How old what is not stored may get.
fn age(least: Duration, life: Duration) -> Duration {
    (life / PARTS_OF_LIFE).clamp(least, RAREST.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_quiet_job_get_rarer_with_time() {
        let least = Duration::from_secs(5);
        for (life, expected) in [(0, 5), (640, 5), (1280, 10), (86_400, 60)] {
            assert_eq!(age(least, Duration::from_secs(life)), Duration::from_secs(expected));
        }
        assert_eq!(age(Duration::from_secs(90), Duration::ZERO), Duration::from_secs(90));
    }
}
