//! How fast Jobs are created here: the server's answers slow it down, and let it go faster again. No more are live than may be.

mod limit;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tracing::{info, warn};

use self::limit::{Limit, May, Round};
use crate::{
    metrics::Metrics,
    room::{Counted, LiveRoom},
};

/// Lets creates begin, those of older executions first; cheap to clone.
#[derive(Clone)]
pub struct Pace(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    room: LiveRoom,
    metrics: Metrics,
}

struct State {
    limit: Limit,
    /// Who waits, in the order in which they are let begin. Only the first one looks at the limit; the others are woken when they
    /// have become the first.
    waiting: BTreeMap<Key, Arc<Notify>>,
    places: u64,
    /// The execution that was refused last: another one is tried before it, as it may be refused for what it is.
    refused: Option<u64>,
    /// Creates that were answered well, without those that began before the last refusal.
    answers: u64,
}

/// The sequence of the execution, and a number that tells apart who asks for the same one.
type Key = (u64, u64);

/// A place in the line of those who wait; dropped, it is given up. Nobody behind it begins before.
pub struct Place {
    pace: Pace,
    key: Key,
    woken: Arc<Notify>,
}

/// A create that may begin. Dropped without a word of the server it counts for nothing.
pub struct Permit {
    pace: Pace,
    sequence: u64,
    round: Round,
    live: Option<Counted>,
    is_answered: bool,
}

/// How soon room is looked for again where there is none.
const ROOM_LOOK: Duration = Duration::from_millis(100);

impl Pace {
    /// At most so many creates at one time, and none without room.
    pub fn new(most: usize, room: LiveRoom, metrics: Metrics) -> Self {
        let limit = Limit::new(most);
        metrics.create_limit.set(limit.present());
        let state = Mutex::new(State { limit, waiting: BTreeMap::new(), places: 0, refused: None, answers: 0 });
        Self(Arc::new(Shared { state, room, metrics }))
    }

    /// A place for the execution of this sequence: before all that are younger.
    pub fn place(&self, sequence: u64) -> Place {
        let mut state = self.state();
        state.places += 1;
        let (key, woken) = ((sequence, state.places), Arc::new(Notify::new()));
        state.waiting.insert(key, woken.clone());
        Place { pace: self.clone(), key, woken }
    }

    /// Waits until a pause, if there is one, is over; so long at most.
    pub async fn pause(&self, most: Duration) {
        let give_up = Instant::now() + most;
        loop {
            let may = self.state().limit.may_start(Instant::now());
            let May::NotBefore(time) = may else { return };
            tokio::time::sleep_until(time.min(give_up).into()).await;
            if time >= give_up {
                return;
            }
        }
    }

    /// A permit; else until when to wait, unless woken before.
    fn try_start(&self, key: &Key) -> Result<Permit, Option<Instant>> {
        let mut state = self.state();
        if state.next().map(|(next, _)| next) != Some(key) {
            return Err(None);
        }
        match state.limit.may_start(Instant::now()) {
            May::Now => {
                let live = self.0.room.enter().ok_or_else(|| Some(Instant::now() + ROOM_LOOK))?;
                let round = state.limit.start();
                Ok(Permit { pace: self.clone(), sequence: key.0, round, live: Some(live), is_answered: false })
            }
            May::NotBefore(time) => Err(Some(time)),
            May::AfterAnAnswer => Err(None),
        }
    }

    /// Nothing that is done under the lock can leave the state half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many creates were answered well until now.
    pub fn answers(&self) -> u64 {
        self.state().answers
    }

    fn end(&self, change: impl FnOnce(&mut State)) -> (i64, i64) {
        let mut state = self.state();
        let before = state.limit.present();
        change(&mut state);
        let present = state.limit.present();
        self.0.metrics.create_limit.set(present);
        state.wake_first();
        (before, present)
    }
}

impl State {
    /// Who may begin before all others.
    fn next(&self) -> Option<(&Key, &Arc<Notify>)> {
        let others = self.waiting.iter().find(|((sequence, _), _)| Some(*sequence) != self.refused);
        others.or_else(|| self.waiting.first_key_value())
    }

    fn wake_first(&self) {
        if let Some((_, first)) = self.next() {
            first.notify_one();
        }
    }
}

impl Place {
    /// Waits until the Job may be created.
    pub async fn permit(self) -> Permit {
        loop {
            match self.pace.try_start(&self.key) {
                Ok(permit) => return permit,
                Err(Some(time)) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(time.into()) => {}
                        () = self.woken.notified() => {}
                    }
                }
                Err(None) => self.woken.notified().await,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        state.waiting.remove(&self.key);
        state.wake_first();
    }
}

impl Permit {
    /// The place among those that may be live: to be kept for as long as the job is.
    pub fn live(&mut self) -> Option<Counted> {
        self.live.take()
    }

    /// The server answered as it does when it is well.
    pub fn answered(mut self) {
        self.is_answered = true;
        let (before, present) = self.pace.end(|state| {
            if state.limit.is_present(self.round) {
                state.refused = None;
                state.answers += 1;
            }
            state.limit.on_success(self.round);
        });
        if before == 1 && present > 1 {
            info!(at_once = present, "jobs are created faster again");
        }
    }

    /// The server asked to go slower, fails, or did not answer.
    pub fn pressed(mut self, retry_after: Option<Duration>, why: &str) {
        self.is_answered = true;
        self.pace.0.metrics.creates_slowed.inc();
        let now = Instant::now();
        let (before, present) = self.pace.end(|state| {
            state.limit.on_pressure(self.round, retry_after, now);
            state.refused = Some(self.sequence);
        });
        warn!(before, at_once = present, ?retry_after, why, "jobs are created slower");
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_answered {
            self.pace.end(|state| state.limit.on_nothing());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

    use super::*;

    fn pace(most: usize) -> Pace {
        Pace::new(most, LiveRoom::new(100, 1, Gauge::default()), Metrics::new(&mut Registry::default()))
    }

    #[tokio::test]
    async fn older_executions_are_let_first_whoever_asked_first() {
        let pace = pace(1);
        let begun = pace.place(1).permit().await;
        let (mut third, mut second) = (Box::pin(pace.place(3).permit()), Box::pin(pace.place(2).permit()));
        assert!((&mut third).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        begun.answered();
        assert!((&mut third).now_or_never().is_none(), "it is not its turn");
        let second = second.await;
        assert!((&mut third).now_or_never().is_none());
        drop(second);
        third.await.answered();
    }

    #[tokio::test]
    async fn one_that_gives_up_while_it_waits_keeps_nobody_waiting() {
        let pace = pace(1);
        let begun = pace.place(1).permit().await;
        let mut second = Box::pin(pace.place(2).permit());
        let third = tokio::spawn({
            let pace = pace.clone();
            async move { pace.place(3).permit().await.answered() }
        });
        assert!((&mut second).now_or_never().is_none());
        tokio::task::yield_now().await;
        begun.answered();
        drop(second);
        third.await.unwrap();
    }

    #[tokio::test]
    async fn a_place_that_is_kept_after_a_refusal_lets_nobody_overtake() {
        let pace = pace(4);
        let permit = pace.place(1).permit().await;
        let mut second = Box::pin(pace.place(2).permit());
        let kept = pace.place(1);
        permit.answered();
        assert!((&mut second).now_or_never().is_none());
        let first = kept.permit().await;
        second.await.answered();
        first.answered();
    }

    #[tokio::test]
    async fn after_a_refusal_another_one_is_tried_first() {
        let pace = pace(4);
        let (first, other) = (pace.place(1).permit().await, pace.place(7).permit().await);
        let mut second = Box::pin(pace.place(2).permit());
        first.pressed(Some(Duration::ZERO), "it may be the server, or this one");
        let mut kept = Box::pin(pace.place(1).permit());
        assert_eq!(pace.answers(), 0);
        other.answered();
        let second = tokio::select! {
            second = &mut second => second,
            _ = &mut kept => panic!("it was refused last"),
        };
        second.answered();
        kept.await.answered();
        assert_eq!(pace.answers(), 2, "what began before the refusal says nothing");
    }

    #[tokio::test]
    async fn several_that_wait_are_let_begin_together_when_the_limit_allows_it() {
        let pace = pace(2);
        let begun = [pace.place(1).permit().await, pace.place(2).permit().await];
        let mut waiting: Vec<_> = (3..5).map(|sequence| Box::pin(pace.place(sequence).permit())).collect();
        assert!(waiting.iter_mut().all(|permit| permit.now_or_never().is_none()));
        begun.into_iter().for_each(Permit::answered);
        let permits = futures::future::join_all(waiting).await;
        assert_eq!(permits.len(), 2);
    }

    #[tokio::test]
    async fn a_refusal_is_counted_and_lowers_the_limit_that_the_metric_shows() {
        let pace = pace(32);
        let metrics = pace.0.metrics.clone();
        assert_eq!(metrics.create_limit.get(), 8);
        pace.place(1).permit().await.pressed(None, "429");
        assert_eq!((metrics.create_limit.get(), metrics.creates_slowed.get()), (4, 1));
    }
}
