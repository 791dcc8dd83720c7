//! How often somebody may ask: each caller and each address has its own budget, at each gateway.

use anyhow::{Context, Result, ensure};
use end_to_end::{
    services::Service,
    story::{Backend, Setting, Story, TOKEN, process_yaml, tell},
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::callers::{self, GUARDED};

const SCRIPT: &str = "echo PYGEOAPI_K8S_MANAGER_RESULT_START\necho '{}'";

#[tokio::test(flavor = "multi_thread")]
async fn two_callers_and_an_address_have_budgets_of_their_own() {
    let guarded = process_yaml(GUARDED, SCRIPT).replace("check_auth: false", "check_auth: true");
    let mut setting =
        Setting::new(Backend::Local).with_processes(&[guarded, process_yaml("everybodys", SCRIPT)].concat());
    setting.start_services = false;
    tell("limits", setting, async |story| {
        callers::write_tokens(story, |_| true)?;
        let tokens = callers::tokens_file(story);
        let more = [
            ("QUAYSIDE_GATEWAY__TOKENS", tokens.as_str()),
            // One in a minute: what comes back meanwhile is told apart by the count.
            ("QUAYSIDE_GATEWAY__LIMITS__EXECUTIONS", "1"),
            ("QUAYSIDE_GATEWAY__LIMITS__EXECUTIONS_BURST", "3"),
            ("QUAYSIDE_GATEWAY__LIMITS__FAILURES", "1"),
            ("QUAYSIDE_GATEWAY__LIMITS__FAILURES_BURST", "2"),
        ];
        story.stack.start_service(Service::Gateway, 0, &more)?;
        story.stack.start_service(Service::Dispatcher, 0, &[])?;
        story.stack.start_service(Service::Finalizer, 0, &[])?;
        story.stack.wait_ready().await?;

        let (tenant, other) = (callers::named_token("tenant")?, callers::named_token("other")?);
        let mut refused = 0;
        for asked in 0..10 {
            let answer = execute(story, GUARDED, Some(tenant)).await?;
            if asked < 3 {
                ensure!(answer.status().as_u16() == 201, "{}", answer.status());
                let left = format!("\"executions\";r={}", 2 - asked);
                ensure!(header(&answer, "ratelimit").starts_with(&left), "{:?}", answer.headers());
                ensure!(header(&answer, "ratelimit-policy") == "\"executions\";q=3;w=180", "{:?}", answer.headers());
            } else {
                is_too_many(answer, "with this token").await?;
                refused += 1;
            }
        }
        ensure!(execute(story, GUARDED, Some(other)).await?.status().as_u16() == 201, "another tenant is not kept out");
        for _ in 0..3 {
            ensure!(execute(story, "everybodys", None).await?.status().as_u16() == 201, "the address has its own");
        }
        is_too_many(execute(story, "everybodys", None).await?, "from this address").await?;
        ensure!(execute(story, "everybodys", Some(other)).await?.status().as_u16() == 201, "nor by its address");
        // What only reads is not limited here.
        let jobs: Value = ask(story, Method::GET, "/jobs", Some(TOKEN)).await?.json().await?;
        ensure!(jobs["jobs"].as_array().context("no jobs")?.len() == 8, "{jobs}");

        for guess in ["guess-1", "guess-2"] {
            ensure!(ask(story, Method::GET, "/jobs", Some(guess)).await?.status().as_u16() == 403, "{guess}");
        }
        is_too_many(ask(story, Method::GET, "/jobs", Some(TOKEN)).await?, "wrong tokens from this address").await?;
        ensure!(
            ask(story, Method::GET, "/processes", None).await?.status().as_u16() == 200,
            "who presents none may go on"
        );

        let probe = story.stack.service(Service::Gateway, 0)?.probe;
        let metrics = reqwest::get(format!("http://127.0.0.1:{probe}/metrics")).await?.text().await?;
        for line in [
            format!("limited_requests_total{{budget=\"executions\",whose=\"caller\"}} {refused}"),
            "limited_requests_total{budget=\"executions\",whose=\"address\"} 1".to_owned(),
            "limited_requests_total{budget=\"failures\",whose=\"address\"} 1".to_owned(),
            "limit_keys{budget=\"executions\",whose=\"caller\"} 2".to_owned(),
        ] {
            ensure!(metrics.contains(&format!("quayside_gateway_{line}")), "{line} is not in:\n{metrics}");
        }
        Ok(())
    })
    .await;
}

async fn ask(story: &Story, method: Method, path: &str, token: Option<&str>) -> Result<Response> {
    let request = story.http.request(method, format!("{}{path}", story.stack.url(0)));
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    Ok(request.send().await?)
}

async fn execute(story: &Story, process: &str, token: Option<&str>) -> Result<Response> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("prefer", "respond-async")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    story.post(0, process, &headers, json!({"inputs": {}}).to_string()).await
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn is_too_many(answer: Response, whose: &str) -> Result<()> {
    let (status, seconds) = (answer.status().as_u16(), header(&answer, "retry-after").parse::<u64>()?);
    let exception: Value = answer.json().await?;
    ensure!(status == 429 && (1..=60).contains(&seconds), "{status}, {seconds} s: {exception}");
    ensure!(exception["type"].as_str().unwrap_or_default().ends_with("/too-many-requests"), "{exception}");
    ensure!(exception["detail"].as_str().unwrap_or_default().contains(whose), "{exception}");
    Ok(())
}
