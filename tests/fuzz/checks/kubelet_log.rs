//! A log that the kubelet frames comes out byte for byte with the time of each line, and what is not framed is refused
//! at the same place, whatever the chunks.

use jiff::{Timestamp, tz::Offset};
use protocol::kubelet_log::{LONGEST_TIMESTAMP, NoTimestamp, Timestamps};

/// What was read of a log: its bytes, where its lines begin and when they were written, and whether that is all.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    log: Vec<u8>,
    lines: Vec<(usize, Timestamp)>,
    end: Result<(), NoTimestamp>,
}

/// The first byte says how many sizes of chunks follow, the next one in which zone the kubelet is and how it writes;
/// the rest is what a kubelet answers, and then a log that it frames.
pub(crate) fn check(data: &[u8]) {
    let [count, form, rest @ ..] = data else { return };
    let (sizes, bytes) = rest.split_at(rest.len().min(usize::from(count % 8)));
    let whole = read(bytes, &[]);
    assert_eq!(whole, at_one_look(bytes));
    assert_eq!(read(bytes, sizes), whole);

    let (framed, lines) = framed(bytes, *form);
    let all = Read { log: bytes.to_vec(), lines, end: Ok(()) };
    assert_eq!(read(&framed, &[]), all);
    assert_eq!(read(&framed, sizes), all);
}

/// Chunks have these sizes in turn, or there is one if no size is above nought.
fn read(mut bytes: &[u8], sizes: &[u8]) -> Read {
    let (mut timestamps, mut log, mut lines) = (Timestamps::default(), Vec::new(), Vec::new());
    let is_cut = sizes.iter().any(|size| *size > 0);
    let mut sizes = sizes.iter().cycle();
    while !bytes.is_empty() {
        let size = sizes.next().filter(|_| is_cut).map_or(bytes.len(), |size| bytes.len().min((*size).into()));
        let (chunk, rest) = bytes.split_at(size);
        let before = log.len();
        let pushed = timestamps.push(chunk, &mut log, &mut lines);
        assert!(timestamps.held() <= LONGEST_TIMESTAMP && log.len() - before <= chunk.len());
        if pushed.is_err() {
            return Read { log, lines, end: pushed };
        }
        bytes = rest;
    }
    Read { log, lines, end: timestamps.finish() }
}

/// The same by another way, which needs all bytes at once.
fn at_one_look(bytes: &[u8]) -> Read {
    let (mut log, mut lines) = (Vec::new(), Vec::new());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let space = line.iter().take(LONGEST_TIMESTAMP).position(|byte| *byte == b' ');
        let time = space.and_then(|end| std::str::from_utf8(&line[..end]).ok()?.parse().ok());
        let Some((end, time)) = space.zip(time) else { return Read { log, lines, end: Err(NoTimestamp) } };
        lines.extend((line.len() > end + 1).then_some((log.len(), time)));
        log.extend_from_slice(&line[end + 1..]);
    }
    Read { log, lines, end: Ok(()) }
}

/// As the kubelet does it: a time and a space before each line, all fractions of nine digits or none at all.
fn framed(log: &[u8], form: u8) -> (Vec<u8>, Vec<(usize, Timestamp)>) {
    // Quarters of an hour from twelve hours west to fourteen hours east, as there are zones.
    let offset = Offset::from_seconds((i32::from(form % 105) - 48) * 900).expect("less than a day");
    let has_fraction = form.is_multiple_of(2);
    let (mut framed, mut lines, mut at) = (Vec::new(), Vec::new(), 0);
    for (number, line) in (0_i32..).zip(log.split_inclusive(|byte| *byte == b'\n')) {
        let seconds = 1_769_860_800 + i64::from(form) * 86_400 + i64::from(number);
        let nanosecond = if has_fraction { number * 1_001 % 1_000_000_000 } else { 0 };
        let time = Timestamp::constant(seconds, nanosecond);
        let text = match (offset == Offset::UTC, has_fraction) {
            (true, true) => format!("{time:.9} "),
            (true, false) => format!("{time:.0} "),
            (false, true) => format!("{:.9} ", time.display_with_offset(offset)),
            (false, false) => format!("{:.0} ", time.display_with_offset(offset)),
        };
        assert!(text.len() <= LONGEST_TIMESTAMP, "{text}");
        framed.extend_from_slice(text.as_bytes());
        framed.extend_from_slice(line);
        lines.push((at, time));
        at += line.len();
    }
    (framed, lines)
}
