//! The HTTP around a log.

use std::sync::Arc;

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    body::{BodyStream, SizedStream},
    http::{
        Method, StatusCode, Version,
        header::{self, ByteRangeSpec, ContentRange, ContentRangeSpec, Range},
    },
    web::Data,
};
use futures::StreamExt;
use platform::object_store::ByteRange;
use protocol::{JobRecord, names::kubernetes::main_container};

use super::{
    asked::Asked,
    known::Known,
    selection::{self, Piece},
    sending, since,
    source::{ReadError, Source, is_live},
};
use crate::{
    app::Gateway,
    error::GatewayError,
    peer::Peer,
    results::{LOG, Section, Wanted, as_container_wrote, name_of_log, wanted},
};

/// Says how much of the log is known to be missing.
const GAPS: &str = "quayside-log-gaps";
/// The last byte of a range whose end is not known (RFC 8673, 2).
const VERY_LARGE: u64 = (1 << 53) - 1;

/// The log of a job as it is asked for.
///
/// # Errors
/// When there is none, or not of such a container, or it can't be read.
pub(crate) async fn answer(
    gateway: &Data<Gateway>,
    record: &Arc<JobRecord>,
    asked: Asked,
    request: &HttpRequest,
) -> Result<HttpResponse, GatewayError> {
    // Of an archive, only some pods' logs have to be put together.
    let is_of_pod = asked.pod.is_some() && asked.container.is_none() && record.archive.is_readable();
    if !is_live(record) && !is_of_pod {
        return archived(gateway, record, &asked, request).await;
    }
    if !record.has_begun() && !asked.follow {
        return Err(GatewayError::NoLog("the job has not started: there is no log of it yet".into()));
    }
    let mut place = gateway.logs.place().await?;
    let source = Source::of(gateway, record.clone());
    let found = {
        let (source, asked) = (source.clone(), asked.clone());
        source.clone().there(async move { since::find(&source, &asked).await }).await?
    };
    let (found, begins) = found;
    place.has_parts(found.logs.iter().map(|log| log.parts.len()).sum());
    let gaps = found.gaps;
    let logs = match selection::wanted(found.logs, &asked) {
        Ok(logs) => logs,
        Err(_) if asked.follow && !found.is_all && is_expected(gateway, record, &asked) => Vec::new(),
        Err(selection::NoSuch(names)) => return Err(GatewayError::NoSuchContainer(names)),
    };
    let logs: Vec<(Known, u64)> = logs
        .into_iter()
        .map(|log| {
            let begin = begins.iter().find(|begin| log.is(&begin.pod, &begin.container));
            let at = begin.map_or(log.start, |begin| begin.place);
            (log, at)
        })
        .collect();
    if logs.is_empty() && !asked.follow {
        return Err(GatewayError::NoLog("nothing of the log of the job is there yet".into()));
    }
    let mut answer = if asked.follow {
        following(gateway, place, source, asked, logs, request)?
    } else {
        now(gateway, place, source, &asked, logs, request)?
    };
    say_gaps(&mut answer, gaps);
    Ok(answer)
}

/// What there is now, and no more.
fn now(
    gateway: &Data<Gateway>,
    place: super::Place,
    source: Source,
    asked: &Asked,
    mut logs: Vec<(Known, u64)>,
    request: &HttpRequest,
) -> Result<HttpResponse, GatewayError> {
    let mut answer = HttpResponse::Ok();
    let pieces = if asked.container.is_some() {
        answer.insert_header((header::ACCEPT_RANGES, "bytes"));
        let Some((log, from)) = logs.pop() else { return Err(GatewayError::NoSuchContainer(Vec::new())) };
        let whole = (from.max(log.start).min(log.end), log.end);
        let (from, to) = match wanted(request, None, log.end) {
            _ if asked.since.is_some() => whole,
            Wanted::Whole | Wanted::NotModified => whole,
            Wanted::Unsatisfiable => return Err(GatewayError::RangeNotSatisfiable { size: log.end }),
            Wanted::Part(ByteRange { offset, length }) => {
                let from = offset.max(log.start);
                let to = offset + length;
                if from >= to {
                    return Err(GatewayError::RangeNotSatisfiable { size: log.end });
                }
                answer.status(StatusCode::PARTIAL_CONTENT);
                let instance_length = log.ended.then_some(log.end);
                answer.insert_header(ContentRange(ContentRangeSpec::Bytes {
                    range: Some((from, to - 1)),
                    instance_length,
                }));
                (from, to)
            }
        };
        vec![Piece::Log(log, from, to)]
    } else {
        selection::laid_out(logs)
    };
    as_container_wrote(&mut answer, &name_of_log(&source.record), LOG);
    let size = selection::size(&pieces);
    if request.method() == Method::HEAD {
        return Ok(answer.body(SizedStream::new(size, futures::stream::empty::<Result<_, std::io::Error>>())));
    }
    let stream = sending::snapshot(gateway, place, source, pieces);
    Ok(answer.body(SizedStream::new(size, stream.map(|sent| sent.map_err(std::io::Error::other)))))
}

/// What there is, and all that comes.
fn following(
    gateway: &Data<Gateway>,
    place: super::Place,
    source: Source,
    asked: Asked,
    mut logs: Vec<(Known, u64)>,
    request: &HttpRequest,
) -> Result<HttpResponse, GatewayError> {
    let mut answer = HttpResponse::Ok();
    if let (true, [(log, from)]) = (asked.container.is_some() && asked.since.is_none(), logs.as_mut_slice()) {
        answer.insert_header((header::ACCEPT_RANGES, "bytes"));
        if let Some(wanted) = from_on(request) {
            // A follower that died may have told of bytes that the next one has yet to read again.
            if log.ended && wanted > log.end {
                return Err(GatewayError::RangeNotSatisfiable { size: log.end });
            }
            *from = wanted.max(log.start);
            answer.status(StatusCode::PARTIAL_CONTENT);
            answer.insert_header((header::CONTENT_RANGE, format!("bytes {from}-{VERY_LARGE}/*")));
        }
    }
    as_container_wrote(&mut answer, &name_of_log(&source.record), LOG);
    // Proxies that wait for more would keep lines back.
    answer.insert_header(("x-accel-buffering", "no"));
    let is_old = request.version() < Version::HTTP_11;
    if is_old {
        answer.force_close();
    }
    if request.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let stream = BodyStream::new(sending::follow(gateway, place, source, asked, logs, Peer::of(request)));
    let mut answer = answer.body(stream);
    // HTTP/1.0 knows no chunks: its end is that of the connection.
    answer.head_mut().no_chunking(is_old);
    Ok(answer)
}

/// The first byte of a range without an end, or with one beyond all others.
fn from_on(request: &HttpRequest) -> Option<u64> {
    if request.method() != Method::GET || request.headers().contains_key(header::IF_RANGE) {
        return None;
    }
    match request.get_header::<Range>()? {
        Range::Bytes(ranges) => match ranges.as_slice() {
            [ByteRangeSpec::From(from)] => Some(*from),
            [ByteRangeSpec::FromTo(from, to)] if *to >= VERY_LARGE => Some(*from),
            _ => None,
        },
        Range::Unregistered(..) => None,
    }
}

async fn archived(
    gateway: &Data<Gateway>,
    record: &Arc<JobRecord>,
    asked: &Asked,
    request: &HttpRequest,
) -> Result<HttpResponse, GatewayError> {
    let gaps = u64::try_from(record.archive.gaps.len()).unwrap_or(u64::MAX);
    let mut answer = if asked.container.is_some() && record.archive.is_readable() {
        let source = Source::of(gateway, record.clone());
        let found = match source.clone().there(async move { source.find_archived().await }).await {
            // An archive of the system before this one: nobody knows where in it is what.
            Err(ReadError::NoManifest) => None,
            found => found?,
        };
        let logs = selection::wanted(found.map(|found| found.logs).unwrap_or_default(), asked)
            .map_err(|selection::NoSuch(names)| GatewayError::NoSuchContainer(names))?;
        let log = logs.into_iter().next().and_then(|log| log.archived);
        let log = log.ok_or_else(|| GatewayError::NoSuchContainer(Vec::new()))?;
        let section = Section { key: log.key, start: log.start, size: log.size, sha256: log.sha256 };
        gateway.values.log_of_container(record, section, request).await?
    } else {
        gateway.values.log(record, request).await?
    };
    say_gaps(&mut answer, gaps);
    Ok(answer)
}

fn say_gaps(answer: &mut HttpResponse, gaps: u64) {
    answer.headers_mut().insert(header::HeaderName::from_static(GAPS), header::HeaderValue::from(gaps));
}

/// Whether such a container may still begin.
fn is_expected(gateway: &Gateway, record: &JobRecord, asked: &Asked) -> bool {
    let Some(container) = &asked.container else { return true };
    let Some(process) = gateway.configuration.processes.get(&record.process_id) else { return false };
    container == main_container(&process.kind) || process.init_containers.iter().any(|it| it.name == *container)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_log_is_followed_from_a_byte_on_by_a_range_without_an_end() {
        let from = |range: &str| {
            from_on(&TestRequest::default().insert_header((header::RANGE, range.to_owned())).to_http_request())
        };
        assert_eq!(from("bytes=7-"), Some(7));
        assert_eq!(from("bytes=7-9007199254740991"), Some(7));
        for other in ["bytes=7-8", "bytes=-5", "bytes=0-1,5-", "lines=3-"] {
            assert_eq!(from(other), None, "{other}");
        }
    }
}
