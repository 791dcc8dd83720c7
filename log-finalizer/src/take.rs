//! Takes from a job's pod what is to be kept: the log into the archive, the result into its place.

use std::time::Duration;

use platform::{
    log_parts::{self, Chain, PartsError},
    object_store::ObjectStore,
    publish,
    telemetry::chain,
};
use protocol::{
    JobRecord,
    job_id::Epoch,
    job_record::{Archive, ArchiveState, Phase, Place, Reason, Status, Workload},
    manifest::{ContainerLog, Gap, Part},
    names::objects,
};
use tracing::{error, warn};

use crate::{
    collect::{self, Kept, Sources},
    finalize::{FinalizeError, Finalizer},
    follow,
    given::{self, Giver},
    pods::{self, Container, Pod, PodSource, PodsError, ResultAnnotations},
    result::{self, ResultReader},
    seal::{self, Findings},
    sections::sections,
    stored_log::MOST_PARTS,
};

/// What was taken from a job's pod.
pub(crate) struct Taken {
    pub archive: Archive,
    pub containers: Vec<ContainerLog>,
    pub gaps: Vec<Gap>,
    pub parts: Vec<Part>,
    pub findings: Findings,
    pub annotations: Option<ResultAnnotations>,
}

impl Taken {
    /// Nothing could be taken.
    pub(crate) fn missing(archive: Archive, failure: Option<(Reason, String)>) -> Self {
        let findings = Findings { archive: archive.clone(), results: Vec::new(), failure };
        Self { archive, containers: Vec::new(), gaps: Vec::new(), parts: Vec::new(), findings, annotations: None }
    }
}

/// How long the log of a pod that is being deleted is tried once its containers have stopped: a kubelet removes them at
/// once, and answers for ever that it can't find them.
const DELETED_LOG_DEADLINE: Duration = Duration::from_secs(30);

const NO_POD: &str = "its pod was gone before its log was read";

fn running(pods: &[Pod]) -> Option<&Container> {
    pods.iter().flat_map(|pod| &pod.containers).find(|container| container.running)
}

impl Finalizer {
    /// Takes log and result of a job in `phase`; `None` when the job left that phase meanwhile, so that nothing of it may
    /// be overwritten any more.
    pub(crate) async fn take(
        &self,
        record: &JobRecord,
        epoch: &Epoch,
        phase: Phase,
    ) -> Result<Option<Taken>, FinalizeError> {
        let Some(workload) = &record.workload else {
            let failure = Some(seal::not_collected(NO_POD));
            return Ok(Some(Taken::missing(self.absent(record, epoch, "the job was never launched"), failure)));
        };
        let found = async {
            let source = self.pods.of(workload)?;
            Ok((source, source.pods(&record.job_id, workload).await?))
        };
        let (source, mut pods) = match found.await {
            Err::<_, PodsError>(error) if self.is_hopeless(record) => {
                warn!(error = %chain(&error), "the pods are given up");
                (None, Vec::new())
            }
            found => {
                let (source, pods) = found?;
                (Some(source), pods)
            }
        };
        let is_late = self.is_late(record);
        if let Some(running) = running(&pods).filter(|_| !is_late) {
            return Err(PodsError::Running { container: running.name.clone() }.into());
        }
        if record.status == Status::Dismissed && pods.iter().any(|pod| pod.may_start) && !is_late {
            return Err(PodsError::Starting.into());
        }
        let store = self.jobs.objects();
        let target = store.filter(|_| record.archive.state != ArchiveState::Off);
        let chains = match target {
            Some(store) => self.chains(record, store).await?,
            None => Vec::new(),
        };
        let is_success = record.outcome.as_ref().is_some_and(|outcome| outcome.is_success());
        for main in pods.iter_mut().flat_map(|pod| &mut pod.containers).filter(|container| container.main) {
            // Whatever its status says, a log that may hold a result is never taken for an empty one.
            main.started |= is_success;
        }
        let mut sections = sections(&pods, chains, workload.pod_name.as_deref());
        for section in &mut sections {
            let pod = pods.iter().find(|pod| pod.name == section.pod);
            let is_going = pod.is_some_and(|pod| pod.is_deleted && running(std::slice::from_ref(pod)).is_none());
            section.is_late = is_late || (is_going && self.has_failed_for(record, DELETED_LOG_DEADLINE));
        }
        if sections.is_empty() {
            return Ok(Some(self.nothing_to_read(record, workload, epoch, phase).await?));
        }
        let key = |store: &ObjectStore| objects::archive(store.prefix(), seal::ended_at(record), &workload.job_name);
        let target = target.map(|store| (store, key(store)));
        let archive = target.as_ref().map(|(store, key)| store.writer(key, "text/plain; charset=utf-8"));
        let result = match phase {
            Phase::Ended => ResultReader::of(record, epoch, store, self.settings.split_limit),
            _ => ResultReader::none(),
        };
        let sources = Sources { pods: source, workload, store, job: &record.job_id };
        let read = collect::read(sources, &sections, archive, result).await?;
        match self.jobs.job(&record.job_id).await {
            Ok(Some(now)) if now.record.phase() == phase && !now.record.is_settled() => {}
            other => {
                read.abort().await;
                other?;
                return Ok(None);
            }
        }
        let kept = read.keep().await?;
        let archive = self.archive_of(record, epoch, target.map(|(_, key)| key), &kept);
        self.metrics.stored(&kept);
        let last = pods::last_pod(pods, workload.pod_name.as_deref());
        let findings = self.findings(record, epoch, archive.clone(), &kept, source.zip(last.as_ref())).await?;
        let annotations = kept.main_gap.is_none().then(|| result::annotations(&kept.result));
        let Kept { containers, gaps, parts, .. } = kept;
        Ok(Some(Taken { archive, containers, gaps, parts, findings, annotations }))
    }

    /// What was stored of the logs while they were followed, once that is all that was read.
    async fn chains(&self, record: &JobRecord, store: &ObjectStore) -> Result<Vec<Chain>, FinalizeError> {
        follow::finish(self.jobs.nats(), &record.process_id, &record.job_id).await;
        match log_parts::load(store, &record.job_id, MOST_PARTS).await {
            Ok(chains) => Ok(chains),
            Err(PartsError::Store(error)) => Err(error.into()),
            Err(error @ PartsError::TooMany(_)) => {
                error!(error = %chain(&error), "the log is read from its pods alone");
                Ok(Vec::new())
            }
        }
    }

    /// There is neither a pod nor anything that was stored of one.
    async fn nothing_to_read(
        &self,
        record: &JobRecord,
        workload: &Workload,
        epoch: &Epoch,
        phase: Phase,
    ) -> Result<Taken, FinalizeError> {
        let why = match &workload.pod_name {
            Some(_) => "the pod was gone before its log was read",
            None => "the job had no pod",
        };
        let mut taken = Taken::missing(self.absent(record, epoch, why), Some(seal::not_collected(NO_POD)));
        let is_wanted = phase == Phase::Ended && record.outcome.as_ref().is_some_and(|outcome| outcome.is_success());
        if let (true, Some(uploads)) = (is_wanted, &workload.uploads) {
            // What it gave away does not go with its pod.
            let given = self.given(Giver { record, workload, uploads, pod: None }, epoch).await?;
            taken.findings.failure = given::missing(record, &given.results, &given.problems);
            taken.findings.results = given.results;
        }
        Ok(taken)
    }

    fn archive_of(&self, record: &JobRecord, epoch: &Epoch, key: Option<String>, kept: &Kept) -> Archive {
        let epoch = self.jobs.objects().map(|_| epoch.clone());
        let gaps = seal::public_gaps(&kept.gaps);
        match &kept.archive {
            Some(stored) => Archive {
                state: if gaps.is_empty() { ArchiveState::Stored } else { ArchiveState::Gap },
                key,
                size: Some(stored.size),
                sha256: Some(stored.sha256.clone()),
                epoch,
                gaps,
                unknown: protocol::Unknown::new(),
            },
            None if record.archive.state == ArchiveState::Off => Archive { epoch, ..Archive::new(ArchiveState::Off) },
            None if record.status == Status::Dismissed => seal::gap(None, "no bucket is configured"),
            None => Archive::new(ArchiveState::Unavailable),
        }
    }

    /// The archive of a job without a pod: there is no object, as there is nothing to say in it.
    fn absent(&self, record: &JobRecord, epoch: &Epoch, why: &str) -> Archive {
        let epoch = self.jobs.objects().map(|_| epoch);
        if record.archive.state == ArchiveState::Off {
            Archive { epoch: epoch.cloned(), ..Archive::new(ArchiveState::Off) }
        } else {
            seal::gap(epoch, format!("{why}: there is no log"))
        }
    }

    async fn findings(
        &self,
        record: &JobRecord,
        epoch: &Epoch,
        archive: Archive,
        kept: &Kept,
        pod: Option<(&dyn PodSource, &Pod)>,
    ) -> Result<Findings, FinalizeError> {
        let is_success = record.outcome.as_ref().is_some_and(|outcome| outcome.is_success());
        let mut findings = Findings { archive, results: Vec::new(), failure: None };
        if !is_success || record.phase() != Phase::Ended {
            return Ok(findings);
        }
        let workload = record.workload.as_ref();
        let uploads = workload.and_then(|workload| Some((workload, workload.uploads.as_ref()?)));
        if let (Some(gap), None) = (&kept.main_gap, &uploads) {
            findings.failure = Some(seal::not_collected(&format!("its result can't be had: {gap}")));
            return Ok(findings);
        }
        let prefix = self.jobs.objects().map(ObjectStore::prefix);
        findings.results = result::outputs(record, epoch, prefix, &kept.result);
        for (result, output) in findings.results.iter().zip(&kept.result.outputs) {
            let Place::Stream(subject) = &result.place else { continue };
            match output.message.clone() {
                Some(message) => publish::result(self.jobs.nats(), subject.clone(), message).await?,
                None => {
                    let message = format!(
                        "the result of {} bytes can't be stored: no bucket is configured, and without one \
                         a result may have {} bytes",
                        result.size,
                        result::STREAM_LIMIT
                    );
                    findings.failure = Some((Reason::StoreUnavailable, message));
                }
            }
        }
        if let Some((workload, uploads)) = uploads {
            let given = self.given(Giver { record, workload, uploads, pod }, epoch).await?;
            findings.results = given::joined(record, given.results, findings.results);
            let missing = given::missing(record, &findings.results, &given.problems);
            findings.failure = findings.failure.or(missing);
        }
        Ok(findings)
    }
}
