//! Reads every container's log once, from the parts that its follower stored and then from its pod: into the archive, and the
//! main container's result into its place, chunk by chunk.

use futures::StreamExt;
use jiff::Timestamp;
use platform::{
    log_parts::Chain,
    object_store::{ObjectStore, ObjectWriter, StoreError, Stored},
};
use protocol::{
    JobId,
    job_record::Workload,
    ledger::Mark,
    manifest::{ContainerLog, Gap, GapKind, Part},
    names::objects,
};

use crate::{
    archive::Layout,
    pods::{Container, LogRead, PodSource, PodsError},
    result::{FoundResult, ResultReader},
    resume::{self, Found, Resume},
    sections::{Log, Section},
    stored_log,
};

/// Reading or storing failed; nothing is visible.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A log can't be read.
    #[error("the log can't be read")]
    Log(#[from] PodsError),
    /// The bucket does not take it.
    #[error("the log or the result can't be stored")]
    Store(#[from] StoreError),
}

/// Where logs are read from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The executor, where it can be asked.
    pub pods: Option<&'a dyn PodSource>,
    /// What ran the job.
    pub workload: &'a Workload,
    /// The bucket with the parts, where there are some.
    pub store: Option<&'a ObjectStore>,
    /// The job.
    pub job: &'a JobId,
}

/// Everything was read, nothing is visible yet.
pub struct Read {
    layout: Layout,
    archive: Option<ObjectWriter>,
    result: ResultReader,
    gaps: Vec<Gap>,
    main_gap: Option<String>,
}

/// Everything is stored.
pub struct Kept {
    /// The archive object, where one was wanted.
    pub archive: Option<Stored>,
    /// Where in it each log is.
    pub containers: Vec<ContainerLog>,
    /// What is missing.
    pub gaps: Vec<Gap>,
    /// Parts that the archive was put together from.
    pub parts: Vec<Part>,
    /// Why the main container's log is not whole.
    pub main_gap: Option<String>,
    /// The result.
    pub result: FoundResult,
}

/// Reads the logs of a job. A log that is gone is a gap; so is, once it is late, one that can't be read.
///
/// # Errors
/// When a log can't be read now, or the bucket does not give or take something: all may be tried again.
pub async fn read(
    sources: Sources<'_>,
    sections: &[Section],
    archive: Option<ObjectWriter>,
    result: ResultReader,
) -> Result<Read, CollectError> {
    let mut read = Read { layout: Layout::default(), archive, result, gaps: Vec::new(), main_gap: None };
    let outcome = async {
        for section in sections {
            let heading = read.layout.pod(&section.pod);
            read.write(heading.as_bytes()).await?;
            for log in &section.logs {
                let heading = read.layout.container(&log.container);
                read.write(heading.as_bytes()).await?;
                read.log(sources, section, log).await?;
            }
        }
        Ok(())
    };
    match outcome.await {
        Ok(()) => Ok(read),
        Err(error) => {
            read.abort().await;
            Err(error)
        }
    }
}

impl Read {
    /// Makes archive and result visible.
    ///
    /// # Errors
    /// When the bucket does not take them.
    pub async fn keep(self) -> Result<Kept, StoreError> {
        let Self { layout, archive, result, gaps, main_gap } = self;
        let result = match &main_gap {
            None => result.keep().await?,
            // Part of a result is none.
            Some(_) => {
                result.abort().await;
                ResultReader::none().keep().await?
            }
        };
        let archive = match archive {
            Some(writer) => Some(writer.finish().await?),
            None => None,
        };
        let (containers, parts) = layout.finish();
        Ok(Kept { archive, containers, gaps, parts, main_gap, result })
    }

    /// Gives everything up.
    pub async fn abort(self) {
        if let Some(writer) = self.archive {
            writer.abort().await;
        }
        self.result.abort().await;
    }

    /// One log: its parts, then what comes after them.
    async fn log(&mut self, sources: Sources<'_>, section: &Section, log: &Log) -> Result<(), CollectError> {
        let is_result = log.container.main && section.is_last;
        let mut mark = None;
        if let (Some(chain), Some(store)) = (&log.chain, sources.store) {
            self.parts(store, sources.job, section, log, chain).await?;
            if chain.last.ended {
                return Ok(());
            }
            mark.clone_from(&chain.last.mark);
        }
        if !log.container.started {
            return Ok(());
        }
        let rest = match sources.pods.filter(|_| section.is_there) {
            Some(pods) => self.rest((pods, sources.workload), section, log, mark).await,
            None => {
                let container = log.container.name.clone();
                let source = "its pod was gone before the log was read to its end".into();
                Err(PodsError::LogGone { container, source }.into())
            }
        };
        match rest {
            Err(CollectError::Log(error)) if section.is_late || error.is_lasting() => {
                self.miss(section, &log.container, is_result, &error);
            }
            Ok(()) if log.container.running => {
                let error = PodsError::Running { container: log.container.name.clone() };
                self.miss(section, &log.container, is_result, &error);
            }
            other => other?,
        }
        Ok(())
    }

    async fn parts(
        &mut self,
        store: &ObjectStore,
        job: &JobId,
        section: &Section,
        log: &Log,
        chain: &Chain,
    ) -> Result<(), CollectError> {
        let is_result = log.container.main && section.is_last;
        for part in &chain.parts {
            let gaps = match stored_log::part(store, job, part).await? {
                Some((header, bytes)) => {
                    let key = objects::log_parts_of(store.prefix(), job, &part.epoch);
                    self.layout.part(&key, part.start, &bytes, (header.first, header.last));
                    self.take(&bytes, is_result).await?;
                    header.gaps
                }
                None => {
                    let (pod, container) = (&section.pod, &log.container.name);
                    let why = format!("{} bytes that had been stored are not what was stored", part.size);
                    vec![Gap { at: Some(part.start), ..Gap::new(GapKind::Damaged, pod, container, why) }]
                }
            };
            for gap in gaps {
                self.gap(gap, is_result);
            }
        }
        Ok(())
    }

    /// What comes after `mark`, else all of it.
    async fn rest(
        &mut self,
        (pods, workload): (&dyn PodSource, &Workload),
        section: &Section,
        log: &Log,
        mark: Option<Mark>,
    ) -> Result<(), CollectError> {
        let is_result = log.container.main && section.is_last;
        let open = |since| {
            let read = LogRead { since, follow: false };
            pods.log(workload, &section.pod, &log.container.name, read)
        };
        let since = mark.as_ref().map(resume::since);
        let mut chunks = open(since).await?;
        let mut next = chunks.next().await;
        if since.is_some() && matches!(next, Some(Err(PodsError::Log { .. }))) {
            // A line that began before that time is cut there, and can't be told from what is no log: all of it is read then.
            chunks = open(None).await?;
            next = chunks.next().await;
        }
        let mut resume = mark.clone().map(Resume::after);
        while let Some(chunk) = next {
            let mut chunk = chunk?;
            if let Some(resuming) = &mut resume {
                chunk = match resuming.push(chunk) {
                    Found::Nothing => {
                        next = chunks.next().await;
                        continue;
                    }
                    Found::Met(rest, _) => rest,
                    Found::Lost(rest) => {
                        let before = rest.lines.first().map(|(_, time)| *time);
                        self.rotated(section, log, mark.as_ref(), before);
                        rest
                    }
                };
                resume = None;
            }
            self.layout.log(&chunk.bytes, times(&chunk.lines));
            self.take(&chunk.bytes, is_result).await?;
            next = chunks.next().await;
        }
        if resume.is_some() {
            self.rotated(section, log, mark.as_ref(), None);
        }
        Ok(())
    }

    fn rotated(&mut self, section: &Section, log: &Log, mark: Option<&Mark>, before: Option<Timestamp>) {
        let why = "the last line that was read while the container ran was not in its log any more";
        let gap = Gap {
            at: log.chain.as_ref().map(Chain::end),
            after: mark.map(|mark| mark.time),
            before,
            ..Gap::new(GapKind::Rotation, &section.pod, &log.container.name, why)
        };
        self.gap(gap, log.container.main && section.is_last);
    }

    async fn take(&mut self, bytes: &[u8], is_result: bool) -> Result<(), CollectError> {
        self.write(bytes).await?;
        if is_result {
            self.result.take(bytes).await?;
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), CollectError> {
        if let Some(writer) = &mut self.archive {
            writer.write(bytes).await?;
        }
        Ok(())
    }

    fn miss(&mut self, section: &Section, container: &Container, is_result: bool, error: &PodsError) {
        let kind = match error {
            PodsError::LogGone { .. } => GapKind::Gone,
            PodsError::Running { .. } => GapKind::Running,
            _ => GapKind::Unreadable,
        };
        let why = platform::telemetry::chain(error).to_string();
        self.gap(Gap::new(kind, &section.pod, &container.name, why), is_result);
    }

    fn gap(&mut self, gap: Gap, is_result: bool) {
        if is_result {
            self.main_gap.get_or_insert_with(|| gap.why.clone());
        }
        self.gaps.push(gap);
    }
}

fn times(lines: &[(usize, Timestamp)]) -> (Option<Timestamp>, Option<Timestamp>) {
    (lines.first().map(|(_, time)| *time), lines.last().map(|(_, time)| *time))
}
