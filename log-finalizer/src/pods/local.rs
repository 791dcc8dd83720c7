//! Jobs of the local executor, from their folders ([`protocol::local`]). Needs to run on the same machine and as the same
//! user. A folder that was to be deleted is removed by the dispatcher, as soon as it is released.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use protocol::{
    JobId,
    job_record::{ExecutorKind, Workload},
    local::{
        Annotations, Exit, Folder, LocalJob, NAMESPACE, OfIncarnation, Started, log_frames::Deframer, new_uid, pod_name,
    },
    names::kubernetes::{ANNOTATION_RESULT_MIMETYPE, ANNOTATION_RESULT_VALUE},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    fs::{File, symlink_metadata},
    io::AsyncReadExt,
    task::spawn_blocking,
};
use tokio_util::io::ReaderStream;

use super::{
    Cause, Chunk, Container, FileStream, Held, HeldPage, LogRead, LogStream, Pod, PodSource, PodsError,
    ResultAnnotations,
};

/// Folders of one page.
const PAGE: usize = 200;
/// Bytes of one chunk of a log.
const CHUNK: usize = 64 * 1024;
/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The folders of local jobs; cheap to clone.
#[derive(Debug, Clone)]
pub struct LocalPods {
    dir: PathBuf,
}

/// Why a log is not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// Its folder is gone.
    #[error("the folder of the job is gone")]
    Gone,
    /// Its writer says so.
    #[error("{0}")]
    Cut(String),
}

impl LocalPods {
    /// The folders below `dir`, which need not be there yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn of(&self, workload: &Workload) -> Option<FolderOf> {
        let folder = Folder::of(&self.dir, &workload.job_name)?;
        Some(FolderOf { folder, uid: workload.job_uid.clone() })
    }
}

/// The folder of one incarnation; of any where its UID is not known.
#[derive(Debug, Clone)]
struct FolderOf {
    folder: Folder,
    uid: Option<String>,
}

impl FolderOf {
    fn job(&self) -> Result<Option<LocalJob>, Cause> {
        let job = read::<LocalJob>(&self.folder.job())?;
        Ok(job.filter(|job| self.uid.as_ref().is_none_or(|uid| *uid == job.uid)))
    }

    fn pod(&self) -> Result<Option<Pod>, Cause> {
        let Some(job) = self.job()? else { return Ok(None) };
        let exit = self.exit(&job)?;
        let has_start = read_of::<Started>(&self.folder.started(), &job.uid)?.is_some();
        // In the rare case that the start could not be written, the end tells it.
        let started = has_start || exit.as_ref().is_some_and(|exit| exit.started.is_some());
        let main = Container {
            name: job.container,
            init: false,
            main: true,
            started,
            running: started && exit.is_none(),
            ended: exit.as_ref().map(|exit| exit.finished),
        };
        let may_start = exit.is_none() && !fs::exists(self.folder.deleted(&job.uid))?;
        let (name, created) = (pod_name(&job.job_name), Some(job.created));
        Ok(Some(Pod { name, created, containers: vec![main], may_start, is_deleted: false }))
    }

    fn exit(&self, job: &LocalJob) -> Result<Option<Exit>, Cause> {
        read_of(&self.folder.exit(), &job.uid)
    }

    fn annotate(&self, annotations: &ResultAnnotations) -> Result<(), Cause> {
        let Some(job) = self.job()? else { return Ok(()) };
        let mut values = BTreeMap::new();
        if let Some(media_type) = &annotations.media_type {
            values.insert(ANNOTATION_RESULT_MIMETYPE.to_owned(), media_type.clone());
        }
        if let Some(value) = &annotations.value {
            values.insert(ANNOTATION_RESULT_VALUE.to_owned(), value.clone());
        }
        write(&self.folder.annotations(), &Annotations { uid: job.uid, values })
    }

    fn release(&self) -> Result<(), Cause> {
        let Some(job) = self.job()? else { return Ok(()) };
        match fs::remove_file(self.folder.hold(&job.uid)) {
            Err(error) if !is_absent(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A job that has ended, or is to be deleted, and waits for us.
    fn held(&self) -> Result<Option<Held>, Cause> {
        let Some(job) = self.job()? else { return Ok(None) };
        let terminating = fs::exists(self.folder.deleted(&job.uid))?;
        let is_over = terminating || self.exit(&job)?.is_some();
        if !is_over || !fs::exists(self.folder.hold(&job.uid))? {
            return Ok(None);
        }
        let workload = Workload {
            executor: ExecutorKind::Local,
            namespace: NAMESPACE.to_owned(),
            pod_name: Some(pod_name(&job.job_name)),
            pod_uid: Some(job.uid.clone()),
            job_name: job.job_name,
            job_uid: Some(job.uid),
            uploads: None,
            unknown: protocol::Unknown::new(),
        };
        Ok(Some(Held { job: job.job_id, workload, terminating, created: Some(job.created) }))
    }

    /// True as long as the log may grow.
    fn is_open(&self) -> Result<bool, Cause> {
        let Some(job) = self.job()? else { return Ok(false) };
        Ok(self.exit(&job)?.is_none())
    }

    /// Why the log is not whole; `None` where it is, or where its writer is still at it.
    fn gap(&self) -> Result<Option<Incomplete>, Cause> {
        let Some(job) = self.job()? else { return Ok(Some(Incomplete::Gone)) };
        Ok(self.exit(&job)?.and_then(|exit| exit.log_gap).map(Incomplete::Cut))
    }
}

impl PodSource for LocalPods {
    fn pods<'a>(&'a self, _: &'a JobId, workload: &'a Workload) -> BoxFuture<'a, Result<Vec<Pod>, PodsError>> {
        async move {
            let Some(folder) = self.of(workload) else { return Ok(Vec::new()) };
            let pod = blocking(move || folder.pod()).await.map_err(PodsError::Find)?;
            Ok(pod.into_iter().collect())
        }
        .boxed()
    }

    fn log<'a>(
        &'a self,
        workload: &'a Workload,
        _: &'a str,
        container: &'a str,
        read: LogRead,
    ) -> BoxFuture<'a, Result<LogStream, PodsError>> {
        let container = container.to_owned();
        async move {
            let gone = |container: &str| PodsError::LogGone {
                container: container.to_owned(),
                source: Box::new(Incomplete::Gone),
            };
            let folder = self.of(workload).ok_or_else(|| gone(&container))?;
            let opened = match File::open(folder.folder.log()).await {
                Err(error) if is_absent(&error) => return Err(gone(&container)),
                opened => {
                    opened.map_err(|error| PodsError::Log { container: container.clone(), source: error.into() })?
                }
            };
            let log = Log {
                file: opened,
                deframer: read.since.map_or_else(Deframer::default, Deframer::since),
                buffer: vec![0; CHUNK],
                folder,
                container,
                is_followed: read.follow,
            };
            Ok(stream::try_unfold(log, Log::next).boxed())
        }
        .boxed()
    }

    fn file<'a>(
        &'a self,
        workload: &'a Workload,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<FileStream>, PodsError>> {
        async move {
            let failed = |source: std::io::Error| PodsError::File { name: name.to_owned(), source: source.into() };
            let Some(folder) = self.of(workload) else { return Ok(None) };
            // A name with a path in it would lead elsewhere, and so would a link.
            if name.contains('/') {
                return Ok(None);
            }
            let path = folder.folder.results().join(name);
            match symlink_metadata(&path).await {
                Err(error) if is_absent(&error) => return Ok(None),
                Ok(told) if !told.is_file() => return Ok(None),
                told => told.map_err(failed)?,
            };
            let file = File::open(path).await.map_err(failed)?;
            let name = name.to_owned();
            let chunks = ReaderStream::with_capacity(file, CHUNK);
            Ok(Some(
                chunks
                    .map(move |chunk| {
                        chunk.map_err(|error| PodsError::File { name: name.clone(), source: error.into() })
                    })
                    .boxed(),
            ))
        }
        .boxed()
    }

    fn release<'a>(
        &'a self,
        _: &'a JobId,
        workload: &'a Workload,
        annotations: Option<&'a ResultAnnotations>,
    ) -> BoxFuture<'a, Result<(), PodsError>> {
        async move {
            let Some(folder) = self.of(workload) else { return Ok(()) };
            if let Some(annotations) = annotations.cloned() {
                let folder = folder.clone();
                blocking(move || folder.annotate(&annotations)).await.map_err(PodsError::Annotate)?;
            }
            blocking(move || folder.release()).await.map_err(PodsError::Release)
        }
        .boxed()
    }

    fn held<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Result<HeldPage, PodsError>> {
        let (dir, after) = (self.dir.clone(), after.map(str::to_owned));
        async move { blocking(move || held_page(&dir, after.as_deref())).await.map_err(PodsError::Find) }.boxed()
    }
}

/// A log being read.
struct Log {
    file: File,
    deframer: Deframer,
    buffer: Vec<u8>,
    folder: FolderOf,
    container: String,
    /// True as long as more may come after the end of the file.
    is_followed: bool,
}

impl Log {
    async fn next(mut self) -> Result<Option<(Chunk, Self)>, PodsError> {
        let failed = |container: &str, source: Cause| PodsError::Log { container: container.to_owned(), source };
        let (mut bytes, mut lines) = (Vec::new(), Vec::new());
        while bytes.is_empty() {
            let read = self.file.read(&mut self.buffer).await;
            let size = read.map_err(|error| failed(&self.container, error.into()))?;
            if size > 0 {
                let pushed = self.deframer.push(&self.buffer[..size], &mut bytes, &mut lines);
                pushed.map_err(|error| failed(&self.container, error.into()))?;
            } else if self.is_followed {
                // Asked before the file is read to its end once more: where there is an exit, the log is complete.
                let folder = self.folder.clone();
                let is_open = blocking(move || folder.is_open()).await;
                self.is_followed = is_open.map_err(|source| failed(&self.container, source))?;
                if self.is_followed {
                    tokio::time::sleep(LOOK).await;
                }
            } else {
                return self.end().await;
            }
        }
        Ok(Some((Chunk { bytes: bytes.into(), lines }, self)))
    }

    async fn end(self) -> Result<Option<(Chunk, Self)>, PodsError> {
        let Self { folder, container, .. } = self;
        match blocking(move || folder.gap()).await {
            // An open file is whole, even when its folder is gone by now.
            Ok(None | Some(Incomplete::Gone)) => Ok(None),
            Ok(Some(gap)) => Err(PodsError::LogGone { container, source: Box::new(gap) }),
            Err(source) => Err(PodsError::Log { container, source }),
        }
    }
}

/// Folders in the order of their names, which is that of their jobs' creation.
fn held_page(dir: &Path, after: Option<&str>) -> Result<HeldPage, Cause> {
    let entries = match fs::read_dir(dir) {
        Err(error) if is_absent(&error) => return Ok(HeldPage::default()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().into_string();
        names.extend(name.ok().filter(|name| after.is_none_or(|after| name.as_str() > after)));
    }
    names.sort_unstable();
    let next = (names.len() > PAGE).then(|| names[PAGE - 1].clone());
    names.truncate(PAGE);
    let mut held = Vec::new();
    for folder in names.iter().filter_map(|name| Folder::of(dir, name)) {
        match (FolderOf { folder, uid: None }).held() {
            Ok(found) => held.extend(found),
            Err(error) => tracing::warn!(%error, "a local job can't be looked at"),
        }
    }
    Ok(HeldPage { held, next })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Cause> + Send + 'static) -> Result<T, Cause> {
    spawn_blocking(work).await.map_err(|error| -> Cause { error.into() })?
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Cause> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read_of<T: DeserializeOwned + OfIncarnation>(path: &Path, uid: &str) -> Result<Option<T>, Cause> {
    Ok(read::<T>(path)?.filter(|file| file.uid() == uid))
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Cause> {
    let draft = Folder::draft(path, &new_uid());
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft) {
        // The folder is gone.
        Err(error) if is_absent(&error) => return Ok(()),
        file => file?,
    };
    file.write_all(&serde_json::to_vec(value)?)?;
    match fs::rename(&draft, path) {
        Err(error) if !is_absent(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use jiff::Timestamp;
    use protocol::local::{
        REASON_COMPLETED,
        log_frames::{Framer, Output},
    };
    use tempfile::TempDir;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    /// A folder as the dispatcher makes it.
    fn held_job(root: &Path) -> (Folder, JobId, Workload) {
        let (job_id, uid) = (JobId::generate(1_700_000_000_000), new_uid());
        let job_name = format!("job-{job_id}");
        let folder = Folder::of(root, &job_name).unwrap();
        fs::create_dir(folder.path()).unwrap();
        let job = LocalJob {
            uid: uid.clone(),
            job_id,
            process_id: "p".parse().unwrap(),
            job_name: job_name.clone(),
            created: now(),
            container: "generic-image-processor".into(),
            image: "i".into(),
            annotations: BTreeMap::new(),
        };
        write(&folder.job(), &job).unwrap();
        fs::write(folder.hold(&uid), "").unwrap();
        fs::write(folder.log(), "").unwrap();
        let workload = Workload {
            executor: ExecutorKind::Local,
            namespace: NAMESPACE.into(),
            pod_name: Some(pod_name(&job_name)),
            pod_uid: Some(uid.clone()),
            job_name,
            job_uid: Some(uid),
            uploads: None,
            unknown: protocol::Unknown::new(),
        };
        (folder, job_id, workload)
    }

    fn start(folder: &Folder, workload: &Workload) {
        let uid = workload.job_uid.clone().unwrap();
        write(&folder.started(), &Started { uid, started: now() }).unwrap();
    }

    fn end(folder: &Folder, workload: &Workload, log_gap: Option<&str>) {
        let exit = Exit {
            uid: workload.job_uid.clone().unwrap(),
            exit_code: 0,
            signal: None,
            reason: REASON_COMPLETED.into(),
            message: None,
            started: Some(now()),
            finished: now(),
            log_gap: log_gap.map(str::to_owned),
        };
        write(&folder.exit(), &exit).unwrap();
    }

    fn print(folder: &Folder, bytes: &[u8]) {
        let (mut framer, mut framed) = (Framer::new(Output::Stdout), Vec::new());
        framer.push(now(), bytes, &mut framed);
        framer.finish(now(), &mut framed);
        fs::write(folder.log(), framed).unwrap();
    }

    async fn log(pods: &LocalPods, workload: &Workload) -> (Vec<u8>, Option<PodsError>) {
        let mut stream = match pods.log(workload, "pod", "generic-image-processor", LogRead::default()).await {
            Ok(stream) => stream,
            Err(error) => return (Vec::new(), Some(error)),
        };
        let mut bytes = Vec::new();
        loop {
            match stream.try_next().await {
                Ok(Some(chunk)) => {
                    assert!(!chunk.is_empty() && chunk.len() <= CHUNK);
                    bytes.extend_from_slice(&chunk.bytes);
                }
                Ok(None) => return (bytes, None),
                Err(error) => return (bytes, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn a_log_comes_back_to_the_byte_in_bounded_chunks() {
        let dir = TempDir::new().unwrap();
        let (folder, job_id, workload) = held_job(dir.path());
        let pods = LocalPods::new(dir.path());
        let pod_of = async || pods.pods(&job_id, &workload).await.unwrap().remove(0);
        let before = pod_of().await;
        assert!(!before.containers[0].started);
        start(&folder, &workload);
        let printed: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
        print(&folder, &printed);
        assert!(pod_of().await.containers[0].running);
        let (read, error) = log(&pods, &workload).await;
        assert!(error.is_none() && read == printed, "while it is being written");
        end(&folder, &workload, None);
        let (read, error) = log(&pods, &workload).await;
        assert!(error.is_none() && read == printed);
        let pod = pod_of().await;
        assert_eq!(Some(pod.name.as_str()), workload.pod_name.as_deref());
        let main = Container {
            name: "generic-image-processor".into(),
            init: false,
            main: true,
            started: true,
            running: false,
            ended: pod.containers[0].ended,
        };
        assert!(main.ended.is_some());
        assert_eq!(pod.containers, [main]);
    }

    #[tokio::test]
    async fn a_log_that_is_followed_goes_on_until_the_container_has_ended() {
        let dir = TempDir::new().unwrap();
        let (folder, _, workload) = held_job(dir.path());
        let pods = LocalPods::new(dir.path());
        start(&folder, &workload);
        let (mut framer, mut framed) = (Framer::new(Output::Stdout), Vec::new());
        let followed = LogRead { since: None, follow: true };
        let mut stream = pods.log(&workload, "pod", "generic-image-processor", followed).await.unwrap();
        for text in ["one\n", "two\n"] {
            framer.push(now(), text.as_bytes(), &mut framed);
            fs::write(folder.log(), &framed).unwrap();
            let chunk = stream.try_next().await.unwrap().unwrap();
            assert_eq!((&chunk.bytes[..], chunk.lines.len()), (text.as_bytes(), 1));
        }
        let more = tokio::time::timeout(LOOK * 3, stream.try_next()).await;
        assert!(more.is_err(), "it waits as long as the container runs");
        end(&folder, &workload, None);
        assert!(stream.try_next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_log_that_was_cut_says_so_after_what_is_there() {
        let dir = TempDir::new().unwrap();
        let (folder, _, workload) = held_job(dir.path());
        print(&folder, b"begun\nand ");
        end(&folder, &workload, Some("the disk was full"));
        let (read, error) = log(&LocalPods::new(dir.path()), &workload).await;
        assert_eq!(read, b"begun\nand ");
        assert!(error.unwrap().is_lasting());
    }

    #[tokio::test]
    async fn a_release_annotates_and_lets_go_and_can_be_repeated() {
        let dir = TempDir::new().unwrap();
        let (folder, job_id, workload) = held_job(dir.path());
        let pods = LocalPods::new(dir.path());
        let annotations = ResultAnnotations { media_type: Some("text/plain".into()), value: Some(String::new()) };
        for _ in 0..2 {
            pods.release(&job_id, &workload, Some(&annotations)).await.unwrap();
        }
        assert!(!folder.hold(workload.job_uid.as_deref().unwrap()).exists());
        let written = read::<Annotations>(&folder.annotations()).unwrap().unwrap();
        assert_eq!(written.values[ANNOTATION_RESULT_MIMETYPE], "text/plain");
        assert_eq!(written.values[ANNOTATION_RESULT_VALUE], "");
        assert!(
            fs::read_dir(folder.path()).unwrap().all(|entry| !entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .starts_with('.'))
        );
    }

    #[tokio::test]
    async fn another_incarnation_is_not_touched_and_what_is_gone_is_done() {
        let dir = TempDir::new().unwrap();
        let (folder, job_id, workload) = held_job(dir.path());
        let pods = LocalPods::new(dir.path());
        let earlier = Workload { job_uid: Some("earlier".into()), ..workload.clone() };
        assert_eq!(pods.pods(&job_id, &earlier).await.unwrap(), []);
        pods.release(&job_id, &earlier, Some(&ResultAnnotations::default())).await.unwrap();
        assert!(folder.hold(workload.job_uid.as_deref().unwrap()).exists() && !folder.annotations().exists());
        let gone = Workload { job_name: "job-gone".into(), ..workload };
        assert_eq!(pods.pods(&job_id, &gone).await.unwrap(), []);
        pods.release(&job_id, &gone, Some(&ResultAnnotations::default())).await.unwrap();
        assert!(log(&pods, &gone).await.1.unwrap().is_lasting());
    }

    #[tokio::test]
    async fn jobs_that_are_over_and_held_are_listed_in_pages() {
        let dir = TempDir::new().unwrap();
        let pods = LocalPods::new(dir.path());
        fs::create_dir(dir.path().join(".new")).unwrap();
        assert_eq!(LocalPods::new(&dir.path().join("missing")).held(None).await.unwrap(), HeldPage::default());
        let jobs: Vec<_> = (0..PAGE + 3).map(|_| held_job(dir.path())).collect();
        for (folder, _, workload) in &jobs[..PAGE + 1] {
            end(folder, workload, None);
        }
        let (folder, _, workload) = &jobs[PAGE + 1];
        fs::write(folder.deleted(workload.job_uid.as_deref().unwrap()), "").unwrap();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = pods.held(after.as_deref()).await.unwrap();
            assert!(page.held.len() <= PAGE);
            seen.extend(page.held);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut expected: Vec<Workload> = jobs[..PAGE + 2].iter().map(|(_, _, workload)| workload.clone()).collect();
        expected.sort_by(|a, b| a.job_name.cmp(&b.job_name));
        assert_eq!(seen.into_iter().map(|held| held.workload).collect::<Vec<_>>(), expected);
    }
}
