//! Where a result goes.

use bytes::{Bytes, BytesMut};
use platform::object_store::{ObjectStore, ObjectWriter, StoreError, Stored};
use protocol::{JobId, digest, job_id::Epoch, names::objects, output_members::Member};
use sha2::{Digest, Sha256};

/// Results of jobs without a bucket have at most this many bytes: they are messages.
pub const STREAM_LIMIT: usize = 512 * 1024;

/// The media type may come later in the log: the record and the gateway say it, not the object.
const CONTENT_TYPE: &str = "application/octet-stream";

/// Where a result goes.
pub(super) enum Sink {
    /// Nowhere: the execution failed.
    None,
    /// Into the bucket, from the first byte on.
    Object {
        /// The bucket.
        store: ObjectStore,
        /// Whose result it is.
        job: JobId,
        /// The attempt that keeps it.
        epoch: Epoch,
        /// Id of the result as a whole.
        id: String,
        /// Begun with the first byte.
        writer: Option<Box<ObjectWriter>>,
    },
    /// Into memory first, then into the stream.
    Message {
        /// What was read, up to one byte more than [`STREAM_LIMIT`].
        bytes: BytesMut,
        /// All bytes that were read.
        size: u64,
        /// Their hash.
        hash: Sha256,
    },
}

/// One thing that was kept.
pub struct KeptOutput {
    /// Which output it is; `None`: all that was printed.
    pub member: Option<KeptMember>,
    /// Size and hash of what was kept.
    pub stored: Stored,
    /// The bytes, when they are to go into the stream; `None` when they are not, or are too many.
    pub message: Option<Bytes>,
}

/// One of several outputs.
pub struct KeptMember {
    /// Its id.
    pub id: String,
    /// Its media type.
    pub media_type: String,
}

impl Sink {
    pub(super) fn object(store: ObjectStore, job: JobId, epoch: Epoch, id: &str) -> Self {
        Self::Object { store, job, epoch, id: id.to_owned(), writer: None }
    }

    pub(super) fn message() -> Self {
        Self::Message { bytes: BytesMut::new(), size: 0, hash: Sha256::new() }
    }

    /// Takes the next bytes of the whole result.
    pub(super) async fn write(&mut self, result: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::None => {}
            Self::Object { store, job, epoch, id, writer } => {
                let begin = || Box::new(store.writer(&objects::result(store.prefix(), job, epoch, id), CONTENT_TYPE));
                writer.get_or_insert_with(begin).write(result).await?;
            }
            Self::Message { bytes, size, hash } => {
                hash.update(result);
                *size += u64::try_from(result.len()).unwrap_or_default();
                let room = (STREAM_LIMIT + 1).saturating_sub(bytes.len());
                bytes.extend_from_slice(&result[..room.min(result.len())]);
            }
        }
        Ok(())
    }

    /// Keeps the whole result.
    pub(super) async fn keep(self) -> Result<Option<KeptOutput>, StoreError> {
        let (stored, message) = match self {
            Self::None => return Ok(None),
            Self::Object { writer: Some(writer), .. } => (writer.finish().await?, None),
            Self::Object { store, job, epoch, id, writer: None } => {
                let key = objects::result(store.prefix(), &job, &epoch, &id);
                (store.put(&key, Bytes::new(), CONTENT_TYPE).await?, None)
            }
            Self::Message { bytes, size, hash } => {
                let message = (bytes.len() <= STREAM_LIMIT).then(|| bytes.freeze());
                (Stored { size, sha256: digest::hex(&hash.finalize()) }, message)
            }
        };
        Ok(Some(KeptOutput { member: None, stored, message }))
    }

    /// Keeps one of several outputs.
    pub(super) async fn keep_member(&self, member: Member) -> Result<Option<KeptOutput>, StoreError> {
        let Member { id, media_type, bytes } = member;
        let (stored, message) = match self {
            Self::None => return Ok(None),
            Self::Object { store, job, epoch, .. } => {
                let key = objects::result(store.prefix(), job, epoch, &id);
                (store.put(&key, bytes.into(), CONTENT_TYPE).await?, None)
            }
            Self::Message { .. } => {
                let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let stored = Stored { size, sha256: digest::sha256(&bytes) };
                (stored, (bytes.len() <= STREAM_LIMIT).then(|| bytes.into()))
            }
        };
        Ok(Some(KeptOutput { member: Some(KeptMember { id, media_type }), stored, message }))
    }

    pub(super) async fn abort(self) {
        if let Self::Object { writer: Some(writer), .. } = self {
            writer.abort().await;
        }
    }
}
