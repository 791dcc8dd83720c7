//! What containers of jobs read and write themselves, and its way to where nobody but us writes.

use std::time::Duration;

use http::{
    Method,
    header::{CONTENT_TYPE, ETAG},
};
use minio::s3::{
    builders::{CopyObjectInternal, CopySource},
    response_traits::HasS3Fields,
    types::S3Api,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Cause, ObjectStore, StoreError, object_key};

/// What stays as it is in the path of a URL (RFC 3986, 2.3), and the separator of its segments.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A copy inside the service may take this long: it answers at its end, and an object may have 5 GiB.
const COPY_LIMIT: Duration = Duration::from_secs(1800);

/// What is there of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Changes whenever the object does.
    pub etag: String,
    /// As whoever stored it said.
    pub media_type: Option<String>,
}

impl ObjectStore {
    /// A URL under which a job's container can read the object for a while.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn presign_fetch(&self, key: &str, valid_for: Duration) -> Result<String, StoreError> {
        self.presign_for_pods(key, Method::GET, valid_for).await
    }

    /// A URL to which a job's container can write the object for a while, by PUT.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn presign_put(&self, key: &str, valid_for: Duration) -> Result<String, StoreError> {
        self.presign_for_pods(key, Method::PUT, valid_for).await
    }

    async fn presign_for_pods(&self, key: &str, method: Method, valid_for: Duration) -> Result<String, StoreError> {
        let failed = |source| StoreError::Presign { key: key.to_owned(), source };
        let object = object_key(key).map_err(failed)?;
        let request = self
            .for_pods
            .get_presigned_object_url(&self.bucket, object, method)
            .map_err(|error| failed(Cause::other(error)))?
            .expiry_seconds(u32::try_from(valid_for.as_secs()).unwrap_or(u32::MAX))
            .build();
        Ok(self.limited(request.send()).await.map_err(failed)?.url)
    }

    /// What is there of an object; `None` when it is not there.
    ///
    /// # Errors
    /// When the service does not tell.
    pub async fn stat(&self, key: &str) -> Result<Option<Stat>, StoreError> {
        let failed = |source| StoreError::Head { key: key.to_owned(), source };
        let object = object_key(key).map_err(failed)?;
        let request =
            self.client.stat_object(&self.bucket, object).map_err(|error| failed(Cause::other(error)))?.build();
        match self.limited(request.send()).await {
            Ok(answer) => {
                let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
                let size = answer.size().map_err(|error| failed(Cause::other(error)))?;
                Ok(Some(Stat { size, etag: header(ETAG).unwrap_or_default(), media_type: header(CONTENT_TYPE) }))
            }
            Err(cause) if cause.is_missing_key() => Ok(None),
            Err(cause) => Err(failed(cause)),
        }
    }

    /// Copies an object inside the service, if it is still the one with this ETag. False when it is not, or is gone.
    ///
    /// # Errors
    /// When the service does not copy it.
    pub async fn copy(&self, from: &str, etag: &str, to: &str) -> Result<bool, StoreError> {
        let failed = |source| StoreError::Put { key: to.to_owned(), source };
        // The header takes a URL's path, and the library does not encode it.
        let encoded = utf8_percent_encode(from, PATH).to_string();
        let source = CopySource::builder()
            .bucket(self.bucket.clone())
            .object(object_key(&encoded).map_err(failed)?)
            .match_etag(etag.to_owned())
            .build();
        let request = CopyObjectInternal::builder()
            .client(self.client.clone())
            .bucket(self.bucket.clone())
            .object(object_key(to).map_err(failed)?)
            .source(source)
            .build();
        match tokio::time::timeout(COPY_LIMIT, request.send()).await {
            Err(_) => Err(failed(Cause::Timeout(COPY_LIMIT))),
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) => match Cause::from(error) {
                cause if cause.is_missing_key() || cause.is_precondition() => Ok(false),
                cause => Err(failed(cause)),
            },
        }
    }
}
