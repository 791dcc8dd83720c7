//! Whoever stores a job has its follower, at whichever replica, put into parts what it has read.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use platform::{nats::Nats, telemetry::chain};
use protocol::{
    JobId, ProcessId,
    ledger::{
        self,
        tail::{Answer, Question},
    },
    names::subjects,
};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// A follower that stores nothing more for so long is not waited for: its parts can't spoil anything.
const STUCK: Duration = Duration::from_secs(30);
/// Pauses between two questions.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// True where somebody follows the job, who looks now for what else has started.
pub(super) async fn is_followed(nats: &Nats, process: &ProcessId, job: &JobId) -> bool {
    let Ok(question) = serde_json::to_vec(&Question::Look) else { return false };
    let asked = nats.client.request(subjects::log_tail(process, job), question.into());
    matches!(timeout(ANSWER_LIMIT, asked).await, Ok(Ok(_)))
}

/// Asks until nobody follows the job any more.
pub(crate) async fn finish(nats: &Nats, process: &ProcessId, job: &JobId) {
    let subject = subjects::log_tail(process, job);
    let Ok(question) = serde_json::to_vec(&Question::Finish) else { return };
    let (mut before, mut since, mut pause) = (None, Instant::now(), PAUSE);
    loop {
        let asked = nats.client.request(subject.clone(), question.clone().into());
        let progress = match timeout(ANSWER_LIMIT, asked).await {
            Ok(Ok(answer)) => match ledger::header::<Answer>(&answer.payload) {
                Ok((answer, _)) => answer.logs.iter().map(|log| (log.stored, log.read)).collect::<Vec<_>>(),
                Err(error) => {
                    debug!(error = %chain(&error), "the answer of a follower can't be read");
                    Vec::new()
                }
            },
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => return,
            Ok(Err(_)) | Err(_) => before.clone().unwrap_or_default(),
        };
        if before.as_ref() != Some(&progress) {
            (before, since) = (Some(progress), Instant::now());
        } else if since.elapsed() > STUCK {
            info!("the follower of a log does not finish: what it did not store is read again");
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
