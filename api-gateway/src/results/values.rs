//! The bytes of outputs: from the bucket, or from the stream where there is none.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use platform::{
    job_store::JobStore,
    object_store::{ByteRange, StoreError},
    publish,
    telemetry::chain,
};
use protocol::job_record::Place;
use tokio::runtime::Handle;
use tracing::warn;

use super::{
    lending::in_chunks,
    printed::{Content, Output},
};
use crate::{
    error::GatewayError,
    links::Urls,
    memory::{Memory, Portion},
    settings::{GatewaySettings, ReferenceUrls},
};

/// Where values are read from; cheap to clone.
#[derive(Clone)]
pub struct Values {
    pub(super) store: JobStore,
    pub(super) runtime: Handle,
    pub(super) urls: Arc<Urls>,
    /// Bytes of values in a document.
    pub(super) max_document: u64,
    /// How long a client may take to read what is held in memory for it.
    pub(super) send_timeout: Duration,
    memory: Memory,
    /// How long presigned URLs are valid, where references are such.
    pub(super) presigned: Option<Duration>,
}

/// Times its values that a document takes of memory at most: text that is nothing but control characters grows to six
/// times its bytes, which are there beside it.
pub const MEMORY_OF_DOCUMENT: u64 = 8;
/// How long others' results are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A value that can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error("the bucket could not be read")]
    Bucket(#[source] StoreError),
    #[error("the stream could not be read")]
    Stream(#[source] publish::StreamError),
    #[error("the result is not at its place")]
    Gone,
    #[error("the result has another size than the job's record says")]
    Changed,
    #[error("the result is in a bucket, and none is configured")]
    NoBucket,
    #[error("the result is at a place that this version does not know")]
    UnknownPlace,
    #[error("the task that reads the result was lost")]
    Lost,
    #[error("the client took too long to read the result")]
    Slow,
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

/// Bytes on their way.
pub(super) type Bytestream = BoxStream<'static, Result<Bytes, ValueError>>;

impl Values {
    /// Reads are done on `runtime`, the one that the clients were made on. What has to be held whole is taken out of `memory`.
    pub fn new(store: JobStore, runtime: Handle, urls: Arc<Urls>, settings: &GatewaySettings, memory: Memory) -> Self {
        let presigned = (settings.reference_urls == ReferenceUrls::Presigned).then_some(settings.presigned_expiry);
        Self {
            store,
            runtime,
            urls,
            max_document: settings.max_document,
            send_timeout: settings.send_timeout,
            memory,
            presigned,
        }
    }

    /// Memory for so many bytes.
    pub(super) async fn memory(&self, bytes: u64) -> Result<Portion, GatewayError> {
        let bytes = usize::try_from(bytes).map_err(|_| GatewayError::ResultsBusy)?;
        self.memory.take_within(bytes, PATIENCE).await.ok_or(GatewayError::ResultsBusy)
    }

    /// Opens an output, or a range of it that it has.
    pub(super) async fn open(&self, output: &Output, range: Option<ByteRange>) -> Result<Bytestream, ValueError> {
        let place = match &output.content {
            Content::Held(bytes) => return Ok(in_chunks(part(bytes, range)?)),
            Content::Section(..) if output.size == 0 => return Ok(stream::empty().boxed()),
            Content::Section(key, _) => Place::Object(key.clone()),
            Content::Stored(place) => place.clone(),
        };
        let range = match &output.content {
            Content::Section(_, start) => {
                let ByteRange { offset, length } = range.unwrap_or(ByteRange { offset: 0, length: output.size });
                Some(ByteRange { offset: start + offset, length })
            }
            _ => range,
        };
        let expected = range.map_or(output.size, |range| range.length);
        let store = self.store.clone();
        let reading = self.runtime.spawn(async move {
            match place {
                Place::Other(_) => Err(ValueError::UnknownPlace),
                Place::Object(key) => {
                    let objects = store.objects().ok_or(ValueError::NoBucket)?;
                    let content = objects.get_range(&key, range).await.map_err(ValueError::Bucket)?;
                    let content = content.ok_or(ValueError::Gone)?;
                    if content.size != expected {
                        return Err(ValueError::Changed);
                    }
                    // The head of the answer is sent by then: nobody else tells of this.
                    let logged = content.stream.inspect_err(
                        |error| warn!(error = %chain(error), "a result broke off while it was being sent"),
                    );
                    Ok(logged.map_err(ValueError::Bucket).boxed())
                }
                Place::Stream(subject) => {
                    let message = publish::last(store.nats(), &subject).await.map_err(ValueError::Stream)?;
                    let payload = message.ok_or(ValueError::Gone)?.payload;
                    let part = part(&payload, range)?;
                    if u64::try_from(part.len()).unwrap_or(u64::MAX) != expected {
                        return Err(ValueError::Changed);
                    }
                    Ok(in_chunks(part))
                }
            }
        });
        reading.await.unwrap_or(Err(ValueError::Lost))
    }

    /// Reads an output whole. Its size was held against [`Self::max_document`] before, and there is memory for it.
    pub(super) async fn read(&self, output: &Output) -> Result<Bytes, GatewayError> {
        if let Content::Held(bytes) = &output.content {
            return Ok(bytes.clone());
        }
        let mut value = self.open(output, None).await?;
        let mut bytes = BytesMut::with_capacity(usize::try_from(output.size).map_err(|_| ValueError::Changed)?);
        while let Some(chunk) = value.try_next().await? {
            if u64::try_from(bytes.len() + chunk.len()).unwrap_or(u64::MAX) > output.size {
                return Err(ValueError::Changed.into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

fn part(bytes: &Bytes, range: Option<ByteRange>) -> Result<Bytes, ValueError> {
    let Some(ByteRange { offset, length }) = range else { return Ok(bytes.clone()) };
    let start = usize::try_from(offset).map_err(|_| ValueError::Changed)?;
    let length = usize::try_from(length).map_err(|_| ValueError::Changed)?;
    match start.checked_add(length) {
        Some(end) if end <= bytes.len() => Ok(bytes.slice(start..end)),
        _ => Err(ValueError::Changed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_never_read_beyond_the_bytes_that_there_are() {
        let bytes = Bytes::from_static(b"0123456789");
        let cut = |offset, length| part(&bytes, Some(ByteRange { offset, length })).ok();
        assert_eq!(cut(2, 3).as_deref(), Some(b"234".as_slice()));
        assert_eq!(cut(9, 1).as_deref(), Some(b"9".as_slice()));
        assert_eq!(cut(9, 2), None);
        assert_eq!(cut(u64::MAX, u64::MAX), None);
        assert_eq!(part(&bytes, None).unwrap(), bytes);
    }
}
