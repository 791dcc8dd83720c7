//! What is left of the record of a job that is removed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Archive, JobRecord, Status};
use crate::Word;

/// Who removed a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemovedBy {
    /// Somebody who asked for it.
    Client,
    /// The sweep: the job was over its retention.
    Retention,
    /// Somebody whom a newer version knows.
    #[serde(untagged)]
    Other(Word),
}

impl JobRecord {
    /// The record of the removal of this job. Only what cleaning up needs: no inputs, no message, no result.
    #[must_use]
    pub fn removed(&self, by: RemovedBy, now: Timestamp) -> Self {
        let next = self.next(now);
        let archive = Archive { key: self.archive.key.clone(), ..Archive::new(self.archive.state) };
        let (id, process, version) = (self.job_id, self.process_id.clone(), self.process_version.clone());
        Self {
            status: Status::Dismissed,
            // Names the archive of a job that was dismissed and is not archived yet.
            finished: Some(self.finished.unwrap_or(self.updated)),
            updated: next.updated,
            attempt: self.attempt,
            workload: self.workload.clone(),
            archive,
            removed_by: Some(by),
            write_id: next.write_id,
            ..Self::accepted(id, process, version, self.created, self.archive.state)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobId, job_record::ArchiveState};

    #[test]
    fn a_removal_says_who_removed_and_an_older_one_does_not() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let job = JobRecord::accepted(JobId::generate(1), "p".parse().unwrap(), "1".into(), now, ArchiveState::Off);
        let mut json = serde_json::to_value(job.removed(RemovedBy::Retention, now)).unwrap();
        assert_eq!(json["removedBy"], "retention");
        json["removedBy"] = "operator".into();
        let read: JobRecord = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap()["removedBy"], "operator");
        json.as_object_mut().unwrap().remove("removedBy");
        assert_eq!(serde_json::from_value::<JobRecord>(json).unwrap().removed_by, None);
    }
}
