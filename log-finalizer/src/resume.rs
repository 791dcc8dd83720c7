//! Where a log is to be gone on with, and finding that place again in a log that is read anew: pure.

use jiff::{SignedDuration, Timestamp};
use protocol::{Unknown, digest, ledger::Mark};
use sha2::{Digest, Sha256};

use crate::pods::Chunk;

/// Of the two outputs of a container one line may be written before another that has an earlier time. More than that is
/// read again.
const CROSSING: SignedDuration = SignedDuration::from_secs(2);

/// Keeps the last line of what was read. It hashes no line but the last of each chunk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracker(Option<Line>);

#[derive(Debug, Clone)]
struct Line {
    time: Timestamp,
    latest: Timestamp,
    ordinal: u64,
    length: u64,
    hash: Sha256,
    is_cut: bool,
}

impl Tracker {
    /// Takes the next bytes of the log.
    pub(crate) fn push(&mut self, chunk: &Chunk) {
        for (_, time) in &chunk.lines {
            let (latest, ordinal) = match &self.0 {
                Some(line) if line.time == *time => (line.latest, line.ordinal + 1),
                Some(line) => (line.latest.max(*time), 0),
                None => (*time, 0),
            };
            match &mut self.0 {
                // The hash is not touched here: most lines are not the last.
                Some(line) => (line.time, line.latest, line.ordinal) = (*time, latest, ordinal),
                none => {
                    *none = Some(Line { time: *time, latest, ordinal, length: 0, hash: Sha256::new(), is_cut: true })
                }
            }
        }
        let Some(line) = &mut self.0 else { return };
        let own = match chunk.lines.last() {
            Some((begin, _)) => {
                (line.length, line.hash) = (0, Sha256::new());
                &chunk.bytes[*begin..]
            }
            None => &chunk.bytes[..],
        };
        line.length += u64::try_from(own.len()).unwrap_or_default();
        line.hash.update(own);
        line.is_cut = own.last().map_or(line.is_cut, |last| *last != b'\n');
    }

    /// The last line; `None` before the first.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.0.as_ref().map(|line| Mark {
            time: line.time,
            latest: line.latest,
            ordinal: line.ordinal,
            length: line.length,
            sha256: digest::hex(&line.hash.clone().finalize()),
            is_cut: line.is_cut,
            unknown: Unknown::new(),
        })
    }
}

/// From when on a log has to be read again to meet `mark`: a whole second, as Kubernetes takes no others.
pub(crate) fn since(mark: &Mark) -> Timestamp {
    let early = mark.time.min(mark.latest).checked_sub(CROSSING).unwrap_or(Timestamp::MIN);
    Timestamp::from_second(early.as_second().saturating_sub(i64::from(early.subsec_nanosecond() < 0))).unwrap_or(early)
}

/// Drops what was read before from a log that is read again from [`since`] on.
#[derive(Debug)]
pub(crate) struct Resume {
    mark: Mark,
    /// Time of the line that it is in, and lines of that time right before it.
    run: Option<(Timestamp, u64)>,
    /// What was read of a line that may be the mark's.
    candidate: Option<(u64, Sha256)>,
}

/// What of a chunk is new.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing yet.
    Nothing,
    /// The mark was met: what follows it, and where the log is now.
    Met(Chunk, Tracker),
    /// The mark can't come any more. What follows came after it, on a line of its own; what is between is lost.
    Lost(Chunk),
}

impl Resume {
    /// Goes on after `mark`.
    pub(crate) fn after(mark: Mark) -> Self {
        Self { mark, run: None, candidate: None }
    }

    /// Takes the next bytes. It is not to be asked again once it answered otherwise than [`Found::Nothing`].
    pub(crate) fn push(&mut self, chunk: Chunk) -> Found {
        let ends = chunk.lines.iter().skip(1).map(|(place, _)| *place).chain([chunk.len()]);
        let first = chunk.lines.first().map_or(chunk.len(), |(place, _)| *place);
        let mut found = self.line(&chunk.bytes[..first]).map(|at| (at, true));
        for ((begin, time), end) in chunk.lines.iter().zip(ends) {
            if found.is_some() {
                break;
            }
            if *time > self.mark.latest {
                found = Some((*begin, false));
                break;
            }
            self.begin(*time);
            found = self.line(&chunk.bytes[*begin..end]).map(|at| (begin + at, true));
        }
        match found {
            None => Found::Nothing,
            Some((at, false)) => {
                let rest = chunk.after(at);
                Found::Lost(if self.mark.is_cut { rest.on_a_new_line() } else { rest })
            }
            Some((at, true)) => Found::Met(chunk.after(at), self.met()),
        }
    }

    fn begin(&mut self, time: Timestamp) {
        let ordinal = self.run.filter(|(last, _)| *last == time).map_or(0, |(_, ordinal)| ordinal + 1);
        self.run = Some((time, ordinal));
        let is_alike = time == self.mark.time && ordinal == self.mark.ordinal;
        self.candidate = is_alike.then(|| (0, Sha256::new()));
    }

    /// Takes bytes of the line that it is in. Where in them the mark ends, if it does.
    fn line(&mut self, bytes: &[u8]) -> Option<usize> {
        let (length, hash) = self.candidate.as_mut()?;
        let left = usize::try_from(self.mark.length - *length).unwrap_or(usize::MAX);
        let own = &bytes[..bytes.len().min(left)];
        hash.update(own);
        *length += u64::try_from(own.len()).unwrap_or_default();
        if *length < self.mark.length {
            return None;
        }
        if digest::hex(&hash.clone().finalize()) == self.mark.sha256 {
            return Some(own.len());
        }
        self.candidate = None;
        None
    }

    fn met(&self) -> Tracker {
        let hash = self.candidate.as_ref().map_or_else(Sha256::new, |(_, hash)| hash.clone());
        let Mark { time, latest, ordinal, length, sha256: _, is_cut, unknown: _ } = self.mark.clone();
        Tracker(Some(Line { time, latest, ordinal, length, hash, is_cut }))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// A log of lines with their times in milliseconds, as one chunk.
    fn log(lines: &[(i64, &str)]) -> Chunk {
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        for (time, text) in lines {
            places.push((bytes.len(), Timestamp::from_millisecond(*time).unwrap()));
            bytes.extend_from_slice(text.as_bytes());
        }
        Chunk { bytes: bytes.into(), lines: places }
    }

    fn chunks(whole: &Chunk, size: usize) -> Vec<Chunk> {
        let mut rest = whole.clone();
        let mut found = Vec::new();
        while !rest.is_empty() {
            let cut = size.min(rest.len());
            let next = rest.clone().after(cut);
            let lines = rest.lines.iter().copied().filter(|(place, _)| *place < cut).collect();
            found.push(Chunk { bytes: rest.bytes.slice(..cut), lines });
            rest = next;
        }
        found
    }

    fn upto(whole: &Chunk, cut: usize) -> Chunk {
        Chunk {
            bytes: whole.bytes.slice(..cut),
            lines: whole.lines.iter().copied().filter(|(place, _)| *place < cut).collect(),
        }
    }

    /// What is read of `again` by who had read `before`: whether the mark was met, and what is new.
    fn resumed(before: &Chunk, again: &Chunk, size: usize) -> (Option<bool>, Vec<u8>, Tracker) {
        let mut tracker = Tracker::default();
        tracker.push(before);
        let mark = tracker.mark().unwrap();
        let mut kept = Vec::new();
        let mut resume = Some(Resume::after(mark.clone()));
        let mut met = None;
        let from = since(&mark);
        let begin = again.lines.iter().find(|(_, time)| *time >= from).map_or(again.len(), |(place, _)| *place);
        for chunk in chunks(&again.clone().after(begin), size) {
            let new = match resume.as_mut().map(|resume| resume.push(chunk.clone())) {
                None => chunk,
                Some(Found::Nothing) => continue,
                Some(Found::Lost(rest)) => {
                    (resume, met, tracker) = (None, Some(false), Tracker::default());
                    rest
                }
                Some(Found::Met(rest, state)) => {
                    (resume, met, tracker) = (None, Some(true), state);
                    rest
                }
            };
            tracker.push(&new);
            kept.extend_from_slice(&new.bytes);
        }
        (met, kept, tracker)
    }

    fn sample() -> Chunk {
        log(&[
            (1000, "a\n"),
            (1000, "a\n"),
            (1000, "a\n"),
            (1001, "\n"),
            (1003, "crossed\n"),
            (1002, "earlier\n"),
            (1003, "met\n"),
            (1003, "met\n"),
            (9000, "a long one that is half read\n"),
            (9000, "a long one that is half read\n"),
            (9001, "no line end"),
        ])
    }

    #[test]
    fn wherever_a_log_was_left_and_however_it_comes_again_nothing_is_missing_or_twice() {
        let whole = sample();
        for cut in 1..=whole.len() {
            for size in [1, 2, 3, 7, 50, 1000] {
                let (met, new, tracker) = resumed(&upto(&whole, cut), &whole, size);
                assert_eq!((met, &new[..]), (Some(true), &whole.bytes[cut..]), "left at {cut}, chunks of {size}");
                let mut straight = Tracker::default();
                straight.push(&whole);
                assert_eq!(tracker.mark(), straight.mark(), "left at {cut}, chunks of {size}");
            }
        }
    }

    #[test]
    fn the_place_does_not_depend_on_the_chunks() {
        let whole = sample();
        for cut in 1..=whole.len() {
            let mut straight = Tracker::default();
            straight.push(&upto(&whole, cut));
            for size in 1..20 {
                let mut pieces = Tracker::default();
                chunks(&upto(&whole, cut), size).iter().for_each(|chunk| pieces.push(chunk));
                assert_eq!(pieces.mark(), straight.mark(), "{cut} {size}");
            }
        }
    }

    #[test]
    fn a_log_that_was_rotated_beyond_the_place_is_lost_from_there_on() {
        let whole = sample();
        let before = upto(&whole, whole.lines[7].0);
        let after = whole.clone().after(whole.lines[8].0);
        for size in [1, 5, 1000] {
            let (met, new, _) = resumed(&before, &after, size);
            assert_eq!((met, &new[..]), (Some(false), &after.bytes[..]));
        }
    }

    #[test]
    fn what_comes_after_a_line_that_was_left_amid_and_is_lost_begins_on_a_line_of_its_own() {
        let whole = sample();
        let (begin, _) = whole.lines[7];
        let after = whole.clone().after(whole.lines[8].0);
        for size in [1, 5, 1000] {
            let (met, new, tracker) = resumed(&upto(&whole, begin + 1), &after, size);
            assert_eq!((met, &new[..]), (Some(false), &[b"\n", &after.bytes[..]].concat()[..]), "chunks of {size}");
            let mut straight = Tracker::default();
            straight.push(&after);
            assert_eq!(tracker.mark(), straight.mark(), "the place is that in the log, chunks of {size}");
        }
    }

    #[test]
    fn a_line_that_only_looks_like_the_last_one_is_not_it() {
        let before = log(&[(1000, "a\n"), (1000, "b\n")]);
        let again = log(&[(1000, "b\n"), (1000, "c\n"), (1001, "d\n")]);
        let (met, new, _) = resumed(&before, &again, 3);
        assert_eq!((met, &new[..]), (Some(false), &b"d\n"[..]));
        let (met, new, _) = resumed(&before, &log(&[(500, "x\n")]), 3);
        assert_eq!((met, new.is_empty()), (None, true), "it may still come");
    }

    #[test]
    fn a_log_is_asked_for_from_a_whole_second_that_is_early_enough() {
        for (millis, expected) in [(9_999, 7), (10_000, 8), (10_001, 8), (1, -2), (0, -2)] {
            let mut tracker = Tracker::default();
            tracker.push(&log(&[(millis, "a")]));
            let since = since(&tracker.mark().unwrap());
            assert_eq!((since.as_second(), since.subsec_nanosecond()), (expected, 0));
        }
    }

    #[test]
    fn a_long_line_costs_no_memory() {
        let mut tracker = Tracker::default();
        tracker.push(&log(&[(1, "x")]));
        let mut resume = Resume::after(tracker.mark().unwrap());
        for _ in 0..1000 {
            tracker.push(&Chunk { bytes: Bytes::from(vec![b'x'; 65_536]), lines: Vec::new() });
        }
        assert_eq!(tracker.mark().unwrap().length, 1 + 65_536_000);
        assert!(matches!(resume.push(log(&[(1, "x")])), Found::Met(rest, _) if rest.is_empty()));
    }
}
