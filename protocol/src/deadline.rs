//! When a time is over.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// True when `limit` has passed since then. A limit beyond what time can hold never has.
pub fn has_passed(limit: Duration, since: Timestamp, now: Timestamp) -> bool {
    SignedDuration::try_from(limit).is_ok_and(|limit| now.duration_since(since) >= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_passed_at_its_end_and_one_without_end_never() {
        let since = Timestamp::from_second(1_700_000_000).unwrap();
        let later = |seconds| since + SignedDuration::from_secs(seconds);
        let limit = Duration::from_secs(60);
        assert!(!has_passed(limit, since, later(59)) && has_passed(limit, since, later(60)));
        assert!(!has_passed(limit, since, later(-100)), "clocks differ");
        assert!(!has_passed(Duration::MAX, since, Timestamp::MAX));
    }
}
