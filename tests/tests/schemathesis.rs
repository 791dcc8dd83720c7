//! Thousands of requests that schemathesis makes of the API's own definition: right ones, wrong ones, and ones that follow
//! each other. Each answer has to be one that the definition knows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    python,
    story::{Backend, ECHO, Setting, Story, TOKEN, tell},
};

/// How many cases each phase may make of one operation.
const CASES_VARIABLE: &str = "QUAYSIDE_FUZZ_CASES";
/// Another seed makes other cases. Without one they stay the same, so that a change is not held up by what it has no part in.
const SEED_VARIABLE: &str = "QUAYSIDE_FUZZ_SEED";
const CASES: u64 = 60;
const SEED: u64 = 4;
/// Fewer would mean that operations were left out.
const FEWEST: u64 = 1000;
const LIMIT: Duration = Duration::from_secs(600);

/// What an answer is held against. That a right request is taken can't be among them: a text that is no date, a reference that
/// leads nowhere and an input that only its process knows are right as far as the definition can say.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
    response_headers_conformance,unsupported_method,allow_header_conformance,missing_required_header,\
    negative_data_rejection,ignored_auth,use_after_free,ensure_resource_availability";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_thousands_of_requests_is_one_that_the_definition_knows() {
    let Some(python) = python::require_or_skip("schemathesis").await else { return };
    let processes = processes().unwrap();
    let mut setting = Setting::new(Backend::Local)
        .with_processes(&processes)
        .with("QUAYSIDE_DISPATCHER__MAX_LIVE_PER_PROCESS", "2")
        // A job that is not done after it is answered as one that runs: to be deleted, it is dismissed first, and stays.
        .with("QUAYSIDE_GATEWAY__SYNC_WAIT", "10")
        // Addresses that a fuzzer makes up are not for us to look at.
        .with("QUAYSIDE_GATEWAY__REFERENCES__MAX_PER_REQUEST", "0")
        .with("QUAYSIDE_GATEWAY__CALLBACKS__ENABLED", "false");
    // A limit above the largest is refused, as it is no right request; elsewhere it is taken down.
    setting.config =
        setting.config.map(|config| config.replace("max_items: 100}", "max_items: 10000, on_exceed: error}"));
    tell("schemathesis", setting, async |story| {
        let cases = number(CASES_VARIABLE)?.unwrap_or(CASES).to_string();
        let seed = number(SEED_VARIABLE)?.unwrap_or(SEED).to_string();
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
            "1",
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

/// The echo process, the one that needs the token, and the one with a text; the others would only take time. Jobs don't wait, and
/// none fails: the standard wants that to be answered with 500.
fn processes() -> Result<String> {
    let parts = ECHO.split_once("\n  echo-sync:").zip(ECHO.split_once("\n  # One output"));
    let ((echo, _), (_, rest)) = parts.context("the processes have other names")?;
    let (text, _) = rest.split_once("\n  failing:").context("the process that fails is not the last one")?;
    Ok(format!("{echo}\n  # One output{text}").replace("sleep \"${pause:-0}\"", ":"))
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
