//! Tells changes of the folders. The system says which folder changed; that it may miss some, or can't watch at all, is
//! made up for by looking at all of them now and then.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::ModifyKind};
use protocol::local::Folder;
use tokio::{
    sync::{Notify, mpsc},
    time::MissedTickBehavior,
};
use tracing::warn;

use super::{LocalExecutor, NAMESPACE};
use crate::executor::{Change, Observation};

/// Time between two looks at everything: so long it may take until a shim that was killed is missed.
const LOOK_AT_ALL: Duration = Duration::from_secs(5);

/// Watches until nobody listens.
pub(super) async fn run(executor: &LocalExecutor, changes: &mpsc::Sender<Change>) {
    let mut level =
        Level { executor, told: HashMap::new(), watched: HashMap::new(), bell: Bell::start(&executor.settings.dir) };
    let mut all = tokio::time::interval(LOOK_AT_ALL);
    all.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_synced = false;
    loop {
        let names = tokio::select! {
            _ = all.tick() => None,
            names = level.bell.rung.wait() => names,
        };
        let is_whole = names.is_none();
        let names = match names {
            Some(names) => names,
            None => match level.all_names().await {
                Some(names) => names,
                None => continue,
            },
        };
        for name in names {
            for change in level.look(name).await {
                if changes.send(change).await.is_err() {
                    return;
                }
            }
        }
        if is_whole && !is_synced {
            is_synced = true;
            if changes.send(Change::Synced { namespace: NAMESPACE.to_owned() }).await.is_err() {
                return;
            }
        }
    }
}

struct Level<'a> {
    executor: &'a LocalExecutor,
    told: HashMap<String, Observation>,
    /// UID of the incarnation that is watched under a name.
    watched: HashMap<String, String>,
    bell: Bell,
}

impl Level<'_> {
    /// Names of all folders that are there or were told of.
    async fn all_names(&self) -> Option<HashSet<String>> {
        match self.executor.list().await {
            Ok(names) => Some(names.into_iter().chain(self.told.keys().cloned()).collect()),
            Err(error) => {
                warn!(error = %platform::telemetry::chain(&error), "the local jobs can't be listed");
                None
            }
        }
    }

    /// What is to be told of one folder.
    async fn look(&mut self, name: String) -> Vec<Change> {
        let seen = match self.observe(&name).await {
            Ok(seen) => seen,
            Err(error) => {
                warn!(job_name = name, error = %platform::telemetry::chain(&error), "a local job can't be seen");
                return Vec::new();
            }
        };
        let before = self.told.remove(&name);
        let mut changes = Vec::new();
        if let Some(before) = &before
            && seen.as_ref().is_none_or(|seen| seen.uid != before.uid)
        {
            changes.push(Change::Gone { job_id: before.job_id, uid: before.uid.clone() });
        }
        if let Some(seen) = seen {
            if before.as_ref() != Some(&seen) {
                changes.push(Change::Seen(Box::new(seen.clone())));
            }
            self.told.insert(name, seen);
        }
        changes
    }

    async fn observe(&mut self, name: &str) -> Result<Option<Observation>, crate::executor::ExecutorError> {
        loop {
            let seen = self.executor.observe(name).await?;
            let uid = seen.as_ref().map(|seen| seen.uid.as_str());
            if self.watched.get(name).map(String::as_str) == uid {
                return Ok(seen);
            }
            let path = self.executor.settings.dir.join(name);
            if self.watched.remove(name).is_some() {
                self.bell.forget(&path);
            }
            let Some(uid) = uid else { return Ok(seen) };
            self.watched.insert(name.to_owned(), uid.to_owned());
            // What changed before it was watched is seen by looking again.
            self.bell.watch(&path);
        }
    }
}

/// The system's word that something changed.
struct Bell {
    watcher: Option<RecommendedWatcher>,
    rung: Arc<Rung>,
}

/// Names of folders that changed; at most one entry for each.
#[derive(Default)]
struct Rung {
    names: Mutex<HashSet<String>>,
    everything: std::sync::atomic::AtomicBool,
    wake: Notify,
}

impl Bell {
    fn start(root: &Path) -> Self {
        let rung = Arc::new(Rung::default());
        let (ring, prefix): (_, PathBuf) = (rung.clone(), root.to_owned());
        let watcher = notify::recommended_watcher(move |event| ring.ring(&prefix, event));
        let watcher =
            watcher.and_then(|mut watcher| watcher.watch(root, RecursiveMode::NonRecursive).map(|()| watcher));
        let watcher = watcher.inspect_err(|error| warn!(%error, "the local jobs can't be watched, changes show late"));
        Self { watcher: watcher.ok(), rung }
    }

    fn watch(&mut self, path: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        if let Err(error) = watcher.watch(path, RecursiveMode::NonRecursive)
            && path.exists()
        {
            warn!(%error, "a local job can't be watched, its changes show late");
        }
    }

    fn forget(&mut self, path: &Path) {
        if let Some(watcher) = &mut self.watcher {
            // The system forgets by itself what is gone.
            drop(watcher.unwatch(path));
        }
    }
}

impl Rung {
    fn ring(&self, root: &Path, event: notify::Result<Event>) {
        match event {
            Ok(event) if !event.need_rescan() => {
                if !matches!(
                    event.kind,
                    EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
                ) {
                    return;
                }
                let names: Vec<String> = event.paths.iter().filter_map(|path| name(root, path)).collect();
                if names.is_empty() {
                    return;
                }
                self.names.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
            }
            _ => self.everything.store(true, std::sync::atomic::Ordering::SeqCst),
        }
        self.wake.notify_one();
    }

    /// The folders that changed; `None` stands for all.
    async fn wait(&self) -> Option<HashSet<String>> {
        self.wake.notified().await;
        let names = std::mem::take(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner));
        let everything = self.everything.swap(false, std::sync::atomic::Ordering::SeqCst);
        (!everything).then_some(names)
    }
}

/// The job's name where the path is one that tells something.
fn name(root: &Path, path: &Path) -> Option<String> {
    let mut parts = path.strip_prefix(root).ok()?.components().map(|part| part.as_os_str().to_str());
    let name = parts.next()??;
    let tells = match (parts.next(), parts.next()) {
        (None, _) => true,
        (Some(file), None) => Folder::tells(file?),
        (Some(_), Some(_)) => false,
    };
    (tells && !name.starts_with('.')).then(|| name.to_owned())
}
