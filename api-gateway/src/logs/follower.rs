//! Asks the follower of a job's logs, if there is one.

use std::time::Duration;

use async_nats::{Client, Request, client::RequestErrorKind};
use bytes::Bytes;
use protocol::{
    JobRecord,
    ledger::{
        self,
        tail::{Answer, Question},
    },
    names::subjects,
};
use tracing::{debug, warn};

/// How long an answer may take, beside what it waits for new bytes.
const LIMIT: Duration = Duration::from_secs(2);

/// Where a follower is asked; cheap to clone.
#[derive(Clone)]
pub(super) struct Follower {
    client: Client,
    subject: String,
}

impl Follower {
    pub(super) fn of(record: &JobRecord, client: Client) -> Self {
        Self { client, subject: subjects::log_tail(&record.process_id, &record.job_id) }
    }

    /// What it answers, and bytes of a log; `None` where nobody answers.
    pub(super) async fn ask(&self, question: &Question) -> Option<(Answer, Bytes)> {
        let wait = match question {
            Question::Bytes { wait, .. } => Duration::from_millis(u64::from(*wait)),
            _ => Duration::ZERO,
        };
        let question = serde_json::to_vec(question).ok()?;
        let request = Request::new().payload(question.into()).timeout(Some(wait + LIMIT));
        let message = match self.client.send_request(self.subject.clone(), request).await {
            Ok(message) => message,
            Err(error) if error.kind() == RequestErrorKind::NoResponders => return None,
            Err(error) => {
                debug!(%error, "the follower of a log does not answer");
                return None;
            }
        };
        match ledger::header::<Answer>(&message.payload) {
            Ok((answer, begin)) => Some((answer, message.payload.slice(begin..))),
            Err(error) => {
                warn!(error = %platform::telemetry::chain(&error), "the answer of a follower can't be read");
                None
            }
        }
    }
}
