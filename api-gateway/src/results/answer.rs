//! From a plan to an HTTP answer.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    http::{StatusCode, header},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use protocol::JobRecord;

use super::{
    document::{Document, Member},
    lending::{in_chunks, lent},
    multipart::{self, Part},
    plan::{Asked, Chosen, Plan, plan, requested},
    printed::{Output, Printed},
    reference::link,
    successful,
    values::{Bytestream, Values},
};
use crate::{error::GatewayError, links::JSON, media_type, memory::Portion};

impl Values {
    /// The results of a job, in the form that the execution and this request ask for.
    ///
    /// # Errors
    /// When the job has none, what is asked for is not there or not in a form that is wanted, or can't be read.
    pub async fn answer(&self, record: &JobRecord, asked: &Asked) -> Result<HttpResponse, GatewayError> {
        successful(record, &self.urls.job(&record.job_id))?;
        let (printed, held) = Printed::of(record, self).await?;
        match plan(record, &printed, asked)? {
            Plan::Nothing => Ok(HttpResponse::NoContent().finish()),
            Plan::Value(output) => {
                let value = if asked.head { stream::empty().boxed() } else { self.open(output, None).await? };
                let mut answer = HttpResponse::build(StatusCode::OK);
                answer.content_type(media_type::header_value(&output.media_type));
                Ok(sized(&mut answer, output.size, lent(value, held, self.send_timeout)))
            }
            Plan::References(outputs) => {
                let mut answer = HttpResponse::NoContent();
                for output in outputs {
                    answer.append_header((header::LINK, link(&self.url(record, output).await, output)));
                }
                Ok(answer.finish())
            }
            Plan::Multipart(chosen) => self.multipart(record, &chosen, asked.head, held).await,
            Plan::Document(chosen) => self.document(record, &chosen, held).await,
        }
    }

    /// The results document of a job, whatever form its execution asked for, and the memory that it takes. Values that are too
    /// large for a document come by reference.
    ///
    /// # Errors
    /// When the job has no results, or they can't be read.
    pub async fn whole_document(&self, record: &JobRecord) -> Result<(Bytes, Portion), GatewayError> {
        successful(record, &self.urls.job(&record.job_id))?;
        let (printed, held) = Printed::of(record, self).await?;
        let mut chosen = requested(record, &printed)?;
        let size = |chosen: &[Chosen<'_>]| {
            chosen.iter().filter(|it| !it.by_reference).map(|it| it.output.size).fold(0, u64::saturating_add)
        };
        while size(&chosen) > self.max_document {
            let values = chosen.iter_mut().filter(|it| !it.by_reference);
            let Some(largest) = values.max_by_key(|it| it.output.size) else { break };
            largest.by_reference = true;
        }
        let (text, portion) = self.document_text(record, &chosen, held).await?;
        Ok((text.into(), portion))
    }

    async fn multipart(
        &self,
        record: &JobRecord,
        chosen: &[Chosen<'_>],
        head: bool,
        held: Option<Portion>,
    ) -> Result<HttpResponse, GatewayError> {
        let boundary = multipart::boundary();
        let mut parts = Vec::with_capacity(chosen.len());
        let mut has_value = false;
        for Chosen { output, by_reference } in chosen {
            parts.push(if *by_reference {
                let url = self.url(record, output).await;
                let value = stream::empty().boxed();
                Part { head: multipart::head(&boundary, output, Some(&url)), size: 0, value }
            } else {
                // The first is opened at once, so that a store that is away is told by a status.
                let value = match (head, has_value) {
                    (true, _) => stream::empty().boxed(),
                    (false, false) => self.open(output, None).await?,
                    (false, true) => self.open_later((*output).clone()),
                };
                has_value = true;
                Part { head: multipart::head(&boundary, output, None), size: output.size, value }
            });
        }
        let length = multipart::length(&boundary, &parts);
        let mut answer = HttpResponse::build(StatusCode::OK);
        if let Some(root) = chosen.first() {
            answer.content_type(multipart::content_type(&boundary, root.output));
        }
        let body = if head { stream::empty().boxed() } else { multipart::body(&boundary, parts) };
        Ok(sized(&mut answer, length, lent(body, held, self.send_timeout)))
    }

    fn open_later(&self, output: Output) -> Bytestream {
        let values = self.clone();
        stream::once(async move { values.open(&output, None).await }).try_flatten().boxed()
    }

    async fn document(
        &self,
        record: &JobRecord,
        chosen: &[Chosen<'_>],
        held: Option<Portion>,
    ) -> Result<HttpResponse, GatewayError> {
        let (text, portion) = self.document_text(record, chosen, held).await?;
        let mut answer = HttpResponse::Ok();
        answer.content_type(JSON);
        if text.len() <= SMALL {
            return Ok(answer.body(text));
        }
        let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(answer.body(SizedStream::new(size, lent(in_chunks(text.into()), Some(portion), self.send_timeout))))
    }

    /// The text of a document, and what it takes of the memory. `held` is what its outputs have of it.
    async fn document_text(
        &self,
        record: &JobRecord,
        chosen: &[Chosen<'_>],
        held: Option<Portion>,
    ) -> Result<(Vec<u8>, Portion), GatewayError> {
        let by_value = || chosen.iter().filter(|it| !it.by_reference).map(|it| it.output.size);
        let size: u64 = by_value().fold(0, u64::saturating_add);
        if size > self.max_document {
            let results = self.urls.results(&record.job_id);
            return Err(GatewayError::TooLargeForDocument { size, limit: self.max_document, results });
        }
        // Beside the document there is the value that is being added, or all of them, where these are held.
        let (mut portion, beside) = match held {
            Some(portion) => {
                let size = portion.size();
                (portion, size)
            }
            None => {
                let largest = by_value().max().unwrap_or(0);
                (self.memory(largest.saturating_add(size)).await?, usize::try_from(largest).unwrap_or(usize::MAX))
            }
        };
        let mut document = Document::new();
        for Chosen { output, by_reference } in chosen {
            let media_type = output.media_type.as_str();
            let member = if *by_reference {
                Member::Reference { media_type, href: self.url(record, output).await }
            } else {
                Member::Value { media_type, bytes: self.read(output).await? }
            };
            document.add(&output.id, &member, |room| match portion.grow(beside.saturating_add(room)) {
                true => Ok(()),
                false => Err(GatewayError::ResultsBusy),
            })?;
        }
        let text = document.finish();
        portion.shrink(text.len());
        Ok((text, portion))
    }
}

/// Bytes of a document that is given to the connection at once, and may be compressed.
const SMALL: usize = 64 * 1024;

pub(super) fn sized(answer: &mut HttpResponseBuilder, size: u64, chunks: Bytestream) -> HttpResponse {
    untrusted(answer);
    answer.body(SizedStream::new(size, chunks))
}

/// What browsers may not do with what a container printed.
pub(super) fn untrusted(answer: &mut HttpResponseBuilder) {
    // Results are whatever a container printed: no browser may guess at them.
    answer.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    // Where one of them is a page, it can do nothing in our name: pages of ours are at the same origin.
    answer.insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"));
}
