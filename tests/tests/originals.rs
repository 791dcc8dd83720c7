//! Quayside in the place of pygeoapi-k8s-manager: what that left in the namespace goes on here.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    services::Service,
    story::{Backend, LIMIT, Setting, Story, TOKEN, process_yaml, tell},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use protocol::{
    JobId,
    job_record::{ArchiveState, Reason},
    names::{kubernetes as names, objects},
};
use serde_json::{Value, json};

const PREFIX: &str = "pygeoapi-job-";
const PROCESS: &str = "moved";
const RESULT: &str =
    "echo PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: text/csv; echo PYGEOAPI_K8S_MANAGER_RESULT_START; echo a,b";

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_the_original_are_finalized_listed_and_readable_under_their_ids() {
    let mut setting = Setting::new(Backend::Real).with_processes(&process_yaml(PROCESS, "true"));
    (setting.start_services, setting.replicas) = (false, 2);
    let setting = setting.with("QUAYSIDE_DISPATCHER__SWEEP_EVERY", "2");
    tell("originals", setting, async |story| {
        // Its controller was down when this one ended: the pod is held.
        let held = create(story, &format!("echo working; {RESULT}"), true).await?;
        // These two its controller had done with; the log of one was stored a day later.
        let done = create(story, RESULT, false).await?;
        let failed = create(story, "exit 3", false).await?;
        // This one's Job was deleted, and its pod is held for ever.
        let orphan = create(story, "echo left behind", true).await?;
        for job in [&held, &done, &failed, &orphan] {
            ended(story, job).await?;
        }
        let (namespace, client) = story.cluster()?;
        let (jobs, pods) = (
            Api::<Job>::namespaced(client.clone(), namespace.name()),
            Api::<Pod>::namespaced(client.clone(), namespace.name()),
        );
        let found = json!({ "metadata": { "annotations": {
            names::ANNOTATION_RESULT_MIMETYPE: "text/csv", names::ANNOTATION_RESULT_VALUE: "a,b\n" } } });
        jobs.patch(&name(&done), &PatchParams::default(), &Patch::Merge(found)).await?;
        jobs.delete(&name(&orphan), &DeleteParams::background()).await?;
        for pod in pods.list(&ListParams::default()).await?.items {
            if pod.name_any().starts_with(&name(&failed)) || pod.name_any().starts_with(&name(&done)) {
                pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
            }
        }
        let store = story.stack.objects()?;
        let next_day = Timestamp::now() + SignedDuration::from_hours(24);
        store.put(&objects::archive(store.prefix(), next_day, &name(&done)), "its log".into(), "text/plain").await?;
        // A stranger's Job, and one that still runs.
        let stranger: Job = serde_json::from_value(job_object("someone-elses", json!({}), "true", false))?;
        jobs.create(&PostParams::default(), &stranger).await?;
        let running = create(story, &format!("sleep 6; {RESULT}"), true).await?;

        story.stack.start_service(Service::Gateway, 0, &[])?;
        for replica in 0..2 {
            story.stack.start_service(Service::Dispatcher, replica, &[])?;
            story.stack.start_service(Service::Finalizer, replica, &[])?;
        }
        story.stack.wait_ready().await?;

        for job in [&held, &running] {
            known(story, job).await?;
            let status = story.wait_done(job).await?;
            ensure!(status["status"] == "successful" && status["processID"] == PROCESS, "{status}");
            ensure!(result(story, job).await? == ("text/csv".to_owned(), "a,b\n".to_owned()));
            ensure!(story.archive(job).await?.ends_with("PYGEOAPI_K8S_MANAGER_RESULT_START\na,b\n"));
            let annotated = wait_until("its Job says what came out", LIMIT, || async {
                let annotated = jobs.get(&name(job)).await?;
                let value = annotated.annotations().get(names::ANNOTATION_RESULT_VALUE);
                ensure!(value.is_some_and(|value| value == "a,b\n"), "{annotated:?}");
                Ok(annotated)
            })
            .await?;
            let shown = &annotated.annotations()[names::ANNOTATION_PARAMETERS];
            ensure!(!shown.contains("hush") && status["parameters"] == *shown, "{status} {shown}");
        }
        known(story, &done).await?;
        let status = story.wait_done(&done).await?;
        ensure!(status["status"] == "successful", "{status}");
        ensure!(result(story, &done).await? == ("text/csv".to_owned(), "a,b\n".to_owned()));
        let log = story.http.get(format!("{}/jobs/{done}/logs", story.stack.url(0))).bearer_auth(TOKEN);
        let log = log.send().await?;
        ensure!(log.status() == 200 && log.text().await? == "its log");

        known(story, &failed).await?;
        let status = story.wait_done(&failed).await?;
        ensure!(status["status"] == "failed", "{status}");
        ensure!(status["message"].as_str().context("no message")?.contains("BackoffLimitExceeded"), "{status}");

        known(story, &orphan).await?;
        let status = story.wait_done(&orphan).await?;
        ensure!(status["status"] == "failed", "{status}");
        let manifest = story.manifest(&orphan).await?;
        ensure!(manifest.record.outcome.context("no outcome")?.reason == Some(Reason::Deleted));

        wait_until("no pod of the original is held", LIMIT, || async {
            let held = pods.list(&ListParams::default()).await?.items;
            let held: Vec<_> = held
                .iter()
                .filter(|pod| pod.finalizers().iter().any(|name| name == names::POD_FINALIZER))
                .map(ResourceExt::name_any)
                .collect();
            ensure!(held.is_empty(), "{held:?}");
            Ok(())
        })
        .await?;
        let left = jobs.get("someone-elses").await?;
        ensure!(!left.labels().contains_key(names::LABEL_JOB_ID), "{:?}", left.labels());

        let listed: Value = story.list_at(0, "?limit=10").await?.json().await?;
        let listed: Vec<&str> =
            listed["jobs"].as_array().context("no jobs")?.iter().filter_map(|job| job["jobID"].as_str()).collect();
        let expected = [&running, &orphan, &failed, &done, &held].map(JobId::to_string);
        ensure!(listed == expected, "newest first: {listed:?} {expected:?}");
        let manifest = story.manifest(&held).await?;
        ensure!(manifest.record.archive.state == ArchiveState::Stored, "{manifest:?}");
        Ok(())
    })
    .await;
}

fn name(job: &JobId) -> String {
    format!("{PREFIX}{job}")
}

/// A Job as the original makes it, under an id as it draws them.
async fn create(story: &Story, script: &str, held: bool) -> Result<JobId> {
    let (namespace, client) = story.cluster()?;
    let now = Timestamp::now();
    let job_id = id_at(now)?;
    let started = now.to_zoned(TimeZone::UTC).strftime(names::ANNOTATION_TIME_FORMAT).to_string();
    let annotations = json!({
        names::ANNOTATION_IDENTIFIER: job_id, names::ANNOTATION_PROCESS_ID: PROCESS, names::ANNOTATION_STARTED: started,
        names::ANNOTATION_UPDATED: started, names::ANNOTATION_MIMETYPE: "application/json",
        names::ANNOTATION_JOB_NAME: name(&job_id), names::ANNOTATION_PARAMETERS: "{\"text\": \"x\", \"token\": \"hush\"}",
    });
    let mut job = job_object(&name(&job_id), annotations, script, held);
    job["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{ "name": "PYGEOAPI_JOB_ID", "value": job_id }, { "name": "PYGEOAPI_PROCESS_ID", "value": PROCESS }]);
    let job: Job = serde_json::from_value(job)?;
    Api::<Job>::namespaced(client.clone(), namespace.name()).create(&PostParams::default(), &job).await?;
    Ok(job_id)
}

/// A UUIDv1, whose time is in units of 100 ns since 1582 (RFC 9562, 5.1).
fn id_at(now: Timestamp) -> Result<JobId> {
    let ticks = u64::try_from(now.as_nanosecond() / 100)? + 0x01b2_1dd2_1381_4000;
    let (low, middle, high) = (ticks & 0xffff_ffff, (ticks >> 32) & 0xffff, ticks >> 48);
    Ok(format!("{low:08x}-{middle:04x}-1{high:03x}-80bd-0255ac10006c").parse()?)
}

fn job_object(name: &str, annotations: Value, script: &str, held: bool) -> Value {
    let finalizers = if held { json!([names::POD_FINALIZER]) } else { json!([]) };
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name, "annotations": annotations },
        "spec": { "backoffLimit": 0, "ttlSecondsAfterFinished": 8_640_000, "template": {
            "metadata": { "finalizers": finalizers },
            "spec": {
                "restartPolicy": "Never", "enableServiceLinks": false, "shareProcessNamespace": true,
                "terminationGracePeriodSeconds": 1,
                "containers": [{ "name": "generic-image-processor", "image": "busybox:1", "command": ["sh", "-c", script] }],
            },
        } },
    })
}

async fn ended(story: &Story, job: &JobId) -> Result<()> {
    let (namespace, client) = story.cluster()?;
    let jobs = Api::<Job>::namespaced(client.clone(), namespace.name());
    wait_until("the Job has ended", LIMIT, || async {
        let conditions = jobs.get(&name(job)).await?.status.and_then(|status| status.conditions).unwrap_or_default();
        ensure!(conditions.iter().any(|one| ["Complete", "Failed"].contains(&one.type_.as_str())), "{conditions:?}");
        Ok(())
    })
    .await
}

async fn known(story: &Story, job: &JobId) -> Result<()> {
    wait_until("the job is known", Duration::from_secs(60), || async {
        let status = story.get(&format!("/jobs/{job}")).await?.status();
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .await
}

async fn result(story: &Story, job: &JobId) -> Result<(String, String)> {
    let answer = story.get(&format!("/jobs/{job}/results")).await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    let media_type = answer.headers()["content-type"].to_str()?.to_owned();
    Ok((media_type, answer.text().await?))
}
