//! The bucket: small objects whole, large ones as streams, every request under a time limit.
//!
//! Memory of one upload is two parts at most, whatever the size of the object.

mod error;
mod exchange;
mod writer;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use http::Method;
use minio::s3::{
    MinioClient, MinioClientBuilder,
    creds::StaticProvider,
    error::Error as MinioError,
    http::BaseUrl,
    multimap_ext::{Multimap, MultimapExt},
    segmented_bytes::SegmentedBytes,
    types::{BucketName, ObjectKey, Region, S3Api, ToStream},
};
use protocol::digest;

pub use self::{
    error::{Cause, StoreError},
    exchange::Stat,
    writer::ObjectWriter,
};
use crate::secret::Secret;

/// The region of services that have none.
const DEFAULT_REGION: &str = "us-east-1";

/// How to reach the bucket.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// URL of the service, without a path.
    pub endpoint: String,
    /// Access key.
    pub key: String,
    /// Secret of the access key.
    pub secret: Secret,
    /// Name of the bucket.
    pub bucket: String,
    /// What every key starts with; empty or with a final `/`.
    pub prefix: String,
    /// Region; `us-east-1` unless the endpoint or this says otherwise.
    pub region: Option<String>,
    /// The bucket as the first part of the path instead of the host name.
    pub path_style: bool,
    /// How long one request may take; for a download, how long it may stall.
    pub timeout: Duration,
    /// Bytes of one part of an upload, 5 MiB or more.
    pub part_size: u64,
    /// URL under which clients reach the service, where it is not [`Self::endpoint`]: that of presigned URLs.
    pub public_endpoint: Option<String>,
    /// URL under which the containers of jobs reach the service, where it is not [`Self::endpoint`].
    pub pods_endpoint: Option<String>,
}

/// The bucket; cheap to clone. Keys are whole: the prefix is put before them by `protocol::names::objects`.
#[derive(Clone)]
pub struct ObjectStore {
    client: MinioClient,
    /// Makes presigned URLs; sends nothing but a question for the region, where that is not known.
    presigning: MinioClient,
    /// As it, for the containers of jobs.
    for_pods: MinioClient,
    bucket: BucketName,
    prefix: Arc<str>,
    timeout: Duration,
    part_size: usize,
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Key.
    pub key: String,
    /// Bytes.
    pub size: u64,
}

/// Bytes of an object: where they begin and how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Place of the first byte.
    pub offset: u64,
    /// Number of bytes, 1 or more.
    pub length: u64,
}

/// The content of an object, or of a range of it: its size, and its bytes as they come.
pub struct Content {
    /// Bytes to come.
    pub size: u64,
    /// Chunks of any size; ends with an error when the service stalls or the connection breaks.
    pub stream: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl ObjectStore {
    /// A client for the bucket. Sends nothing yet.
    ///
    /// # Errors
    /// When a setting is none that the service could have.
    pub fn new(settings: &StoreSettings) -> Result<Self, StoreError> {
        let wrong = |error: minio::s3::error::ValidationErr| StoreError::Settings { source: Cause::other(error) };
        let client = client(settings, &settings.endpoint)?;
        let presigning = match &settings.public_endpoint {
            Some(endpoint) => self::client(settings, endpoint)?,
            None => client.clone(),
        };
        let for_pods = match &settings.pods_endpoint {
            Some(endpoint) => self::client(settings, endpoint)?,
            None => client.clone(),
        };
        Ok(Self {
            client,
            presigning,
            for_pods,
            bucket: BucketName::new(&settings.bucket).map_err(wrong)?,
            prefix: settings.prefix.as_str().into(),
            timeout: settings.timeout,
            part_size: usize::try_from(settings.part_size).unwrap_or(usize::MAX),
        })
    }

    /// What every key starts with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Asks whether the bucket is there and lets us in.
    ///
    /// # Errors
    /// When it is not.
    pub async fn check(&self) -> Result<(), StoreError> {
        let failed = |source| StoreError::Check { bucket: self.bucket.to_string(), source };
        let request = self.client.bucket_exists(&self.bucket).map_err(|error| failed(Cause::other(error)))?.build();
        let answer = self.limited(request.send()).await.map_err(failed)?;
        if answer.exists() { Ok(()) } else { Err(failed(Cause::NoBucket)) }
    }

    /// Stores a small object in one request.
    ///
    /// # Errors
    /// When it can't be stored.
    pub async fn put(&self, key: &str, content: Bytes, content_type: &str) -> Result<Stored, StoreError> {
        let failed = |source| StoreError::Put { key: key.to_owned(), source };
        let stored =
            Stored { size: u64::try_from(content.len()).unwrap_or(u64::MAX), sha256: digest::sha256(&content) };
        let request = minio::s3::builders::PutObject::builder()
            .inner(
                minio::s3::builders::UploadPart::builder()
                    .client(self.client.clone())
                    .bucket(self.bucket.clone())
                    .object(object_key(key).map_err(failed)?)
                    .data(Arc::new(SegmentedBytes::from(content)))
                    .content_type(content_type.to_owned())
                    .build(),
            )
            .build();
        self.limited(request.send()).await.map_err(failed)?;
        Ok(stored)
    }

    /// Begins an object whose size is not known yet; nothing is visible before [`ObjectWriter::finish`].
    pub fn writer(&self, key: &str, content_type: &str) -> ObjectWriter {
        ObjectWriter::new(self.clone(), key, content_type)
    }

    /// Stores what `source` yields. An error of `source` leaves no object.
    ///
    /// # Errors
    /// When `source` fails, or the object can't be stored.
    pub async fn put_stream<S, E>(&self, key: &str, source: S, content_type: &str) -> Result<Stored, StoreError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut writer = self.writer(key, content_type);
        let mut source = std::pin::pin!(source);
        while let Some(chunk) = source.next().await {
            match chunk {
                Ok(chunk) => writer.write(&chunk).await?,
                Err(error) => {
                    writer.abort().await;
                    return Err(StoreError::Source { key: key.to_owned(), source: error.into() });
                }
            }
        }
        writer.finish().await
    }

    /// Reads a small object whole; `None` when there is none.
    ///
    /// # Errors
    /// When it can't be read, or has more than `limit` bytes.
    pub async fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(mut content) = self.get_stream(key).await? else { return Ok(None) };
        let too_large = || StoreError::TooLarge { key: key.to_owned(), limit };
        if content.size > limit {
            return Err(too_large());
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::with_capacity(usize::try_from(content.size).unwrap_or_default());
        while let Some(chunk) = content.stream.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() > limit {
                return Err(too_large());
            }
        }
        Ok(Some(bytes.freeze()))
    }

    /// Opens an object; `None` when there is none.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn get_stream(&self, key: &str) -> Result<Option<Content>, StoreError> {
        self.get_range(key, None).await
    }

    /// Opens an object, or a range of it that it has; `None` when there is no object.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn get_range(&self, key: &str, range: Option<ByteRange>) -> Result<Option<Content>, StoreError> {
        let key_text: Arc<str> = key.into();
        let failed = |source| StoreError::Get { key: key.to_owned(), source };
        let key = object_key(key).map_err(failed)?;
        let request = self
            .client
            .get_object(&self.bucket, key)
            .map_err(|error| failed(Cause::other(error)))?
            .offset(range.map(|range| range.offset))
            .length(range.map(|range| range.length))
            .build();
        let answer = match self.limited(request.send()).await {
            Err(cause) if cause.is_missing_key() => return Ok(None),
            answer => answer.map_err(failed)?,
        };
        let (body, size) = answer.into_boxed_stream().map_err(|error| failed(Cause::from(error)))?;
        let timeout = self.timeout;
        let stream = stream::try_unfold((body, key_text), move |(mut body, key)| async move {
            let failed = |source| StoreError::Get { key: key.to_string(), source };
            match tokio::time::timeout(timeout, body.next()).await {
                Err(_) => Err(failed(Cause::Timeout(timeout))),
                Ok(Some(Err(error))) => Err(failed(Cause::Network(Box::new(error)))),
                Ok(Some(Ok(chunk))) => Ok(Some((chunk, (body, key)))),
                Ok(None) => Ok(None),
            }
        });
        Ok(Some(Content { size, stream: stream.boxed() }))
    }

    /// The size of an object; `None` when there is none.
    ///
    /// # Errors
    /// When the service does not say.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let failed = |source| StoreError::Head { key: key.to_owned(), source };
        let object = object_key(key).map_err(failed)?;
        let request =
            self.client.stat_object(&self.bucket, object).map_err(|error| failed(Cause::other(error)))?.build();
        match self.limited(request.send()).await {
            Err(cause) if cause.is_missing_key() => Ok(None),
            answer => answer.map_err(failed)?.size().map(Some).map_err(|error| failed(Cause::other(error))),
        }
    }

    /// Deletes an object; that there was none is no error.
    ///
    /// # Errors
    /// When it can't be deleted.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let failed = |source| StoreError::Delete { key: key.to_owned(), source };
        let object = object_key(key).map_err(failed)?;
        let request =
            self.client.delete_object(&self.bucket, object).map_err(|error| failed(Cause::other(error)))?.build();
        match self.limited(request.send()).await {
            Err(cause) if cause.is_missing_key() => Ok(()),
            answer => answer.map(drop).map_err(failed),
        }
    }

    /// One page of the objects whose key starts with `prefix`, in the order of their keys: at most `limit` (up to 1000),
    /// beginning after the key `after`. A page that is not full is the last one.
    ///
    /// # Errors
    /// When the service does not list them.
    pub async fn list(&self, prefix: &str, after: Option<&str>, limit: u16) -> Result<Vec<Listed>, StoreError> {
        let failed = |source| StoreError::List { prefix: prefix.to_owned(), source };
        let request = self
            .client
            .list_objects(&self.bucket)
            .map_err(|error| failed(Cause::other(error)))?
            .prefix(prefix.to_owned())
            .start_after(after.map(str::to_owned))
            .max_keys(limit.min(1000))
            .recursive(true)
            // Some services say that they encode keys, and do not: what has a `=`, as outputs may, would be cut there.
            .disable_url_encoding(true)
            .build();
        let answer = self.limited(async move { request.to_stream().await.next().await.transpose() });
        let page = answer.await.map_err(failed)?;
        let entries = page.into_iter().flat_map(|page| page.contents).filter(|entry| !entry.is_prefix);
        Ok(entries.map(|entry| Listed { key: entry.name, size: entry.size.unwrap_or_default() }).collect())
    }

    /// A URL under which anybody can read the object for a while. The service is asked to answer with this media type and
    /// content disposition, whatever it was stored with.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn presign_get(
        &self,
        key: &str,
        valid_for: Duration,
        media_type: &str,
        disposition: &str,
    ) -> Result<String, StoreError> {
        let failed = |source| StoreError::Presign { key: key.to_owned(), source };
        let object = object_key(key).map_err(failed)?;
        // Amazon S3, GetObject: "overriding response header values".
        let mut overridden = Multimap::new();
        overridden.add("response-content-type", media_type);
        overridden.add("response-content-disposition", disposition);
        let request = self
            .presigning
            .get_presigned_object_url(&self.bucket, object, Method::GET)
            .map_err(|error| failed(Cause::other(error)))?
            .extra_query_params(overridden)
            .expiry_seconds(u32::try_from(valid_for.as_secs()).unwrap_or(u32::MAX))
            .build();
        Ok(self.limited(request.send()).await.map_err(failed)?.url)
    }

    async fn limited<T>(&self, request: impl Future<Output = Result<T, MinioError>>) -> Result<T, Cause> {
        match tokio::time::timeout(self.timeout, request).await {
            Ok(answer) => answer.map_err(Cause::from),
            Err(_) => Err(Cause::Timeout(self.timeout)),
        }
    }
}

fn client(settings: &StoreSettings, endpoint: &str) -> Result<MinioClient, StoreError> {
    let wrong = |error: minio::s3::error::ValidationErr| StoreError::Settings { source: Cause::other(error) };
    // The path of a URL such as `https://s3.example.org/` is no path.
    let mut base: BaseUrl = endpoint.trim_end_matches('/').parse().map_err(wrong)?;
    base.virtual_style = !settings.path_style;
    if let Some(region) = &settings.region {
        base.region = Region::new(region).map_err(wrong)?;
    } else if base.region.as_str().is_empty() && !base.is_aws_host() {
        // Spares a request for the region, which needs a permission of its own.
        base.region = Region::new(DEFAULT_REGION).map_err(wrong)?;
    }
    MinioClientBuilder::new(base)
        .provider(Some(StaticProvider::new(&settings.key, settings.secret.reveal(), None)))
        .build()
        .map_err(|error| StoreError::Settings { source: Cause::from(error) })
}

fn object_key(key: &str) -> Result<ObjectKey, Cause> {
    ObjectKey::new(key).map_err(Cause::other)
}
