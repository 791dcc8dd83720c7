//! How many Jobs may be created at one time, from how the server answers: pure.

use std::time::{Duration, Instant};

/// Additive increase, multiplicative decrease, of the number of creates that are under way at one time.
///
/// It begins small, and doubles until the server asks to go slower for the first time. Then it is halved, once for all creates that
/// were under way together; nothing is created for a while, and then one Job alone, until such a one was answered well.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    most: usize,
    limit: usize,
    /// Answers since the limit was raised.
    answers: usize,
    under_way: usize,
    /// Answers that may raise the limit: to what was under way when it kept others from starting. One that is not made use of says
    /// nothing about a higher one.
    telling: usize,
    round: Round,
    course: Course,
}

/// Creates that began under the same limit: each time the server asks to go slower ends a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round(u64);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Course {
    /// The server never asked to go slower: each answer raises the limit by one.
    Doubling,
    /// A whole limit of answers raises it by one.
    Climbing,
    /// Nothing is created until then, then one at a time.
    Trying { after: Instant, pause: Duration },
}

/// Whether a create may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    /// Now.
    Now,
    /// Not before this time.
    NotBefore(Instant),
    /// Once one that is under way was answered.
    AfterAnAnswer,
}

/// So many are created at one time before anything is known of the server.
const FIRST: usize = 8;
/// The first pause where the server does not say how long; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that is not the server's own word.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The longest `Retry-After` that is kept to.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

impl Limit {
    /// Never above `most`, which is at least 1.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            limit: most.min(FIRST),
            answers: 0,
            under_way: 0,
            telling: 0,
            round: Round(0),
            course: Course::Doubling,
        }
    }

    /// How many may be under way at one time, pauses aside.
    pub(super) fn present(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX)
    }

    /// Whether one more may start.
    pub(super) fn may_start(&self, now: Instant) -> May {
        let at_once = match self.course {
            Course::Trying { after, .. } if now < after => return May::NotBefore(after),
            Course::Trying { .. } => 1,
            Course::Doubling | Course::Climbing => self.limit,
        };
        if self.under_way < at_once { May::Now } else { May::AfterAnAnswer }
    }

    /// True of what began after the server asked to go slower for the last time.
    pub(super) fn is_present(&self, round: Round) -> bool {
        round == self.round
    }

    /// One starts. It is to end by one of the three calls below.
    pub(super) fn start(&mut self) -> Round {
        self.under_way += 1;
        if self.under_way >= self.limit {
            self.telling = self.under_way;
        }
        self.round
    }

    /// The server answered one of this round as it does when it is well, whatever the answer was.
    pub(super) fn on_success(&mut self, round: Round) {
        self.under_way = self.under_way.saturating_sub(1);
        if round != self.round {
            return;
        }
        if matches!(self.course, Course::Trying { .. }) {
            self.course = Course::Climbing;
        }
        if self.telling > 0 {
            self.telling -= 1;
            self.answers += 1;
            if self.course == Course::Doubling || self.answers >= self.limit {
                self.answers = 0;
                self.limit = (self.limit + 1).min(self.most);
            }
        }
    }

    /// The server asked to go slower, answered that it fails, or did not answer, one of this round.
    pub(super) fn on_pressure(&mut self, round: Round, retry_after: Option<Duration>, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        let asked = retry_after.unwrap_or_default().min(LONGEST_ASKED);
        if let (Course::Trying { after, .. }, true) = (&mut self.course, round != self.round) {
            // The limit was lowered for those that began with it: only what the server says may be news.
            *after = (*after).max(now + asked);
            return;
        }
        if round != self.round {
            return;
        }
        let pause = match self.course {
            Course::Trying { pause, .. } => (pause * 2).min(LONGEST_PAUSE),
            Course::Doubling | Course::Climbing => FIRST_PAUSE,
        };
        self.limit = (self.limit / 2).max(1);
        (self.telling, self.answers) = (0, 0);
        self.round = Round(self.round.0 + 1);
        self.course = Course::Trying { after: now + pause.max(asked), pause };
    }

    /// One was given up before the server was asked.
    pub(super) fn on_nothing(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Starts as many as may, at this time.
    fn fill(limit: &mut Limit, now: Instant) -> Vec<Round> {
        std::iter::from_fn(|| (limit.may_start(now) == May::Now).then(|| limit.start())).collect()
    }

    #[test]
    fn a_server_that_is_well_is_asked_for_more_and_more_up_to_the_most() {
        let (mut limit, now) = (Limit::new(32), Instant::now());
        for expected in [8, 16, 32, 32] {
            let started = fill(&mut limit, now);
            assert_eq!(started.len(), expected);
            assert_eq!(limit.may_start(now), May::AfterAnAnswer);
            started.into_iter().for_each(|round| limit.on_success(round));
        }
        assert_eq!(fill(&mut Limit::new(3), now).len(), 3, "the most is less than the usual beginning");
    }

    #[test]
    fn a_limit_that_is_not_made_use_of_does_not_rise() {
        let (mut limit, now) = (Limit::new(32), Instant::now());
        for _ in 0..100 {
            assert_eq!(limit.may_start(now), May::Now);
            let round = limit.start();
            limit.on_success(round);
        }
        assert_eq!(limit.present(), 8);
    }

    #[test]
    fn those_that_were_refused_together_halve_the_limit_once() {
        let (mut limit, now) = (Limit::new(32), Instant::now());
        for round in fill(&mut limit, now) {
            limit.on_pressure(round, None, now);
        }
        assert_eq!(limit.present(), 4);
        assert_eq!(limit.may_start(now), May::NotBefore(now + SECOND));
    }

    #[test]
    fn after_a_pause_one_tries_alone_and_pauses_grow_while_it_is_refused() {
        let (mut limit, mut now) = (Limit::new(32), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let started = fill(&mut limit, now);
            let is_first = pauses.is_empty();
            assert_eq!(started.len(), if is_first { 8 } else { 1 });
            started.into_iter().for_each(|round| limit.on_pressure(round, None, now));
            let May::NotBefore(after) = limit.may_start(now) else { panic!("no pause") };
            pauses.push((after - now).as_secs());
            now = after;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 15, 15, 15]);
        assert_eq!(limit.present(), 1, "never none");
        let tried = fill(&mut limit, now);
        assert_eq!(tried.len(), 1);
        limit.on_success(tried[0]);
        assert!(limit.present() > 1 && fill(&mut limit, now).len() > 1);
    }

    #[test]
    fn what_the_server_says_about_the_pause_is_kept_to_within_reason() {
        for (asked, expected) in [(0, 1), (7, 7), (100, 100), (86_400, 300)] {
            let (mut limit, now) = (Limit::new(32), Instant::now());
            let round = limit.start();
            limit.on_pressure(round, Some(SECOND * asked), now);
            assert_eq!(limit.may_start(now), May::NotBefore(now + SECOND * expected));
        }
        let (mut limit, now) = (Limit::new(32), Instant::now());
        let (first, second) = (limit.start(), limit.start());
        limit.on_pressure(first, Some(SECOND), now);
        limit.on_pressure(second, Some(SECOND * 5), now);
        assert_eq!(limit.may_start(now), May::NotBefore(now + SECOND * 5), "a later answer asks for more");
        assert_eq!(limit.present(), 4);
    }

    #[test]
    fn an_answer_to_what_began_before_the_pause_does_not_end_it() {
        let (mut limit, now) = (Limit::new(32), Instant::now());
        let (first, second) = (limit.start(), limit.start());
        limit.on_pressure(first, None, now);
        limit.on_success(second);
        assert_eq!(limit.may_start(now), May::NotBefore(now + SECOND));
        let tried = fill(&mut limit, now + SECOND);
        assert_eq!(tried.len(), 1);
        limit.on_nothing();
        assert_eq!(fill(&mut limit, now + SECOND).len(), 1, "one that was given up lets another one try");
    }

    #[test]
    fn it_climbs_by_one_for_each_limit_of_answers_once_it_was_lowered() {
        let (mut limit, now) = (Limit::new(32), Instant::now());
        let round = limit.start();
        limit.on_pressure(round, None, now);
        let now = now + SECOND;
        let tried = limit.start();
        limit.on_success(tried);
        for expected in [4, 5, 6] {
            let started = fill(&mut limit, now);
            assert_eq!(started.len(), expected);
            started.into_iter().for_each(|round| limit.on_success(round));
        }
        assert_eq!(limit.present(), 7);
    }
}
