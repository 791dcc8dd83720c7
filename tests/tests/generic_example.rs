//! The generic example: the token, and inputs that come back as they went in.

use anyhow::{Context, Result};
use end_to_end::story::{Backend, Setting, Story, TOKEN, process_yaml, tell};
use protocol::job_record::ArchiveState;
use reqwest::{StatusCode, header};
use serde_json::{Value, json};

const PROCESS: &str = "generic-image-processor-example";

on_each!(generic_example: Local as the_generic_example_runs_locally,
    Simulated as the_generic_example_runs_on_the_simulated_node, Real as the_generic_example_runs_on_the_real_node);

async fn generic_example(backend: Backend) {
    tell(&format!("generic-{backend:?}"), Setting::new(backend), async |story| {
        // Text that a shell would act upon.
        let text = "it's \"quoted\" $(touch /tmp/quayside-owned) `id` ; rm -rf x \\ \n second line %s \
            and what Kubernetes would expand: $(GREETING) $$(PYGEOAPI_JOB_ID) $$ $x";
        let inputs = json!({ "text": text, "count": 7 });
        let value = serde_json::to_string(&inputs)?;
        let result = format!("{{\"id\": \"{PROCESS}\", \"value\": {value}}}\n");
        if backend == Backend::Simulated {
            let log = format!(
                "a line\nPYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: application/json\nPYGEOAPI_K8S_MANAGER_RESULT_START\n{result}"
            );
            let (namespace, client) = story.cluster()?;
            namespace.serve_log(client, &log).await?;
        }
        refused_without_token(story).await?;
        let mut with_token = inputs.clone();
        with_token["token"] = TOKEN.into();
        let answer = story.execute(PROCESS, with_token.clone()).await?;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.text().await?, result);
        let bearer = format!("Bearer {TOKEN}");
        let body = json!({ "inputs": inputs }).to_string();
        let answer =
            story.post(0, PROCESS, &[("Authorization", &bearer), ("Prefer", "respond-async")], body).await?;
        assert_eq!(answer.status(), StatusCode::CREATED);
        assert_eq!(answer.headers()["preference-applied"], "respond-async");
        let location = answer.headers()[header::LOCATION].to_str()?.to_owned();
        let job = location.rsplit('/').next().context("no id")?.parse()?;
        let status = story.wait_done(&job).await?;
        assert_eq!(status["status"], "successful", "{status}");
        assert_eq!(story.get(&format!("/jobs/{job}/results")).await?.text().await?, result);
        assert_eq!(story.manifest(&job).await?.record.archive.state, ArchiveState::Stored);
        let parameters: Value = serde_json::from_str(status["parameters"].as_str().context("no parameters")?)?;
        assert_eq!(parameters, inputs);
        assert!(!std::path::Path::new("/tmp/quayside-owned").exists(), "an input was run by a shell");
        Ok(())
    })
    .await;
}

async fn refused_without_token(story: &Story) -> Result<()> {
    let missing = story.execute(PROCESS, json!({ "text": "x" })).await?;
    assert_eq!(missing.status(), StatusCode::UNAUTHORIZED);
    assert!(missing.headers().contains_key(header::WWW_AUTHENTICATE));
    is_exception(missing, 401).await?;
    let wrong = story.execute(PROCESS, json!({ "text": "x", "token": "wrong" })).await?;
    assert_eq!(wrong.status(), StatusCode::FORBIDDEN);
    is_exception(wrong, 403).await?;
    let body = json!({ "inputs": { "text": "x" } }).to_string();
    let wrong = story.post(0, PROCESS, &[("Authorization", "Bearer wrong")], body).await?;
    is_exception(wrong, 403).await
}

async fn is_exception(answer: reqwest::Response, status: u16) -> Result<()> {
    assert_eq!(answer.status().as_u16(), status);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
    let body: Value = answer.json().await?;
    for member in ["type", "title", "detail"] {
        assert!(body[member].is_string(), "{member} in {body}");
    }
    assert_eq!(body["status"], status);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_configured_token_execution_is_refused_and_never_open() {
    let mut setting = Setting::new(Backend::Local);
    setting.token = None;
    tell("no-token", setting, async |story| {
        for inputs in
            [json!({ "text": "x" }), json!({ "text": "x", "token": "" }), json!({ "text": "x", "token": "a" })]
        {
            let answer = story.execute(PROCESS, inputs).await?;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        }
        let hello = story.execute("hello-world-k8s", json!({ "name": "N" })).await?;
        assert_eq!(hello.status(), StatusCode::OK, "hello world never needs a token");
        let log = std::fs::read_to_string(story.stack.logs().join("api-gateway-0.log"))?;
        assert!(log.contains("ERROR"), "the start says that no token is configured: {log}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_auth_false_is_honoured_and_a_token_input_is_then_an_ordinary_one() {
    let script = "echo PYGEOAPI_K8S_MANAGER_RESULT_START\nprintf %s \"$PYGEOAPI_K8S_MANAGER_INPUTS\"";
    let yaml = process_yaml("open", script).replace(
        "          text:\n",
        "          token:\n            title: Token\n            description: Token\n            schema: {type: string}\n            minOccurs: 0\n          text:\n",
    );
    tell("check-auth-false", Setting::new(Backend::Local).with_processes(&yaml), async |story| {
        let answer = story.execute("open", json!({ "text": "a", "token": "mine" })).await?;
        assert_eq!(answer.status(), StatusCode::OK);
        let echoed: Value = answer.json().await?;
        assert_eq!(echoed, json!({ "text": "a", "token": "mine" }));
        let list: Value = story.list_at(0, "").await?.json().await?;
        let id = list["jobs"][0]["jobID"].as_str().context("no job")?.parse()?;
        let status = story.wait_done(&id).await?;
        assert_eq!(status["parameters"], r#"{"text":"a","token":"*"}"#);
        Ok(())
    })
    .await;
}
