//! The log of a job while it runs: parts in the bucket, and the tail that its follower still holds.
//!
//! A part holds bytes of the log of one container. Its object is one line of JSON, the [`PartHeader`], a line end, then these
//! bytes as the container wrote them ([`framed`]); the answers of a follower have the same form ([`tail`]). Offsets count the
//! bytes of that container's log that were kept, from 0: what is lost in a gap counts nothing. The key of a part says where
//! its bytes belong ([`PartKey`]), so that a listing alone tells which parts there are.
//!
//! Each follower writes under an epoch of its own, so that several may overlap: [`chain`] tells which parts count. A follower
//! that takes over goes on where the longest chain ends, and names that part in the first of its own.

pub mod chain;
mod key;
mod mark;
pub mod tail;

use jiff::Timestamp;
use memchr::memchr;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::{
    key::{LogName, PartKey},
    mark::Mark,
};
use crate::{Unknown, evolution, job_id::Epoch, manifest::Gap};

/// No header of a part or an answer is longer, its line end included.
pub const HEADER_LIMIT: usize = 64 * 1024;
/// [`PartHeader::index`] has one entry for at least so many bytes.
pub const INDEX_STEP: u64 = 64 * 1024;

/// What the first line of a part says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartHeader {
    /// [`crate::SCHEMA`] of the writer.
    #[serde(deserialize_with = "evolution::understood")]
    pub schema: u32,
    /// Whose log it is.
    pub of: LogOf,
    /// Place of its first byte in the container's log.
    pub start: u64,
    /// Bytes that follow the header.
    pub size: u64,
    /// SHA-256 of these bytes, in hexadecimal.
    pub sha256: String,
    /// When the first line that begins in this part was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When the last line that begins in this part was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// Lines that begin in this part, far apart: where in the container's log, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub index: Vec<(u64, Timestamp)>,
    /// How the log goes on after this part; absent of a log that has no line yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// What is missing right before or within this part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// The part of an earlier epoch that this one goes on after; absent of all but the first part of an epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// True of the last part of a log that was read to the end of its container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A container whose log is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogOf {
    /// Pod.
    pub pod: String,
    /// When the pod was created, where that is known: the order of a job's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_created: Option<Timestamp>,
    /// Container.
    pub container: String,
    /// Place of the container in its pod, init containers first.
    pub place: u32,
    /// True of an init container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// True of the container whose log holds the result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub main: bool,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl LogOf {
    /// The order of a job's logs: by pods as they were created, then by their containers.
    pub fn order(&self) -> (Option<Timestamp>, &str, u32) {
        (self.pod_created, &self.pod, self.place)
    }
}

/// Where an epoch goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Previous {
    /// The epoch of the part before.
    pub epoch: Epoch,
    /// Place of that part's first byte.
    pub start: u64,
    /// Its bytes.
    pub size: u64,
}

/// These bytes are no part and no answer.
#[derive(Debug, thiserror::Error)]
pub enum FramingError {
    /// There is no line end where one has to be.
    #[error("the header does not end within {HEADER_LIMIT} bytes")]
    NoHeader,
    /// The header is none.
    #[error("the header can't be read")]
    Header(#[source] serde_json::Error),
}

/// A header, a line end, and what follows it.
///
/// # Errors
/// When the header can't be written as JSON.
pub fn framed(header: &impl Serialize, bytes: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = serde_json::to_vec(header)?;
    out.reserve(bytes.len() + 1);
    out.push(b'\n');
    out.extend_from_slice(bytes);
    Ok(out)
}

/// The inverse of [`framed`]: the header, and where what follows it begins. The end of `bytes` may be missing.
///
/// # Errors
/// When it does not begin with a header.
pub fn header<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), FramingError> {
    let head = &bytes[..bytes.len().min(HEADER_LIMIT)];
    let end = memchr(b'\n', head).ok_or(FramingError::NoHeader)?;
    Ok((serde_json::from_slice(&head[..end]).map_err(FramingError::Header)?, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SCHEMA, digest};

    fn header_of(bytes: &[u8]) -> PartHeader {
        PartHeader {
            schema: SCHEMA,
            of: LogOf {
                pod: "p".into(),
                pod_created: None,
                container: "main".into(),
                place: 0,
                init: false,
                main: true,
                unknown: Unknown::new(),
            },
            start: 7,
            size: bytes.len() as u64,
            sha256: digest::sha256(bytes),
            first: None,
            last: None,
            index: vec![(7, Timestamp::UNIX_EPOCH)],
            mark: None,
            gaps: Vec::new(),
            previous: Some(Previous { epoch: Epoch::generate(), start: 0, size: 7 }),
            ended: true,
            unknown: Unknown::new(),
        }
    }

    #[test]
    fn a_part_comes_back_with_its_bytes_whatever_they_are() {
        for bytes in [&b""[..], b"\n", b"a\nb", b"\xff\0{}\n"] {
            let framed = framed(&header_of(bytes), bytes).unwrap();
            let (read, begin) = header::<PartHeader>(&framed).unwrap();
            let expected = PartHeader { previous: read.previous.clone(), ..header_of(bytes) };
            assert_eq!((read, &framed[begin..]), (expected, bytes));
        }
    }

    #[test]
    fn a_header_that_is_cut_or_none_is_refused() {
        let framed = framed(&header_of(b"x"), b"x").unwrap();
        for cut in 0..framed.len() - 2 {
            assert!(header::<PartHeader>(&framed[..cut]).is_err(), "{cut}");
        }
        assert!(header::<PartHeader>(&vec![b' '; 2 * HEADER_LIMIT]).is_err());
        assert!(header::<PartHeader>(b"{}\nx").is_err());
    }

    #[test]
    fn members_of_a_newer_version_come_back() {
        let mut json = serde_json::to_value(header_of(b"x")).unwrap();
        (json["later"], json["of"]["later"]) = (1.into(), 2.into());
        let read: PartHeader = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), json);
    }
}
