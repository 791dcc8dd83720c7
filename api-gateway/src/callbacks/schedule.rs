//! When a delivery is tried again, and when it is given up: pure, so that a day of failures is a test of milliseconds.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use protocol::{
    SCHEMA,
    callback::{DeliveryRecord, DeliveryState},
    job_id::WriteId,
};

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempted {
    /// The receiver answered.
    Answered {
        /// HTTP status.
        status: u16,
        /// `Retry-After`, from now on.
        retry_after: Option<Duration>,
    },
    /// It did not, or could not be asked.
    Failed {
        /// Why, without anything of the address.
        reason: String,
    },
}

/// What a delivery asks for, from how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// An attempt, now.
    Attempt,
    /// An attempt after this time.
    Rest(Duration),
    /// Nothing more: it is to be cleaned up.
    Nothing,
    /// A newer version knows what its state asks for.
    Unknown,
}

/// How persistent deliveries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    pub first_pause: Duration,
    pub max_pause: Duration,
    pub retry_for: Duration,
}

/// 410: the one answer that says that there will never be another (Standard Webhooks, "Failure"). Everything else may be a
/// receiver that is being rolled out or repaired, whatever its status says.
const GONE: u16 = 410;

/// Between which parts of itself a pause is.
const SHORTEST_SPREAD: f64 = 0.75;
const LONGEST_SPREAD: f64 = 1.25;

impl Schedule {
    /// What a delivery that is so far asks for.
    pub(super) fn due(&self, record: &DeliveryRecord, now: Timestamp) -> Due {
        match record.state {
            DeliveryState::Delivered | DeliveryState::GivenUp => Due::Nothing,
            DeliveryState::Other(_) => Due::Unknown,
            DeliveryState::Pending | DeliveryState::Failing => {
                self.rest(record.next_attempt, now).map_or(Due::Attempt, Due::Rest)
            }
        }
    }

    /// How far the delivery is after an attempt that ended at `now`. `random` is from 0 to 1.
    pub(super) fn after(
        &self,
        before: &DeliveryRecord,
        attempted: &Attempted,
        now: Timestamp,
        random: f64,
    ) -> DeliveryRecord {
        // Where the clock has gone back, the first attempt was not later than now either.
        let first = before.first_attempt.unwrap_or(now).min(now);
        let last_try = later(first, self.retry_for);
        let (last_status, last_reason) = match attempted {
            Attempted::Answered { status, .. } => (Some(*status), None),
            Attempted::Failed { reason } => (None, Some(reason.clone())),
        };
        let state = match last_status {
            Some(200..=299) => DeliveryState::Delivered,
            Some(GONE) => DeliveryState::GivenUp,
            _ if now >= last_try => DeliveryState::GivenUp,
            _ => DeliveryState::Failing,
        };
        let next = later(now, self.pause(before.attempts, attempted, random)).min(last_try);
        DeliveryRecord {
            schema: SCHEMA,
            state,
            attempts: before.attempts.saturating_add(1),
            first_attempt: Some(first),
            last_attempt: Some(now),
            last_status,
            last_reason,
            next_attempt: (state == DeliveryState::Failing).then_some(next),
            write_id: WriteId::generate(),
            ..before.clone()
        }
    }

    /// How long to wait until `next`, if it has not come. It is never further away than the longest pause, but where the clock has
    /// gone back since it was written; then it is due.
    fn rest(&self, next: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
        let rest = next?.duration_since(now);
        let rest = rest.is_positive().then(|| rest.unsigned_abs())?;
        (rest <= self.max_pause.mul_f64(LONGEST_SPREAD)).then_some(rest)
    }

    /// Twice as long each time, spread by a quarter, and not before the receiver wishes, all up to the longest.
    fn pause(&self, failed_before: u32, attempted: &Attempted, random: f64) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << failed_before.min(20)).min(self.max_pause);
        let spread = doubled.mul_f64(SHORTEST_SPREAD + random.clamp(0.0, 1.0) * (LONGEST_SPREAD - SHORTEST_SPREAD));
        let wished = match attempted {
            Attempted::Answered { retry_after: Some(wished), .. } => (*wished).min(self.max_pause),
            _ => Duration::ZERO,
        };
        spread.max(wished)
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use protocol::callback::CallbackKind;

    use super::*;
    use crate::callbacks::CallbackSettings;

    #[test]
    fn a_state_of_a_newer_version_is_left_alone_and_an_end_is_no_attempt() {
        let schedule = CallbackSettings::default().schedule();
        let due = |state: &str, next: Option<Timestamp>| {
            let state = serde_json::from_value(state.into()).unwrap();
            let record = DeliveryRecord { state, next_attempt: next, ..DeliveryRecord::pending(CallbackKind::Success) };
            schedule.due(&record, start())
        };
        let soon = Duration::from_secs(5);
        let next = Some(later(start(), soon));
        assert_eq!((due("pending", None), due("failing", next)), (Due::Attempt, Due::Rest(soon)));
        assert_eq!((due("delivered", None), due("given-up", next)), (Due::Nothing, Due::Nothing));
        assert_eq!((due("postponed", None), due("postponed", next)), (Due::Unknown, Due::Unknown));
    }

    fn answered(status: u16) -> Attempted {
        Attempted::Answered { status, retry_after: None }
    }

    fn start() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    /// Tries with a clock that jumps from attempt to attempt, until the receiver is well again or the delivery is done.
    fn tried(recovers_after: Duration) -> (DeliveryRecord, Timestamp, Vec<Duration>) {
        let schedule = CallbackSettings::default().schedule();
        let (mut record, mut now) = (DeliveryRecord::pending(CallbackKind::Success), start());
        let mut pauses = Vec::new();
        loop {
            let is_well = now >= later(start(), recovers_after);
            record = schedule.after(&record, &answered(if is_well { 200 } else { 500 }), now, rand::random());
            let Some(pause) = schedule.rest(record.next_attempt, now) else { return (record, now, pauses) };
            pauses.push(pause);
            now = record.next_attempt.unwrap();
        }
    }

    #[test]
    fn a_receiver_that_answers_500_for_an_hour_is_told_soon_after_and_was_not_flooded() {
        let hour = Duration::from_secs(3600);
        let (record, now, pauses) = tried(hour);
        assert_eq!(record.state, DeliveryState::Delivered);
        assert!((5..=12).contains(&record.attempts), "{} attempts", record.attempts);
        let waited = now.duration_since(start()).unsigned_abs();
        assert!(waited >= hour && waited <= 2 * hour + hour / 4, "{waited:?}");
        assert!(pauses[0] >= Duration::from_secs_f64(3.75) && pauses[0] <= Duration::from_secs_f64(6.25));
    }

    #[test]
    fn a_dead_receiver_is_given_up_after_a_day_of_ever_longer_pauses() {
        let (record, now, pauses) = tried(Duration::from_secs(10 * 86_400));
        assert_eq!((record.state, record.last_status, record.next_attempt), (DeliveryState::GivenUp, Some(500), None));
        assert_eq!(now, later(start(), Duration::from_secs(86_400)), "the last attempt is at the very end");
        assert!((20..=50).contains(&record.attempts), "{} attempts", record.attempts);
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(4500)), "{pauses:?}");
    }

    #[test]
    fn what_waited_for_days_because_all_of_us_were_away_is_still_tried() {
        let schedule = Schedule { retry_for: Duration::ZERO, ..CallbackSettings::default().schedule() };
        let pending = DeliveryRecord::pending(CallbackKind::Failed);
        assert_eq!(schedule.rest(pending.next_attempt, start()), None);
        let after = schedule.after(&pending, &answered(204), start(), 0.5);
        assert_eq!((after.state, after.attempts), (DeliveryState::Delivered, 1));
        assert_eq!(schedule.after(&pending, &answered(500), start(), 0.5).state, DeliveryState::GivenUp);
    }

    #[test]
    fn every_answer_but_success_and_gone_is_tried_again() {
        let schedule = CallbackSettings::default().schedule();
        let pending = DeliveryRecord::pending(CallbackKind::Success);
        for (status, expected) in [
            (200, DeliveryState::Delivered),
            (202, DeliveryState::Delivered),
            (204, DeliveryState::Delivered),
            (301, DeliveryState::Failing),
            (400, DeliveryState::Failing),
            (404, DeliveryState::Failing),
            (410, DeliveryState::GivenUp),
            (429, DeliveryState::Failing),
            (500, DeliveryState::Failing),
        ] {
            assert_eq!(schedule.after(&pending, &answered(status), start(), 0.5).state, expected, "{status}");
        }
        let failed = Attempted::Failed { reason: "could not be reached".into() };
        let after = schedule.after(&pending, &failed, start(), 0.5);
        assert_eq!((after.state, after.last_reason.as_deref()), (DeliveryState::Failing, Some("could not be reached")));
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_pause_up_to_the_longest() {
        let schedule = CallbackSettings::default().schedule();
        let pending = DeliveryRecord::pending(CallbackKind::Success);
        let next = |retry_after| {
            let busy = Attempted::Answered { status: 429, retry_after: Some(Duration::from_secs(retry_after)) };
            schedule.after(&pending, &busy, start(), 0.5).next_attempt.unwrap().duration_since(start()).as_secs()
        };
        assert_eq!((next(0), next(120), next(1_000_000)), (5, 120, 3600));
    }

    #[test]
    fn a_clock_that_goes_back_by_a_year_holds_nothing_up() {
        let schedule = CallbackSettings::default().schedule();
        let pending = DeliveryRecord::pending(CallbackKind::Success);
        let (then, now) = (start(), later(start(), Duration::from_secs(365 * 86_400)));
        let failing = schedule.after(&pending, &answered(500), now, 0.5);
        assert!(schedule.rest(failing.next_attempt, now).is_some());
        assert_eq!(schedule.rest(failing.next_attempt, then), None, "it is due");
        let after = schedule.after(&failing, &answered(500), then, 0.5);
        assert!(schedule.rest(after.next_attempt, then).is_some_and(|rest| rest <= Duration::from_secs(4500)));
        let late = later(then, Duration::from_secs(86_401));
        assert_eq!(schedule.after(&after, &answered(500), late, 0.5).state, DeliveryState::GivenUp);
    }
}
