//! How a container tells how far it is: a line of its log containing `QUAYSIDE_PROGRESS: <0-100> [text]`.
//!
//! Memory is bounded whatever the log holds: of a line no more is kept than a text may have.

use memchr::{memchr, memmem};

/// Starts a percentage and a text.
pub const PROGRESS_MARKER: &str = "QUAYSIDE_PROGRESS:";
/// A text has at most this many characters; a longer one is cut.
pub const TEXT_LIMIT: usize = 200;
/// Bytes after the marker that are looked at: a number, and a text of the longest characters.
const LINE_LIMIT: usize = 16 + 4 * TEXT_LIMIT;

/// How far a container says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Percent done, 0 to 100.
    pub percent: u8,
    /// What it says: at most [`TEXT_LIMIT`] characters, none of them a control character; `None` when it says nothing.
    pub text: Option<String>,
}

/// Finds what a log tells of progress, in chunks of any size.
#[derive(Debug, Default)]
pub struct ProgressParser {
    /// The end of the line so far, where the marker may begin.
    carry: Vec<u8>,
    /// What follows the marker in the line so far.
    told: Option<Vec<u8>>,
}

impl ProgressParser {
    /// A parser at the start of a line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the log; what the last line that ended in them and tells of progress says.
    pub fn feed(&mut self, mut chunk: &[u8]) -> Option<Progress> {
        let mut found = None;
        loop {
            if let Some(told) = &mut self.told {
                let end = memchr(b'\n', chunk);
                let line = &chunk[..end.unwrap_or(chunk.len())];
                let room = LINE_LIMIT - told.len();
                told.extend_from_slice(&line[..line.len().min(room)]);
                let Some(end) = end else { return found };
                found = parse(told).or(found);
                self.told = None;
                self.carry.clear();
                chunk = &chunk[end + 1..];
            }
            let Some(after) = self.find(chunk) else {
                self.keep_carry(chunk);
                return found;
            };
            self.told = Some(Vec::new());
            chunk = &chunk[after..];
        }
    }

    /// At the log's end: what a line without line end says.
    pub fn finish(mut self) -> Option<Progress> {
        self.told.take().and_then(|told| parse(&told))
    }

    /// Where in `chunk` the first marker ends, one that began earlier included.
    fn find(&self, chunk: &[u8]) -> Option<usize> {
        let marker = PROGRESS_MARKER.as_bytes();
        let head = &chunk[..chunk.len().min(marker.len() - 1)];
        let seam = [&self.carry[..], head].concat();
        if let Some(at) = memmem::find(&seam, marker) {
            return Some((at + marker.len()).saturating_sub(self.carry.len()));
        }
        memmem::find(chunk, marker).map(|at| at + marker.len())
    }

    fn keep_carry(&mut self, chunk: &[u8]) {
        let keep = PROGRESS_MARKER.len() - 1;
        self.carry.extend_from_slice(&chunk[chunk.len().saturating_sub(keep)..]);
        let surplus = self.carry.len().saturating_sub(keep);
        self.carry.drain(..surplus);
    }
}

/// What follows the marker; `None` where that is no number from 0 to 100.
fn parse(line: &[u8]) -> Option<Progress> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_start();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    let rest = rest.strip_prefix('%').unwrap_or(rest);
    if number.len() > 3 || rest.chars().next().is_some_and(|next| !next.is_whitespace()) {
        return None;
    }
    let percent = number.parse::<u8>().ok().filter(|percent| *percent <= 100)?;
    let plain = rest.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect::<String>();
    let text: String = plain.trim().chars().take(TEXT_LIMIT).collect();
    Some(Progress { percent, text: (!text.is_empty()).then_some(text) })
}

/// True of control characters, and of those that turn the direction of what follows.
fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(log: &[u8], size: usize) -> Vec<(u8, Option<String>)> {
        let (mut parser, mut found) = (ProgressParser::new(), Vec::new());
        for chunk in log.chunks(size) {
            found.extend(parser.feed(chunk));
        }
        found.extend(parser.finish());
        found.into_iter().map(|progress| (progress.percent, progress.text)).collect()
    }

    #[test]
    fn each_line_that_tells_is_found_in_chunks_of_any_size() {
        let log = b"x\nQUAYSIDE_PROGRESS: 40 reading tiles\n12:00 INFO QUAYSIDE_PROGRESS:70\r\nQUAYSIDE_PROGRESSQUAYSIDE_PROGRESS: 5% QUAYSIDE_PROGRESS: 7\nQUAYSIDE_PROGRESS: 100";
        let text = |text: &str| Some(text.to_owned());
        let expected = vec![(40, text("reading tiles")), (70, None), (5, text("QUAYSIDE_PROGRESS: 7")), (100, None)];
        assert_eq!(all(log, 1), expected);
        for size in 1..=log.len() {
            assert_eq!(all(log, size).last(), expected.last(), "chunks of {size}");
            let found = all(log, size);
            assert!(found.iter().all(|one| expected.contains(one)), "chunks of {size}: {found:?}");
        }
    }

    #[test]
    fn what_is_no_number_from_0_to_100_tells_nothing() {
        for bad in ["", "x", "101", "-1", "1.5", "0x1", "1000", "99999999999999999999", "40tiles", "\u{661}"] {
            assert!(all(format!("QUAYSIDE_PROGRESS: {bad}\n").as_bytes(), 7).is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_text_is_short_and_has_nothing_that_is_not_seen() {
        let log = format!("QUAYSIDE_PROGRESS: 1 a\tb\u{1b}[31m\u{202e}\0{}\n", "ü".repeat(5000));
        let found = all(log.as_bytes(), 64);
        let text = found[0].1.clone().unwrap();
        assert!(text.starts_with("a b [31m") && text.chars().count() <= TEXT_LIMIT, "{text}");
        assert!(!text.chars().any(is_unseen));
    }

    #[test]
    fn memory_stays_bounded_on_an_endless_line() {
        let mut parser = ProgressParser::new();
        parser.feed(b"QUAYSIDE_PROGRESS: 1 ");
        for _ in 0..1000 {
            assert_eq!(parser.feed(&[b'x'; 4096]), None);
        }
        assert!(parser.told.as_ref().unwrap().len() <= LINE_LIMIT && parser.carry.len() < 64);
        assert_eq!(parser.finish().unwrap().percent, 1);
    }
}
