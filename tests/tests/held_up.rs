//! Jobs that a quota holds up, and pods that are refused, on a simulated node: who waits, who goes on, and who is told that it never will.

use anyhow::{Result, ensure};
use end_to_end::{
    program::wait_until,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use protocol::JobId;
use serde_json::{Value, json};

use crate::reasons::{failed, object};

fn setting() -> Setting {
    Setting::new(Backend::Simulated).with_processes(&process_yaml("quick", "true"))
}

async fn forbid(story: &Story, what: &str) -> Result<()> {
    let quota = object(json!({ "metadata": { "name": "a-quota" }, "spec": { "hard": { what: "0" } } }))?;
    quotas(story)?.create(&PostParams::default(), &quota).await?;
    Ok(())
}

async fn raise(story: &Story, what: &str) -> Result<()> {
    let raised = Patch::Merge(json!({ "spec": { "hard": { what: "10" } } }));
    quotas(story)?.patch("a-quota", &PatchParams::default(), &raised).await?;
    Ok(())
}

fn quotas(story: &Story) -> Result<Api<ResourceQuota>> {
    let (namespace, client) = story.cluster()?;
    Ok(Api::namespaced(client.clone(), namespace.name()))
}

/// The job is held up, which its status and its last event say; when that began.
async fn held_up(story: &Story, job: &JobId) -> Result<Value> {
    wait_until("it says that it waits for the quota", LIMIT, || async {
        let status = story.status(job).await?;
        let message = status["message"].as_str().unwrap_or_default();
        ensure!(status["status"] == "accepted" && status["reason"] == "QuotaExceeded", "{status}");
        ensure!(message.contains("QuotaExceeded") && message.contains("exceeded quota: a-quota"), "{status}");
        let record = last_record(story, job).await?;
        ensure!(record["heldUp"]["reason"] == "QuotaExceeded", "{record}");
        Ok(record["heldUp"]["since"].clone())
    })
    .await
}

async fn last_record(story: &Story, job: &JobId) -> Result<Value> {
    let (start, middle) = ("jobs.", format!(".{job}."));
    let messages = story.messages().await?;
    let mut of_job =
        messages.into_iter().filter(|(subject, _)| subject.starts_with(start) && subject.contains(&middle));
    Ok(of_job.next_back().map(|(_, event)| event["data"].clone()).unwrap_or_default())
}

/// It runs and ends well, and its record says no longer that it is held up.
async fn goes_on(story: &Story, job: &JobId) -> Result<()> {
    let status = story.wait_done(job).await?;
    ensure!(status["status"] == "successful", "{status}");
    ensure!(story.manifest(job).await?.record.held_up.is_none(), "held up at its end");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_quota_forbids_goes_on_when_the_quota_is_raised() {
    tell("held-up-job", setting(), async |story| {
        forbid(story, "count/jobs.batch").await?;
        let job = story.submit("quick", json!({})).await?;
        held_up(story, &job).await?;
        ensure!(story.kubernetes_job(&job).await?.is_none(), "it has a Job");
        raise(story, "count/jobs.batch").await?;
        goes_on(story, &job).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_jobs_as_may_be_live_that_a_quota_forbids_keep_nobody_from_being_launched_when_it_is_raised() {
    let mut setting = Setting::new(Backend::Simulated)
        .with_processes(&["one", "two"].map(|id| process_yaml(id, "true")).concat())
        .with("QUAYSIDE_DISPATCHER__MAX_LIVE", "2");
    setting.replicas = 2;
    tell("held-up-cap", setting, async |story| {
        forbid(story, "count/jobs.batch").await?;
        let mut jobs = Vec::new();
        for process in ["one", "two"] {
            let job = story.submit(process, json!({})).await?;
            held_up(story, &job).await?;
            jobs.push(job);
        }
        for process in ["one", "two"] {
            jobs.push(story.submit(process, json!({})).await?);
        }
        raise(story, "count/jobs.batch").await?;
        for job in &jobs {
            goes_on(story, job).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_pod_a_quota_forbids_waits_beyond_the_deadline_for_its_start_and_goes_on_when_the_quota_is_raised()
{
    // The time that the quota takes is not the pod's.
    let setting = setting().with("QUAYSIDE_DISPATCHER__START_DEADLINE", "9");
    tell("held-up-pod", setting, async |story| {
        forbid(story, "limits.cpu").await?;
        let job = story.submit("quick", json!({})).await?;
        let since = held_up(story, &job).await?;
        let submitted = std::time::Instant::now();
        wait_until("the deadline for its start has passed", LIMIT, || async {
            ensure!(submitted.elapsed().as_secs() > 12, "not yet");
            Ok(())
        })
        .await?;
        ensure!(held_up(story, &job).await? == since, "it is held up since another time");
        raise(story, "limits.cpu").await?;
        goes_on(story, &job).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_pod_a_quota_forbids_for_too_long_fails_for_that_and_leaves_nothing() {
    let setting = setting().with("QUAYSIDE_DISPATCHER__QUOTA_DEADLINE", "12");
    tell("held-up-too-long", setting, async |story| {
        forbid(story, "pods").await?;
        let job = story.submit("quick", json!({})).await?;
        held_up(story, &job).await?;
        failed(story, &job, "QuotaExceeded", "exceeded quota: a-quota").await?;
        wait_until("its Job is gone", LIMIT, || async {
            ensure!(story.kubernetes_job(&job).await?.is_none(), "the Job is there");
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_pod_is_not_allowed_in_its_namespace_says_so_soon() {
    tell("pod-refused", setting(), async |story| {
        let (namespace, client) = story.cluster()?;
        let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        let restricted = Patch::Merge(json!({ "metadata": { "labels": labels } }));
        Api::<Namespace>::all(client.clone()).patch(namespace.name(), &PatchParams::default(), &restricted).await?;
        let submitted = std::time::Instant::now();
        let job = story.submit("quick", json!({})).await?;
        failed(story, &job, "AdmissionRejected", "violates PodSecurity \"restricted:latest\"").await?;
        ensure!(submitted.elapsed().as_secs() < 60, "not soon: {:?}", submitted.elapsed());
        wait_until("its Job is gone", LIMIT, || async {
            ensure!(story.kubernetes_job(&job).await?.is_none(), "the Job is there");
            Ok(())
        })
        .await
    })
    .await;
}
