//! What attempts at storing leave that come to nothing. An attempt that fails takes back what it stored; what it could not
//! take back, because the bucket was away or its process died, goes once a later attempt has settled the job.

use platform::{
    object_store::{ObjectStore, StoreError},
    telemetry::chain,
};
use protocol::{
    JobId, JobRecord,
    job_id::Epoch,
    job_record::{Place, StoredResult},
    names::objects,
};
use tracing::{debug, warn};

use crate::{
    finalize::{FinalizeError, Finalizer},
    release,
    remove::delete_below,
};

impl Finalizer {
    /// Passes on what a step of an attempt at storing came to. If it failed, what the attempt stored so far is deleted, as
    /// far as that works now.
    pub(crate) async fn taking_back<T>(
        &self,
        record: &JobRecord,
        epoch: &Epoch,
        outcome: Result<T, FinalizeError>,
    ) -> Result<T, FinalizeError> {
        if let Err(FinalizeError::Store(_) | FinalizeError::Stream(_) | FinalizeError::Encode(_)) = &outcome
            && let Err(error) = self.drop_attempt(record, epoch).await
        {
            debug!(error = %chain(&error), "what an attempt stored is left to a later one");
        }
        outcome
    }

    /// Deletes everything that the attempt `epoch` can have stored under its own name.
    pub(crate) async fn drop_attempt(&self, record: &JobRecord, epoch: &Epoch) -> Result<(), FinalizeError> {
        if let Some(store) = self.jobs.objects() {
            store.delete(&objects::epoch_manifest(store.prefix(), &record.job_id, epoch)).await?;
            for key in release::all_results(store.prefix(), record, epoch) {
                store.delete(&key).await?;
            }
        }
        Ok(self.jobs.forget_results_of(&record.process_id, &record.job_id, epoch).await?)
    }

    /// Deletes what attempts stored that a settled record does not name.
    pub(crate) async fn tidy(&self, job_id: &JobId) -> Result<(), FinalizeError> {
        let Some(stored) = self.jobs.job(job_id).await? else { return Ok(()) };
        let record = &stored.record;
        let Some(store) = self.jobs.objects() else { return self.tidy_stream(record).await };
        match tidy_bucket(store, record).await {
            // It costs nothing but room, and goes with the job.
            Err(error) if !error.is_transient() || self.is_hopeless(record) => {
                warn!(error = %chain(&error), "what earlier attempts at storing left stays");
                Ok(())
            }
            tidied => Ok(tidied?),
        }
    }

    async fn tidy_stream(&self, record: &JobRecord) -> Result<(), FinalizeError> {
        if !record.status.is_terminal() || has_unknown_places(record) {
            return Ok(());
        }
        let is_wanted = |subject: &str| is_named(record, &Place::Stream(subject.to_owned()));
        Ok(self.jobs.forget_results_but(&record.process_id, &record.job_id, is_wanted).await?)
    }
}

async fn tidy_bucket(store: &ObjectStore, record: &JobRecord) -> Result<(), StoreError> {
    if !record.is_settled() || has_unknown_places(record) {
        return Ok(());
    }
    for prefix in [
        objects::results_prefix(store.prefix(), &record.job_id),
        objects::epoch_manifests_prefix(store.prefix(), &record.job_id),
    ] {
        delete_below(store, &prefix, |key| is_left_over(record, store.prefix(), key)).await?;
    }
    Ok(())
}

/// True of a result, or of the manifest of an attempt, that the record does not name.
fn is_left_over(record: &JobRecord, prefix: &str, key: &str) -> bool {
    let own = record.archive.epoch.as_ref().map(|epoch| objects::epoch_manifest(prefix, &record.job_id, epoch));
    own.as_deref() != Some(key) && !is_named(record, &Place::Object(key.to_owned()))
}

fn is_named(record: &JobRecord, place: &Place) -> bool {
    record.results.iter().any(|result: &StoredResult| result.place == *place)
}

/// True where a newer version says in its own way where results are.
fn has_unknown_places(record: &JobRecord) -> bool {
    record.results.iter().any(|result| matches!(result.place, Place::Other(_)))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::job_record::{Archive, ArchiveState};

    use super::*;

    #[test]
    fn what_the_record_names_is_no_leftover_and_everything_else_of_attempts_is() {
        let (id, now) = (JobId::generate(1), Timestamp::UNIX_EPOCH);
        let (won, lost) = (Epoch::generate(), Epoch::generate());
        let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, ArchiveState::Stored);
        let result = |epoch, output| objects::result("l/", &id, epoch, output);
        record.results = vec![StoredResult {
            id: "a".into(),
            media_type: "text/plain".into(),
            size: 1,
            sha256: String::new(),
            place: Place::Object(result(&won, "a")),
            is_member: true,
            unknown: protocol::Unknown::new(),
        }];
        record.archive = Archive { epoch: Some(won.clone()), ..Archive::new(ArchiveState::Stored) };
        let is_left = |key: &str| is_left_over(&record, "l/", key);
        assert!(!is_left(&result(&won, "a")) && !is_left(&objects::epoch_manifest("l/", &id, &won)));
        assert!(is_left(&result(&lost, "a")) && is_left(&objects::epoch_manifest("l/", &id, &lost)));
        assert!(is_left(&result(&won, "b")), "it was given up");
        assert!(!has_unknown_places(&record));
        record.results[0].place = Place::Other(serde_json::json!({"elsewhere": 1}));
        assert!(has_unknown_places(&record), "nobody here knows what it needs");
    }
}
