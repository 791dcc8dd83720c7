//! The results of a job as a client gets them.

mod document;
mod media_type;

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    http::{StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use platform::{job_store::JobStore, object_store::StoreError, publish};
use protocol::{
    JobRecord,
    job_record::{Outcome, Place, ResponseForm, Status, StoredResult},
};
use tokio::runtime::Handle;

use crate::{error::GatewayError, links::JSON};

/// What there is to answer to someone who asks for the results of a job.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan<'a> {
    /// The job printed none: 204.
    Nothing,
    /// The one value, as it is.
    Value(&'a StoredResult),
    /// The results document with these values; there may be none.
    Document(&'a [StoredResult]),
}

/// Decides over the form of a job's results.
///
/// # Errors
/// When it has none: too early, failed, dismissed.
pub fn plan<'a>(record: &'a JobRecord, job_url: &str) -> Result<Plan<'a>, GatewayError> {
    match record.status {
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
        Status::Successful => Ok(match (record.response, record.results.as_slice()) {
            (ResponseForm::Raw, []) => Plan::Nothing,
            (ResponseForm::Raw, [only]) => Plan::Value(only),
            (_, all) => Plan::Document(all),
        }),
    }
}

/// Where values are read from.
#[derive(Clone)]
pub struct Values {
    store: JobStore,
    runtime: Handle,
    max_document: u64,
}

/// A value that can't be read.
#[derive(Debug, thiserror::Error)]
enum ValueError {
    #[error("the bucket could not be read")]
    Bucket(#[source] StoreError),
    #[error("the stream could not be read")]
    Stream(#[source] publish::StreamError),
    #[error("the result is not at its place")]
    Gone,
    #[error("the result is in a bucket, and none is configured")]
    NoBucket,
    #[error("the result is at a place that this version does not know")]
    UnknownPlace,
    #[error("the task that reads the result was lost")]
    Lost,
}

impl From<ValueError> for GatewayError {
    fn from(error: ValueError) -> Self {
        match &error {
            ValueError::Stream(_) => Self::Unavailable(Box::new(error)),
            ValueError::Bucket(cause) if cause.is_transient() => Self::Unavailable(Box::new(error)),
            _ => Self::Internal(Box::new(error)),
        }
    }
}

/// A value on its way.
struct Opened {
    size: u64,
    chunks: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl Values {
    /// Reads are done on `runtime`, the one that the clients were made on.
    pub fn new(store: JobStore, runtime: Handle, max_document: u64) -> Self {
        Self { store, runtime, max_document }
    }

    /// The answer to a plan. `head` asks for the head only.
    ///
    /// # Errors
    /// When a value can't be read, or does not fit a document.
    pub async fn answer(&self, record: &JobRecord, plan: Plan<'_>, head: bool) -> Result<HttpResponse, GatewayError> {
        match plan {
            Plan::Nothing => Ok(HttpResponse::NoContent().finish()),
            Plan::Value(result) => {
                let mut answer = HttpResponse::build(StatusCode::OK);
                answer.content_type(media_type::header_value(&result.media_type));
                if head {
                    return Ok(sized(&mut answer, result.size, futures::stream::empty().boxed()));
                }
                let value = self.open(result).await?;
                Ok(sized(&mut answer, value.size, value.chunks))
            }
            Plan::Document(results) => {
                let mut values = Vec::with_capacity(results.len());
                let total = results.iter().map(|result| result.size).sum();
                if total > self.max_document {
                    return Err(GatewayError::TooLargeForDocument { size: total, limit: self.max_document });
                }
                for result in results {
                    values.push((result, self.read(result).await?));
                }
                let document = document::document(&record.declared_outputs, &values);
                Ok(HttpResponse::Ok().content_type(JSON).body(document))
            }
        }
    }

    async fn open(&self, result: &StoredResult) -> Result<Opened, ValueError> {
        let (store, place) = (self.store.clone(), result.place.clone());
        let reading = self.runtime.spawn(async move {
            match place {
                Place::Other(_) => Err(ValueError::UnknownPlace),
                Place::Object(key) => {
                    let objects = store.objects().ok_or(ValueError::NoBucket)?;
                    let content =
                        objects.get_stream(&key).await.map_err(ValueError::Bucket)?.ok_or(ValueError::Gone)?;
                    Ok(Opened { size: content.size, chunks: content.stream })
                }
                Place::Stream(subject) => {
                    let message = publish::last(store.nats(), &subject).await.map_err(ValueError::Stream)?;
                    let payload = message.ok_or(ValueError::Gone)?.payload;
                    let size = u64::try_from(payload.len()).unwrap_or(u64::MAX);
                    Ok(Opened { size, chunks: futures::stream::once(async move { Ok(payload) }).boxed() })
                }
            }
        });
        reading.await.unwrap_or(Err(ValueError::Lost))
    }

    async fn read(&self, result: &StoredResult) -> Result<Bytes, GatewayError> {
        let mut value = self.open(result).await?;
        let limit = usize::try_from(self.max_document).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::new();
        while let Some(chunk) = value.chunks.try_next().await.map_err(ValueError::Bucket)? {
            // The size in the record is what was stored; this is what came.
            if bytes.len() + chunk.len() > limit {
                return Err(GatewayError::TooLargeForDocument { size: value.size, limit: self.max_document });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

fn sized(
    answer: &mut HttpResponseBuilder,
    size: u64,
    chunks: BoxStream<'static, Result<Bytes, StoreError>>,
) -> HttpResponse {
    // Results are whatever a container printed: no browser may guess at them.
    answer.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    answer.body(SizedStream::new(size, chunks))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::{
        JobId,
        job_record::{ArchiveState, Reason},
    };

    use super::*;

    fn record(status: Status, response: ResponseForm, results: usize) -> JobRecord {
        let id = JobId::generate(1000);
        let mut record =
            JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), Timestamp::UNIX_EPOCH, ArchiveState::Stored);
        let result = |number: usize| StoredResult {
            id: number.to_string(),
            media_type: "text/plain".into(),
            size: 1,
            sha256: String::new(),
            place: Place::Stream("s".into()),
            unknown: protocol::Unknown::new(),
        };
        record.results = (0..results).map(result).collect();
        JobRecord { status, response, ..record }
    }

    #[test]
    fn the_plan_follows_status_form_and_number() {
        use ResponseForm::{Document, Raw};
        let successful = |form, results| record(Status::Successful, form, results);
        assert_eq!(plan(&successful(Raw, 0), "j").unwrap(), Plan::Nothing);
        assert!(matches!(plan(&successful(Raw, 1), "j").unwrap(), Plan::Value(_)));
        assert_eq!(plan(&successful(Document, 0), "j").unwrap(), Plan::Document(&[]));
        assert!(matches!(plan(&successful(Document, 1), "j").unwrap(), Plan::Document([_])));
        for (status, expected) in
            [(Status::Accepted, 404), (Status::Running, 404), (Status::Dismissed, 404), (Status::Failed, 500)]
        {
            let error = plan(&record(status, Raw, 0), "j").unwrap_err();
            assert_eq!(actix_web::ResponseError::status_code(&error).as_u16(), expected, "{status}");
        }
    }

    #[test]
    fn a_failure_tells_its_message() {
        let mut failed = record(Status::Failed, ResponseForm::Raw, 0);
        failed.message = Some("could not be stored".into());
        assert_eq!(plan(&failed, "j").unwrap_err().to_string(), "could not be stored");
        let message = "container main ended with exit code 3".to_owned();
        failed.outcome = Some(Outcome {
            reason: Some(Reason::ExitCode),
            exit_code: Some(3),
            message,
            unknown: protocol::Unknown::new(),
        });
        assert_eq!(plan(&failed, "j").unwrap_err().to_string(), "container main ended with exit code 3");
    }
}
