//! One output, or a range of it.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        Method, StatusCode,
        header::{self, ContentRange, ContentRangeSpec, ETag},
    },
};
use futures::{StreamExt, stream};
use protocol::JobRecord;

use super::{
    answer::{sized, untrusted},
    disposition,
    lending::lent,
    negotiation::Accept,
    printed::{Output, Printed},
    range::{self, Wanted},
    successful,
    values::Values,
};
use crate::{error::GatewayError, media_type, memory::Portion};

impl Values {
    /// The bytes of one output of a job.
    ///
    /// # Errors
    /// When the job has no results, or not this one, or it can't be read.
    pub async fn output(
        &self,
        record: &JobRecord,
        id: &str,
        request: &HttpRequest,
    ) -> Result<HttpResponse, GatewayError> {
        successful(record, &self.urls.job(&record.job_id))?;
        let (printed, held) = Printed::of(record, self).await?;
        let output = printed.find(id).ok_or_else(|| printed.has_none())?;
        self.sent(output, held, request).await
    }

    /// The bytes of an output, or of what is like one, as the request wants them.
    pub(super) async fn sent(
        &self,
        output: &Output,
        held: Option<Portion>,
        request: &HttpRequest,
    ) -> Result<HttpResponse, GatewayError> {
        if Accept::of(request.headers()).excludes(&output.media_type) {
            return Err(GatewayError::ResultNotAcceptable { offered: output.media_type.clone() });
        }
        let tag = range::tag(&output.sha256);
        let (status, range) = match range::wanted(request, tag.as_ref(), output.size) {
            Wanted::Whole => (StatusCode::OK, None),
            Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, Some(range)),
            Wanted::NotModified => (StatusCode::NOT_MODIFIED, None),
            Wanted::Unsatisfiable => return Err(GatewayError::RangeNotSatisfiable { size: output.size }),
        };
        let mut answer = HttpResponse::build(status);
        if let Some(tag) = tag {
            answer.insert_header(ETag(tag));
        }
        answer.insert_header((header::ACCEPT_RANGES, "bytes"));
        if status == StatusCode::NOT_MODIFIED {
            return Ok(answer.finish());
        }
        if let Some(range) = range {
            answer.insert_header(ContentRange(ContentRangeSpec::Bytes {
                range: Some((range.offset, range.offset + range.length - 1)),
                instance_length: Some(output.size),
            }));
        }
        as_container_wrote(&mut answer, &output.id, &output.media_type);
        let size = range.map_or(output.size, |range| range.length);
        let value =
            if request.method() == Method::HEAD { stream::empty().boxed() } else { self.open(output, range).await? };
        Ok(sized(&mut answer, size, lent(value, held, self.send_timeout)))
    }
}

/// What the head of an answer says of bytes that a container wrote.
pub(crate) fn as_container_wrote(answer: &mut HttpResponseBuilder, id: &str, media_type: &str) {
    answer.content_type(media_type::header_value(media_type));
    answer.insert_header((header::CONTENT_DISPOSITION, disposition::of(id, media_type)));
    untrusted(answer);
}
