//! Every metric of the finalizer.

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use protocol::{JobRecord, job_record::ArchiveState};

use crate::{collect::Kept, seal};

/// The metrics; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    /// Tries that will be repeated.
    pub retried: Counter,
    /// Pods released.
    pub released: Counter,
    /// Removed jobs of which everything was deleted.
    pub removed: Counter,
    /// Jobs that were removed as they were over their retention.
    pub expired: Counter,
    /// Jobs whose earlier events were deleted.
    pub tidied: Counter,
    /// Jobs that the sweep had to take care of.
    pub swept: Counter,
    /// Jobs whose log waits for log storage, as the last sweep counted.
    pub waiting: Gauge,
    /// Containers whose logs are followed, those included of which not everything is stored.
    pub followed: Gauge,
    /// Containers that wait for a place among these.
    pub waits_to_be_followed: Gauge,
    /// Containers that may be followed.
    pub max_followed: Gauge,
    /// Bytes on disk that wait for the bucket.
    pub log_disk: Gauge,
    /// Bytes on disk that may.
    pub max_log_disk: Gauge,
    /// Parts of followed logs that were stored.
    pub parts: Counter,
    /// Tries at storing one that will be repeated.
    pub parts_failed: Counter,
    /// Bytes of followed logs that were stored.
    pub part_bytes: Counter,
    sealed: Family<SealLabels, Counter>,
    archive_bytes: Counter,
    result_bytes: Counter,
    gaps: Counter,
    seconds_to_seal: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SealLabels {
    status: &'static str,
    archive: &'static str,
}

impl Metrics {
    /// Makes and registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            retried: Counter::default(),
            released: Counter::default(),
            removed: Counter::default(),
            expired: Counter::default(),
            tidied: Counter::default(),
            swept: Counter::default(),
            waiting: Gauge::default(),
            followed: Gauge::default(),
            waits_to_be_followed: Gauge::default(),
            max_followed: Gauge::default(),
            log_disk: Gauge::default(),
            max_log_disk: Gauge::default(),
            parts: Counter::default(),
            parts_failed: Counter::default(),
            part_bytes: Counter::default(),
            sealed: Family::default(),
            archive_bytes: Counter::default(),
            result_bytes: Counter::default(),
            gaps: Counter::default(),
            seconds_to_seal: Histogram::new(exponential_buckets(0.05, 2.0, 14)),
        };
        let Self {
            retried,
            released,
            removed,
            expired,
            tidied,
            swept,
            waiting,
            followed,
            waits_to_be_followed,
            max_followed,
            log_disk,
            max_log_disk,
            parts,
            parts_failed,
            part_bytes,
            sealed,
            archive_bytes,
            result_bytes,
            gaps,
            seconds_to_seal,
        } = metrics.clone();
        registry.register("quayside_finalizer_sealed", "Jobs sealed by this replica", sealed);
        registry.register("quayside_finalizer_retried", "Tries at storing that will be repeated", retried);
        registry.register("quayside_finalizer_released", "Pods released by this replica", released);
        registry.register("quayside_finalizer_removed", "Removed jobs of which everything was deleted", removed);
        registry.register("quayside_finalizer_expired", "Jobs over their retention that this replica removed", expired);
        registry.register("quayside_finalizer_tidied", "Jobs whose earlier events this replica deleted", tidied);
        registry.register("quayside_finalizer_swept", "Jobs that the sweep took care of", swept);
        registry.register("quayside_finalizer_waiting", "Jobs whose log waits for log storage", waiting);
        registry.register("quayside_finalizer_followed", "Containers whose logs are followed", followed);
        registry.register(
            "quayside_finalizer_waits_to_be_followed",
            "Containers that run and are not followed, as finalizer.max_followed are",
            waits_to_be_followed,
        );
        registry.register(
            "quayside_finalizer_max_followed",
            "Containers that may be followed, finalizer.max_followed",
            max_followed,
        );
        registry.register(
            "quayside_finalizer_log_disk_bytes",
            "Bytes of logs on disk that wait for the bucket",
            log_disk,
        );
        registry.register("quayside_finalizer_max_log_disk_bytes", "Bytes that may wait there", max_log_disk);
        registry.register("quayside_finalizer_log_parts", "Parts of followed logs stored", parts);
        registry.register(
            "quayside_finalizer_log_parts_failed",
            "Tries at storing one that were repeated",
            parts_failed,
        );
        registry.register("quayside_finalizer_log_part_bytes", "Bytes of followed logs stored", part_bytes);
        registry.register("quayside_finalizer_archive_bytes", "Bytes of log archived", archive_bytes);
        registry.register("quayside_finalizer_result_bytes", "Bytes of results stored", result_bytes);
        registry.register("quayside_finalizer_gaps", "Gaps in logs", gaps);
        registry.register(
            "quayside_finalizer_seconds_to_seal",
            "Time from the end of an execution to its seal",
            seconds_to_seal,
        );
        metrics
    }

    /// Counts a job that was sealed here.
    pub(crate) fn sealed(&self, record: &JobRecord) {
        let archive = match record.archive.state {
            ArchiveState::Pending => "pending",
            ArchiveState::Stored => "stored",
            ArchiveState::Gap => "gap",
            ArchiveState::Unavailable => "unavailable",
            ArchiveState::Off => "off",
            ArchiveState::Other(_) => "other",
        };
        self.sealed.get_or_create(&SealLabels { status: record.status.as_str(), archive }).inc();
        let waited = Timestamp::now().duration_since(seal::ended_at(record)).as_secs_f64();
        self.seconds_to_seal.observe(waited.max(0.0));
    }

    /// Counts what was stored.
    pub(crate) fn stored(&self, kept: &Kept) {
        self.archive_bytes.inc_by(kept.archive.as_ref().map_or(0, |stored| stored.size));
        self.result_bytes.inc_by(kept.result.outputs.iter().map(|output| output.stored.size).sum());
        self.gaps.inc_by(u64::try_from(kept.gaps.len()).unwrap_or_default());
    }
}
