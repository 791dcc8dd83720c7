//! The kubelet's log format (CRI): each line of output in a frame of its own,
//! `2026-01-01T00:00:00.000000000Z stdout F text`. A piece of a line that goes on, or is the output's end without a
//! newline, has the tag `P`. Any bytes go in and come out again unchanged.
//! <https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>

use std::fmt;

use jiff::Timestamp;
use memchr::{memchr, memchr_iter};

/// A longer line is framed in pieces of this many bytes, so that writer and reader need no more memory than that.
pub const PIECE: usize = 16 * 1024;
/// No header of a frame is longer.
const HEADER: usize = 128;

/// Which of a process's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl fmt::Display for Output {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// Frames one output of a process. It holds back at most [`PIECE`] bytes: the line that is not complete yet, so that
/// lines of the two outputs do not mix.
#[derive(Debug)]
pub struct Framer {
    output: Output,
    line: Vec<u8>,
}

impl Framer {
    /// A framer at the beginning of an output.
    pub fn new(output: Output) -> Self {
        Self { output, line: Vec::new() }
    }

    /// Appends to `framed` the frames that `bytes`, read at `now`, complete.
    pub fn push(&mut self, now: Timestamp, bytes: &[u8], framed: &mut Vec<u8>) {
        let stamp = self.stamp(now);
        let mut start = 0;
        for newline in memchr_iter(b'\n', bytes) {
            self.grow(&stamp, &bytes[start..newline], framed);
            frame(&stamp, b'F', &self.line, framed);
            self.line.clear();
            start = newline + 1;
        }
        self.grow(&stamp, &bytes[start..], framed);
    }

    /// Appends the output's end, where it has no newline.
    pub fn finish(&mut self, now: Timestamp, framed: &mut Vec<u8>) {
        if !self.line.is_empty() {
            frame(&self.stamp(now), b'P', &self.line, framed);
            self.line.clear();
        }
    }

    /// Adds to the line, which then is never longer than a piece.
    fn grow(&mut self, stamp: &str, mut bytes: &[u8], framed: &mut Vec<u8>) {
        while self.line.len() + bytes.len() > PIECE {
            let (now, later) = bytes.split_at(PIECE - self.line.len());
            self.line.extend_from_slice(now);
            frame(stamp, b'P', &self.line, framed);
            self.line.clear();
            bytes = later;
        }
        self.line.extend_from_slice(bytes);
    }

    fn stamp(&self, now: Timestamp) -> String {
        format!("{} {} ", now.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"), self.output)
    }
}

fn frame(stamp: &str, tag: u8, content: &[u8], framed: &mut Vec<u8>) {
    framed.extend_from_slice(stamp.as_bytes());
    framed.extend_from_slice(&[tag, b' ']);
    framed.extend_from_slice(content);
    framed.push(b'\n');
}

/// Takes the frames off again. It keeps nothing but the header that it is in.
#[derive(Debug)]
pub struct Deframer {
    at: At,
    /// The time of the frame that it is in, as text.
    time: Vec<u8>,
    /// Frames of earlier times are left out.
    since: Timestamp,
    /// True where the next byte begins a line.
    is_fresh: bool,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Header { spaces: u8, tag: Option<u8>, length: usize },
    Content { is_line: bool, time: Timestamp },
}

impl At {
    const START: Self = Self::Header { spaces: 0, tag: None, length: 0 };
}

/// Bytes that are not framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is not framed as the kubelet's")]
pub struct NotFramed;

impl Default for Deframer {
    fn default() -> Self {
        Self::since(Timestamp::MIN)
    }
}

impl Deframer {
    /// Leaves out what was written before that time.
    pub fn since(since: Timestamp) -> Self {
        Self { at: At::START, time: Vec::new(), since, is_fresh: true }
    }

    /// Appends to `bytes` what is in the next chunk of frames, and to `lines` where in `bytes` lines begin and when they were
    /// written; never more bytes than the chunk has. Chunks may end anywhere.
    ///
    /// # Errors
    /// When these are no frames.
    pub fn push(
        &mut self,
        mut framed: &[u8],
        bytes: &mut Vec<u8>,
        lines: &mut Vec<(usize, Timestamp)>,
    ) -> Result<(), NotFramed> {
        while !framed.is_empty() {
            framed = match self.at {
                At::Header { spaces, tag, length } => self.header(framed, spaces, tag, length)?,
                At::Content { is_line, time } => self.content(framed, is_line, time, bytes, lines),
            };
        }
        Ok(())
    }

    /// Reads one byte of a header: time, output, tags, each with a space after it. Only the first tag means something.
    fn header<'a>(
        &mut self,
        framed: &'a [u8],
        spaces: u8,
        tag: Option<u8>,
        length: usize,
    ) -> Result<&'a [u8], NotFramed> {
        let (byte, rest) = framed.split_first().ok_or(NotFramed)?;
        if spaces == 0 && *byte != b' ' {
            self.time.push(*byte);
        }
        self.at = match (*byte, spaces, tag) {
            (b'\n', ..) => return Err(NotFramed),
            _ if length >= HEADER => return Err(NotFramed),
            (b' ', 2, Some(tag)) => At::Content { is_line: tag == b'F', time: self.take_time()? },
            (b' ', 2, None) => return Err(NotFramed),
            (b' ', ..) => At::Header { spaces: spaces + 1, tag, length: length + 1 },
            (tag @ (b'F' | b'P'), 2, None) => At::Header { spaces, tag: Some(tag), length: length + 1 },
            (_, 2, None) => return Err(NotFramed),
            _ => At::Header { spaces, tag, length: length + 1 },
        };
        Ok(rest)
    }

    fn take_time(&mut self) -> Result<Timestamp, NotFramed> {
        let time = std::str::from_utf8(&self.time).ok().and_then(|text| text.parse().ok()).ok_or(NotFramed);
        self.time.clear();
        time
    }

    fn content<'a>(
        &mut self,
        framed: &'a [u8],
        is_line: bool,
        time: Timestamp,
        bytes: &mut Vec<u8>,
        lines: &mut Vec<(usize, Timestamp)>,
    ) -> &'a [u8] {
        let end = memchr(b'\n', framed);
        let (content, rest) = match end {
            Some(end) => (&framed[..end + usize::from(is_line)], &framed[end + 1..]),
            None => (framed, &framed[framed.len()..]),
        };
        if time >= self.since && !content.is_empty() {
            if self.is_fresh {
                lines.push((bytes.len(), time));
            }
            bytes.extend_from_slice(content);
            self.is_fresh = is_line && end.is_some();
        }
        if end.is_some() {
            self.at = At::START;
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 8] = [1, 2, 3, 7, 64, 4095, PIECE, 1 << 20];

    fn now() -> Timestamp {
        "2026-01-01T00:00:00.5Z".parse().unwrap()
    }

    fn framed(bytes: &[u8], size: usize) -> Vec<u8> {
        let (mut framer, mut out) = (Framer::new(Output::Stdout), Vec::new());
        for chunk in bytes.chunks(size) {
            framer.push(now(), chunk, &mut out);
            assert!(framer.line.len() <= PIECE);
        }
        framer.finish(now(), &mut out);
        out
    }

    fn deframed(framed: &[u8], size: usize) -> Result<Vec<u8>, NotFramed> {
        let (mut deframer, mut out, mut lines) = (Deframer::default(), Vec::new(), Vec::new());
        for chunk in framed.chunks(size) {
            let before = out.len();
            deframer.push(chunk, &mut out, &mut lines)?;
            assert!(out.len() - before <= chunk.len());
        }
        let begins = |(at, _): &(usize, Timestamp)| *at == 0 || out[at - 1] == b'\n';
        assert!(lines.iter().all(begins) && lines.iter().all(|(at, _)| *at < out.len()));
        assert_eq!(lines.len(), out.split_inclusive(|byte| *byte == b'\n').count());
        Ok(out)
    }

    fn samples() -> Vec<Vec<u8>> {
        let mut samples: Vec<Vec<u8>> =
            ["", "\n", "\n\n\n", "a", "a\n", "a\nb", " F \n P x\n", "a\r\nb\r", "2026 stdout F x\n"]
                .into_iter()
                .map(|text| text.as_bytes().to_vec())
                .collect();
        samples.push(vec![0, 0xff, b'\n', 0xc3, b'\n', 0, 0x28]);
        samples.push((0..=255).cycle().take(70_000).collect());
        for length in [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5] {
            samples.push(vec![b'x'; length]);
            samples.push([vec![b'x'; length], b"\ny\n".to_vec()].concat());
        }
        samples
    }

    #[test]
    fn a_line_is_framed_as_the_kubelet_does() {
        assert_eq!(framed(b"one\n\ntwo", 4), b"2026-01-01T00:00:00.500000000Z stdout F one\n2026-01-01T00:00:00.500000000Z stdout F \n2026-01-01T00:00:00.500000000Z stdout P two\n");
    }

    #[test]
    fn any_bytes_come_back_whatever_the_chunks_are() {
        for sample in samples() {
            let whole = framed(&sample, 1 << 20);
            for size in SIZES.into_iter().filter(|size| sample.len() / size < 2000) {
                assert_eq!(framed(&sample, size), whole, "framed in chunks of {size}");
                assert_eq!(deframed(&whole, size).as_deref(), Ok(&sample[..]), "read in chunks of {size}");
            }
        }
    }

    #[test]
    fn no_frame_is_longer_than_a_piece_and_its_header() {
        let framed = framed(&vec![b'x'; 10 * PIECE + 1], 1 << 20);
        assert!(framed.split(|byte| *byte == b'\n').all(|frame| frame.len() < PIECE + HEADER));
    }

    #[test]
    fn a_frame_that_was_cut_gives_what_is_there() {
        let whole = framed(b"one\ntwo\n", 100);
        for cut in 0..whole.len() {
            let read = deframed(&whole[..cut], 5).unwrap();
            assert!(b"one\ntwo\n".starts_with(&read[..]));
        }
    }

    #[test]
    fn further_tags_are_read_over() {
        let framed = "2026-01-01T00:00:00Z stderr P:x a\n2026-01-01T00:00:01Z stdout F:y:z b\n";
        assert_eq!(deframed(framed.as_bytes(), 3).as_deref(), Ok(&b"ab\n"[..]));
    }

    #[test]
    fn what_was_written_before_a_time_is_left_out_frame_by_frame() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut framed = Vec::new();
        for (second, tag, text) in [(1, b'F', "a"), (2, b'P', "b"), (3, b'P', "c"), (4, b'F', "d"), (4, b'F', "")] {
            let mut framer = Framer::new(Output::Stdout);
            framer.line = text.as_bytes().to_vec();
            frame(&framer.stamp(at(second)), tag, text.as_bytes(), &mut framed);
        }
        for (since, expected, times) in [(1, "a\nbcd\n\n", vec![1, 2, 4]), (3, "cd\n\n", vec![3, 4]), (5, "", vec![])] {
            for size in SIZES {
                let (mut deframer, mut out, mut lines) = (Deframer::since(at(since)), Vec::new(), Vec::new());
                for chunk in framed.chunks(size) {
                    deframer.push(chunk, &mut out, &mut lines).unwrap();
                }
                assert_eq!(out, expected.as_bytes());
                assert_eq!(lines.iter().map(|(_, time)| time.as_second()).collect::<Vec<_>>(), times);
            }
        }
    }

    #[test]
    fn what_is_not_framed_is_refused() {
        for bytes in
            [&b"plain text\n"[..], b"2026-01-01T00:00:00Z stdout X text\n", b"t stdout F text\n", &[b'x'; 1000], b"\n"]
        {
            assert_eq!(deframed(bytes, 8), Err(NotFramed), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
