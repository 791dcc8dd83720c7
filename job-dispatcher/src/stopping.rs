//! A dismissed job keeps its place among the live ones until what it runs has stopped: pure.

use std::time::Duration;

use jiff::Timestamp;
use protocol::{JobRecord, deadline::has_passed, job_record::Status};

use crate::executor::Observation;

/// A pod has 30 seconds to stop, unless it says otherwise. One of a node that is gone never does, and keeps no place for it.
const LIMIT: Duration = Duration::from_secs(60);

/// True of a job that was dismissed so lately that something of it may still run.
pub(crate) fn may_be_stopping(record: &JobRecord, now: Timestamp) -> bool {
    record.status == Status::Dismissed && !has_passed(LIMIT, record.finished.unwrap_or(record.updated), now)
}

/// True while what a dismissed job runs is still to stop; `there` is what is seen of the job.
pub(crate) fn is_stopping(record: &JobRecord, there: Option<&Observation>, now: Timestamp) -> bool {
    let named = record.workload.as_ref().and_then(|workload| workload.job_uid.as_deref());
    let runs = there.is_some_and(|there| named == Some(there.uid.as_str()) && there.runs());
    runs && may_be_stopping(record, now)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use protocol::{
        JobId,
        job_record::{ArchiveState, ExecutorKind, Workload},
    };

    use super::*;
    use crate::executor::{ContainerObservation, ContainerState, JobState, PodObservation};

    fn seen(record: &JobRecord, uid: &str, state: ContainerState) -> Observation {
        let now = Timestamp::UNIX_EPOCH;
        let container =
            ContainerObservation { name: "main".into(), image: String::new(), memory_limit: None, init: false, state };
        let pod = PodObservation {
            name: "p".into(),
            uid: "u".into(),
            created: now,
            terminating: false,
            gone_by: None,
            phase_is_last: false,
            disruption: None,
            reason: None,
            message: None,
            unschedulable: None,
            containers: vec![container],
        };
        Observation {
            job_id: record.job_id,
            process_id: None,
            namespace: "n".into(),
            job_name: "j".into(),
            uid: uid.into(),
            terminating: false,
            created: now,
            state: JobState::Active,
            suspended: false,
            queue: None,
            retries: 0,
            uploads: None,
            pods: vec![pod],
            refused: None,
        }
    }

    #[test]
    fn a_dismissed_job_is_stopping_while_its_own_container_runs_and_for_a_minute_at_most() {
        let (id, now) = (JobId::generate(1), Timestamp::UNIX_EPOCH);
        let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        record.status = Status::Dismissed;
        record.finished = Some(now);
        let workload = Workload::new(ExecutorKind::Kubernetes, "n", "j");
        record.workload = Some(Workload { job_uid: Some("a".into()), ..workload });
        let running = seen(&record, "a", ContainerState::Running { started: None });
        let at = |seconds| now + SignedDuration::from_secs(seconds);
        assert!(is_stopping(&record, Some(&running), at(59)));
        assert!(!is_stopping(&record, Some(&running), at(60)), "it can't be waited for, for ever");
        assert!(!is_stopping(&record, None, now));
        let other = seen(&record, "b", ContainerState::Running { started: None });
        assert!(!is_stopping(&record, Some(&other), now), "it is not what the job runs");
        let waiting = seen(&record, "a", ContainerState::Waiting { reason: None, message: None });
        assert!(!is_stopping(&record, Some(&waiting), now));
        record.status = Status::Running;
        assert!(!is_stopping(&record, Some(&running), now));
    }
}
