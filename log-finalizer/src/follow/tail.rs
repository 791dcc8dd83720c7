//! Answers who asks for the end of a log that is not in parts yet: gateways, and whoever stores the job.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;
use platform::{nats::Nats, telemetry::chain};
use protocol::{
    JobId, ProcessId, Unknown,
    job_id::Epoch,
    ledger::{
        self, LogOf,
        tail::{Answer, Followed, LONGEST_WAIT, MOST_BYTES, Question},
    },
    names::subjects,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::ring::{End, Ring};

/// Questions for bytes, or for a time, that one follower answers at once. Others wait for nothing, and need no place among them.
const AT_ONCE: usize = 64;
/// Questions that it keeps at once.
const MOST_QUESTIONS: usize = 1024;

/// What a follower knows, and what it is told.
pub(super) struct Told {
    /// Under which it writes parts.
    pub epoch: Epoch,
    /// Somebody stores the job.
    pub finish: CancellationToken,
    /// Containers may have started.
    pub look: Notify,
    logs: Mutex<Vec<Log>>,
    places: Semaphore,
}

/// One log.
#[derive(Clone)]
pub(super) struct Log {
    pub of: LogOf,
    pub ring: Arc<Ring>,
}

impl Told {
    pub(super) fn new(epoch: Epoch) -> Self {
        let (logs, places) = (Mutex::new(Vec::new()), Semaphore::new(AT_ONCE));
        Self { epoch, finish: CancellationToken::new(), look: Notify::new(), logs, places }
    }

    /// One more log is followed.
    pub(super) fn add(&self, log: Log) {
        self.logs().push(log);
    }

    /// True of a log that is followed, or was.
    pub(super) fn knows(&self, pod: &str, container: &str) -> bool {
        self.logs().iter().any(|log| log.of.pod == pod && log.of.container == container)
    }

    /// True once every log was read to its end.
    pub(super) fn all_ended(&self) -> bool {
        self.logs().iter().all(|log| log.ring.state().end.is_some())
    }

    /// Bytes read so far, of all logs.
    pub(super) fn read(&self) -> u64 {
        self.logs().iter().map(|log| log.ring.state().read).sum()
    }

    fn log(&self, pod: &str, container: &str) -> Option<Log> {
        self.logs().iter().find(|log| log.of.pod == pod && log.of.container == container).cloned()
    }

    fn logs(&self) -> MutexGuard<'_, Vec<Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self) -> Answer {
        let logs = self.logs().iter().map(Log::followed).collect();
        Answer { epoch: self.epoch.clone(), logs, from: None, unknown: Unknown::new() }
    }

    async fn reply(&self, question: Question) -> Result<Vec<u8>, serde_json::Error> {
        match question {
            Question::Finish => {
                self.finish.cancel();
                ledger::framed(&self.answer(), &[])
            }
            Question::Bytes { pod, container, from, max, wait } => {
                let Some(log) = self.log(&pod, &container) else { return ledger::framed(&self.answer(), &[]) };
                let _place = self.places.acquire().await;
                let (from, bytes) = log.bytes(from, max.min(MOST_BYTES), wait.min(LONGEST_WAIT)).await;
                ledger::framed(&Answer { from: Some(from), ..self.answer() }, &bytes)
            }
            Question::Since { pod, container, time } => {
                let _place = self.places.acquire().await;
                let place = match self.log(&pod, &container) {
                    Some(log) => log.since(time).await,
                    None => None,
                };
                ledger::framed(&Answer { from: place, ..self.answer() }, &[])
            }
            Question::Look => {
                self.look.notify_one();
                ledger::framed(&self.answer(), &[])
            }
            Question::Logs | Question::Other => ledger::framed(&self.answer(), &[]),
        }
    }
}

impl Log {
    fn followed(&self) -> Followed {
        let state = self.ring.state();
        Followed {
            of: self.of.clone(),
            stored: state.stored,
            held: state.held,
            read: state.read,
            gaps: state.gaps,
            ended: state.end == Some(End::Ended),
            unknown: Unknown::new(),
        }
    }

    /// Bytes from `from` on, and where the first of them belongs; waits for some.
    async fn bytes(&self, from: u64, max: u32, wait: u32) -> (u64, Vec<u8>) {
        let until = Instant::now() + Duration::from_millis(wait.into());
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut changes = self.ring.changes();
        loop {
            changes.mark_unchanged();
            let state = self.ring.state();
            if from < state.read || state.end.is_some() {
                break;
            }
            if timeout_at(until, changes.changed()).await.is_err() {
                break;
            }
        }
        let (mut found, mut bytes) = (from, Vec::new());
        let pieces = match self.ring.from(from, max).await {
            Ok(pieces) => pieces,
            Err(error) => {
                warn!(%error, "a log that waits can't be read from disk");
                return (from, bytes);
            }
        };
        for piece in pieces {
            let skip = usize::try_from(found.saturating_sub(piece.start)).unwrap_or(usize::MAX);
            if bytes.is_empty() && piece.start > found {
                // What is before it is in parts.
                found = piece.start;
            }
            let own = piece.chunk.bytes.get(skip.min(piece.chunk.len())..).unwrap_or_default();
            let own = if bytes.is_empty() { own } else { &piece.chunk.bytes[..] };
            bytes.extend_from_slice(&own[..own.len().min(max - bytes.len())]);
            if bytes.len() == max {
                break;
            }
        }
        (found, bytes)
    }

    /// Where the first line of this time or a later one begins; `None` where that can't be told. Holds one piece at a time.
    async fn since(&self, time: Timestamp) -> Option<u64> {
        let mut place = self.ring.state().held;
        loop {
            let pieces = match self.ring.from(place, 1).await {
                Ok(pieces) => pieces,
                Err(error) => {
                    warn!(%error, "a log that waits can't be read from disk");
                    return None;
                }
            };
            for piece in pieces {
                if let Some((line, _)) = piece.chunk.lines.iter().find(|(_, written)| *written >= time) {
                    return Some(piece.start + length(*line));
                }
                place = place.max(piece.start + length(piece.chunk.len()));
            }
            if place >= self.ring.state().read {
                return Some(place);
            }
        }
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Answers until it is told to stop. What comes before it listens is answered by nobody.
pub(super) struct Tail {
    told: Arc<Told>,
    nats: Nats,
    questions: async_nats::Subscriber,
}

impl Tail {
    /// Listens.
    ///
    /// # Errors
    /// When NATS can't be used.
    pub(super) async fn listen(
        told: Arc<Told>,
        nats: &Nats,
        process: &ProcessId,
        job: &JobId,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let questions = nats.client.subscribe(subjects::log_tail(process, job)).await?;
        // From here on the server knows of it.
        nats.client.flush().await?;
        Ok(Self { told, nats: nats.clone(), questions })
    }

    /// Answers.
    pub(super) async fn answer(self, stop: CancellationToken) {
        let Self { told, nats, questions } = self;
        let answers = questions.for_each_concurrent(MOST_QUESTIONS, |question| {
            let (told, nats) = (told.clone(), nats.clone());
            async move {
                let Some(reply) = question.reply else { return };
                let asked = match serde_json::from_slice::<Question>(&question.payload) {
                    Ok(asked) => asked,
                    Err(error) => {
                        debug!(%error, "a question about a log can't be read");
                        return;
                    }
                };
                match told.reply(asked).await {
                    Ok(bytes) => {
                        if let Err(error) = nats.client.publish(reply, bytes.into()).await {
                            debug!(error = %chain(&error), "an answer about a log could not be sent");
                        }
                    }
                    Err(error) => warn!(%error, "an answer about a log can't be written as JSON"),
                }
            }
        });
        tokio::select! {
            () = answers => {}
            () = stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;

    use super::*;
    use crate::pods::Chunk;

    fn log(ring: Ring) -> Log {
        let of = LogOf {
            pod: "p".into(),
            pod_created: None,
            container: "c".into(),
            place: 0,
            init: false,
            main: true,
            unknown: Unknown::new(),
        };
        Log { of, ring: Arc::new(ring) }
    }

    async fn push(log: &Log, text: &'static str) {
        let chunk = Chunk { bytes: Bytes::from_static(text.as_bytes()), lines: vec![(0, Timestamp::UNIX_EPOCH)] };
        assert!(log.ring.push(&chunk, Vec::new(), None).await);
        // So that the next one is a piece of its own.
        log.ring.oldest(usize::MAX).await.unwrap();
    }

    #[tokio::test]
    async fn bytes_are_given_from_any_place_on_up_to_what_was_asked_for() {
        let log = log(Ring::new(10, 1000, None, false));
        push(&log, "abc").await;
        push(&log, "defg").await;
        for (from, max, expected) in [
            (0, 100, (10, "abcdefg")),
            (10, 100, (10, "abcdefg")),
            (11, 100, (11, "bcdefg")),
            (11, 5, (11, "bc")),
            (13, 1, (13, "d")),
            (14, 100, (14, "efg")),
            (17, 100, (17, "")),
            (99, 100, (99, "")),
        ] {
            let (found, bytes) = log.bytes(from, max, 0).await;
            assert_eq!((found, std::str::from_utf8(&bytes).unwrap()), expected, "{from} {max}");
        }
        log.ring.stored(1);
        assert_eq!(log.bytes(0, 100, 0).await, (13, b"defg".to_vec()), "the others are in parts");
    }

    #[tokio::test]
    async fn the_first_line_of_a_time_is_found_among_those_that_are_not_in_parts() {
        let log = log(Ring::new(10, 100_000, None, false));
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(log.since(at(5)).await, Some(10), "nothing was read");
        for second in [10, 20, 30] {
            let lines = vec![(0, at(second)), (2, at(second + 5))];
            let chunk = Chunk { bytes: Bytes::from_static(b"a\nb\n"), lines };
            assert!(log.ring.push(&chunk, Vec::new(), None).await);
            log.ring.oldest(usize::MAX).await.unwrap();
        }
        for (second, expected) in [(0, 10), (10, 10), (11, 12), (16, 14), (25, 16), (35, 20), (36, 22)] {
            assert_eq!(log.since(at(second)).await, Some(expected), "{second}");
        }
        log.ring.stored(2);
        assert_eq!(log.since(at(0)).await, Some(18), "the others are in parts");
    }

    #[tokio::test]
    async fn whoever_stores_the_job_is_answered_however_many_wait_for_bytes() {
        let told = Told::new(Epoch::generate());
        told.add(log(Ring::new(0, 1000, None, false)));
        let bytes =
            || Question::Bytes { pod: "p".into(), container: "c".into(), from: 0, max: 100, wait: LONGEST_WAIT };
        let mut waiting: Vec<_> = (0..=AT_ONCE).map(|_| Box::pin(told.reply(bytes()))).collect();
        assert!(waiting.iter_mut().all(|answer| answer.now_or_never().is_none()));
        assert!(told.reply(Question::Finish).now_or_never().is_some_and(|answer| answer.is_ok()));
        assert!(told.finish.is_cancelled());
    }

    #[tokio::test]
    async fn who_waits_is_answered_as_soon_as_there_is_something_or_nothing_more_comes() {
        let log = log(Ring::new(0, 1000, None, false));
        let waits = tokio::spawn({
            let log = log.clone();
            async move { log.bytes(0, 100, LONGEST_WAIT).await }
        });
        push(&log, "x").await;
        assert_eq!(waits.await.unwrap(), (0, b"x".to_vec()));
        log.ring.end(End::Ended);
        assert_eq!(log.bytes(1, 100, LONGEST_WAIT).await, (1, Vec::new()));
        assert!(log.followed().ended);
    }
}
