//! What the API server tells of the Jobs of a namespace, from which it can be counted afterwards how many were live at one time.
//! It goes on when the API server is started again.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{self, Event},
};
use protocol::{
    JobId,
    names::kubernetes::{ANNOTATION_PROCESS_ID, LABEL_JOB_ID},
};
use tokio::task::JoinHandle;

use crate::{program::wait_until, story::LIMIT};

/// The pause before a watch that broke begins anew: what happens meanwhile is told in part only.
const PAUSE: Duration = Duration::from_millis(100);

/// A watch of the Jobs and pods of a namespace; dropped, it ends.
#[derive(Debug)]
pub struct LiveJobs {
    changes: Arc<Mutex<Vec<(u64, Change)>>>,
    watching: [JoinHandle<()>; 2],
}

/// One change, as the API server told it.
#[derive(Clone, Debug)]
enum Change {
    /// A Job is there.
    There { job: String, process: String, uid: String },
    /// A Job has ended, or its pod has, or it is gone: nothing of it runs any more. The UID is the Job's, where that told it.
    Over { job: String, uid: Option<String> },
}

impl LiveJobs {
    /// Begins to watch.
    pub fn watch(client: &Client, namespace: &str) -> Self {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let jobs = follow(Api::namespaced(client.clone(), namespace), changes.clone(), of_job);
        let pods = follow(Api::namespaced(client.clone(), namespace), changes.clone(), of_pod);
        Self { changes, watching: [tokio::spawn(jobs), tokio::spawn(pods)] }
    }

    /// Of each job the UIDs of its Jobs so far, in order.
    pub fn made(&self) -> HashMap<String, Vec<String>> {
        let mut made: HashMap<String, Vec<String>> = HashMap::new();
        for change in self.in_order() {
            if let Change::There { job, uid, .. } | Change::Over { job, uid: Some(uid) } = change {
                let uids = made.entry(job).or_default();
                if !uids.contains(&uid) {
                    uids.push(uid);
                }
            }
        }
        made
    }

    /// Waits until each of these jobs has had a Job, and fails where one has had several, or another job has had one.
    pub async fn one_each(&self, jobs: &[JobId]) -> Result<()> {
        wait_until("the watch has told of every job", LIMIT, || async {
            let told = self.made().len();
            ensure!(told == jobs.len(), "it has told of {told}");
            Ok(())
        })
        .await?;
        let made = self.made();
        for job in jobs {
            let uids = made.get(&job.to_string()).context("a job without a Job")?;
            ensure!(uids.len() == 1, "{job} had the Jobs {uids:?}");
        }
        Ok(())
    }

    /// How many Jobs of the chosen processes were live at one time, at most.
    pub fn most(&self, is_chosen: impl Fn(&str) -> bool) -> usize {
        let (mut live, mut over, mut most) = (HashSet::new(), HashSet::new(), 0);
        for change in self.in_order() {
            match change {
                Change::There { job, process, .. } => {
                    if is_chosen(&process) && !over.contains(&job) {
                        live.insert(job);
                    }
                    most = most.max(live.len());
                }
                Change::Over { job, .. } => {
                    live.remove(&job);
                    over.insert(job);
                }
            }
        }
        most
    }

    /// The two watches are not in step; all changes of a cluster are, by their versions, as one etcd counts them.
    fn in_order(&self) -> Vec<Change> {
        let mut changes = locked(&self.changes).clone();
        changes.sort_by_key(|(version, _)| *version);
        changes.into_iter().map(|(_, change)| change).collect()
    }
}

impl Drop for LiveJobs {
    fn drop(&mut self) {
        self.watching.iter().for_each(JoinHandle::abort);
    }
}

fn locked(changes: &Mutex<Vec<(u64, Change)>>) -> MutexGuard<'_, Vec<(u64, Change)>> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow<K>(
    api: Api<K>,
    changes: Arc<Mutex<Vec<(u64, Change)>>>,
    change_of: impl Fn(&K, bool) -> Result<Option<Change>> + Send,
) where
    K: kube::Resource + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let mut events = watcher::watcher(api, watcher::Config::default()).boxed();
    // The highest version that was told, and what it was when the watch last began anew.
    let (mut last, mut before) = (0, 0);
    while let Some(event) = events.next().await {
        let (object, is_gone, is_listed) = match event {
            Ok(Event::Apply(object)) => (object, false, false),
            Ok(Event::InitApply(object)) => (object, false, true),
            Ok(Event::Delete(object)) => (object, true, false),
            Ok(Event::Init) => {
                before = last;
                continue;
            }
            Ok(Event::InitDone) => continue,
            Err(error) => {
                tracing::warn!(%error, "the watch broke");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match version(&object).and_then(|version| Ok((version, change_of(&object, is_gone)?))) {
            Ok((version, change)) => {
                last = last.max(version);
                // An end that was missed is older than what is found of it, and may have made room for what was created since.
                let is_missed = is_listed && matches!(change, Some(Change::Over { .. }));
                let at = if is_missed { version.min(before) } else { version };
                locked(&changes).extend(change.map(|change| (at, change)));
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "a change can't be counted"),
        }
    }
}

fn of_job(job: &Job, is_gone: bool) -> Result<Option<Change>> {
    const ENDS: [&str; 4] = ["Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"];
    let Some(id) = job.labels().get(LABEL_JOB_ID).cloned() else { return Ok(None) };
    let uid = job.uid().context("a Job without a UID")?;
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let has_ended = conditions.into_iter().any(|one| one.status == "True" && ENDS.contains(&one.type_.as_str()));
    let change = if is_gone || has_ended {
        Change::Over { job: id, uid: Some(uid) }
    } else {
        let process = job.annotations().get(ANNOTATION_PROCESS_ID).cloned().context("a Job without a process")?;
        Change::There { job: id, process, uid }
    };
    Ok(Some(change))
}

fn of_pod(pod: &Pod, is_gone: bool) -> Result<Option<Change>> {
    let Some(id) = pod.labels().get(LABEL_JOB_ID).cloned() else { return Ok(None) };
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_over = is_gone || matches!(phase, Some("Succeeded" | "Failed"));
    Ok(if is_over { Some(Change::Over { job: id, uid: None }) } else { None })
}

fn version(object: &impl ResourceExt) -> Result<u64> {
    let version = object.resource_version().context("an object without a version")?;
    ensure!(!version.is_empty(), "an empty version");
    Ok(version.parse()?)
}
