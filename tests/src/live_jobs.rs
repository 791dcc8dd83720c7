//! What the API server tells of the Jobs of a namespace, from which it can be counted afterwards how many were live at one time.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{self, Event},
};
use protocol::names::kubernetes::{ANNOTATION_PROCESS_ID, LABEL_JOB_ID};
use tokio::task::JoinHandle;

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
    /// A Job has ended, or its pod has, or it is gone: nothing of it runs any more.
    Over { job: String },
}

impl LiveJobs {
    /// Begins to watch.
    pub fn watch(client: &Client, namespace: &str) -> Self {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let (of_jobs, of_pods) = (changes.clone(), changes.clone());
        let jobs = follow(Api::namespaced(client.clone(), namespace), move |job, is_gone| {
            note(&of_jobs, of_job(job, is_gone));
        });
        let pods = follow(Api::namespaced(client.clone(), namespace), move |pod, is_gone| {
            note(&of_pods, of_pod(pod, is_gone));
        });
        Self { changes, watching: [tokio::spawn(jobs), tokio::spawn(pods)] }
    }

    /// Of each job the UIDs of its Jobs so far, in order.
    pub fn made(&self) -> HashMap<String, Vec<String>> {
        let mut made: HashMap<String, Vec<String>> = HashMap::new();
        for change in self.in_order() {
            if let Change::There { job, uid, .. } = change {
                let uids = made.entry(job).or_default();
                if !uids.contains(&uid) {
                    uids.push(uid);
                }
            }
        }
        made
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
                Change::Over { job } => {
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

type Noted = Result<Option<(u64, Change)>>;

fn note(changes: &Mutex<Vec<(u64, Change)>>, noted: Noted) {
    match noted {
        Ok(change) => locked(changes).extend(change),
        Err(error) => tracing::warn!(error = format!("{error:#}"), "a change can't be counted"),
    }
}

fn locked(changes: &Mutex<Vec<(u64, Change)>>) -> MutexGuard<'_, Vec<(u64, Change)>> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow<K>(api: Api<K>, note: impl Fn(&K, bool) + Send)
where
    K: kube::Resource + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let mut events = watcher::watcher(api, watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => note(&object, false),
            Ok(Event::Delete(object)) => note(&object, true),
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => tracing::warn!(%error, "the watch broke"),
        }
    }
}

fn of_job(job: &Job, is_gone: bool) -> Noted {
    const ENDS: [&str; 4] = ["Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"];
    let Some(id) = job.labels().get(LABEL_JOB_ID).cloned() else { return Ok(None) };
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let has_ended = conditions.into_iter().any(|one| one.status == "True" && ENDS.contains(&one.type_.as_str()));
    let change = if is_gone || has_ended {
        Change::Over { job: id }
    } else {
        let process = job.annotations().get(ANNOTATION_PROCESS_ID).cloned().context("a Job without a process")?;
        Change::There { job: id, process, uid: job.uid().context("a Job without a UID")? }
    };
    Ok(Some((version(job)?, change)))
}

fn of_pod(pod: &Pod, is_gone: bool) -> Noted {
    let Some(id) = pod.labels().get(LABEL_JOB_ID).cloned() else { return Ok(None) };
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_over = is_gone || matches!(phase, Some("Succeeded" | "Failed"));
    Ok(if is_over { Some((version(pod)?, Change::Over { job: id })) } else { None })
}

fn version(object: &impl ResourceExt) -> Result<u64> {
    let version = object.resource_version().context("an object without a version")?;
    ensure!(!version.is_empty(), "an empty version");
    Ok(version.parse()?)
}
