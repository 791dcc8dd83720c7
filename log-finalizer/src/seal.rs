//! What is decided about a record: what is to be done with it, and what the seal makes of it. Pure.

use std::time::Duration;

use jiff::Timestamp;
use protocol::{
    Event, JobRecord,
    deadline::has_passed,
    job_id::Epoch,
    job_record::{Archive, ArchiveState, Outcome, Phase, Reason, Status, StoredResult},
    manifest::{Gap, GapKind},
};

/// What is to be done for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Todo {
    /// Nothing (now).
    Nothing,
    /// Store everything, then seal.
    Seal,
    /// It is terminal: store its log, then tell.
    ArchiveLate,
    /// Everything is stored and told: let the pod go.
    Release,
}

/// What a record asks for.
pub(crate) fn todo(record: &JobRecord, has_store: bool) -> Todo {
    match record.phase() {
        Phase::Accepted | Phase::Launching | Phase::Running => Todo::Nothing,
        Phase::Ended => Todo::Seal,
        // A newer version knows what this state asks for.
        Phase::Terminal if matches!(record.archive.state, ArchiveState::Other(_)) => Todo::Nothing,
        Phase::Terminal if record.archive.state.is_settled() => Todo::Release,
        // Nobody keeps the containers of a dismissed job, so its log can't wait for a bucket.
        Phase::Terminal if has_store || record.status == Status::Dismissed => Todo::ArchiveLate,
        Phase::Terminal => Todo::Nothing,
    }
}

/// When the execution ended: the day in the archive's name.
pub(crate) fn ended_at(record: &JobRecord) -> Timestamp {
    record.finished.unwrap_or(record.updated)
}

/// True when `limit` has passed since the execution ended.
pub(crate) fn is_past(record: &JobRecord, limit: Duration, now: Timestamp) -> bool {
    has_passed(limit, ended_at(record), now)
}

/// What storing came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Findings {
    /// The archive.
    pub archive: Archive,
    /// The results.
    pub results: Vec<StoredResult>,
    /// Why an execution that succeeded must fail all the same.
    pub failure: Option<(Reason, String)>,
}

/// The record as the seal makes it; `None` when the record is not waiting for one.
pub(crate) fn sealed(record: &JobRecord, findings: &Findings, now: Timestamp) -> Option<(Event, JobRecord)> {
    let outcome = record.outcome.as_ref().filter(|_| record.phase() == Phase::Ended)?;
    let mut next = record.next(now);
    let outcome = match &findings.failure {
        Some((reason, message)) if outcome.is_success() => {
            Outcome { reason: Some(*reason), message: message.clone(), ..outcome.clone() }
        }
        _ => outcome.clone(),
    };
    next.message = Some(match findings.archive.state {
        ArchiveState::Unavailable => format!("{}; no bucket is configured, the log waits", outcome.message),
        ArchiveState::Gap => format!("{}; the log archive is not complete", outcome.message),
        ArchiveState::Stored | ArchiveState::Off | ArchiveState::Pending | ArchiveState::Other(_) => {
            outcome.message.clone()
        }
    });
    next.archive = findings.archive.clone();
    let event = if outcome.is_success() {
        next.status = Status::Successful;
        next.progress = Some(100);
        next.results = findings.results.clone();
        Event::Successful
    } else {
        next.status = Status::Failed;
        next.results = Vec::new();
        Event::Failed
    };
    next.outcome = Some(outcome);
    Some((event, next))
}

/// The terminal record whose archive came later; `None` when it waits for none.
pub(crate) fn archived(
    record: &JobRecord,
    archive: &Archive,
    results: &[StoredResult],
    now: Timestamp,
) -> Option<JobRecord> {
    if record.phase() != Phase::Terminal || record.archive.state.is_settled() {
        return None;
    }
    let mut next = record.next(now);
    // A message that says that the log waits is not true any more.
    if record.archive.state == ArchiveState::Unavailable
        && let Some(outcome) = &record.outcome
    {
        next.message = Some(outcome.message.clone());
    }
    next.archive = archive.clone();
    next.results = results.to_vec();
    Some(next)
}

/// The record that tells why storing takes so long; `None` when it says so already, or is not waiting.
pub(crate) fn waiting(record: &JobRecord, why: &str, now: Timestamp) -> Option<JobRecord> {
    let message = format!("the execution ended; result and log can't be stored yet: {why}");
    if record.phase() != Phase::Ended || record.message.as_deref() == Some(&message) {
        return None;
    }
    let mut next = record.next(now);
    next.message = Some(message);
    Some(next)
}

/// The archive that could not be, or could not be whole.
pub(crate) fn gap(epoch: Option<&Epoch>, why: impl Into<String>) -> Archive {
    Archive { epoch: epoch.cloned(), gaps: vec![why.into()], ..Archive::new(ArchiveState::Gap) }
}

/// Gaps that are told one by one: a record has to fit into a message.
const TOLD_GAPS: usize = 100;

/// In public words: what is missing from an archive. The manifest has the causes, and all of them.
pub(crate) fn public_gaps(gaps: &[Gap]) -> Vec<String> {
    let say = |gap: &Gap| {
        let what = match gap.kind {
            Some(GapKind::Rotation | GapKind::Damaged) => "lacks a part",
            Some(GapKind::TooLarge) => "was too large to be kept whole",
            _ => "could not be read to its end",
        };
        format!("the log of container '{}' {what}", gap.container)
    };
    let mut told: Vec<String> = gaps.iter().take(TOLD_GAPS).map(say).collect();
    if gaps.len() > TOLD_GAPS {
        told.push(format!("and {} more, which the manifest names", gaps.len() - TOLD_GAPS));
    }
    told
}

/// Why an execution that succeeded must fail when its result is not known.
pub(crate) fn not_collected(why: &str) -> (Reason, String) {
    (Reason::ResultsNotCollected, format!("the container ended well, but {why}"))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use protocol::JobId;

    use super::*;

    fn ended(reason: Option<Reason>) -> JobRecord {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let mut record =
            JobRecord::accepted(JobId::generate(1), "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        record.status = Status::Running;
        record.finished = Some(now);
        record.outcome =
            Some(Outcome { reason, exit_code: Some(0), message: "it ended".into(), unknown: protocol::Unknown::new() });
        record
    }

    fn findings(state: ArchiveState) -> Findings {
        Findings { archive: Archive::new(state), results: Vec::new(), failure: None }
    }

    #[test]
    fn gaps_without_end_are_told_in_a_bounded_record() {
        let gaps: Vec<Gap> = (0..20_000).map(|_| Gap::new(GapKind::Rotation, "pod", "main", "why")).collect();
        let told = public_gaps(&gaps);
        assert_eq!(told.len(), TOLD_GAPS + 1);
        assert_eq!(told[0], "the log of container 'main' lacks a part");
        assert_eq!(told[TOLD_GAPS], "and 19900 more, which the manifest names");
    }

    #[test]
    fn a_record_asks_for_what_its_phase_and_archive_say() {
        let mut record = ended(None);
        record.outcome = None;
        assert_eq!(todo(&record, true), Todo::Nothing, "running");
        assert_eq!(todo(&ended(None), false), Todo::Seal);
        for (status, state, has_store, expected) in [
            (Status::Successful, ArchiveState::Stored, true, Todo::Release),
            (Status::Failed, ArchiveState::Gap, false, Todo::Release),
            (Status::Dismissed, ArchiveState::Off, false, Todo::Release),
            (Status::Successful, ArchiveState::Unavailable, false, Todo::Nothing),
            (Status::Successful, ArchiveState::Unavailable, true, Todo::ArchiveLate),
            (Status::Dismissed, ArchiveState::Pending, true, Todo::ArchiveLate),
            (Status::Dismissed, ArchiveState::Pending, false, Todo::ArchiveLate),
        ] {
            let mut record = ended(None);
            (record.status, record.archive.state) = (status, state);
            assert_eq!(todo(&record, has_store), expected, "{status} {state:?} {has_store}");
        }
    }

    #[test]
    fn a_success_is_sealed_with_its_results_and_all_progress() {
        let (event, record) = sealed(&ended(None), &findings(ArchiveState::Stored), Timestamp::now()).unwrap();
        assert_eq!((event, record.status, record.progress), (Event::Successful, Status::Successful, Some(100)));
        assert_eq!(record.message.as_deref(), Some("it ended"));
        assert!(record.is_settled());
    }

    #[test]
    fn a_failed_execution_keeps_its_own_reason_whatever_storing_says() {
        let record = ended(Some(Reason::OOMKilled));
        let findings =
            Findings { failure: Some((Reason::StoreUnavailable, "no bucket".into())), ..findings(ArchiveState::Gap) };
        let (event, record) = sealed(&record, &findings, Timestamp::now()).unwrap();
        assert_eq!((event, record.status, record.progress), (Event::Failed, Status::Failed, None));
        assert_eq!(record.outcome.unwrap().reason, Some(Reason::OOMKilled));
    }

    #[test]
    fn a_success_whose_result_is_lost_fails_and_says_why() {
        let findings = Findings { failure: Some(not_collected("its pod was gone")), ..findings(ArchiveState::Gap) };
        let (event, record) = sealed(&ended(None), &findings, Timestamp::now()).unwrap();
        assert_eq!((event, record.outcome.unwrap().reason), (Event::Failed, Some(Reason::ResultsNotCollected)));
    }

    #[test]
    fn only_a_record_that_waits_is_sealed_or_archived() {
        let mut dismissed = ended(None);
        dismissed.status = Status::Dismissed;
        assert_eq!(sealed(&dismissed, &findings(ArchiveState::Stored), Timestamp::now()), None);
        let archive = gap(None, "x");
        let later = archived(&dismissed, &archive, &[], Timestamp::now()).unwrap();
        assert_eq!((later.status, later.archive.state), (Status::Dismissed, ArchiveState::Gap));
        assert_eq!(archived(&later, &archive, &[], Timestamp::now()), None);
        assert_eq!(archived(&ended(None), &archive, &[], Timestamp::now()), None);
    }

    #[test]
    fn the_reason_for_waiting_is_told_once() {
        let first = waiting(&ended(None), "no answer", Timestamp::now()).unwrap();
        assert_eq!(waiting(&first, "no answer", Timestamp::now()), None);
        assert!(waiting(&first, "refused", Timestamp::now()).is_some());
    }

    #[test]
    fn deadlines_count_from_the_end_of_the_execution() {
        let record = ended(None);
        let end = record.finished.unwrap();
        let day = Duration::from_secs(86_400);
        assert!(!is_past(&record, day, end + SignedDuration::from_hours(23)));
        assert!(is_past(&record, day, end + SignedDuration::from_hours(24)));
        assert!(!is_past(&record, Duration::MAX, end + SignedDuration::from_hours(24)));
    }
}
