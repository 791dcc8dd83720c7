//! Keys in the bucket. All start with the configured prefix.
//!
//! ```text
//! <prefix><day>_<job name>-logs.txt                       the archive of the contract
//! <prefix>quayside/<spread>/<job>/inputs                  inputs too large for the request
//! <prefix>quayside/<spread>/<job>/log/<epoch>/<log>/<start>-<size>   parts of a followed log
//! <prefix>quayside/<spread>/<job>/results/<epoch>/<output>
//! <prefix>quayside/<spread>/<job>/uploads/<epoch>/<output>   what a job puts itself, until it is copied to the results
//! <prefix>quayside/<spread>/<job>/manifest/<epoch>.json   written before the seal
//! <prefix>quayside/<spread>/<job>/manifest.json           written after the seal, by its winner
//! ```

use jiff::{Timestamp, tz::TimeZone};

use super::subjects::token;
use crate::{JobId, job_id::Epoch, ledger::LogName};

/// Key of the log archive; `finished` is the record's, never "now", so that a retry meets the same key.
pub fn archive(prefix: &str, finished: Timestamp, job_name: &str) -> String {
    let day = finished.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d");
    format!("{prefix}{day}_{job_name}-logs.txt")
}

/// What every other key of a job starts with; ends with `/`.
pub fn job_prefix(prefix: &str, job: &JobId) -> String {
    format!("{prefix}quayside/{}/{job}/", job.spread())
}

/// Inputs that were too large for the request.
pub fn inputs(prefix: &str, job: &JobId) -> String {
    format!("{}inputs", job_prefix(prefix, job))
}

/// What the keys of all parts of a job's followed logs start with, of whichever epoch; ends with `/`.
pub fn log_parts_prefix(prefix: &str, job: &JobId) -> String {
    format!("{}log/", job_prefix(prefix, job))
}

/// What the keys of all parts that one follower wrote start with; ends with `/`.
pub fn log_parts_of(prefix: &str, job: &JobId, epoch: &Epoch) -> String {
    format!("{}{}/", log_parts_prefix(prefix, job), epoch.as_str())
}

/// A part of the followed log of one container: `size` bytes from its byte `start` on. Keys order as the bytes do.
pub fn log_part(prefix: &str, job: &JobId, epoch: &Epoch, log: &LogName, start: u64, size: u64) -> String {
    format!("{}{}/{start:020}-{size}", log_parts_of(prefix, job, epoch), log.as_str())
}

/// What a key that [`log_part`] gave was made from.
pub(crate) fn parse_log_part<'a>(prefix: &str, job: &JobId, key: &'a str) -> Option<(Epoch, &'a str, u64, u64)> {
    let mut rest = key.strip_prefix(&log_parts_prefix(prefix, job))?.split('/');
    let (Some(epoch), Some(log), Some(range), None) = (rest.next(), rest.next(), rest.next(), rest.next()) else {
        return None;
    };
    let (start, size) = range.split_once('-')?;
    Some((Epoch::named(epoch)?, log, start.parse().ok()?, size.parse().ok()?))
}

/// What the keys of all results of a job start with, of whichever attempt; ends with `/`.
pub fn results_prefix(prefix: &str, job: &JobId) -> String {
    format!("{}results/", job_prefix(prefix, job))
}

/// One output.
pub fn result(prefix: &str, job: &JobId, epoch: &Epoch, output: &str) -> String {
    format!("{}{}/{}", results_prefix(prefix, job), epoch.as_str(), token(output))
}

/// What the keys of everything that a job uploaded start with; ends with `/`.
pub fn uploads_prefix(prefix: &str, job: &JobId) -> String {
    format!("{}uploads/", job_prefix(prefix, job))
}

/// Where a job puts an output itself. What counts is copied from here once the job has ended.
pub fn upload(prefix: &str, job: &JobId, epoch: &Epoch, output: &str) -> String {
    format!("{}{}/{}", uploads_prefix(prefix, job), epoch.as_str(), token(output))
}

/// What the keys of the manifests of all attempts at storing a job start with; ends with `/`.
pub fn epoch_manifests_prefix(prefix: &str, job: &JobId) -> String {
    format!("{}manifest/", job_prefix(prefix, job))
}

/// The manifest of one attempt at storing.
pub fn epoch_manifest(prefix: &str, job: &JobId, epoch: &Epoch) -> String {
    format!("{}{}.json", epoch_manifests_prefix(prefix, job), epoch.as_str())
}

/// The manifest that counts.
pub fn manifest(prefix: &str, job: &JobId) -> String {
    format!("{}manifest.json", job_prefix(prefix, job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_named_by_the_day_the_job_finished_in_utc() {
        let finished: Timestamp = "2026-01-31T23:59:59.9+00:00".parse().unwrap();
        assert_eq!(archive("logs/", finished, "pygeoapi-job-1"), "logs/2026-01-31_pygeoapi-job-1-logs.txt");
        let finished: Timestamp = "2026-02-01T00:30:00+02:00".parse().unwrap();
        assert_eq!(archive("", finished, "j"), "2026-01-31_j-logs.txt");
    }
}
