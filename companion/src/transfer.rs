//! One object, to or from the bucket, again and again until its time is over.

use std::{
    io::{self, Read},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use ureq::{Agent, SendBody};

/// The network of a pod may come late, and a bucket may be away for a while.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How long a server may take to answer once all was sent.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Bytes read at one time.
const CHUNK: usize = 64 * 1024;

/// The bucket did not take or give an object.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// It said no, and will say so again.
    #[error("the bucket answered {0}")]
    Refused(u16),
    /// It is not there, or not well.
    #[error("the bucket could not be reached in time ({0})")]
    Unreachable(String),
    /// What is to be sent can't be read, or what came can't be written.
    #[error("the file can't be read or written")]
    File(#[source] io::Error),
}

/// Bytes and their hash.
pub(crate) struct Transferred {
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

pub(crate) fn agent() -> Agent {
    Agent::config_builder()
        .timeout_connect(Some(CONNECT_LIMIT))
        .timeout_recv_response(Some(ANSWER_LIMIT))
        .max_redirects(0)
        .http_status_as_error(false)
        .build()
        .into()
}

/// Tries until `deadline` what may fail for a passing cause.
pub(crate) fn persistently<T>(
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<T, Attempt>,
) -> Result<T, TransferError> {
    let mut pause = PAUSES.0;
    loop {
        let why = match attempt() {
            Ok(done) => return Ok(done),
            Err(Attempt::Final(error)) => return Err(error),
            Err(Attempt::Passing(why)) => why,
        };
        if Instant::now() + pause >= deadline {
            return Err(TransferError::Unreachable(why));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Why an attempt failed.
pub(crate) enum Attempt {
    Passing(String),
    Final(TransferError),
}

impl Attempt {
    /// What a status means: a server that is not well may be so later, and so may one that asks for less.
    fn of_status(status: u16) -> Self {
        match status {
            408 | 429 | 500.. => Self::Passing(format!("it answered {status}")),
            _ => Self::Final(TransferError::Refused(status)),
        }
    }

    fn of(error: &ureq::Error) -> Self {
        // The error's own text may hold the URL.
        let what = match error {
            ureq::Error::Timeout(_) => "it took too long",
            ureq::Error::HostNotFound => "its host is not known",
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "its certificate or TLS can't be used",
            ureq::Error::Io(_) | ureq::Error::ConnectionFailed => "the connection failed",
            _ => "the request failed",
        };
        Self::Passing(what.to_owned())
    }
}

/// Sends a body of known size by PUT.
pub(crate) fn put(
    agent: &Agent,
    url: &str,
    media_type: &str,
    size: u64,
    body: impl Read,
) -> Result<Transferred, Attempt> {
    let mut hashed = Hashed { inner: body.take(size), hash: Sha256::new(), size: 0, failure: None };
    let request = agent.put(url).header("content-type", media_type).header("content-length", size.to_string());
    let sent = request.send(SendBody::from_reader(&mut hashed));
    if let Some(error) = hashed.failure.take() {
        return Err(Attempt::Final(TransferError::File(error)));
    }
    let answer = sent.map_err(|error| Attempt::of(&error))?;
    match answer.status().as_u16() {
        200..=299 if hashed.size == size => Ok(Transferred { size, sha256: hex(&hashed.hash.finalize()) }),
        200..=299 => Err(Attempt::Passing("the file changed while it was sent".to_owned())),
        status => Err(Attempt::of_status(status)),
    }
}

/// Reads an object by GET into `sink`.
pub(crate) fn get(agent: &Agent, url: &str, sink: &mut impl io::Write) -> Result<Transferred, Attempt> {
    let mut answer = agent.get(url).call().map_err(|error| Attempt::of(&error))?;
    let status = answer.status().as_u16();
    if !(200..=299).contains(&status) {
        return Err(Attempt::of_status(status));
    }
    let mut body = answer.body_mut().as_reader();
    let (mut hash, mut size, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let read = body.read(&mut chunk).map_err(|_| Attempt::Passing("the connection broke".to_owned()))?;
        if read == 0 {
            return Ok(Transferred { size, sha256: hex(&hash.finalize()) });
        }
        hash.update(&chunk[..read]);
        size += read as u64;
        sink.write_all(&chunk[..read]).map_err(|error| Attempt::Final(TransferError::File(error)))?;
    }
}

/// Counts and hashes what is read.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    size: u64,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.hash.update(&buffer[..read]);
                self.size += read as u64;
                Ok(read)
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), "the file can't be read");
                self.failure = Some(error);
                Err(told)
            }
        }
    }
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
