//! Times for people.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// A time, for people and for programs.
pub(crate) struct Time {
    /// RFC 3339.
    pub(crate) exact: String,
    /// In UTC, to the second.
    pub(crate) shown: String,
}

impl Time {
    /// As a page shows a time.
    pub(crate) fn of(time: Timestamp) -> Self {
        let exact = Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time).to_string();
        let shown = time.to_zoned(TimeZone::UTC).strftime("%-d %b %Y, %H:%M:%S UTC").to_string();
        Self { exact, shown }
    }
}

/// A duration with its two largest units.
pub(crate) fn duration(span: SignedDuration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(0);
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{seconds}.{} s", millis % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A number of bytes with its unit.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} {}", if count == 1 { "byte" } else { "bytes" });
    }
    let (mut whole, mut rest, mut unit) = (count, 0, 0);
    for place in 0..UNITS.len() {
        if whole < 1024 {
            break;
        }
        (rest, whole, unit) = (whole % 1024, whole / 1024, place);
    }
    format!("{whole}.{} {}", rest * 10 / 1024, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_durations_and_sizes_are_short() {
        let time = Time::of("2026-01-02T03:04:05.123456789Z".parse().unwrap());
        assert_eq!(
            (time.exact.as_str(), time.shown.as_str()),
            ("2026-01-02T03:04:05.123456Z", "2 Jan 2026, 03:04:05 UTC")
        );
        for (millis, shown) in [
            (0, "0.0 s"),
            (1234, "1.2 s"),
            (59_999, "59 s"),
            (61_000, "1 min 1 s"),
            (7_260_000, "2 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(SignedDuration::from_millis(millis)), shown);
        }
        assert_eq!(duration(SignedDuration::from_secs(-1)), "0.0 s");
        for (count, shown) in
            [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB")]
        {
            assert_eq!(bytes(count), shown);
        }
        assert_eq!(bytes(u64::MAX), "16383.9 PiB");
    }
}
