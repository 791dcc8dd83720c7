//! Fetches under guard: no proxy, no redirect that was not checked, no byte beyond the limits.

use std::{error::Error, sync::Arc};

use bytes::BytesMut;
use reqwest::{Client, Method, Response, StatusCode, header};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::ReferenceSettings;
use crate::{
    guard::{self, Forbidden, Policy},
    memory::{self, Memory, Portion},
};

/// References that one gateway fetches at the same time.
const AT_ONCE: usize = 16;
/// Values that are held against their schemas at the same time.
const JUDGED_AT_ONCE: usize = 1;
/// Answers to HEAD that say that the server does not do that, or, being signed, only for GET.
const NO_HEAD: [StatusCode; 4] =
    [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];

/// Why a reference can't be used. Nothing that a foreign server sent is in the text.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// Not connected to.
    #[error("{0}")]
    Forbidden(Forbidden),
    /// Not connected to, after a redirect.
    #[error("redirects to what {0}")]
    RedirectForbidden(Forbidden),
    /// Too many redirects.
    #[error("redirects more than {0} times")]
    Redirects(usize),
    /// A redirect without a place to go.
    #[error("redirects without saying where to")]
    Nowhere,
    /// No connection, or one that broke off.
    #[error("could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// An answer that is no success.
    #[error("was answered with status {0}")]
    Status(u16),
    /// Too slow.
    #[error("took longer than {0} seconds")]
    Slow(f64),
    /// Too large.
    #[error("has more than {0} bytes")]
    TooLarge(u64),
    /// Too many others are being fetched: nothing is wrong with this one.
    #[error("waited longer than {0} seconds for others to be fetched")]
    Busy(f64),
    /// Others take the memory: nothing is wrong with this one.
    #[error("could not be fetched while so much else is")]
    NoMemory,
}

/// What a server says of a value without sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `Content-Type`.
    pub media_type: Option<String>,
    /// `Content-Length`.
    pub length: Option<u64>,
}

/// A value that was read.
#[derive(Debug)]
pub struct Fetched {
    /// `Content-Type`.
    pub media_type: Option<String>,
    /// All of it.
    pub bytes: bytes::Bytes,
    /// What it takes of the memory.
    pub portion: Portion,
}

/// Fetches what references lead to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct References {
    client: Client,
    policy: Policy,
    settings: ReferenceSettings,
    memory: Memory,
    at_once: Arc<Semaphore>,
    judged: Arc<Semaphore>,
}

impl References {
    /// As configured; what is fetched is taken out of `memory`.
    ///
    /// # Errors
    /// When the settings are not allowed, or there is no TLS.
    pub fn new(settings: &ReferenceSettings, memory: Memory) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let policy = settings.policy()?;
        let client = guard::client(&policy).build()?;
        let [at_once, judged] = [AT_ONCE, JUDGED_AT_ONCE].map(|permits| Arc::new(Semaphore::new(permits)));
        Ok(Self { client, policy, settings: settings.clone(), memory, at_once, judged })
    }

    /// What was configured.
    pub fn settings(&self) -> &ReferenceSettings {
        &self.settings
    }

    /// Waits until fewer than the limit are being fetched, at most as long as one may take.
    ///
    /// # Errors
    /// When that took too long.
    pub async fn turn(&self) -> Result<SemaphorePermit<'_>, ReferenceError> {
        self.acquire(&self.at_once).await
    }

    /// As [`References::turn`], before a value is held against its schema.
    ///
    /// # Errors
    /// When that took too long.
    pub async fn judging(&self) -> Result<SemaphorePermit<'_>, ReferenceError> {
        self.acquire(&self.judged).await
    }

    async fn acquire<'s>(&self, semaphore: &'s Semaphore) -> Result<SemaphorePermit<'s>, ReferenceError> {
        let limit = self.settings.timeout;
        match tokio::time::timeout(limit, semaphore.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(ReferenceError::Busy(limit.as_secs_f64())),
        }
    }

    /// Whether a URL may be connected to, as far as it shows.
    ///
    /// # Errors
    /// When it may not.
    pub fn check(&self, url: &str) -> Result<(), ReferenceError> {
        self.policy.parse(url).map(|_| ()).map_err(ReferenceError::Forbidden)
    }

    /// What a server says of a value.
    ///
    /// # Errors
    /// When it may not be reached, can't, or has nothing.
    pub async fn head(&self, url: &str) -> Result<Head, ReferenceError> {
        let answer = match self.follow(Method::HEAD, url).await {
            Err(ReferenceError::Status(status)) if NO_HEAD.iter().any(|other| other.as_u16() == status) => {
                // Dropped after its head, the answer's body is never read.
                self.follow(Method::GET, url).await?
            }
            answered => answered?,
        };
        Ok(Head { media_type: media_type(&answer), length: length(&answer) })
    }

    /// A whole value, of at most `max_bytes`.
    ///
    /// # Errors
    /// When it may not be reached, can't, is larger, or others take the memory.
    pub async fn get(&self, url: &str) -> Result<Fetched, ReferenceError> {
        let limit = self.settings.max_bytes;
        let mut answer = self.follow(Method::GET, url).await?;
        if length(&answer).is_some_and(|length| length > limit) {
            return Err(ReferenceError::TooLarge(limit));
        }
        let media_type = media_type(&answer);
        let (mut bytes, mut portion) = (BytesMut::new(), self.memory.take(0).ok_or(ReferenceError::NoMemory)?);
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable_or_forbidden(error, false))? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(ReferenceError::TooLarge(limit));
            }
            // Taken as it comes: a slow server holds no more than it sent.
            if !portion.grow(memory::growing(bytes.len() + chunk.len())) {
                return Err(ReferenceError::NoMemory);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Fetched { media_type, bytes: bytes.freeze(), portion })
    }

    /// Asks, and follows redirects, each under the same guard as the first.
    async fn follow(&self, method: Method, url: &str) -> Result<Response, ReferenceError> {
        let mut url = self.policy.parse(url).map_err(ReferenceError::Forbidden)?;
        for redirects in 0..=self.settings.max_redirects {
            let request = self.client.request(method.clone(), url.clone());
            let answer = request.send().await.map_err(|error| unreachable_or_forbidden(error, redirects > 0))?;
            let status = answer.status();
            if status.is_success() {
                return Ok(answer);
            }
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Err(ReferenceError::Status(status.as_u16()));
            }
            url = self.target(&url, &answer)?;
        }
        Err(ReferenceError::Redirects(self.settings.max_redirects))
    }

    fn target(&self, from: &Url, answer: &Response) -> Result<Url, ReferenceError> {
        let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let target = from.join(location.ok_or(ReferenceError::Nowhere)?).map_err(|_| ReferenceError::Nowhere)?;
        self.policy.check(&target).map_err(ReferenceError::RedirectForbidden)?;
        Ok(target)
    }
}

fn unreachable_or_forbidden(error: reqwest::Error, is_redirected: bool) -> ReferenceError {
    match guard::refusal(&error) {
        Some(why) if is_redirected => ReferenceError::RedirectForbidden(why),
        Some(why) => ReferenceError::Forbidden(why),
        // The URL is the client's, and may carry a signature.
        None => ReferenceError::Unreachable(error.without_url()),
    }
}

fn media_type(answer: &Response) -> Option<String> {
    Some(answer.headers().get(header::CONTENT_TYPE)?.to_str().ok()?.to_owned())
}

fn length(answer: &Response) -> Option<u64> {
    answer.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
