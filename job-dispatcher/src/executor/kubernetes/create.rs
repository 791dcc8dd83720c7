//! Creates a Job, and keeps of the answer what kube's own call leaves out: when to ask again.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::{
    Client, Error, Resource,
    api::PostParams,
    client::Body,
    core::{Request, response::Status},
};

/// What the API server answered.
pub(super) enum Answer {
    /// The Job is there.
    Created(Box<Job>),
    /// It is not.
    Refused {
        /// Why.
        status: Box<Status>,
        /// When to ask again, if the server says so.
        retry_after: Option<Duration>,
    },
}

/// Creates it.
///
/// # Errors
/// When the server can't be asked, or its answer can't be read.
pub(super) async fn create(client: &Client, namespace: &str, job: &Job) -> Result<Answer, Error> {
    let bytes = serde_json::to_vec(job).map_err(Error::SerdeError)?;
    let url = Job::url_path(&(), Some(namespace));
    let request = Request::new(url).create(&PostParams::default(), bytes).map_err(Error::BuildRequest)?;
    let answer = client.send(request.map(Body::from)).await?;
    let (code, header) = (answer.status(), answer.headers().get("retry-after").cloned());
    let body = answer.into_body().collect_bytes().await?;
    if code.is_success() {
        return serde_json::from_slice(&body).map(Answer::Created).map_err(Error::SerdeError);
    }
    let status = Box::new(status(code.as_u16(), &body));
    let retry_after = header.and_then(|header| header.to_str().ok()?.trim().parse().ok());
    let in_body = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    let retry_after = retry_after.or_else(|| (in_body > 0).then(|| u64::from(in_body)));
    Ok(Answer::Refused { status, retry_after: retry_after.map(Duration::from_secs) })
}

/// Requests that are refused before anything looks at them are answered in plain text, and so are those that a proxy refuses.
fn status(code: u16, body: &[u8]) -> Status {
    const SHOWN: usize = 512;
    serde_json::from_slice(body).ok().filter(|status: &Status| status.code != 0).unwrap_or_else(|| {
        let text: String = String::from_utf8_lossy(body).trim().chars().take(SHOWN).collect();
        Status::failure(&text, "").with_code(code)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_plain_text_keeps_its_code() {
        let refused = status(429, b"Too many requests, please try again later.\n");
        assert_eq!((refused.code, refused.message.as_str()), (429, "Too many requests, please try again later."));
        let refused = status(403, br#"{"kind": "Status", "code": 422, "reason": "Invalid", "message": "no"}"#);
        assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"));
        assert_eq!(status(503, b"{}").code, 503);
    }
}
