//! Thousands of requests that schemathesis makes of the API's own definition: right ones, wrong ones, and ones that follow
//! each other. Each answer has to be one that the definition knows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    python,
    story::{Backend, ECHO, Setting, Story, TOKEN, tell},
};

/// How many cases each phase may make of one operation.
const CASES_VARIABLE: &str = "QUAYSIDE_FUZZ_CASES";
/// The seed of a run that is to be repeated.
const SEED_VARIABLE: &str = "QUAYSIDE_FUZZ_SEED";
const CASES: u64 = 100;
/// Fewer would mean that operations were left out.
const FEWEST: u64 = 1000;
const LIMIT: Duration = Duration::from_secs(600);

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
    response_headers_conformance,unsupported_method,allow_header_conformance,missing_required_header,negative_data_rejection,positive_data_acceptance,ignored_auth,use_after_free,ensure_resource_availability";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_thousands_of_requests_is_one_that_the_definition_knows() {
    let Some(python) = python::require_or_skip("schemathesis").await else { return };
    // Jobs that wait would only keep the run waiting, and one that fails is answered with 500, as the standard wants it.
    let (processes, _failing) = ECHO.split_once("\n  failing:").expect("the process that fails is the last one");
    let processes = processes.replace("sleep \"${pause:-0}\"", ":");
    let setting = Setting::new(Backend::Local)
        .with_processes(&processes)
        .with("QUAYSIDE_DISPATCHER__MAX_LIVE_PER_PROCESS", "2")
        .with("QUAYSIDE_GATEWAY__SYNC_WAIT", "2");
    tell("schemathesis", setting, async |story| {
        let cases = number(CASES_VARIABLE)?.unwrap_or(CASES).to_string();
        let seed = match number(SEED_VARIABLE)? {
            Some(seed) => seed,
            None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        }
        .to_string();
        println!("{SEED_VARIABLE}={seed} {CASES_VARIABLE}={cases}");
        let (url, authorization) = (story.stack.url(0), format!("Authorization: Bearer {TOKEN}"));
        let definition = format!("{url}/openapi?f=json");
        let arguments = [
            "-m",
            "schemathesis.cli",
            "run",
            &definition,
            "--url",
            &url,
            "--header",
            &authorization,
            "--checks",
            CHECKS,
            "--max-examples",
            &cases,
            "--seed",
            &seed,
            "--workers",
            "2",
            "--continue-on-failure",
            "--no-shrink",
            "--generation-database",
            "none",
            "--request-timeout",
            "60",
            "--no-color",
        ];
        let printed = python.run(story.stack.folder(), "schemathesis.log", &arguments, LIMIT).await?;
        println!("{}", summary(&printed));
        let made = cases_made(&printed).context("schemathesis does not say how many cases it made")?;
        ensure!(made >= FEWEST, "{made} cases are fewer than {FEWEST}");
        is_sound(story).await
    })
    .await;
}

/// After all of that every service is there, nothing panicked, and a job still runs.
async fn is_sound(story: &mut Story) -> Result<()> {
    story.stack.wait_ready().await?;
    for entry in std::fs::read_dir(story.stack.logs())? {
        let path = entry?.path();
        let log = std::fs::read_to_string(&path)?;
        ensure!(!log.contains("panicked"), "{} tells of a panic", path.display());
    }
    let job = story.submit("text", serde_json::json!({})).await?;
    let status = story.wait_done(&job).await?;
    ensure!(status["status"] == "successful", "{status}");
    Ok(())
}

fn number(variable: &str) -> Result<Option<u64>> {
    match std::env::var(variable) {
        Ok(text) => Ok(Some(text.parse().with_context(|| format!("{variable} is no whole number"))?)),
        Err(_) => Ok(None),
    }
}

/// From its line `1367 generated, 1367 passed`.
fn cases_made(printed: &str) -> Option<u64> {
    let line = printed.lines().find(|line| line.contains(" generated, "))?;
    line.split_whitespace().next()?.replace(',', "").parse().ok()
}

fn summary(printed: &str) -> &str {
    printed.rfind("SUMMARY").map_or(printed, |start| &printed[start..])
}
