//! Every answer that is no success: the exceptions of OGC API - Processes, and the one table of their HTTP statuses.

use std::{borrow::Cow, error::Error};

use actix_web::{HttpRequest, HttpResponse, ResponseError, body::BoxBody, http::StatusCode, http::header};
use platform::telemetry::chain;
use protocol::job_record::{Outcome, Reason, Status};
use serde::Serialize;
use tracing::error;

use crate::{access::Refusal, jobs::LookupError, pages, representation, validate::Violation};

/// What URIs of exception types begin with.
const TYPES: &str = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/";
const PROBLEM_JSON: &str = "application/problem+json";
/// When a client may try again, in seconds.
const RETRY_AFTER: u64 = 5;

type Cause = Box<dyn Error + Send + Sync>;

/// A request can't be answered as the client wishes.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No such path.
    #[error("there is nothing at this path")]
    NoSuchPath,
    /// The path exists, the method does not.
    #[error("this resource does not have this method; allowed: {0}")]
    MethodNotAllowed(String),
    /// None of the forms that the client takes is offered.
    #[error("this resource is not offered in a form that Accept names; offered: {offered}")]
    NotOffered {
        /// What is offered.
        offered: String,
    },
    /// Path and query are too long.
    #[error("path and query have more than {limit} bytes")]
    UriTooLong {
        /// The limit.
        limit: usize,
    },
    /// The headers are too large.
    #[error("the headers have more than {limit} bytes")]
    HeadTooLarge {
        /// The limit.
        limit: usize,
    },
    /// A process that is not configured.
    #[error("there is no such process")]
    NoSuchProcess,
    /// A job that never was, or was removed.
    #[error("there is no such job")]
    NoSuchJob,
    /// The job is not done.
    #[error("the job is not done yet; its status says when it is")]
    ResultNotReady,
    /// The job failed.
    #[error("{}", .outcome.message)]
    JobFailed {
        /// How its execution ended.
        outcome: Box<Outcome>,
        /// Where its status is.
        job: String,
    },
    /// The job was cancelled.
    #[error("the job was dismissed: it has no results")]
    JobDismissed,
    /// The job ended while it was to be dismissed.
    #[error(
        "the job has ended before it could be dismissed: it is {status}; to remove it and its results, delete it again"
    )]
    JobEnded {
        /// How it ended.
        status: Status,
    },
    /// The job is not done, and its process does not let jobs be dismissed.
    #[error("the process does not offer dismiss (jobControlOptions): its jobs can be removed once they are done")]
    NotDismissable,
    /// The answer to a dismissal did not come.
    #[error("it is not known whether the job was dismissed or removed; look at {job} before trying again")]
    DismissalUnknown {
        /// Where the job is, if it still is.
        job: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// An output that the job does not have; those that it has.
    #[error("the job has no such output; it has: {}", if .0.is_empty() { "none".to_owned() } else { .0.join(", ") })]
    NoSuchOutput(Vec<String>),
    /// No container of the job, or none of this pod, has this name and a log; those that have.
    #[error("the job has no log of such a container or pod; there are: {}", if .0.is_empty() { "none".to_owned() } else { .0.join(", ") })]
    NoSuchContainer(Vec<String>),
    /// The client says not to want the form that there is.
    #[error("the header Accept excludes what there is: {offered}")]
    ResultNotAcceptable {
        /// Media types that there are.
        offered: String,
    },
    /// There is no log of the job to read, and why.
    #[error("{0}")]
    NoLog(Cow<'static, str>),
    /// The client asks for bytes that an output does not have.
    #[error("the output has {size} bytes, and none in this range")]
    RangeNotSatisfiable {
        /// Its bytes.
        size: u64,
    },
    /// The results do not fit the form that was asked for.
    #[error(
        "values of {size} bytes are more than the {limit} bytes that a results document holds; execute with \
         transmissionMode reference, or read each output at {results}/{{output}}"
    )]
    TooLargeForDocument {
        /// Their bytes.
        size: u64,
        /// The limit.
        limit: u64,
        /// URL of the results.
        results: String,
    },
    /// Something in the request is not allowed: every mistake.
    #[error("{}", joined(.0))]
    InvalidParameters(Vec<Violation>),
    /// The body is of another kind.
    #[error("the body of an execution is JSON: send content-type application/json")]
    UnsupportedMediaType,
    /// The body is larger than allowed.
    #[error("{what} more than {limit} bytes")]
    TooLarge {
        /// What has.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The body did not arrive.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The body broke off.
    #[error("the body could not be read")]
    BodyBroken,
    /// A form of another site.
    #[error("this form was sent by another site; open it here, at {here}, and send it again")]
    ForeignForm {
        /// The public address.
        here: String,
    },
    /// The token is missing or wrong.
    #[error("{}", refusal(*.0))]
    Refused(Refusal),
    /// The idempotency key was used for another request.
    #[error("this Idempotency-Key was used for another request; draw a new one for each request")]
    KeyReused,
    /// The first request with this idempotency key is still being accepted.
    #[error("the first request with this Idempotency-Key is still being accepted; try again")]
    KeyInUse,
    /// The job that the idempotency key made is no more.
    #[error("the job that this Idempotency-Key made was removed; draw a new key for a new job")]
    KeyJobRemoved,
    /// Too many executions are being accepted.
    #[error("too many executions are being accepted at the moment; nothing was done, try again")]
    Busy,
    /// Too many results are held in memory.
    #[error("too many results are being put together at the moment; try again, or read each output for itself")]
    ResultsBusy,
    /// Too many logs are read while their jobs run.
    #[error("too many logs of running jobs are being read at the moment; try again")]
    LogsBusy,
    /// Something that this service needs does not answer; nothing was done.
    #[error("the service can't do this for the moment; nothing was done")]
    Unavailable(#[source] Cause),
    /// The answer to a commit did not come: the job may exist.
    #[error("it is not known whether the job was taken; if it was, it is at {job}")]
    CommitUnknown {
        /// Where the job is, if it is.
        job: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A defect of ours.
    #[error("the request could not be answered")]
    Internal(#[source] Cause),
}

impl GatewayError {
    /// One mistake in the request.
    pub fn invalid(mistake: impl Into<String>) -> Self {
        Self::InvalidParameters(vec![Violation::from(mistake.into())])
    }

    /// A failure without a better word.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// Status, type and title: the one table.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "not-found", "not found"),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "method not allowed"),
            Self::UriTooLong { .. } => (StatusCode::URI_TOO_LONG, "uri-too-long", "URI too long"),
            Self::HeadTooLarge { .. } => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", "request header fields too large")
            }
            Self::NotOffered { .. } => (StatusCode::NOT_ACCEPTABLE, "not-acceptable", "not acceptable"),
            Self::NoSuchProcess => (StatusCode::NOT_FOUND, "no-such-process", "no such process"),
            Self::NoSuchJob => (StatusCode::NOT_FOUND, "no-such-job", "no such job"),
            Self::ResultNotReady => (StatusCode::NOT_FOUND, "result-not-ready", "result not ready"),
            Self::JobFailed { outcome, .. } => (status_of_failure(outcome.reason), "job-failed", "the job failed"),
            Self::JobDismissed => (StatusCode::NOT_FOUND, "job-dismissed", "the job was dismissed"),
            Self::JobEnded { .. } => (StatusCode::CONFLICT, "job-ended", "the job has ended"),
            Self::NotDismissable => (StatusCode::METHOD_NOT_ALLOWED, "not-dismissable", "the job can't be dismissed"),
            Self::NoLog(_) => (StatusCode::NOT_FOUND, "no-log", "no log"),
            Self::NoSuchOutput(_) => (StatusCode::NOT_FOUND, "no-such-output", "no such output"),
            Self::NoSuchContainer(_) => (StatusCode::NOT_FOUND, "no-such-container", "no such container"),
            Self::ResultNotAcceptable { .. } => (StatusCode::NOT_ACCEPTABLE, "not-acceptable", "not acceptable"),
            Self::RangeNotSatisfiable { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable", "range not satisfiable")
            }
            Self::TooLargeForDocument { .. } => {
                (StatusCode::NOT_ACCEPTABLE, "result-too-large", "result too large for a document")
            }
            Self::InvalidParameters(_) => {
                (StatusCode::BAD_REQUEST, "invalid-parameter-value", "invalid parameter value")
            }
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "unsupported media type")
            }
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "content-too-large", "content too large"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "request-timeout", "request timeout"),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, "bad-request", "bad request"),
            Self::Refused(Refusal::Missing) => (StatusCode::UNAUTHORIZED, "unauthorized", "unauthorized"),
            Self::Refused(
                Refusal::Wrong | Refusal::Closed | Refusal::Expired | Refusal::OtherProcess | Refusal::NoDismissal,
            ) => (StatusCode::FORBIDDEN, "forbidden", "forbidden"),
            Self::Refused(Refusal::Invalid(_)) => (StatusCode::UNAUTHORIZED, "invalid-token", "invalid token"),
            Self::Refused(Refusal::TooMany(_)) => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "too many requests")
            }
            Self::ForeignForm { .. } => (StatusCode::FORBIDDEN, "foreign-form", "the form is not ours"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "idempotency key reused"),
            Self::KeyInUse => (StatusCode::CONFLICT, "idempotency-key-in-use", "idempotency key in use"),
            Self::KeyJobRemoved => (StatusCode::GONE, "job-removed", "the job was removed"),
            Self::Refused(Refusal::NotNow)
            | Self::Busy
            | Self::ResultsBusy
            | Self::LogsBusy
            | Self::Unavailable(_)
            | Self::CommitUnknown { .. }
            | Self::DismissalUnknown { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "service-unavailable", "service unavailable")
            }
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal-error", "internal error"),
        }
    }

    /// The answer to `request`. Causes are logged here, once, under the id that the client gets as `instance`.
    pub fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let (status, kind, title) = self.kind();
        let instance = format!("urn:uuid:{}", uuid::Builder::from_random_bytes(rand::random()).into_uuid());
        if self.source().is_some() {
            error!(%instance, error = %chain(self), "a request failed");
        }
        let violations = match self {
            Self::InvalidParameters(violations) => violations.as_slice(),
            _ => &[],
        };
        let errors = violations.iter().any(Violation::has_place).then_some(violations);
        let kind = format!("{TYPES}{kind}");
        if pages::form_of_error(request) == pages::Form::Html {
            let passing = |it: &Refusal| matches!(it, Refusal::Closed | Refusal::NotNow | Refusal::TooMany(_));
            let can_sign_in = matches!(self, Self::Refused(refusal) if !passing(refusal));
            let is_wrong = can_sign_in && !matches!(self, Self::Refused(Refusal::Missing));
            let (kind, instance, detail) = (&kind, &instance, &self.to_string());
            let told = Told { status, kind, title, detail, instance, violations, can_sign_in, is_wrong };
            if let Some(page) = pages::error::page(request, &told) {
                return self.with_head(page);
            }
        }
        let reason = match self {
            Self::JobFailed { outcome, .. } => outcome.reason,
            _ => None,
        };
        let body = Exception { kind, title, status: status.as_u16(), detail: self, instance, reason, errors };
        let mut answer = HttpResponse::build(status);
        for header in self.head(status) {
            answer.insert_header(header);
        }
        match serde_json::to_vec(&body) {
            Ok(text) => answer.content_type(media_type(request)).body(text),
            Err(_) => answer.finish(),
        }
    }

    /// An answer in another form that says the same in its head.
    pub(crate) fn with_head(&self, mut answer: HttpResponse) -> HttpResponse {
        for (name, value) in self.head(answer.status()) {
            if let Ok(value) = header::HeaderValue::from_str(&value) {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }

    /// What the head says beside the body.
    fn head(&self, status: StatusCode) -> Vec<(header::HeaderName, String)> {
        let retry_after = match self {
            // A commit takes some milliseconds, mostly.
            Self::KeyInUse => Some(1),
            Self::Refused(Refusal::TooMany(too_many)) => Some(too_many.seconds),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER),
            _ => None,
        };
        let mut head: Vec<_> =
            retry_after.into_iter().map(|seconds| (header::RETRY_AFTER, seconds.to_string())).collect();
        match self {
            Self::Refused(Refusal::Missing) => head.push((header::WWW_AUTHENTICATE, "Bearer".to_owned())),
            // RFC 6750, 3.1.
            Self::Refused(Refusal::Invalid(why)) => {
                let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
                head.push((header::WWW_AUTHENTICATE, challenge));
            }
            Self::MethodNotAllowed(allowed) => head.push((header::ALLOW, representation::allow(allowed))),
            Self::NotDismissable => head.push((header::ALLOW, representation::allow("GET, HEAD"))),
            Self::CommitUnknown { job, .. } => head.push((header::LOCATION, job.clone())),
            Self::RangeNotSatisfiable { size } => head.push((header::CONTENT_RANGE, format!("bytes */{size}"))),
            Self::JobFailed { job, .. } => head.push((header::LINK, format!("<{job}>; rel=\"monitor\""))),
            _ => {}
        }
        head
    }
}

/// An exception as its page tells it.
pub(crate) struct Told<'a> {
    pub(crate) status: StatusCode,
    /// The URI of its type.
    pub(crate) kind: &'a str,
    pub(crate) title: &'a str,
    pub(crate) detail: &'a str,
    pub(crate) instance: &'a str,
    /// What is not allowed, each.
    pub(crate) violations: &'a [Violation],
    /// Whether another token would do.
    pub(crate) can_sign_in: bool,
    /// Whether there was one, and it would not.
    pub(crate) is_wrong: bool,
}

/// The HTTP status of a failed job's results: what the client sent was checked before the job was taken, so that every
/// reason there is today lies with the container, its image, the cluster or the stores.
pub fn status_of_failure(reason: Option<Reason>) -> StatusCode {
    match reason {
        Some(
            Reason::ExitCode
            | Reason::OOMKilled
            | Reason::ImagePull
            | Reason::Unschedulable
            | Reason::Deadline
            | Reason::Evicted
            | Reason::Preempted
            | Reason::NodeLost
            | Reason::Deleted
            | Reason::ConfigError
            | Reason::StartError
            | Reason::QuotaExceeded
            | Reason::AdmissionRejected
            | Reason::ProcessUnavailable
            | Reason::StoreUnavailable
            | Reason::ResultsNotCollected
            | Reason::JobFailed
            | Reason::Other(_),
        )
        | None => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Body of an exception (OGC 18-062r2, schema `exception`; RFC 7807).
#[derive(Serialize)]
struct Exception<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    #[serde(serialize_with = "shown")]
    detail: &'a GatewayError,
    instance: String,
    /// Why the job failed, in a word (`docs/reasons.md`).
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// Each thing that is not allowed, where there is any with a place in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [Violation]>,
}

fn joined(violations: &[Violation]) -> String {
    violations.iter().map(Violation::to_string).collect::<Vec<_>>().join("; ")
}

fn shown<S: serde::Serializer>(error: &GatewayError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

fn refusal(refusal: Refusal) -> String {
    let text = match refusal {
        Refusal::Invalid(why) => return why.to_string(),
        Refusal::TooMany(too_many) => return too_many.to_string(),
        Refusal::NotNow => "the keys of the issuer are not known yet; nothing was done, try again",
        Refusal::Missing => "a token is needed: as authorization Bearer, or for an execution as input token",
        Refusal::Wrong => "the token is wrong",
        Refusal::Closed => "no token is configured: nobody may do this",
        Refusal::Expired => "the token has expired",
        Refusal::OtherProcess => "the token is not for this process",
        Refusal::NoDismissal => "the token is not for dismissing or removing jobs",
    };
    text.to_owned()
}

/// `application/problem+json` for those who ask for it before `application/json`.
fn media_type(request: &HttpRequest) -> &'static str {
    let accepted = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let mut ranges =
        accepted.flat_map(|value| value.split(',')).map(|range| range.split(';').next().unwrap_or("").trim());
    match ranges.find(|range| [PROBLEM_JSON, crate::links::JSON].iter().any(|known| range.eq_ignore_ascii_case(known)))
    {
        Some(range) if range.eq_ignore_ascii_case(PROBLEM_JSON) => PROBLEM_JSON,
        _ => crate::links::JSON,
    }
}

impl ResponseError for GatewayError {
    fn status_code(&self) -> StatusCode {
        self.kind().0
    }

    /// Only its status: the body needs the request and is made by [`GatewayError::answer`].
    fn error_response(&self) -> HttpResponse<BoxBody> {
        HttpResponse::new(self.kind().0)
    }
}

impl From<Refusal> for GatewayError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LookupError> for GatewayError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Store(_) | LookupError::NotConnected | LookupError::Slow => Self::Unavailable(Box::new(error)),
            LookupError::Lost => Self::Internal(Box::new(error)),
        }
    }
}
