//! From the end of a pod, as Kubernetes is told of it, to the status of its job, beside a plain watch.
//!
//! All are measured from the moment at which the API server received the pod's last status from the node: its audit log
//! tells that to the microsecond, while the times inside of objects are whole seconds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    runtime::watcher::{self, Event as Watched},
};
use protocol::{Event, JobId, names::kubernetes::LABEL_JOB_ID};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use super::{
    audit::{self, Entry},
    bed::{Bed, within},
    events::Events,
    jobs::limit,
    report::{Aim, Figure, Report},
    say,
    statistics::percentile,
};

/// Jobs under way at one time: few, so that what is measured is not a queue.
const AT_ONCE: usize = 4;
/// From the change in Kubernetes to a subscriber, for 99 of 100.
const LIMIT_MS: f64 = 100.0;

/// When the plain watch saw which pod end, by the pod's job.
type Seen = Arc<Mutex<HashMap<JobId, (String, Timestamp)>>>;

/// One job, in milliseconds since its pod's end.
#[derive(Clone, Copy, Debug)]
struct Times {
    watch: f64,
    subscriber: f64,
    http: f64,
}

/// Measures it over `count` jobs.
pub(super) async fn measure(bed: &Bed, count: usize, report: &mut Report) -> Result<()> {
    say(&format!("latency of {count} executions"));
    let before = audit::mark(bed)?;
    let events = Events::listen(&bed.stack.nats.url()).await?;
    let (seen, _watch) = watch(bed).await?;
    let one = |_| async {
        let job = bed.gateway.submit().await?;
        events.successful(&[job], limit(1)).await?;
        // Asked only after the event, as asking all the time would slow down what is measured.
        while bed.gateway.status(&job).await? != "successful" {}
        Ok::<_, anyhow::Error>((job, Timestamp::now()))
    };
    let all = stream::iter(0..count).map(one).buffer_unordered(AT_ONCE).try_collect();
    let jobs: Vec<(JobId, Timestamp)> = within(limit(count), "the executions", all).await?;

    let entries = audit::entries(bed, before)?;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut times = Vec::new();
    for (job, http) in jobs {
        let (pod, watched) = seen.get(&job).with_context(|| format!("the watch missed the pod of {job}"))?;
        let end =
            last_status(&entries, pod, *watched).with_context(|| format!("no status of pod {pod} in the audit log"))?;
        let since = |time: Timestamp| time.duration_since(end).as_secs_f64() * 1000.0;
        let subscriber = since(events.when(&job, Event::Ended)?);
        times.push(Times { watch: since(*watched), subscriber, http: since(http) });
    }
    rows(&times, report);
    Ok(())
}

/// A plain watch of pods.
async fn watch(bed: &Bed) -> Result<(Seen, AbortOnDropHandle<()>)> {
    let pods: Api<Pod> = Api::namespaced(bed.admin().clone(), bed.ours.name());
    let mut watch = watcher::watcher(pods, watcher::Config::default()).boxed();
    while !matches!(watch.try_next().await?.context("the watch ended")?, Watched::InitDone) {}
    let seen = Seen::default();
    let notes = seen.clone();
    let task = tokio::spawn(async move {
        while let Some(event) = watch.next().await {
            let now = Timestamp::now();
            let Ok(Watched::Apply(pod)) = event else { continue };
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            let job = pod.labels().get(LABEL_JOB_ID).and_then(|label| label.parse::<JobId>().ok());
            if let (Some("Succeeded"), Some(job)) = (phase, job) {
                let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                notes.entry(job).or_insert((pod.name_any(), now));
            }
        }
    });
    Ok((seen, AbortOnDropHandle::new(task)))
}

/// When the API server received the last status of a pod that the node sent before the watch saw it.
fn last_status(entries: &[Entry], pod: &str, watched: Timestamp) -> Option<Timestamp> {
    let of_pod = entries.iter().filter(|entry| {
        entry.user_agent.starts_with("kwok/")
            && entry.verb == "patch"
            && entry
                .object_ref
                .as_ref()
                .is_some_and(|object| object.resource == "pods" && object.subresource == "status" && object.name == pod)
    });
    of_pod.map(|entry| entry.request_received_timestamp).filter(|time| *time <= watched).max()
}

fn rows(times: &[Times], report: &mut Report) {
    let all = |of: fn(&Times) -> f64| -> Vec<f64> { times.iter().map(of).collect() };
    let watch = all(|times| times.watch);
    let kinds = [
        ("a subscriber hears ended", all(|times| times.subscriber), true),
        ("HTTP status successful", all(|times| times.http), false),
    ];
    for (name, ours, is_aimed_at) in kinds {
        for percent in [50, 99] {
            let (ours_ms, watch_ms) = (percentile(&ours, percent), percentile(&watch, percent));
            let aimed_at = is_aimed_at && percent == 99;
            report.add(Figure {
                name: format!("pod's end to: {name}, p{percent}"),
                ratio: ours_ms / watch_ms,
                aim: aimed_at.then(|| Aim::raw_at_most("ours", LIMIT_MS, " ms", ours_ms)),
                ours: format!("{ours_ms:.1} ms"),
                peer: format!("{watch_ms:.1} ms plain watch"),
                setting: format!("{} jobs, {AT_ONCE} at once, raised controllers", times.len()),
                numbers: json!({ "percentile": percent, "ours_ms": ours, "watch_ms": watch }),
            });
        }
    }
}
