//! Class core of OGC API - Processes: modes of execution, jobs, and what is answered when it goes wrong.

use anyhow::{Result, ensure};
use end_to_end::story::{Backend, ECHO, Setting, Story, tell};
use serde_json::{Value, json};

use crate::ogc::{JSON, REL, execute, get, link, links, submit, wait_for};

const ASYNC: (&str, &str) = ("prefer", "respond-async");

async fn told(name: &str, body: impl AsyncFnOnce(&mut Story) -> Result<()>) {
    tell(name, Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), body).await;
}

fn ahoy() -> Value {
    json!({"inputs": {"echoInput": "Ahoy", "pause": 0}, "response": "document"})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_of_an_execution_follows_what_is_preferred_and_what_the_process_can() {
    told("core-modes", async |story| {
        for (process, preferences, status) in [
            ("echo", &[][..], 200),
            ("echo-sync", &[], 200),
            ("echo-async", &[], 201),
            ("echo", &[ASYNC], 201),
            ("echo-sync", &[ASYNC], 200),
            ("echo-async", &[ASYNC], 201),
            // As the certification suite sends it; as OWSLib does; several, in one header and in two.
            ("echo", &[("prefer", "respond-async ")], 201),
            ("echo", &[("prefer", "respond-sync")], 200),
            ("echo", &[("prefer", "handling=lenient, respond-async; a=b")], 201),
            ("echo", &[("prefer", "return=minimal"), ASYNC], 201),
        ] {
            let answer = execute(story, process, preferences, &ahoy()).await?;
            answer.has_status(status).map_err(|error| error.context(format!("{process} {preferences:?}")))?;
            if status == 201 {
                created(story, &answer).await?;
                let applied = answer.header("preference-applied");
                ensure!((applied == "respond-async") != preferences.is_empty(), "{process} {preferences:?}: {applied}");
            } else {
                // /req/core/job-results-success-sync: the answer names its job.
                let monitor = answer.header("link");
                ensure!(monitor.contains("/jobs/") && monitor.contains("monitor"), "{process}: {monitor}");
                ensure!(answer.content("results")?["echoInput"] == "Ahoy", "{}", answer.text());
            }
        }
        Ok(())
    })
    .await;
}

/// 201: the status document, and the job that `Location` names.
async fn created(story: &Story, answer: &crate::ogc::Answer) -> Result<()> {
    let first = answer.content("statusInfo")?;
    let location = answer.header("location");
    ensure!(
        location == format!("{}/jobs/{}", story.stack.url(0), first["jobID"].as_str().unwrap_or_default()),
        "{location}"
    );
    let at_once = get(story, location).await?.document("statusInfo")?;
    ensure!(at_once["type"] == "process" && at_once["created"].is_string(), "{at_once}");
    if ["accepted", "running"].iter().any(|word| at_once["status"] == *word) {
        ensure!(link(&at_once, "monitor")? == location, "{at_once}");
        ensure!(links(&at_once, &format!("{REL}results")).is_empty(), "{at_once}");
    }
    let done = wait_for(story, location, &["successful", "failed"]).await?;
    ensure!(done["status"] == "successful" && done["finished"].is_string(), "{done}");
    let results = link(&done, &format!("{REL}results"))?;
    ensure!(results == format!("{location}/results"), "{results}");
    get(story, &results).await?.document("results")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_takes_every_member_of_its_schema_and_no_other_form() {
    told("core-request", async |story| {
        let whole = json!({
            "inputs": {"echoInput": "Ahoy"},
            "outputs": {"echoInput": {"transmissionMode": "value", "format": {"mediaType": "text/plain"}}},
            "response": "document",
        });
        let answer = execute(story, "echo", &[], &whole).await?;
        ensure!(answer.document("results")?["echoInput"] == "Ahoy", "{}", answer.text());
        for wrong in [
            json!([]),
            json!("text"),
            json!({"inputs": []}),
            json!({"inputs": {"echoInput": "a"}, "outputs": ["echoInput"]}),
            json!({"inputs": {"echoInput": "a"}, "outputs": {"nope": {}}}),
            json!({"inputs": {"echoInput": "a"}, "outputs": {"echoInput": {"transmissionMode": "pigeon"}}}),
            json!({"inputs": {"echoInput": "a"}, "response": "shout"}),
        ] {
            execute(story, "echo", &[], &wrong).await?.exception(400, "invalid-parameter-value")?;
        }
        execute(story, "no-such-process", &[], &ahoy()).await?.exception(404, "no-such-process")?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_not_ready_or_failed_is_an_exception_of_its_type() {
    told("core-exceptions", async |story| {
        for path in ["/jobs/no-such-job", "/jobs/018f0000-0000-7000-8000-000000000000"] {
            get(story, path).await?.exception(404, "no-such-job")?;
            get(story, &format!("{path}/results")).await?.exception(404, "no-such-job")?;
        }
        let waiting = submit(story, "echo", &json!({"inputs": {"echoInput": "a", "pause": 60}})).await?;
        get(story, &format!("{waiting}/results")).await?.exception(404, "result-not-ready")?;
        wait_for(story, &waiting, &["running"]).await?;
        get(story, &format!("{waiting}/results")).await?.exception(404, "result-not-ready")?;
        let synchronous = execute(story, "failing", &[], &json!({})).await?;
        let detail = synchronous.exception(500, "job-failed")?;
        ensure!(detail.contains("exit code 3"), "{detail}");
        let failed = submit(story, "failing", &json!({})).await?;
        let status = wait_for(story, &failed, &["failed"]).await?;
        ensure!(status["message"].is_string(), "{status}");
        ensure!(get(story, &format!("{failed}/results")).await?.exception(500, "job-failed")? == detail, "{status}");
        ensure!(get(story, &failed).await?.header("content-type") == JSON, "the status of a failed job");
        Ok(())
    })
    .await;
}
