//! The archived log of a job, or a range of it.

use std::borrow::Cow;

use actix_web::{HttpRequest, HttpResponse};
use futures::TryStreamExt;
use platform::object_store::ByteRange;
use protocol::{
    JobRecord,
    job_record::{Archive, ArchiveState, Place},
};

use super::{
    printed::{Content, Output},
    values::Values,
};
use crate::error::GatewayError;

/// Logs are what containers wrote: nobody knows their encoding, and most are of this one.
pub(crate) const LOG: &str = "text/plain; charset=utf-8";

impl Values {
    /// The bytes of a job's log.
    ///
    /// # Errors
    /// When there is none, or it can't be read.
    pub async fn log(&self, record: &JobRecord, request: &HttpRequest) -> Result<HttpResponse, GatewayError> {
        self.sent(&archived(record)?, None, request).await
    }

    /// The bytes of the log of one container, which is a section of the archive.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) async fn log_of_container(
        &self,
        record: &JobRecord,
        section: Section,
        request: &HttpRequest,
    ) -> Result<HttpResponse, GatewayError> {
        let Section { key, start, size, sha256 } = section;
        let (id, media_type) = (name_of_log(record), LOG.to_owned());
        self.sent(&Output { id, media_type, size, sha256, content: Content::Section(key, start) }, None, request).await
    }

    /// The last bytes of the archived log, no more than so many, and how many are before them.
    ///
    /// # Errors
    /// When there is none, or it can't be read.
    pub(crate) async fn end_of_log(&self, record: &JobRecord, most: u64) -> Result<(Vec<u8>, u64), GatewayError> {
        let log = archived(record)?;
        let offset = log.size.saturating_sub(most);
        if log.size == 0 {
            return Ok((Vec::new(), 0));
        }
        let chunks = self.open(&log, Some(ByteRange { offset, length: log.size - offset })).await?;
        let chunks: Vec<bytes::Bytes> = chunks.try_collect().await?;
        Ok((chunks.concat(), offset))
    }

    /// Why there is no log.
    pub(crate) fn no_log(&self, record: &JobRecord) -> GatewayError {
        GatewayError::NoLog(why(&record.archive))
    }
}

/// Where in the archive the log of a container is.
pub(crate) struct Section {
    /// Key of the archive.
    pub key: String,
    /// Place of its first byte.
    pub start: u64,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of these bytes, in hexadecimal.
    pub sha256: String,
}

/// What the log is called as a file.
pub(crate) fn name_of_log(record: &JobRecord) -> String {
    format!("{}-log", record.job_id)
}

fn archived(record: &JobRecord) -> Result<Output, GatewayError> {
    let Archive { key, size, sha256, .. } = &record.archive;
    match (key, size) {
        (Some(key), Some(size)) if record.archive.is_readable() => Ok(Output {
            id: name_of_log(record),
            media_type: LOG.to_owned(),
            size: *size,
            sha256: sha256.clone().unwrap_or_default(),
            content: Content::Stored(Place::Object(key.clone())),
        }),
        _ => Err(GatewayError::NoLog(why(&record.archive))),
    }
}

fn why(archive: &Archive) -> Cow<'static, str> {
    let words = match archive.state {
        ArchiveState::Pending => "the log of the job is not archived yet",
        ArchiveState::Unavailable => "no bucket is configured: the log is archived once one is",
        ArchiveState::Off => "the log of the job is not archived: the job was never launched, or archives are off",
        ArchiveState::Stored | ArchiveState::Gap | ArchiveState::Other(_) => match archive.gaps.first() {
            Some(gap) => return format!("there is no log of the job: {gap}").into(),
            None => "the job left no log",
        },
    };
    words.into()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::JobId;

    use super::*;

    fn record(archive: Archive) -> JobRecord {
        let id = JobId::generate(1000);
        let created = Timestamp::UNIX_EPOCH;
        JobRecord { archive, ..JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), created, ArchiveState::Off) }
    }

    #[test]
    fn a_log_is_there_once_it_is_archived() {
        let stored = |state| Archive { key: Some("k".into()), size: Some(3), ..Archive::new(state) };
        for state in [ArchiveState::Stored, ArchiveState::Gap] {
            let output = archived(&record(stored(state))).unwrap();
            assert_eq!((output.size, output.content), (3, Content::Stored(Place::Object("k".into()))));
        }
        for archive in [
            Archive::new(ArchiveState::Pending),
            Archive::new(ArchiveState::Unavailable),
            Archive::new(ArchiveState::Off),
            Archive::new(ArchiveState::Gap),
            // A removal names the key of what is being deleted.
            Archive { key: Some("k".into()), ..Archive::new(ArchiveState::Stored) },
        ] {
            assert!(matches!(archived(&record(archive)), Err(GatewayError::NoLog(_))));
        }
        let lost = Archive { gaps: vec!["the pod was gone".into()], ..Archive::new(ArchiveState::Gap) };
        assert_eq!(why(&lost), "there is no log of the job: the pod was gone");
    }
}
