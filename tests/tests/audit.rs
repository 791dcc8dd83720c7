//! Who did what is told on a stream of its own, and never lost without a word.

use std::fs;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::{Signal, wait_until},
    services::Service,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use protocol::{
    JobId,
    audit::{Action, AuditEvent, Outcome},
    names::subjects::AUDIT_STREAM,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::callers::{self, Caller, Callers, GUARDED};

const SCRIPT: &str = "echo PYGEOAPI_K8S_MANAGER_RESULT_START\necho '{}'";
const INPUT: &str = "an-input-that-stays-out";

fn setting() -> Setting {
    let guarded = |id: &str, script| process_yaml(id, script).replace("check_auth: false", "check_auth: true");
    let processes = [guarded(GUARDED, SCRIPT), guarded("roads", "sleep 600"), process_yaml("everybodys", SCRIPT)];
    Setting::new(Backend::Local).with_processes(&processes.concat())
}

/// Everything that the audit has.
async fn entries(story: &Story) -> Result<Vec<AuditEvent>> {
    let messages = story.messages_of(AUDIT_STREAM).await?;
    let read = messages.into_iter().map(|(subject, payload)| {
        let event: AuditEvent = serde_json::from_value(payload).with_context(|| subject.clone())?;
        ensure!(event.stream_subject() == subject, "{subject}: {event:?}");
        Ok(event)
    });
    read.collect()
}

/// The one entry of an action about a job, once it is there.
async fn about(story: &Story, action: Action, job: &JobId) -> Result<AuditEvent> {
    wait_until(&format!("{} {job}", action.as_str()), LIMIT, || async {
        let all = entries(story).await?;
        let mut found = all.into_iter().filter(|it| it.action() == Some(action) && it.entry().job_id == Some(*job));
        let first = found.next().context("not yet")?;
        ensure!(found.next().is_none(), "it is there twice");
        Ok(first)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_something_is_told_of_and_nothing_secret_is() {
    let mut setting = setting();
    (setting.start_services, setting.replicas) = (false, 2);
    tell("audit", setting, async |story| {
        let callers = callers::start(story, 2).await?;
        let doers = [
            (Caller::WithStaticToken, GUARDED, "token".to_owned()),
            (Caller::Tenant, GUARDED, "token:tenant".to_owned()),
            (Caller::SignedIn, GUARDED, "oidc:http".to_owned()),
            (Caller::Nobody, "everybodys", "anonymous".to_owned()),
        ];
        for (number, (caller, process, who)) in doers.iter().enumerate() {
            let job = executed(story, &callers, *caller, number % 2, process, who).await?;
            callers.done(story, Caller::WithStaticToken, &job).await?;
            // Nobody can't; its job is removed by who may.
            let (caller, who) =
                if *caller == Caller::Nobody { (Caller::Watcher, "token:watcher") } else { (*caller, who.as_str()) };
            read(story, &callers, caller, number % 2, &job, who).await?;
            let (caller, who) =
                if caller == Caller::Watcher { (Caller::WithStaticToken, "token") } else { (caller, who) };
            deleted(story, &callers, caller, &job, Action::Removed, who).await?;
        }
        let running = callers.submit(story, Caller::TenantOfOtherProcess, 0, "roads").await?;
        deleted(story, &callers, Caller::TenantOfOtherProcess, &running, Action::Dismissed, "token:roads").await?;
        refusals(story, &callers, &running).await?;

        let text = serde_json::to_string(&story.messages_of(AUDIT_STREAM).await?)?;
        let tokens = Caller::ALL.iter().filter_map(|caller| callers.token(*caller));
        for secret in tokens.chain([INPUT.to_owned()]) {
            ensure!(!text.contains(&secret), "{secret} is in the audit");
        }
        Ok(())
    })
    .await;
}

async fn executed(
    story: &Story,
    callers: &Callers,
    caller: Caller,
    replica: usize,
    process: &str,
    who: &str,
) -> Result<JobId> {
    let send = async || {
        let path = format!("/processes/{process}/execution");
        let request = callers.request(story, caller, Method::POST, replica, &path).header("prefer", "respond-async");
        let request = request.header("x-request-id", format!("executes-{process}")).header("idempotency-key", who);
        let answer = request.json(&json!({"inputs": {"text": INPUT}})).send().await?;
        ensure!(answer.status().as_u16() == 201, "{caller:?}: {}", answer.status());
        Ok(answer.json::<Value>().await?["jobID"].as_str().context("no id")?.parse::<JobId>()?)
    };
    let job = send().await?;
    let event = about(story, Action::Executed, &job).await?;
    let entry = event.entry();
    ensure!(entry.who.starts_with(who) && entry.outcome == Outcome::Done, "{entry:?}");
    ensure!(entry.process_id.as_deref() == Some(process) && entry.address == "127.0.0.1".parse().ok(), "{entry:?}");
    ensure!(entry.request_id.as_deref() == Some(&*format!("executes-{process}")), "{entry:?}");
    ensure!(entry.operation.as_deref() == Some("POST /processes/{processID}/execution"), "{entry:?}");
    ensure!(send().await? == job, "the same key");
    wait_until("that it was sent again is told", LIMIT, || async {
        let all = entries(story).await?;
        let of_job = all.iter().map(AuditEvent::entry).filter(|entry| entry.job_id == Some(job));
        let outcomes: Vec<Outcome> = of_job.map(|entry| entry.outcome).collect();
        ensure!(outcomes == [Outcome::Done, Outcome::Replayed], "{outcomes:?}");
        Ok(())
    })
    .await?;
    Ok(job)
}

async fn read(story: &Story, callers: &Callers, caller: Caller, replica: usize, job: &JobId, who: &str) -> Result<()> {
    let path = format!("/jobs/{job}/logs");
    for method in [Method::HEAD, Method::GET] {
        let answer = callers.request(story, caller, method, replica, &path).send().await?;
        ensure!(answer.status().as_u16() == 200, "{caller:?}: {}", answer.status());
    }
    let event = about(story, Action::ReadLog, job).await?;
    ensure!(event.entry().who.starts_with(who), "{event:?}");
    Ok(())
}

async fn deleted(
    story: &Story,
    callers: &Callers,
    caller: Caller,
    job: &JobId,
    action: Action,
    who: &str,
) -> Result<()> {
    let answer = callers.request(story, caller, Method::DELETE, 1, &format!("/jobs/{job}")).send().await?;
    ensure!(answer.status().as_u16() == 200, "{caller:?}: {}", answer.status());
    let event = about(story, action, job).await?;
    let entry = event.entry();
    ensure!(entry.who.starts_with(who) && entry.outcome == Outcome::Done, "{entry:?}");
    ensure!(entry.operation.as_deref() == Some("DELETE /jobs/{jobID}"), "{entry:?}");
    Ok(())
}

async fn refusals(story: &Story, callers: &Callers, job: &JobId) -> Result<()> {
    let path = format!("/jobs/{job}");
    let cases = [
        (Caller::Nobody, Method::DELETE, path.as_str(), 401, "anonymous", Outcome::Unauthorized),
        (Caller::WithWrongToken, Method::GET, "/jobs", 403, "anonymous", Outcome::Forbidden),
        (Caller::Watcher, Method::DELETE, path.as_str(), 403, "token:watcher", Outcome::Forbidden),
        (Caller::SignedInOfOtherGroup, Method::POST, "/processes/guarded/execution", 403, "oidc:", Outcome::Forbidden),
    ];
    for (caller, method, path, status, who, outcome) in cases {
        let request = callers.request(story, caller, method, 0, path);
        let answer = request.header("content-type", "application/json").body("{}").send().await?;
        ensure!(answer.status().as_u16() == status, "{caller:?}: {}", answer.status());
        wait_until(&format!("the refusal of {caller:?}"), LIMIT, || async {
            let all = entries(story).await?;
            let refused = all.iter().filter(|event| event.action() == Some(Action::Refused)).map(AuditEvent::entry);
            let mut found = refused.filter(|entry| entry.who.starts_with(who) && entry.outcome == outcome);
            found.next().map(|_| ()).with_context(|| format!("{all:?}"))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_while_nats_is_away_is_told_once_when_it_is_back() {
    let setting =
        setting().with("QUAYSIDE_TELEMETRY__FILTER", "info,api_gateway=debug").with("QUAYSIDE_SHUTDOWN_LIMIT", "3");
    tell("audit-nats-away", setting, async |story| {
        let log = story.stack.logs().join("api-gateway-0.log");
        let is_tried_again = |times: usize| {
            let log = log.clone();
            async move {
                wait_until("an entry is written again", LIMIT, || async {
                    let found = fs::read_to_string(&log)?.matches("an entry of the audit is written again").count();
                    ensure!(found > times, "{found}");
                    Ok(found)
                })
                .await
            }
        };
        let list = format!("{}/jobs", story.stack.url(0));
        // Stands still: what was sent is taken later, when it was sent once more.
        story.stack.nats.program.signal(Signal::STOP)?;
        ensure!(story.http.get(&list).send().await?.status().as_u16() == 401, "nobody waits for the audit");
        let times = is_tried_again(0).await?;
        story.stack.nats.program.signal(Signal::CONT)?;
        told(story, &[Outcome::Unauthorized]).await?;

        story.stack.nats.program.kill().await?;
        let wrong = story.http.get(&list).bearer_auth("wrong").send().await?;
        ensure!(wrong.status().as_u16() == 403, "{}", wrong.status());
        is_tried_again(times).await?;
        story.stack.nats.crash_and_restart().await?;
        told(story, &[Outcome::Unauthorized, Outcome::Forbidden]).await?;

        // What can't be written any more is logged, whole, when the gateway ends.
        story.stack.nats.program.kill().await?;
        ensure!(story.http.get(&list).send().await?.status().as_u16() == 401, "refused");
        let gateway = &mut story.stack.service(Service::Gateway, 0)?.program;
        gateway.stop(LIMIT).await?;
        let log = fs::read_to_string(&log)?;
        let line =
            log.lines().find(|line| line.contains("was not written to its stream")).context("nothing is logged")?;
        for part in ["ERROR", "dev.quayside.audit.refused", "\"unauthorized\"", "127.0.0.1"] {
            ensure!(line.contains(part), "{part} is not in {line}");
        }
        Ok(())
    })
    .await;
}

/// Waits until the audit has entries with exactly these outcomes.
async fn told(story: &Story, expected: &[Outcome]) -> Result<()> {
    wait_until("the refusals", LIMIT, || async {
        let all = entries(story).await?;
        let outcomes: Vec<Outcome> = all.iter().map(|event| event.entry().outcome).collect();
        ensure!(outcomes == expected, "{outcomes:?}");
        Ok(())
    })
    .await
}
