//! The finalizer's half of an executor: find the pod of a job, read its log, release it.
//!
//! Everything is level-based and repeatable: what is gone already counts as done.

mod chunk;
pub mod kubernetes;
pub mod local;

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use jiff::Timestamp;
use protocol::{
    JobId,
    job_record::{ExecutorKind, Workload},
};

pub use self::chunk::Chunk;

/// The log of one container: chunks of up to some 64 KiB, in order, to its end.
pub type LogStream = BoxStream<'static, Result<Chunk, PodsError>>;

/// A file that a job left: chunks of any size, in order, to its end.
pub type FileStream = BoxStream<'static, Result<Bytes, PodsError>>;

/// What of a log is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogRead {
    /// Nothing that was written before this time, a whole second; everything there is when `None`.
    pub since: Option<Timestamp>,
    /// Go on until the container has ended. The stream then says nothing for as long as the container does; it may end
    /// early, without an error, when the connection does.
    pub follow: bool,
}

/// A pod that ran a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Its containers in the order of the archive: init containers first.
    pub containers: Vec<Container>,
    /// True as long as containers that have not started may still do so.
    pub may_start: bool,
    /// True once it is to be deleted: its log goes with its containers, soon after they stopped.
    pub is_deleted: bool,
}

/// Of the pods of a job, the oldest first, the one whose end is the job's: the one that the record names, else the newest.
pub fn last_pod(mut pods: Vec<Pod>, name: Option<&str>) -> Option<Pod> {
    match pods.iter().position(|pod| name == Some(&pod.name)) {
        Some(named) => Some(pods.swap_remove(named)),
        None => pods.pop(),
    }
}

/// One container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// True of an init container.
    pub init: bool,
    /// True of the one container whose log holds the result.
    pub main: bool,
    /// False when it never started: its log is empty then, and that is no gap.
    pub started: bool,
    /// True while it runs: its log is not whole.
    pub running: bool,
    /// When it ended, if it did and somebody says so.
    pub ended: Option<Timestamp>,
}

/// What is written on the workload after the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultAnnotations {
    /// Media type of the result; absent without marker.
    pub media_type: Option<String>,
    /// The result's text, empty without marker; absent when it is too long, or is no text.
    pub value: Option<String>,
}

/// A workload that is still held for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The job it belongs to.
    pub job: JobId,
    /// What can be said of the workload by looking at it.
    pub workload: Workload,
    /// True once it is to be deleted.
    pub terminating: bool,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// One page of held workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldPage {
    /// At most some hundred.
    pub held: Vec<Held>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<String>,
}

/// A workload can't be seen, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum PodsError {
    /// This process does not serve the executor that made the workload.
    #[error("the executor {0:?} is not set up here")]
    NoExecutor(ExecutorKind),
    /// The pod can't be looked up.
    #[error("the pod can't be looked up")]
    Find(#[source] Cause),
    /// The log is gone, and will not come back.
    #[error("the log of container {container} is gone")]
    LogGone {
        /// Name of the container.
        container: String,
        /// Why.
        source: Cause,
    },
    /// The log can't be read now.
    #[error("the log of container {container} can't be read")]
    Log {
        /// Name of the container.
        container: String,
        /// Why.
        source: Cause,
    },
    /// There is more log to come: a pod that is deleted may print until its grace period is over.
    #[error("container {container} is still running")]
    Running {
        /// Name of the container.
        container: String,
    },
    /// The log of a dismissed job may only just begin: its pod is about to be stopped.
    #[error("the pod is not being stopped yet")]
    Starting,
    /// A file of an output can't be read now.
    #[error("the file {name} can't be read")]
    File {
        /// Its name.
        name: String,
        /// Why.
        source: Cause,
    },
    /// The result can't be written on the workload.
    #[error("the workload can't be annotated")]
    Annotate(#[source] Cause),
    /// The workload can't be released.
    #[error("the workload can't be released")]
    Release(#[source] Cause),
}

/// What an executor's own library says.
pub type Cause = Box<dyn Error + Send + Sync>;

impl PodsError {
    /// True when trying again can't help.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::LogGone { .. })
    }
}

/// What each executor provides.
pub trait PodSource: Send + Sync {
    /// The pods that run or ran the job and are there, the oldest first.
    fn pods<'a>(&'a self, job: &'a JobId, workload: &'a Workload) -> BoxFuture<'a, Result<Vec<Pod>, PodsError>>;

    /// The log of one container. Errors also come in the stream; where it is not followed, a stream that ends without one is
    /// all there was, and it does not wait for ever for the next chunk.
    fn log<'a>(
        &'a self,
        workload: &'a Workload,
        pod: &'a str,
        container: &'a str,
        read: LogRead,
    ) -> BoxFuture<'a, Result<LogStream, PodsError>>;

    /// A file that a job left for one of its outputs, where jobs leave files in reach of this process; `None` when there is none.
    fn file<'a>(
        &'a self,
        _workload: &'a Workload,
        _name: &'a str,
    ) -> BoxFuture<'a, Result<Option<FileStream>, PodsError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Writes the annotations on the workload where there are some, then lets its pods go: whoever deletes them, they
    /// vanish. Neither is an error when the workload is gone.
    fn release<'a>(
        &'a self,
        job: &'a JobId,
        workload: &'a Workload,
        annotations: Option<&'a ResultAnnotations>,
    ) -> BoxFuture<'a, Result<(), PodsError>>;

    /// One page of the workloads that were not released; `after` is the page before's [`HeldPage::next`].
    fn held<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Result<HeldPage, PodsError>>;
}

/// The executors that this process serves; cheap to clone.
#[derive(Clone, Default)]
pub struct Pods {
    kubernetes: Option<Arc<dyn PodSource>>,
    local: Option<Arc<dyn PodSource>>,
}

impl Pods {
    /// Serves one more executor.
    #[must_use]
    pub fn with(mut self, kind: ExecutorKind, source: Arc<dyn PodSource>) -> Self {
        match kind {
            ExecutorKind::Kubernetes => self.kubernetes = Some(source),
            ExecutorKind::Local => self.local = Some(source),
            ExecutorKind::Other(_) => {}
        }
        self
    }

    /// The executor that made a workload.
    ///
    /// # Errors
    /// When this process does not serve it.
    pub fn of(&self, workload: &Workload) -> Result<&dyn PodSource, PodsError> {
        let source = match workload.executor {
            ExecutorKind::Kubernetes => &self.kubernetes,
            ExecutorKind::Local => &self.local,
            other @ ExecutorKind::Other(_) => return Err(PodsError::NoExecutor(other)),
        };
        source.as_deref().ok_or(PodsError::NoExecutor(workload.executor))
    }

    /// Every executor that is served.
    pub fn sources(&self) -> impl Iterator<Item = &dyn PodSource> {
        [&self.kubernetes, &self.local].into_iter().filter_map(|source| source.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Pod {
        Pod { name: name.into(), created: None, containers: Vec::new(), may_start: false, is_deleted: false }
    }

    #[test]
    fn the_named_pod_is_chosen_else_the_newest() {
        let chosen = |name| last_pod(vec![pod("a"), pod("b"), pod("c")], name).map(|pod| pod.name);
        assert_eq!(chosen(Some("a")).as_deref(), Some("a"));
        assert_eq!(chosen(Some("gone")).as_deref(), Some("c"));
        assert_eq!(chosen(None).as_deref(), Some("c"));
        assert_eq!(last_pod(Vec::new(), Some("a")), None);
    }
}
