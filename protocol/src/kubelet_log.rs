//! Tells a container's log from what the kubelet says in its place.
//!
//! An error while a log is read comes as text in the log itself, after a status of 200. Asked for timestamps, the
//! kubelet writes one and a space before each line of the log (cri-client `pkg/logs/logs.go`: before the first piece of
//! a line that the runtime cut), and none before a text of its own: a line that begins without one is no log.

use jiff::Timestamp;
use memchr::memchr;

/// Bytes of the longest timestamp with its space: `2006-01-02T15:04:05.000000000+07:00 `.
pub const LONGEST_TIMESTAMP: usize = 36;

/// A line begins without a timestamp, or the log ends within one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line has no timestamp: it is none of the container's")]
pub struct NoTimestamp;

/// Takes the timestamps off a log that comes in chunks of any size. After an error it is of no more use.
#[derive(Debug, Default)]
pub struct Timestamps {
    /// What came of the timestamp of a line.
    begun: Vec<u8>,
    is_inside: bool,
    /// The timestamp of a line of which nothing came yet.
    next: Option<Timestamp>,
}

impl Timestamps {
    /// Appends what `bytes` hold of the log to `log`, and to `lines` where in it lines begin (bytes from its start) and
    /// their times; what comes before a line without timestamp is appended, too.
    ///
    /// # Errors
    /// When a line has no timestamp.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        log: &mut Vec<u8>,
        lines: &mut Vec<(usize, Timestamp)>,
    ) -> Result<(), NoTimestamp> {
        while !bytes.is_empty() {
            if self.is_inside {
                lines.extend(self.next.take().map(|time| (log.len(), time)));
                let end = memchr(b'\n', bytes);
                let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                log.extend_from_slice(line);
                self.is_inside = end.is_none();
                bytes = rest;
                continue;
            }
            let head = &bytes[..bytes.len().min(LONGEST_TIMESTAMP - self.begun.len())];
            let end = head.iter().position(|byte| *byte == b' ');
            self.begun.extend_from_slice(&head[..end.unwrap_or(head.len())]);
            if let Some(end) = end {
                self.next = Some(self.time()?);
                self.begun.clear();
                self.is_inside = true;
                bytes = &bytes[end + 1..];
            } else if self.begun.len() == LONGEST_TIMESTAMP {
                return Err(NoTimestamp);
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    /// To be asked at the end.
    ///
    /// # Errors
    /// When the end came before the timestamp of the last line was whole.
    pub fn finish(&self) -> Result<(), NoTimestamp> {
        if self.begun.is_empty() { Ok(()) } else { Err(NoTimestamp) }
    }

    /// How many bytes of a timestamp that is not whole yet are kept for the next chunk: at most [`LONGEST_TIMESTAMP`].
    pub fn held(&self) -> usize {
        self.begun.len()
    }

    fn time(&self) -> Result<Timestamp, NoTimestamp> {
        std::str::from_utf8(&self.begun).ok().and_then(|text| text.parse().ok()).ok_or(NoTimestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-01-31T12:00:00.000000001Z ";
    const LOCAL: &str = "2026-01-31T12:00:00.123456789+02:00 ";
    const SHORT: &str = "2026-01-31T12:00:00Z ";

    fn strip(text: &[u8], chunk: usize) -> (Vec<u8>, Result<(), NoTimestamp>) {
        let (mut timestamps, mut log, mut lines) = (Timestamps::default(), Vec::new(), Vec::new());
        for chunk in text.chunks(chunk) {
            if let Err(error) = timestamps.push(chunk, &mut log, &mut lines) {
                return (log, Err(error));
            }
        }
        let begins = |(at, _): &(usize, Timestamp)| *at == 0 || log[at - 1] == b'\n';
        assert!(lines.iter().all(begins) && lines.iter().all(|(at, _)| *at < log.len()), "{lines:?}");
        assert_eq!(lines.len(), log.split_inclusive(|byte| *byte == b'\n').count());
        let end = timestamps.finish();
        (log, end)
    }

    fn assert_stripped(text: &[u8], log: &[u8], end: Result<(), NoTimestamp>) {
        for chunk in 1..=text.len() + 1 {
            assert_eq!(strip(text, chunk), (log.to_vec(), end_of(&end)), "chunks of {chunk}");
        }
    }

    fn end_of(end: &Result<(), NoTimestamp>) -> Result<(), NoTimestamp> {
        if end.is_ok() { Ok(()) } else { Err(NoTimestamp) }
    }

    #[test]
    fn every_byte_of_the_log_comes_through_whatever_the_chunks() {
        assert_stripped(b"", b"", Ok(()));
        for (lines, log) in [
            (vec!["a\n"], "a\n"),
            (vec!["a\n", "b"], "a\nb"),
            (vec!["\n", "\n", " \n", "  b \r\n", "\r\n"], "\n\n \n  b \r\n\r\n"),
            (vec!["2026-01-31T12:00:00Z its own\n", ""], "2026-01-31T12:00:00Z its own\n"),
        ] {
            for time in [TIME, LOCAL, SHORT] {
                let text: String = lines.iter().map(|line| format!("{time}{line}")).collect();
                assert_stripped(text.as_bytes(), log.as_bytes(), Ok(()));
            }
        }
        let mut foreign = TIME.as_bytes().to_vec();
        foreign.extend(0..=255_u8);
        let at = foreign.iter().skip(TIME.len()).position(|byte| *byte == b'\n').unwrap() + TIME.len() + 1;
        foreign.splice(at..at, LOCAL.bytes());
        assert_stripped(&foreign, &(0..=255).collect::<Vec<u8>>(), Ok(()));
    }

    #[test]
    fn a_long_line_is_not_held() {
        let mut timestamps = Timestamps::default();
        let (mut log, mut lines) = (Vec::new(), Vec::new());
        timestamps.push(TIME.as_bytes(), &mut log, &mut lines).unwrap();
        for _ in 0..1000 {
            log.clear();
            timestamps.push(&[b'x'; 16 * 1024], &mut log, &mut lines).unwrap();
            assert_eq!(log.len(), 16 * 1024);
        }
        assert!(timestamps.begun.capacity() <= 2 * LONGEST_TIMESTAMP && lines.len() == 1);
    }

    #[test]
    fn what_the_kubelet_says_itself_is_never_log() {
        for words in [
            "unable to retrieve container logs for containerd://1",
            "failed to read log file \"/var/log/pods/x/0.log\": input/output error",
            "rpc error: code = Unknown",
            " ",
            "\n",
            "2026-01-31T12:00:00.123456789+02:00:and more without a space",
            "2026-13-31T12:00:00Z x",
            "x",
        ] {
            assert_stripped(words.as_bytes(), b"", Err(NoTimestamp));
            assert_stripped(format!("{TIME}a\n{words}").as_bytes(), b"a\n", Err(NoTimestamp));
        }
    }

    #[test]
    fn a_log_that_breaks_off_within_a_timestamp_is_not_whole() {
        let text = format!("{TIME}a\n{LOCAL}");
        for size in TIME.len() + 3..text.len() {
            assert_eq!(strip(&text.as_bytes()[..size], 7), (b"a\n".to_vec(), Err(NoTimestamp)), "{size}");
        }
    }
}
