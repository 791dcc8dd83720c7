//! Takes over what pygeoapi-k8s-manager left in the namespace, so that Quayside can be put in its place: its Jobs become jobs
//! here, under the ids that its users know.
//!
//! A job is told first, then its pods get our labels, then its Job: from then on it is watched, finalized and deleted like one
//! of our own. Each step may be repeated, by whichever replica. What is over already, and was read by the original's own
//! controller, is told as it ended, from the annotations of its Job.

pub(crate) mod original;

use std::{sync::Arc, time::Duration};

use actix::Addr;
use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};
use platform::{
    job_store::{Imported, JobStore, JobStoreError},
    object_store::StoreError,
    publish::{self, StreamError},
    telemetry::chain,
};
use protocol::{
    Event, JobId, JobRecord, ProcessDefinition, ProcessId, Unknown, digest,
    job_id::Epoch,
    job_record::{
        Archive, ArchiveState, ExecutorKind, Outcome, Place, Reason, Status, StoredResult, WHOLE_RESULT, Workload,
    },
    names::{objects, subjects},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::original::{Course, End, Found, Original, OriginalPod};
use crate::{
    executor::{ExecutorError, kubernetes::KubernetesExecutor},
    reporter::{ReportGone, Reporter},
};

/// What taking over needs.
#[derive(Clone)]
pub struct Adoption {
    /// Where records are.
    pub store: JobStore,
    /// Where the original's objects are.
    pub executor: Arc<KubernetesExecutor>,
    /// The configured processes: they say what outputs a job has.
    pub processes: Arc<IndexMap<ProcessId, ProcessDefinition>>,
    /// Prefix of the Jobs' names.
    pub job_name_prefix: String,
    /// Whether logs are archived.
    pub archive: ArchiveState,
    /// Tells that a Job is gone.
    pub reporter: Addr<Reporter>,
    /// Time between two looks.
    pub every: Duration,
}

/// Something of the original could not be taken over now.
#[derive(Debug, thiserror::Error)]
enum AdoptError {
    #[error("a record can't be read or written")]
    Store(#[from] JobStoreError),
    #[error("the executor can't be asked")]
    Executor(#[from] ExecutorError),
    #[error("a result can't be stored")]
    Objects(#[from] StoreError),
    #[error("a result can't be kept in the stream")]
    Stream(#[from] StreamError),
}

const TAKEN_OVER: &str = "the job was made by pygeoapi-k8s-manager and taken over";

impl Adoption {
    /// Looks now and on a timer until `stop`; what fails is tried again by the next look.
    pub async fn run(self, stop: CancellationToken) {
        let mut timer = tokio::time::interval(self.every);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = timer.tick() => {}
                () = stop.cancelled() => return,
            }
            let looked = async {
                self.jobs().await?;
                self.pods().await
            };
            tokio::select! {
                looked = looked => if let Err(error) = looked {
                    warn!(error = %chain(&error), "what pygeoapi-k8s-manager left could not be looked for");
                },
                () = stop.cancelled() => return,
            }
        }
    }

    async fn jobs(&self) -> Result<(), AdoptError> {
        let mut after = None;
        loop {
            let page = self.executor.originals(&self.job_name_prefix, after.as_deref()).await?;
            for original in &page.items {
                if let Err(error) = self.job(original).await {
                    warn!(job_id = %original.job_id, error = %chain(&error), "a job could not be taken over");
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn job(&self, original: &Original) -> Result<(), AdoptError> {
        let pods = self.executor.pods_of_original(original).await?;
        match (original.course(&pods), &original.end) {
            (Course::Close, Some(end)) => self.close(original, end).await?,
            (Course::Close | Course::Follow, _) => {
                self.import(Event::Accepted, &self.followed(original)).await?;
            }
        }
        for pod in &pods {
            self.executor.label_pod(pod, &original.job_id).await?;
        }
        Ok(self.executor.label_job(original).await?)
    }

    /// Pods that came to be after their Job was taken over, and pods whose Job is gone.
    async fn pods(&self) -> Result<(), AdoptError> {
        let mut after = None;
        loop {
            let page = self.executor.held_by_original(after.as_deref()).await?;
            for pod in &page.items {
                if let Err(error) = self.pod(pod).await {
                    warn!(pod = %pod.name, error = %chain(&error), "a pod could not be taken over");
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn pod(&self, pod: &OriginalPod) -> Result<(), AdoptError> {
        match self.executor.owner_of(pod).await? {
            Some(Some(job_id)) => Ok(self.executor.label_pod(pod, &job_id).await?),
            // Its Job is none that we know: this is not for us, or comes with its Job.
            Some(None) => Ok(()),
            None => self.orphan(pod).await,
        }
    }

    async fn orphan(&self, pod: &OriginalPod) -> Result<(), AdoptError> {
        let (Some(job_id), Some(process_id)) = (pod.job_id, &pod.process_id) else { return Ok(()) };
        let record = self.record(job_id, process_id.clone(), pod.created, &pod.owner_name, &pod.owner_uid);
        self.import(Event::Accepted, &record).await?;
        self.executor.label_pod(pod, &job_id).await?;
        // When the reporter is gone, this process ends, and another one looks.
        let told = self.reporter.send(ReportGone { job_id, uid: pod.owner_uid.clone() }).await;
        if let Ok(Err(error)) = told {
            warn!(%job_id, error = %chain(&error), "that the Job is gone could not be told");
        }
        Ok(())
    }

    /// True when the job is there by this.
    async fn import(&self, event: Event, record: &JobRecord) -> Result<bool, AdoptError> {
        let imported = self.store.import(event, record).await?;
        if imported == Imported::New {
            info!(job_id = %record.job_id, process_id = %record.process_id, %event, "a job of pygeoapi-k8s-manager was taken over");
        }
        Ok(imported == Imported::New)
    }

    fn record(
        &self,
        job_id: JobId,
        process_id: ProcessId,
        created: Timestamp,
        job_name: &str,
        job_uid: &str,
    ) -> JobRecord {
        let process = self.processes.get(&process_id);
        let version = process.map(|process| process.description.version.clone()).unwrap_or_default();
        let workload = Workload::new(ExecutorKind::Kubernetes, self.executor.namespace(), job_name);
        JobRecord {
            attempt: 1,
            workload: Some(Workload { job_uid: Some(job_uid.to_owned()), ..workload }),
            declared_outputs: process.map(ProcessDefinition::declared_outputs).unwrap_or_default(),
            message: Some(TAKEN_OVER.to_owned()),
            updated: Timestamp::now(),
            ..JobRecord::accepted(job_id, process_id, version, created, self.archive)
        }
    }

    fn followed(&self, original: &Original) -> JobRecord {
        let Original { job_id, process_id, job_name, job_uid, created, parameters, .. } = original;
        let record = self.record(*job_id, process_id.clone(), *created, job_name, job_uid);
        JobRecord { parameters: parameters.clone(), ..record }
    }

    /// Tells a job that is over, with the result that the original wrote down.
    async fn close(&self, original: &Original, end: &End) -> Result<(), AdoptError> {
        let epoch = Epoch::generate();
        let mut record = closed(self.followed(original), end);
        record.archive = self.archived(&record, end).await?;
        let result = original.result.as_ref().filter(|result| {
            record.status == Status::Successful && !(result.media_type.is_none() && result.value.is_empty())
        });
        if let Some(result) = result {
            record.results = vec![self.keep(&record, original, result, &epoch).await?];
        }
        let event = if record.status == Status::Successful { Event::Successful } else { Event::Failed };
        if !self.import(event, &record).await? {
            self.take_back(&record, &epoch).await?;
        }
        Ok(())
    }

    /// The archive that the original stored, if it did: its key has the day on which it was stored.
    async fn archived(&self, record: &JobRecord, end: &End) -> Result<Archive, AdoptError> {
        if self.archive == ArchiveState::Off {
            return Ok(Archive::new(ArchiveState::Off));
        }
        let name = record.workload.as_ref().map(|workload| workload.job_name.as_str()).unwrap_or_default();
        if let Some(store) = self.store.objects() {
            let next_day = end.finished.checked_add(SignedDuration::from_hours(24)).unwrap_or(end.finished);
            for day in [end.finished, next_day] {
                let key = objects::archive(store.prefix(), day, name);
                if let Some(size) = store.size(&key).await? {
                    let archive = Archive::new(ArchiveState::Stored);
                    return Ok(Archive { key: Some(key), size: Some(size), ..archive });
                }
            }
        }
        let why = "pygeoapi-k8s-manager left no log archive where this Quayside stores them".to_owned();
        Ok(Archive { gaps: vec![why], ..Archive::new(ArchiveState::Gap) })
    }

    async fn keep(
        &self,
        record: &JobRecord,
        original: &Original,
        result: &Found,
        epoch: &Epoch,
    ) -> Result<StoredResult, AdoptError> {
        let (id, declared) = match record.declared_outputs.as_slice() {
            [output] => (output.id.as_str(), Some(output.media_type.as_str())),
            _ => (WHOLE_RESULT, None),
        };
        let media_type = result.media_type.as_deref().or(original.mimetype.as_deref()).or(declared);
        let media_type = media_type.unwrap_or("text/plain; charset=utf-8").to_owned();
        let bytes = bytes::Bytes::from(result.value.clone());
        let (size, sha256) = (u64::try_from(bytes.len()).unwrap_or(u64::MAX), digest::sha256(&bytes));
        let place = match self.store.objects() {
            Some(store) => {
                let key = objects::result(store.prefix(), &record.job_id, epoch, id);
                store.put(&key, bytes, &media_type).await?;
                Place::Object(key)
            }
            None => {
                let subject = subjects::result(&record.process_id, &record.job_id, epoch, id);
                publish::result(self.store.nats(), subject.clone(), bytes).await?;
                Place::Stream(subject)
            }
        };
        Ok(StoredResult {
            id: id.to_owned(),
            media_type,
            size,
            sha256,
            place,
            is_member: false,
            unknown: Unknown::new(),
        })
    }

    /// Another replica told the job: what this one stored for it is named by nobody.
    async fn take_back(&self, record: &JobRecord, epoch: &Epoch) -> Result<(), AdoptError> {
        for result in &record.results {
            match (&result.place, self.store.objects()) {
                (Place::Object(key), Some(store)) => store.delete(key).await?,
                (Place::Stream(_), _) => {
                    self.store.forget_results_of(&record.process_id, &record.job_id, epoch).await?;
                }
                (Place::Object(_) | Place::Other(_), _) => {}
            }
        }
        Ok(())
    }
}

/// The record of a job that is over.
fn closed(record: JobRecord, end: &End) -> JobRecord {
    let (status, outcome) = match &end.failure {
        None => {
            let message = format!("the execution ended well; {TAKEN_OVER}");
            (Status::Successful, Outcome { reason: None, exit_code: Some(0), message, unknown: Unknown::new() })
        }
        Some((reason, message)) => {
            let message = format!("the Job failed ({reason}): {message}; {TAKEN_OVER}");
            let reason = Some(Reason::JobFailed);
            (Status::Failed, Outcome { reason, exit_code: None, message, unknown: Unknown::new() })
        }
    };
    JobRecord {
        status,
        started: Some(record.created),
        finished: Some(end.finished),
        progress: end.failure.is_none().then_some(100),
        message: Some(outcome.message.clone()),
        outcome: Some(outcome),
        ..record
    }
}
