//! What was read of one container's log and is not stored yet: in memory first, then on disk, both bounded. It keeps the order,
//! and never makes its reader wait: what it has no room for, it refuses.

use std::{
    collections::VecDeque,
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use jiff::Timestamp;
use protocol::{ledger::Mark, manifest::Gap};
use tokio::sync::watch;
use tracing::warn;

use super::disk::{Disk, Taken};
use crate::pods::Chunk;

/// Bytes that are gathered before they count as one entry.
const ENTRY: usize = 64 * 1024;
/// Bytes that an entry takes beside those of the log.
const OVERHEAD: usize = 256;
/// Bytes on disk of one line's place and time.
const LINE: usize = 20;

/// The ring of one log.
pub(super) struct Ring {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
    disk: Option<Arc<Disk>>,
    /// Bytes of memory, from which on disk is used.
    limit: usize,
    /// Nothing is ever stored: the oldest goes when there is no room.
    is_lossy: bool,
}

struct Inner {
    /// In order, each with a number that is one more than the one's before.
    entries: VecDeque<Entry>,
    first: u64,
    memory: usize,
    stored: u64,
    read: u64,
    gaps: u64,
    end: Option<End>,
}

struct Entry {
    start: u64,
    len: usize,
    gaps: Vec<Gap>,
    mark: Option<Mark>,
    at: Instant,
    body: Body,
}

enum Body {
    /// Grows until it is full, is being stored, or goes to disk.
    Open(Gathered),
    Memory(Gathered),
    Disk(Arc<Taken>),
}

/// Bytes, and where lines begin in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Gathered {
    bytes: Vec<u8>,
    lines: Vec<(usize, Timestamp)>,
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The log was read to its end.
    Ended,
    /// The reader stopped, or gave up, before.
    Stopped,
}

/// A piece of the log, and what is missing right before it.
#[derive(Debug)]
pub(super) struct Piece {
    /// Place of its first byte.
    pub(super) start: u64,
    /// It; empty where there is only a gap.
    pub(super) chunk: Chunk,
    /// What is missing before it.
    pub(super) gaps: Vec<Gap>,
    /// Where the log goes on after it.
    pub(super) mark: Option<Mark>,
}

/// How far the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// Bytes before this place are stored.
    pub(super) stored: u64,
    /// Bytes from this place on are here.
    pub(super) held: u64,
    /// Place of the byte after the last that was read.
    pub(super) read: u64,
    /// Gaps that were met.
    pub(super) gaps: u64,
    /// Why nothing more comes.
    pub(super) end: Option<End>,
    /// When the oldest of what is not stored was read.
    pub(super) oldest: Option<Instant>,
    /// There is too much in memory for a reader that was refused to go on.
    pub(super) is_crowded: bool,
}

impl Ring {
    /// A ring that begins at `start`, of so many bytes of memory. It is lossy where nothing is to be stored.
    pub(super) fn new(start: u64, memory: usize, disk: Option<Arc<Disk>>, is_lossy: bool) -> Self {
        let inner =
            Inner { entries: VecDeque::new(), first: 0, memory: 0, stored: start, read: start, gaps: 0, end: None };
        let disk = disk.filter(|_| !is_lossy);
        Self { inner: Mutex::new(inner), changed: watch::Sender::new(()), disk, limit: memory, is_lossy }
    }

    /// Takes the next chunk, what is missing before it, and where the log goes on after it. False when there is no room: then
    /// nothing was taken. There is one reader.
    pub(super) async fn push(&self, chunk: &Chunk, gaps: Vec<Gap>, mark: Option<Mark>) -> bool {
        if gaps.is_empty() && self.inner().extend(chunk, mark.as_ref()) {
            self.changed.send_replace(());
            return true;
        }
        loop {
            let Some((number, gathered)) = self.inner().surplus(self.limit, self.is_lossy) else { break };
            let Some(disk) = &self.disk else { return false };
            match disk.write(to_disk(&gathered)).await {
                Ok(Some(taken)) => self.inner().is_on_disk(number, taken),
                Ok(None) => return false,
                Err(error) => {
                    warn!(%error, "a log that waits can't be written to disk");
                    return false;
                }
            }
        }
        self.inner().begin(chunk, gaps, mark);
        self.changed.send_replace(());
        true
    }

    /// Nothing more will be pushed.
    pub(super) fn end(&self, end: End) {
        self.inner().end.get_or_insert(end);
        self.changed.send_replace(());
    }

    /// How far it is.
    pub(super) fn state(&self) -> State {
        let inner = self.inner();
        State {
            stored: inner.stored,
            held: inner.held(),
            read: inner.read,
            gaps: inner.gaps,
            end: inner.end,
            oldest: inner.entries.front().map(|entry| entry.at),
            is_crowded: inner.is_crowded(self.limit),
        }
    }

    /// Tells of each change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until there is room for more than a chunk again, after one was refused. What is lossy makes room itself.
    pub(super) async fn room(&self) {
        let mut changes = self.changes();
        while !self.is_lossy && self.inner().is_crowded(self.limit) && changes.changed().await.is_ok() {}
    }

    /// The oldest pieces, at least one where there is any, and further ones up to `most` bytes. They stay until they are
    /// [stored](Self::stored).
    ///
    /// # Errors
    /// When the disk can't be read.
    pub(super) async fn oldest(&self, most: usize) -> io::Result<Vec<Piece>> {
        let found = self.inner().find(0, most, true);
        unfold(found).await
    }

    /// Pieces from the one with byte `from` in it on, as [`Self::oldest`].
    ///
    /// # Errors
    /// When the disk can't be read.
    pub(super) async fn from(&self, from: u64, most: usize) -> io::Result<Vec<Piece>> {
        let found = self.inner().find(from, most, false);
        unfold(found).await
    }

    /// The oldest `count` pieces are stored, and go.
    pub(super) fn stored(&self, count: usize) {
        let mut inner = self.inner();
        for _ in 0..count {
            inner.pop();
        }
        inner.stored = inner.held();
        drop(inner);
        self.changed.send_replace(());
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece, and the place on disk where its bytes are.
type Found = (Piece, Option<Arc<Taken>>);

async fn unfold(found: Vec<Found>) -> io::Result<Vec<Piece>> {
    let mut pieces = Vec::with_capacity(found.len());
    for (mut piece, on_disk) in found {
        if let Some(taken) = on_disk {
            piece.chunk = from_disk(taken.read().await?).ok_or(io::ErrorKind::InvalidData)?;
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

impl Inner {
    fn is_crowded(&self, limit: usize) -> bool {
        self.memory > limit / 2
    }

    /// Adds to the newest entry, where it has room.
    fn extend(&mut self, chunk: &Chunk, mark: Option<&Mark>) -> bool {
        let Some(Entry { body: Body::Open(gathered), len, mark: own, .. }) = self.entries.back_mut() else {
            return false;
        };
        if gathered.bytes.len() + chunk.len() > ENTRY || to_disk_size(gathered, chunk) > super::disk::PLACE {
            return false;
        }
        let before = gathered.weight();
        gathered.extend(chunk);
        self.memory += gathered.weight() - before;
        *len += chunk.len();
        *own = mark.cloned();
        self.read += length(chunk);
        true
    }

    /// The newest entry, where it has to go to disk before there is room for another one.
    fn surplus(&mut self, limit: usize, is_lossy: bool) -> Option<(u64, Gathered)> {
        while is_lossy && self.memory > limit {
            self.pop();
        }
        if self.memory <= limit {
            return None;
        }
        let number = self.first + u64::try_from(self.entries.len()).unwrap_or_default() - 1;
        match &self.entries.back()?.body {
            Body::Open(gathered) => Some((number, gathered.clone())),
            // What is being stored, or has gone to disk, has one entry after it.
            Body::Memory(_) | Body::Disk(_) => None,
        }
    }

    fn is_on_disk(&mut self, number: u64, taken: Taken) {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        // It may be stored by now.
        let Some(entry) = at.and_then(|at| self.entries.get_mut(at)) else { return };
        let before = mem::replace(&mut entry.body, Body::Disk(Arc::new(taken)));
        self.memory -= before.weight();
    }

    fn begin(&mut self, chunk: &Chunk, gaps: Vec<Gap>, mark: Option<Mark>) {
        if let Some(last) = self.entries.back_mut() {
            last.body.close();
        }
        self.gaps += u64::try_from(gaps.len()).unwrap_or_default();
        let mut gathered = Gathered::default();
        gathered.extend(chunk);
        self.memory += gathered.weight();
        let (start, len) = (self.read, chunk.len());
        self.entries.push_back(Entry { start, len, gaps, mark, at: Instant::now(), body: Body::Open(gathered) });
        self.read += length(chunk);
    }

    /// Pieces from the one with byte `from` in it on. Those that are going to be stored do not grow any more.
    fn find(&mut self, from: u64, most: usize, close: bool) -> Vec<Found> {
        let (mut found, mut size) = (Vec::new(), 0);
        let is_before = |entry: &&mut Entry| entry.end() <= from && entry.start < from;
        for entry in self.entries.iter_mut().skip_while(is_before) {
            if size > 0 && size + entry.len > most {
                break;
            }
            size += entry.len;
            if close {
                entry.body.close();
            }
            let (chunk, on_disk) = match &entry.body {
                Body::Open(gathered) | Body::Memory(gathered) => (gathered.chunk(), None),
                Body::Disk(taken) => (Chunk::default(), Some(taken.clone())),
            };
            let (gaps, mark) = (entry.gaps.clone(), entry.mark.clone());
            found.push((Piece { start: entry.start, chunk, gaps, mark }, on_disk));
        }
        found
    }

    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.first += 1;
            self.memory -= entry.body.weight();
        }
    }

    fn held(&self) -> u64 {
        self.entries.front().map_or(self.read, |entry| entry.start)
    }
}

impl Entry {
    fn end(&self) -> u64 {
        self.start + u64::try_from(self.len).unwrap_or_default()
    }
}

impl Body {
    fn close(&mut self) {
        if let Self::Open(gathered) = self {
            *self = Self::Memory(mem::take(gathered));
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Open(gathered) | Self::Memory(gathered) => gathered.weight(),
            Self::Disk(_) => 0,
        }
    }
}

impl Gathered {
    fn weight(&self) -> usize {
        OVERHEAD + self.bytes.len() + self.lines.len() * size_of::<(usize, Timestamp)>()
    }

    fn extend(&mut self, chunk: &Chunk) {
        let start = self.bytes.len();
        self.lines.extend(chunk.lines.iter().map(|(place, time)| (start + place, *time)));
        self.bytes.extend_from_slice(&chunk.bytes);
    }

    fn chunk(&self) -> Chunk {
        Chunk { bytes: Bytes::copy_from_slice(&self.bytes), lines: self.lines.clone() }
    }
}

fn length(chunk: &Chunk) -> u64 {
    u64::try_from(chunk.len()).unwrap_or_default()
}

fn to_disk_size(gathered: &Gathered, chunk: &Chunk) -> usize {
    4 + (gathered.lines.len() + chunk.lines.len()) * LINE + gathered.bytes.len() + chunk.len()
}

fn to_disk(gathered: &Gathered) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + gathered.lines.len() * LINE + gathered.bytes.len());
    out.extend_from_slice(&u32::try_from(gathered.lines.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (place, time) in &gathered.lines {
        out.extend_from_slice(&u32::try_from(*place).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&time.as_nanosecond().to_le_bytes());
    }
    out.extend_from_slice(&gathered.bytes);
    out
}

fn from_disk(bytes: Vec<u8>) -> Option<Chunk> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let lines = rest.get(..count * LINE)?.chunks_exact(LINE).map(|line| {
        let (place, time) = line.split_first_chunk::<4>()?;
        let time = i128::from_le_bytes(time.try_into().ok()?);
        Some((usize::try_from(u32::from_le_bytes(*place)).ok()?, Timestamp::from_nanosecond(time).ok()?))
    });
    Some(Chunk { lines: lines.collect::<Option<_>>()?, bytes: Bytes::from(bytes).slice(4 + count * LINE..) })
}

#[cfg(test)]
mod tests {
    use protocol::manifest::GapKind;
    use tempfile::TempDir;

    use super::*;
    use crate::follow::disk::PLACE;

    fn chunk(text: &str) -> Chunk {
        let time = Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap();
        Chunk { bytes: Bytes::copy_from_slice(text.as_bytes()), lines: vec![(0, time)] }
    }

    /// A chunk that fills an entry.
    fn full(byte: u8) -> Chunk {
        let time = Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap();
        Chunk { bytes: vec![byte; ENTRY].into(), lines: vec![(0, time)] }
    }

    fn text(pieces: &[Piece]) -> String {
        pieces.iter().map(|piece| format!("{}{} ", char::from(piece.chunk.bytes[0]), piece.chunk.len())).collect()
    }

    #[tokio::test]
    async fn what_does_not_fit_into_memory_goes_to_disk_and_what_fits_nowhere_is_refused() {
        let dir = TempDir::new().unwrap();
        let disk = Arc::new(Disk::new(dir.path(), 2 * PLACE as u64, Default::default()).unwrap());
        let ring = Ring::new(100, ENTRY, Some(disk), false);
        let mut is_taken = Vec::new();
        for byte in b'a'..=b'f' {
            is_taken.push(ring.push(&full(byte), Vec::new(), None).await);
        }
        assert_eq!(
            is_taken,
            [true, true, true, false, false, false],
            "one beyond each limit, as the last one stays open"
        );
        let all = ring.oldest(10 * ENTRY).await.unwrap();
        assert_eq!(text(&all), "a65536 b65536 c65536 ");
        assert!(all.iter().all(|piece| piece.chunk.lines == full(0).lines), "from disk, too, with its times");
        assert_eq!(text(&ring.oldest(2 * ENTRY).await.unwrap()), "a65536 b65536 ");
        assert_eq!(text(&ring.oldest(1).await.unwrap()), "a65536 ", "at least one");
        let from = 100 + 2 * ENTRY as u64;
        assert_eq!(text(&ring.from(from + 1, 10 * ENTRY).await.unwrap()), "c65536 ");
        ring.stored(2);
        assert_eq!((ring.state().stored, ring.state().held), (from, from));
        ring.stored(1);
        ring.room().await;
        assert!(ring.push(&full(b'g'), Vec::new(), None).await);
        assert_eq!(text(&ring.oldest(10 * ENTRY).await.unwrap()), "g65536 ");
    }

    #[tokio::test]
    async fn small_chunks_are_gathered_until_they_are_being_stored() {
        let ring = Ring::new(0, ENTRY, None, false);
        for text in ["one\n", "two\n"] {
            assert!(ring.push(&chunk(text), Vec::new(), None).await);
        }
        let [both] = ring.oldest(1000).await.unwrap().try_into().unwrap();
        assert_eq!((&both.chunk.bytes[..], both.chunk.lines[1].0), (&b"one\ntwo\n"[..], 4));
        assert!(ring.push(&chunk("three\n"), Vec::new(), None).await);
        ring.stored(1);
        let [third] = ring.oldest(1000).await.unwrap().try_into().unwrap();
        assert_eq!(
            (third.start, &third.chunk.bytes[..]),
            (8, &b"three\n"[..]),
            "it came while the first was being stored"
        );
    }

    #[tokio::test]
    async fn a_gap_stands_before_what_follows_it_and_is_stored_once() {
        let ring = Ring::new(0, ENTRY, None, false);
        assert!(ring.push(&chunk("one"), Vec::new(), None).await);
        let taken = ring.oldest(1000).await.unwrap().len();
        let gap = Gap::new(GapKind::Rotation, "p", "c", "why");
        assert!(ring.push(&Chunk::default(), vec![gap.clone()], None).await);
        ring.stored(taken);
        assert!(ring.push(&chunk("two"), Vec::new(), None).await);
        let [piece] = ring.oldest(1000).await.unwrap().try_into().unwrap();
        assert_eq!((piece.start, piece.gaps, &piece.chunk.bytes[..]), (3, vec![gap], &b"two"[..]));
        assert_eq!(ring.state().gaps, 1);
    }

    #[tokio::test]
    async fn where_nothing_is_stored_the_oldest_goes() {
        let ring = Ring::new(0, 2 * ENTRY, None, true);
        for byte in b'a'..=b'e' {
            assert!(ring.push(&full(byte), Vec::new(), None).await);
        }
        let state = ring.state();
        assert_eq!((state.stored, state.read), (0, 5 * ENTRY as u64));
        assert!(state.held >= 2 * ENTRY as u64 && state.held < state.read, "{state:?}");
        let left = ring.from(0, 10 * ENTRY).await.unwrap();
        assert_eq!(left[0].start, state.held);
        tokio::time::timeout(std::time::Duration::from_secs(10), ring.room()).await.expect("its reader waits");
    }

    #[test]
    fn an_entry_of_the_shortest_lines_fits_into_its_place_on_disk() {
        let mut inner = Inner { entries: VecDeque::new(), first: 0, memory: 0, stored: 0, read: 0, gaps: 0, end: None };
        inner.begin(&Chunk::default(), Vec::new(), None);
        let line = Chunk { bytes: Bytes::from_static(b"\n"), lines: vec![(0, Timestamp::UNIX_EPOCH)] };
        let lines = (0..2 * ENTRY).take_while(|_| inner.extend(&line, None)).count();
        let Body::Open(gathered) = &inner.entries[0].body else { panic!("it is open") };
        let bytes = to_disk(gathered);
        assert!(bytes.len() <= PLACE && lines > 5000, "{lines} lines in {} bytes", bytes.len());
        assert_eq!(from_disk(bytes), Some(gathered.chunk()));
    }
}
