//! Fifty executions at once, through two replicas of everything.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use end_to_end::{
    program::wait_until,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use futures::{StreamExt, future::try_join_all};
use protocol::{Event, JobEvent, JobId, job_record::Status, names::subjects};
use serde_json::json;
use tokio::task::JoinHandle;

const JOBS: usize = 50;

on_each!(fifty: Local as fifty_at_once_run_once_each_locally,
    Simulated as fifty_at_once_run_once_each_on_the_simulated_node);

async fn fifty(backend: Backend) {
    let script = "echo ran\necho PYGEOAPI_K8S_MANAGER_RESULT_START\nprintf %s \"$PYGEOAPI_K8S_MANAGER_INPUTS\"";
    let mut setting = Setting::new(backend).with_processes(&process_yaml("echo", script));
    setting.replicas = 2;
    tell(&format!("fifty-{backend:?}"), setting, async |story| {
        if backend == Backend::Simulated {
            let (namespace, client) = story.cluster()?;
            namespace.serve_log(client, "ran\nPYGEOAPI_K8S_MANAGER_RESULT_START\n{}").await?;
        }
        let subscriber = subscribe(story).await?;
        let shared: &Story = story;
        let jobs: Vec<JobId> = try_join_all((0..JOBS).map(|number| submit(shared, number))).await?;
        assert_eq!(jobs.iter().collect::<HashSet<_>>().len(), JOBS, "ids are not given twice");
        for job in &jobs {
            let status = story.wait_done(job).await?;
            assert_eq!(status["status"], "successful", "{status}");
        }
        let seen = tokio::time::timeout(LIMIT, subscriber).await.context("the subscriber missed something")???;
        for job in &jobs {
            in_order(job, &seen[job])?;
        }
        stored_once(story, &jobs).await?;
        if backend == Backend::Simulated {
            ran_once(story, &jobs).await?;
        }
        Ok(())
    })
    .await;
}

/// Submits at one replica; the other knows the job at once.
async fn submit(story: &Story, number: usize) -> Result<JobId> {
    let job = story.submit_at(number % 2, "echo", json!({ "text": number.to_string() })).await?;
    let answer = story.get_at((number + 1) % 2, &format!("/jobs/{job}")).await?;
    ensure!(answer.status().as_u16() == 200, "{} right after 201, at the other replica", answer.status());
    Ok(job)
}

/// Every event of every job, in the order of the stream, until all jobs have ended.
async fn subscribe(story: &Story) -> Result<JoinHandle<Result<HashMap<JobId, Vec<(Event, JobEvent)>>>>> {
    let client = async_nats::connect(story.stack.nats.url()).await?;
    let jetstream = async_nats::jetstream::new(client);
    let stream = jetstream.get_stream(subjects::STREAM).await?;
    let config = async_nats::jetstream::consumer::pull::OrderedConfig {
        filter_subject: subjects::ALL_EVENTS.to_owned(),
        ..Default::default()
    };
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    Ok(tokio::spawn(async move {
        let mut seen: HashMap<JobId, Vec<(Event, JobEvent)>> = HashMap::new();
        let mut done = 0;
        while done < JOBS {
            let message = messages.next().await.context("the subscription ended")??;
            let (_, job, event) = subjects::parse_event(&message.subject).context("an unknown subject")?;
            let told: JobEvent = serde_json::from_slice(&message.payload)?;
            done += usize::from(
                told.record().status.is_terminal() && Event::of_terminal(told.record().status) == Some(event),
            );
            seen.entry(job).or_default().push((event, told));
        }
        Ok(seen)
    }))
}

fn in_order(job: &JobId, told: &[(Event, JobEvent)]) -> Result<()> {
    let mut kinds: Vec<Event> =
        told.iter().map(|(event, _)| *event).filter(|event| *event != Event::Progress).collect();
    kinds.dedup();
    let expected = [Event::Accepted, Event::Launching, Event::Running, Event::Ended, Event::Successful];
    ensure!(kinds == expected, "{job}: {kinds:?}");
    let phases: Vec<_> = told.iter().map(|(_, event)| event.record().phase()).collect();
    ensure!(phases.is_sorted(), "{job} went back: {phases:?}");
    let updates: Vec<_> = told.iter().map(|(_, event)| event.record().updated).collect();
    ensure!(updates.is_sorted(), "{job} went back in time: {updates:?}");
    Ok(())
}

async fn stored_once(story: &Story, jobs: &[JobId]) -> Result<()> {
    let store = story.stack.objects()?;
    let mut archives: BTreeMap<String, usize> = BTreeMap::new();
    for job in jobs {
        let record = story.manifest(job).await?.record;
        ensure!(record.status == Status::Successful && record.attempt == 1, "{record:?}");
        *archives.entry(record.archive.key.context("no archive")?).or_default() += 1;
    }
    ensure!(archives.len() == JOBS && archives.values().all(|count| *count == 1), "{archives:?}");
    let stored = store.list(store.prefix(), None, 1000).await?;
    let logs = stored.iter().filter(|object| object.key.ends_with("-logs.txt")).count();
    ensure!(logs == JOBS, "{logs} archives in the bucket");
    Ok(())
}

/// As many Jobs as executions, one pod each.
async fn ran_once(story: &Story, jobs: &[JobId]) -> Result<()> {
    for job in jobs {
        ensure!(story.kubernetes_job(job).await?.is_some(), "no Job of {job}");
        let pods = story.kubernetes_pods(job).await?.len();
        ensure!(pods == 1, "{pods} pods of {job}");
    }
    wait_until("all pods are released", Duration::from_secs(60), || async {
        for job in jobs {
            for pod in story.kubernetes_pods(job).await? {
                let held = pod.metadata.finalizers.unwrap_or_default();
                if held.iter().any(|name| name == protocol::names::kubernetes::POD_FINALIZER) {
                    bail!("the pod of {job} is held");
                }
            }
        }
        Ok(())
    })
    .await
}
