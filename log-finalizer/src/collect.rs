//! Reads every container's log once, from the parts that its follower stored and then from its pod: into the archive, and the
//! main container's result into its place, chunk by chunk.

use std::mem;

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
    /// What is missing of the main container's log before a result began.
    early_gap: Option<String>,
    /// The archive takes nothing more of any log.
    is_full: bool,
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
    /// Why there is no whole result: the main container's log is not whole.
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
    let mut read = Read::new(archive, result);
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

/// Bytes of the archive that are kept for headings.
const HEADINGS: u64 = 1024 * 1024;

impl Read {
    fn new(archive: Option<ObjectWriter>, result: ResultReader) -> Self {
        Self {
            layout: Layout::default(),
            archive,
            result,
            gaps: Vec::new(),
            main_gap: None,
            early_gap: None,
            is_full: false,
        }
    }

    /// Makes archive and result visible.
    ///
    /// # Errors
    /// When the bucket does not take them.
    pub async fn keep(self) -> Result<Kept, StoreError> {
        let Self { layout, archive, result, gaps, main_gap, early_gap, .. } = self;
        // Where the marker of a result was read, it and all after it is there. Without one it may be what is missing.
        let main_gap = main_gap.or(early_gap.filter(|_| !result.has_begun()));
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
            match stored_log::part(store, job, part).await? {
                Some((header, bytes)) => {
                    let key = objects::log_parts_of(store.prefix(), job, &part.epoch);
                    let fitting = self.fitting(&bytes, section, log);
                    self.layout.part(&key, part.start, fitting, (header.first, header.last));
                    self.write(fitting).await?;
                    self.result_of_part(&bytes, part.start, header.gaps, is_result).await?;
                }
                None => {
                    let (pod, container) = (&section.pod, &log.container.name);
                    let why = format!("{} bytes that had been stored are not what was stored", part.size);
                    self.gap(
                        Gap { at: Some(part.start), ..Gap::new(GapKind::Damaged, pod, container, why) },
                        is_result,
                    );
                }
            }
        }
        Ok(())
    }

    /// The result in a part that begins at `start`: what is missing is missing where it is, before a result or in it.
    async fn result_of_part(
        &mut self,
        mut bytes: &[u8],
        mut start: u64,
        gaps: Vec<Gap>,
        is_result: bool,
    ) -> Result<(), CollectError> {
        for gap in gaps {
            let before = usize::try_from(gap.at.unwrap_or(start).saturating_sub(start)).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(before.min(bytes.len()));
            self.feed(now, is_result).await?;
            (bytes, start) = (later, start + u64::try_from(now.len()).unwrap_or_default());
            self.gap(gap, is_result);
        }
        self.feed(bytes, is_result).await
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
            let fitting = self.fitting(&chunk.bytes, section, log);
            self.layout.log(fitting, times(&chunk.lines));
            self.take(fitting, &chunk.bytes, is_result).await?;
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

    /// What the archive still takes of these bytes: an object can't be larger than its parts together.
    fn fitting<'b>(&mut self, bytes: &'b [u8], section: &Section, log: &Log) -> &'b [u8] {
        let room = self.archive.as_ref().map_or(u64::MAX, |archive| archive.room().saturating_sub(HEADINGS));
        let fitting = if self.is_full { 0 } else { usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len()) };
        if fitting < bytes.len() && !self.is_full {
            self.is_full = true;
            let why = "the archive is as large as an object of the bucket can be: what comes after this was not kept";
            // What it lacks is no reason to give a result up, which goes elsewhere.
            self.gap(Gap::new(GapKind::TooLarge, &section.pod, &log.container.name, why), false);
        }
        &bytes[..fitting]
    }

    /// Takes what is archived of the bytes of a log, and all of them for the result.
    async fn take(&mut self, archived: &[u8], bytes: &[u8], is_result: bool) -> Result<(), CollectError> {
        self.write(archived).await?;
        self.feed(bytes, is_result).await
    }

    async fn feed(&mut self, bytes: &[u8], is_result: bool) -> Result<(), CollectError> {
        if !is_result || self.main_gap.is_some() {
            return Ok(());
        }
        match self.result.take(bytes).await {
            Err(StoreError::TooLarge { limit, .. }) => {
                self.main_gap =
                    Some(format!("the result is larger than an object of the bucket can be, {limit} bytes"));
                mem::replace(&mut self.result, ResultReader::none()).abort().await;
                Ok(())
            }
            taken => Ok(taken?),
        }
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
            // What comes before a result is no part of it.
            let missing = if self.result.has_begun() { &mut self.main_gap } else { &mut self.early_gap };
            missing.get_or_insert_with(|| gap.why.clone());
        }
        self.gaps.push(gap);
    }
}

fn times(lines: &[(usize, Timestamp)]) -> (Option<Timestamp>, Option<Timestamp>) {
    (lines.first().map(|(_, time)| *time), lines.last().map(|(_, time)| *time))
}

#[cfg(test)]
mod tests {
    use protocol::{
        JobRecord,
        job_record::{ArchiveState, Outcome},
    };

    use super::*;

    const MARKED: &[u8] = b"PYGEOAPI_K8S_MANAGER_RESULT_START\nab";

    fn reading() -> Read {
        let (id, now) = (JobId::generate(1), Timestamp::UNIX_EPOCH);
        let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, ArchiveState::Pending);
        let message = String::new();
        record.outcome = Some(Outcome { reason: None, exit_code: Some(0), message, unknown: protocol::Unknown::new() });
        Read::new(None, ResultReader::of(&record, &protocol::job_id::Epoch::generate(), None, 1024))
    }

    fn gap() -> Gap {
        Gap::new(GapKind::Rotation, "pod", "main", "rotated away")
    }

    #[tokio::test]
    async fn what_is_missing_before_a_result_does_not_make_it_none() {
        let mut read = reading();
        read.take(b"", b"reading tiles\n", true).await.unwrap();
        read.gap(gap(), true);
        read.take(b"", MARKED, true).await.unwrap();
        let kept = read.keep().await.unwrap();
        assert_eq!((kept.gaps.len(), kept.main_gap.as_deref()), (1, None));
        assert_eq!(kept.result.outputs[0].message.as_deref(), Some(b"ab".as_slice()));
    }

    #[tokio::test]
    async fn what_is_missing_in_a_part_is_missing_where_it_is() {
        let text = [b"begun\n".as_slice(), MARKED].concat();
        let len = u64::try_from(text.len()).unwrap();
        for (at, is_there) in [(100, true), (106, true), (100 + len - 1, false)] {
            let mut read = reading();
            read.result_of_part(&text, 100, vec![Gap { at: Some(at), ..gap() }], true).await.unwrap();
            let kept = read.keep().await.unwrap();
            assert_eq!((kept.result.is_there, kept.main_gap.is_none()), (is_there, is_there), "{at}");
        }
    }

    #[tokio::test]
    async fn a_result_of_which_something_is_missing_is_none_and_neither_is_one_that_may_be_missing() {
        for has_marker in [true, false] {
            let mut read = reading();
            if has_marker {
                read.take(b"", MARKED, true).await.unwrap();
            }
            read.gap(gap(), true);
            read.take(b"", b"cd\n", true).await.unwrap();
            let kept = read.keep().await.unwrap();
            assert_eq!(kept.main_gap.as_deref(), Some("rotated away"));
            assert!(kept.result.outputs.is_empty() && !kept.result.is_there);
        }
    }

    #[tokio::test]
    async fn a_gap_of_another_container_says_nothing_of_the_result() {
        let mut read = reading();
        read.take(b"", MARKED, true).await.unwrap();
        read.gap(gap(), false);
        let kept = read.keep().await.unwrap();
        assert!(kept.main_gap.is_none() && kept.result.is_there);
    }
}
