//! An object that is written piece by piece: one request if it stays small, parts if it does not.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use minio::s3::{
    builders::{AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, UploadPart},
    response_traits::{HasEtagFromHeaders, HasS3Fields},
    segmented_bytes::SegmentedBytes,
    types::{ObjectKey, PartInfo, S3Api, UploadId},
};
use protocol::digest;
use sha2::{Digest, Sha256};
use tracing::debug;

use super::{Cause, ObjectStore, StoreError, Stored, object_key};

/// The service takes no more parts than this (Amazon S3, "multipart upload limits").
const PARTS_LIMIT: u16 = 10_000;
/// A part is sent again after a passing failure: what it holds may not be readable a second time.
const PART_ATTEMPTS: u32 = 4;
/// Up to here an object is taken for a small one, and its buffer grows as needed.
const SMALL: usize = 256 * 1024;
const PAUSE_BETWEEN_ATTEMPTS: Duration = Duration::from_millis(300);

/// Writes one object. Dropped without [`finish`](Self::finish), it leaves nothing visible.
pub struct ObjectWriter {
    store: ObjectStore,
    key: String,
    content_type: String,
    buffer: BytesMut,
    hash: Sha256,
    size: u64,
    upload: Option<Upload>,
}

impl ObjectWriter {
    pub(super) fn new(store: ObjectStore, key: &str, content_type: &str) -> Self {
        Self {
            store,
            key: key.to_owned(),
            content_type: content_type.to_owned(),
            buffer: BytesMut::new(),
            hash: Sha256::new(),
            size: 0,
            upload: None,
        }
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that still fit into the object.
    pub fn room(&self) -> u64 {
        self.limit().saturating_sub(self.size)
    }

    /// The largest object that can be written with parts of this size.
    fn limit(&self) -> u64 {
        u64::try_from(self.store.part_size).unwrap_or(u64::MAX).saturating_mul(u64::from(PARTS_LIMIT))
    }

    /// Takes the next bytes; sends a part when one is full.
    ///
    /// # Errors
    /// When a part can't be stored, or there would be too many: then the writer is of no more use.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.hash.update(bytes);
        self.size += u64::try_from(bytes.len()).unwrap_or_default();
        while !bytes.is_empty() {
            // A buffer that grows by doubling would hold up to twice a part, and three times while it is moved.
            if self.buffer.capacity() < self.store.part_size && (self.upload.is_some() || self.buffer.len() > SMALL) {
                self.buffer.reserve(self.store.part_size - self.buffer.len());
            }
            let room = self.store.part_size - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == self.store.part_size {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    /// Makes the object visible.
    ///
    /// # Errors
    /// When it can't be stored; then there is no object.
    pub async fn finish(mut self) -> Result<Stored, StoreError> {
        if self.upload.is_none() {
            let content = std::mem::take(&mut self.buffer).freeze();
            return self.store.put(&self.key, content, &self.content_type).await;
        }
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        let stored = Stored { size: self.size, sha256: digest::hex(&std::mem::take(&mut self.hash).finalize()) };
        if let Some(upload) = &mut self.upload {
            upload.complete().await.map_err(|source| StoreError::Put { key: self.key.clone(), source })?;
        }
        Ok(stored)
    }

    /// Gives the object up, and waits until its parts are gone. A failure of this is only logged: the service's own rule
    /// for incomplete uploads takes what is left.
    pub async fn abort(mut self) {
        if let Some(upload) = self.upload.take() {
            upload.abort().await;
        }
    }

    async fn send_part(&mut self) -> Result<(), StoreError> {
        let limit = self.limit();
        let failed = |source| StoreError::Put { key: self.key.clone(), source };
        let content = self.buffer.split().freeze();
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(Upload::begin(&self.store, &self.key, &self.content_type).await.map_err(failed)?),
        };
        if upload.parts.len() == usize::from(PARTS_LIMIT) {
            return Err(StoreError::TooLarge { key: self.key.clone(), limit });
        }
        upload.send(content).await.map_err(failed)
    }
}

/// A multipart upload that has begun; aborted in the background when it is dropped before its end.
struct Upload {
    store: ObjectStore,
    object: ObjectKey,
    id: Option<UploadId>,
    parts: Vec<PartInfo>,
}

impl Upload {
    async fn begin(store: &ObjectStore, key: &str, content_type: &str) -> Result<Self, Cause> {
        let object = object_key(key)?;
        let request = CreateMultipartUpload::builder()
            .client(store.client.clone())
            .bucket(store.bucket.clone())
            .object(object.clone())
            .content_type(content_type.to_owned())
            .build();
        let answer = store.limited(request.send()).await?;
        let id = answer.upload_id().await.map_err(Cause::other)?;
        Ok(Self { store: store.clone(), object, id: Some(id), parts: Vec::new() })
    }

    async fn send(&mut self, content: Bytes) -> Result<(), Cause> {
        let Some(id) = &self.id else { return Ok(()) };
        let number = u16::try_from(self.parts.len() + 1).map_err(Cause::other)?;
        let size = u64::try_from(content.len()).map_err(Cause::other)?;
        let mut attempt = 1;
        let answer = loop {
            let request = UploadPart::builder()
                .client(self.store.client.clone())
                .bucket(self.store.bucket.clone())
                .object(self.object.clone())
                .upload_id(id.to_string())
                .part_number(number)
                .data(Arc::new(SegmentedBytes::from(content.clone())))
                .build();
            match self.store.limited(request.send()).await {
                Err(cause) if cause.is_transient() && attempt < PART_ATTEMPTS => {
                    debug!(key = %self.object, number, attempt, %cause, "a part is sent again");
                    tokio::time::sleep(PAUSE_BETWEEN_ATTEMPTS * attempt).await;
                    attempt += 1;
                }
                answer => break answer?,
            }
        };
        self.parts.push(PartInfo::new(number, answer.etag().map_err(Cause::other)?, size, None));
        Ok(())
    }

    async fn complete(&mut self) -> Result<(), Cause> {
        let Some(id) = &self.id else { return Ok(()) };
        let request = CompleteMultipartUpload::builder()
            .client(self.store.client.clone())
            .bucket(self.store.bucket.clone())
            .object(self.object.clone())
            .upload_id(id.clone())
            .parts(self.parts.clone())
            .build();
        let answer = self.store.limited(request.send()).await?;
        // The service may begin its answer with status 200 and fail afterwards (Amazon S3, "CompleteMultipartUpload").
        if memchr::memmem::find(answer.body(), b"<Error").is_some() {
            return Err(Cause::Refused {
                code: "InternalError".to_owned(),
                message: "parts were not joined".to_owned(),
            });
        }
        self.id = None;
        Ok(())
    }

    async fn abort(mut self) {
        if let Some(id) = self.id.take() {
            abort(self.store.clone(), self.object.clone(), id).await;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(abort(self.store.clone(), self.object.clone(), id));
        }
    }
}

async fn abort(store: ObjectStore, object: ObjectKey, id: UploadId) {
    let request = AbortMultipartUpload::builder()
        .client(store.client.clone())
        .bucket(store.bucket.clone())
        .object(object.clone())
        .upload_id(id)
        .build();
    if let Err(cause) = store.limited(request.send()).await {
        debug!(key = %object, %cause, "an upload was not aborted");
    }
}
