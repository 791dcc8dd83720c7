//! The results of a job as a client gets them: `printed` (what there is) → `plan` (what is answered, and in which
//! form) → `answer`, with values from `values`.

mod answer;
mod disposition;
mod document;
mod lending;
mod log;
mod multipart;
mod negotiation;
mod output;
mod plan;
mod preview;
mod printed;
mod range;
mod reference;
mod values;

use protocol::{
    JobRecord,
    job_record::{Outcome, Status},
};

pub(crate) use self::{
    lending::lend,
    log::{LOG, Section, name_of_log},
    output::as_container_wrote,
    preview::Preview,
    range::{Wanted, wanted},
};
pub use self::{
    negotiation::Accept,
    plan::Asked,
    values::{MEMORY_OF_DOCUMENT, Values},
};
use crate::error::GatewayError;

/// Lets pass only jobs that have results.
///
/// # Errors
/// Too early, failed, dismissed.
fn successful(record: &JobRecord, job_url: &str) -> Result<(), GatewayError> {
    match record.status {
        Status::Successful => Ok(()),
        Status::Accepted | Status::Running => Err(GatewayError::ResultNotReady),
        Status::Dismissed => Err(GatewayError::JobDismissed),
        Status::Failed => {
            let unknown = || Outcome {
                reason: None,
                exit_code: None,
                message: record.message.clone().unwrap_or_else(|| "the job failed".to_owned()),
                unknown: protocol::Unknown::new(),
            };
            let outcome = record.outcome.clone().filter(|outcome| !outcome.is_success()).unwrap_or_else(unknown);
            Err(GatewayError::JobFailed { outcome: Box::new(outcome), job: job_url.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::{
        JobId,
        job_record::{ArchiveState, Reason},
    };

    use super::*;

    fn record(status: Status) -> JobRecord {
        let id = JobId::generate(1000);
        let record =
            JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), Timestamp::UNIX_EPOCH, ArchiveState::Stored);
        JobRecord { status, ..record }
    }

    #[test]
    fn only_a_successful_job_has_results() {
        assert!(successful(&record(Status::Successful), "j").is_ok());
        for (status, expected) in
            [(Status::Accepted, 404), (Status::Running, 404), (Status::Dismissed, 404), (Status::Failed, 500)]
        {
            let error = successful(&record(status), "j").unwrap_err();
            assert_eq!(actix_web::ResponseError::status_code(&error).as_u16(), expected, "{status}");
        }
    }

    #[test]
    fn a_failure_tells_its_message() {
        let mut failed = record(Status::Failed);
        failed.message = Some("could not be stored".into());
        assert_eq!(successful(&failed, "j").unwrap_err().to_string(), "could not be stored");
        let message = "container main ended with exit code 3".to_owned();
        failed.outcome = Some(Outcome {
            reason: Some(Reason::ExitCode),
            exit_code: Some(3),
            message,
            unknown: protocol::Unknown::new(),
        });
        assert_eq!(successful(&failed, "j").unwrap_err().to_string(), "container main ended with exit code 3");
    }
}
