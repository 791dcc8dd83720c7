//! Reads every container's log once: into the archive, and the main container's result into its place, chunk by chunk.

use futures::StreamExt;
use platform::object_store::{ObjectWriter, StoreError, Stored};
use protocol::{
    job_record::Workload,
    manifest::{ContainerLog, Gap, GapKind},
    names::kubernetes::is_companion,
};

use crate::{
    archive::Layout,
    pods::{Container, LogRead, Pod, PodSource, PodsError},
    result::{FoundResult, ResultReader},
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

/// Everything was read, nothing is visible yet.
pub struct Read {
    pod: String,
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
    /// Why the main container's log is not whole.
    pub main_gap: Option<String>,
    /// The result.
    pub result: FoundResult,
}

/// Reads the logs of a pod. A log that is gone is a gap; so is, once `is_late`, one that can't be read.
///
/// # Errors
/// When a log can't be read now, or the bucket does not take what was read: both may be tried again.
pub async fn read(
    pods: &dyn PodSource,
    workload: &Workload,
    pod: &Pod,
    archive: Option<ObjectWriter>,
    result: ResultReader,
    is_late: bool,
) -> Result<Read, CollectError> {
    let (layout, heading) = Layout::begin(&pod.name);
    let mut read = Read { pod: pod.name.clone(), layout, archive, result, gaps: Vec::new(), main_gap: None };
    let outcome = async {
        read.write(heading.as_bytes()).await?;
        for container in pod.containers.iter().filter(|container| !is_companion(&container.name)) {
            let heading = read.layout.container(container);
            read.write(heading.as_bytes()).await?;
            match read.container(pods, workload, pod, container).await {
                Err(CollectError::Log(error)) if is_late || error.is_lasting() => read.miss(container, &error),
                Ok(()) if container.running => {
                    read.miss(container, &PodsError::Running { container: container.name.clone() });
                }
                other => other?,
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
        let Self { pod: _, layout, archive, result, gaps, main_gap } = self;
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
        Ok(Kept { archive, containers: layout.finish(), gaps, main_gap, result })
    }

    /// Gives everything up.
    pub async fn abort(self) {
        if let Some(writer) = self.archive {
            writer.abort().await;
        }
        self.result.abort().await;
    }

    async fn container(
        &mut self,
        pods: &dyn PodSource,
        workload: &Workload,
        pod: &Pod,
        container: &Container,
    ) -> Result<(), CollectError> {
        if !container.started {
            return Ok(());
        }
        let mut log = pods.log(workload, &pod.name, &container.name, LogRead::default()).await?;
        while let Some(chunk) = log.next().await {
            let chunk = chunk?.bytes;
            self.layout.log(&chunk);
            self.write(&chunk).await?;
            if container.main {
                self.result.take(&chunk).await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), CollectError> {
        if let Some(writer) = &mut self.archive {
            writer.write(bytes).await?;
        }
        Ok(())
    }

    fn miss(&mut self, container: &Container, error: &PodsError) {
        let why = platform::telemetry::chain(error).to_string();
        if container.main {
            self.main_gap = Some(why.clone());
        }
        let kind = match error {
            PodsError::LogGone { .. } => GapKind::Gone,
            PodsError::Running { .. } => GapKind::Running,
            _ => GapKind::Unreadable,
        };
        self.gaps.push(Gap::new(kind, &self.pod, &container.name, why));
    }
}
