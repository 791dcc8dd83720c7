//! The parameter `datetime`: an instant or an interval (requirement `/req/job-list/datetime-definition`).

use std::str::FromStr;

use jiff::Timestamp;

/// A time, or from one to another, both included; an end that is open is `None`. Never open at both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The first moment.
    pub from: Option<Timestamp>,
    /// The last one.
    pub to: Option<Timestamp>,
}

/// A text that is none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a time as in RFC 3339, such as 2026-01-31T12:00:00Z, or two separated by a slash, the earlier one first, one of \
     which may be .. or nothing"
)]
pub struct NoInterval;

impl FromStr for Interval {
    type Err = NoInterval;

    fn from_str(text: &str) -> Result<Self, NoInterval> {
        let end = |text: &str| match text {
            "" | ".." => Ok(None),
            time => instant(time).map(Some),
        };
        let interval = match text.split_once('/') {
            None => instant(text).map(|time| Self { from: Some(time), to: Some(time) })?,
            Some((from, to)) => Self { from: end(from)?, to: end(to)? },
        };
        match (interval.from, interval.to) {
            (None, None) => Err(NoInterval),
            (Some(from), Some(to)) if from > to => Err(NoInterval),
            _ => Ok(interval),
        }
    }
}

/// A `date-time` of RFC 3339, section 5.6: jiff reads more than that.
fn instant(text: &str) -> Result<Timestamp, NoInterval> {
    // In a query string a plus that is not encoded is a space.
    let text = text.replace(' ', "+");
    let is_date_time = || {
        let (date, rest) = text.split_at_checked(10)?;
        let (time, rest) = rest.split_at_checked(9)?;
        let zone = match rest.strip_prefix('.') {
            Some(fraction) => {
                let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
                (zone.len() < fraction.len()).then_some(zone)?
            }
            None => rest,
        };
        let is_zone = matches!(zone, "Z" | "z") || fits(zone, "+00:00") || fits(zone, "-00:00");
        Some(fits(date, "0000-00-00") && (fits(time, "T00:00:00") || fits(time, "t00:00:00")) && is_zone)
    };
    if is_date_time() != Some(true) {
        return Err(NoInterval);
    }
    text.parse().map_err(|_| NoInterval)
}

/// True of a text that has a digit wherever the pattern has a zero, and the pattern's own character elsewhere.
fn fits(text: &str, pattern: &str) -> bool {
    let is_as = |(byte, wanted): (u8, u8)| if wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted };
    text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(is_as)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Option<i64>, Option<i64>)> {
        let Interval { from, to } = text.parse().ok()?;
        Some((from.map(Timestamp::as_second), to.map(Timestamp::as_second)))
    }

    #[test]
    fn instants_and_intervals_are_read_as_the_standard_writes_them() {
        let second = 1_000_000_000;
        assert_eq!(read("2001-09-09T01:46:40Z"), Some((Some(second), Some(second))));
        assert_eq!(read("2001-09-09T03:46:40.000+02:00"), Some((Some(second), Some(second))));
        assert_eq!(read("2001-09-09T03:46:40 02:00"), Some((Some(second), Some(second))), "a plus, not encoded");
        for open in ["", ".."] {
            assert_eq!(read(&format!("2001-09-09T01:46:40Z/{open}")), Some((Some(second), None)));
            assert_eq!(read(&format!("{open}/2001-09-09t01:46:40z")), Some((None, Some(second))));
        }
        assert_eq!(
            read("2001-09-09T01:46:40Z/2001-09-09T01:46:41Z"),
            Some((Some(second), Some(second + 1))),
            "closed at both ends"
        );
    }

    #[test]
    fn what_the_standard_does_not_have_is_refused() {
        for wrong in [
            "..",
            "/",
            "../..",
            "2001-09-09",
            "2001-09-09T01:46:40",
            "2001-09-09 01:46:40Z",
            "2001-13-09T01:46:40Z",
            "2001-09-09T01:46:40.Z",
            "2001-09-09T01:46:40[Europe/Berlin]",
            "2001-09-09T01:46:41Z/2001-09-09T01:46:40Z",
            "2001-09-09T01:46:40Z/2001-09-09T01:46:40Z/..",
            "now",
            "ä",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
