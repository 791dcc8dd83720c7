//! Reads the log of one container while it is written: connects, goes on where it was, never waits for the bucket.

use std::{mem, sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use platform::telemetry::chain;
use protocol::{
    JobId,
    job_record::Workload,
    ledger::{LogOf, Mark},
    manifest::{Gap, GapKind},
    progress::{Progress, ProgressParser},
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::ring::{End, Ring};
use crate::{
    pods::{Chunk, LogRead, Pods, PodsError},
    resume::{self, Found, Resume, Tracker},
};

/// A container that says nothing for so long is looked at.
const SILENCE: Duration = Duration::from_secs(20);
/// A connection that said nothing for so many times of [`SILENCE`] is made anew: it may be dead.
const DEAD: u32 = 30;
/// How long an open connection waits for room. Longer, and the log might be rotated twice meanwhile, which nobody could tell;
/// read anew, it tells.
const HOLD: Duration = Duration::from_secs(2);
/// The clocks of a node and of this process may differ by so much.
const CLOCKS: SignedDuration = SignedDuration::from_secs(5);
/// A container that is said to run for so long after its log ended, while nobody can read on, did not end then: its node is gone.
const STATUS_LAG: SignedDuration = SignedDuration::from_secs(60);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Tries at the log of a container that has ended; then whoever stores the job goes on trying.
const LAST_TRIES: u32 = 6;

/// Reads one log into a ring.
pub(super) struct Reader {
    pods: Pods,
    job: JobId,
    workload: Workload,
    of: LogOf,
    ring: Arc<Ring>,
    place: Place,
    /// Told what the main container says of progress.
    progress: Option<(ProgressParser, watch::Sender<Option<Progress>>)>,
    /// When a stream ended as streams do whose container ended, and nothing came since.
    clean: Option<Timestamp>,
    /// The container was seen to have ended, and when.
    ended: Option<Option<Timestamp>>,
    /// The last reading from a time on brought nothing but an error: some lines may be cut there.
    is_read_from_start: bool,
}

/// How far the log was read.
enum Place {
    /// By who followed it before.
    Before(Mark),
    /// By this reader.
    Here(Tracker),
}

/// How the container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    /// When, if somebody says so.
    Ended(Option<Timestamp>),
    Gone,
}

/// How one reading of the log ended.
enum Pass {
    /// At the end of the stream. `is_met`: the place where the log was left was found again.
    End { is_met: bool },
    /// There was no room for more.
    Full,
    /// Nothing came for so long that the connection may be dead, or the container has ended meanwhile.
    Silent,
}

impl Reader {
    /// A reader of a log that was read to `mark` before.
    pub(super) fn new(
        (pods, job, workload): (Pods, JobId, Workload),
        of: LogOf,
        ring: Arc<Ring>,
        mark: Option<Mark>,
        progress: Option<watch::Sender<Option<Progress>>>,
    ) -> Self {
        let place = mark.map_or_else(|| Place::Here(Tracker::default()), Place::Before);
        let progress = progress.map(|told| (ProgressParser::new(), told));
        Self { pods, job, workload, of, ring, place, progress, clean: None, ended: None, is_read_from_start: false }
    }

    /// Reads until the container has ended, or it is to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let end = tokio::select! {
            end = self.follow() => end,
            // The log of a deleted pod can't be read once more to make sure.
            () = stop.cancelled() => if self.ended.is_some_and(|at| self.is_whole(at)) { End::Ended } else { End::Stopped },
        };
        if let Some((parser, progress)) = self.progress.take()
            && let Some(last) = parser.finish()
        {
            progress.send_replace(Some(last));
        }
        self.ring.end(end);
    }

    async fn follow(&mut self) -> End {
        let (mut failures, mut last_tries) = (0_u32, 0_u32);
        let mut is_full = false;
        loop {
            if mem::take(&mut is_full) {
                self.ring.room().await;
            }
            let state = match self.look().await {
                Ok(state) => state,
                Err(error) => {
                    debug!(error = %chain(&error), "the pod can't be looked at");
                    failures += 1;
                    pause(failures).await;
                    continue;
                }
            };
            self.ended = match state {
                State::Runs => None,
                State::Ended(at) => Some(at),
                State::Gone => return if self.is_whole(None) { End::Ended } else { End::Stopped },
            };
            let before = self.ring.state().read;
            let pass = self.pass(state == State::Runs).await;
            if self.ring.state().read > before {
                (failures, last_tries, self.clean) = (0, 0, None);
            }
            match (pass, state) {
                (Ok(Pass::Full), _) => {
                    info!(container = %self.of.container, "the bucket is too slow for this log: it is read on later");
                    is_full = true;
                }
                (Ok(Pass::Silent), _) => self.doubt_end(),
                (Ok(Pass::End { is_met }), State::Runs) => {
                    if is_met {
                        self.clean = Some(Timestamp::now());
                    }
                    failures += 1;
                    pause(failures.min(4)).await;
                }
                (Ok(Pass::End { is_met }), _) => {
                    if !is_met && !self.ended.is_some_and(|at| self.is_whole(at)) {
                        self.miss("the container ended, and the last line that was read is not in its log any more")
                            .await;
                    }
                    return End::Ended;
                }
                (Err(error), State::Runs) => {
                    debug!(error = %chain(&error), "a log can't be followed now");
                    self.doubt_end();
                    failures += 1;
                    pause(failures).await;
                }
                (Err(error), _) => {
                    last_tries += 1;
                    if error.is_lasting() || last_tries >= LAST_TRIES {
                        if self.ended.is_some_and(|at| self.is_whole(at)) {
                            debug!(error = %chain(&error), "the log is gone, after it was read to its end");
                            return End::Ended;
                        }
                        info!(error = %chain(&error), "the end of a log can't be read by its follower");
                        return End::Stopped;
                    }
                    pause(last_tries).await;
                }
            }
        }
    }

    /// True where the last stream ended as it does when its container ends, which was then: a log that was rotated away since held
    /// nothing that was not read.
    fn is_whole(&self, ended: Option<Timestamp>) -> bool {
        self.clean.is_some_and(|clean| is_end(clean, ended))
    }

    /// The log can't be read on, or says nothing: where its last stream ended is forgotten once that can't have been its end.
    fn doubt_end(&mut self) {
        self.clean = self.clean.filter(|clean| may_be_end(*clean, Timestamp::now()));
    }

    async fn look(&self) -> Result<State, PodsError> {
        let pods = self.pods.of(&self.workload)?.pods(&self.job, &self.workload).await?;
        let Some(pod) = pods.iter().find(|pod| pod.name == self.of.pod) else { return Ok(State::Gone) };
        let own = pod.containers.iter().find(|container| container.name == self.of.container);
        Ok(match own {
            Some(container) if container.running => State::Runs,
            own => State::Ended(own.and_then(|container| container.ended)),
        })
    }

    /// Reads the log once, from where it was left.
    async fn pass(&mut self, follow: bool) -> Result<Pass, PodsError> {
        let mark = self.mark();
        let from_start = mem::take(&mut self.is_read_from_start);
        let since = mark.as_ref().filter(|_| !from_start).map(resume::since);
        let mut resume = mark.map(Resume::after);
        let source = self.pods.of(&self.workload)?;
        let mut log = source.log(&self.workload, &self.of.pod, &self.of.container, LogRead { since, follow }).await?;
        let mut silence = 0;
        let mut is_first = true;
        loop {
            let next = if follow {
                match timeout(SILENCE, log.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        silence += 1;
                        if silence >= DEAD || self.look().await.is_ok_and(|state| state != State::Runs) {
                            return Ok(Pass::Silent);
                        }
                        continue;
                    }
                }
            } else {
                log.next().await
            };
            let Some(chunk) = next else { return Ok(Pass::End { is_met: resume.is_none() }) };
            // A long line that began before the time is cut there, and can't be told from what is no log.
            self.is_read_from_start = is_first && chunk.is_err() && since.is_some();
            (silence, is_first) = (0, false);
            if !self.take(chunk?, &mut resume).await {
                return Ok(Pass::Full);
            }
        }
    }

    /// Takes what is new of a chunk; false when there is no room for it.
    async fn take(&mut self, chunk: Chunk, resume: &mut Option<Resume>) -> bool {
        let Some(resuming) = resume else { return self.keep(chunk, Vec::new()).await };
        match resuming.push(chunk) {
            Found::Nothing => true,
            Found::Met(rest, tracker) => {
                *resume = None;
                self.place = Place::Here(tracker);
                rest.is_empty() || self.keep(rest, Vec::new()).await
            }
            Found::Lost(rest) => {
                let why =
                    "the log was read on after an interruption, and the last line that was read is not there any more";
                let gap = self.gap(why, rest.lines.first().map(|(_, time)| *time));
                *resume = None;
                warn!(container = %self.of.container, "part of a log is missing: it was rotated before it could be read");
                let before = mem::replace(&mut self.place, Place::Here(Tracker::default()));
                let is_kept = self.keep(rest, vec![gap]).await;
                if !is_kept {
                    self.place = before;
                }
                is_kept
            }
        }
    }

    async fn keep(&mut self, chunk: Chunk, gaps: Vec<Gap>) -> bool {
        let mut tracker = match &self.place {
            Place::Here(tracker) => tracker.clone(),
            Place::Before(_) => Tracker::default(),
        };
        tracker.push(&chunk);
        let mark = tracker.mark();
        if !self.ring.push(&chunk, gaps.clone(), mark.clone()).await {
            let has_room = timeout(HOLD, self.ring.room()).await.is_ok();
            if !has_room || !self.ring.push(&chunk, gaps, mark).await {
                return false;
            }
        }
        self.place = Place::Here(tracker);
        if let Some((parser, progress)) = &mut self.progress
            && let Some(told) = parser.feed(&chunk.bytes)
        {
            progress.send_replace(Some(told));
        }
        true
    }

    /// Keeps that something is missing at the end.
    async fn miss(&mut self, why: &str) {
        let (gap, mark) = (self.gap(why, None), self.mark());
        while !self.ring.push(&Chunk::default(), vec![gap.clone()], mark.clone()).await {
            self.ring.room().await;
        }
    }

    fn mark(&self) -> Option<Mark> {
        match &self.place {
            Place::Before(mark) => Some(mark.clone()),
            Place::Here(tracker) => tracker.mark(),
        }
    }

    fn gap(&self, why: &str, before: Option<Timestamp>) -> Gap {
        Gap {
            at: Some(self.ring.state().read),
            after: self.mark().map(|mark| mark.time),
            before,
            ..Gap::new(GapKind::Rotation, &self.of.pod, &self.of.container, why)
        }
    }
}

/// True where a stream that ended at `clean` can have ended because its container did. Clocks differ, and times of ends are whole
/// seconds.
fn is_end(clean: Timestamp, ended: Option<Timestamp>) -> bool {
    ended.is_none_or(|ended| ended.duration_since(clean) <= CLOCKS)
}

/// True while a stream that ended at `clean` can have ended because its container did, which is still said to run.
fn may_be_end(clean: Timestamp, now: Timestamp) -> bool {
    now.duration_since(clean) < STATUS_LAG
}

async fn pause(failures: u32) {
    let pause = Duration::from_millis(100 << failures.min(10));
    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ended_long_before_its_container_was_not_the_whole_log() {
        let at = |second| Timestamp::constant(second, 0);
        assert!(is_end(at(100), Some(at(99))) && is_end(at(100), Some(at(100))) && is_end(at(100), Some(at(105))));
        assert!(is_end(at(1000), Some(at(100))), "the status came late");
        assert!(is_end(at(100), None) && !is_end(at(100), Some(at(106))));
    }

    #[test]
    fn a_container_that_still_runs_long_after_its_stream_ended_did_not_end_with_it() {
        let at = |second| Timestamp::constant(second, 0);
        assert!(may_be_end(at(100), at(100)) && may_be_end(at(100), at(159)) && may_be_end(at(100), at(99)));
        assert!(!may_be_end(at(100), at(160)));
    }
}
