//! Results: from log markers to the client, byte for byte.

use anyhow::Result;
use end_to_end::{
    stack::StoreChoice,
    story::{Backend, Setting, Story, process_yaml, tell},
};
use reqwest::{Response, StatusCode, header};
use serde_json::{Value, json};

/// The README's snippet.
const SNIPPET: &str = "{\n    \"id\": \"pygeoapi-process-id\",\n    \"value\": \"result-value\"\n}\n";

fn processes() -> String {
    let snippet = "echo \"...finalizer.py:97 | 14] DEBUG - Event 'ADDED' with object job 'ingest-29178065' received\"\n\
        echo \"...finalizer.py:97 | 14] INFO - PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE:application/json\"\n\
        echo \"...finalizer.py:97 | 14] INFO - PYGEOAPI_K8S_MANAGER_RESULT_START\"\n\
        printf '{\\n    \"id\": \"pygeoapi-process-id\",\\n    \"value\": \"result-value\"\\n}\\n'";
    let text = "echo 'PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: text/plain'\n\
        echo PYGEOAPI_K8S_MANAGER_RESULT_START\nprintf 'one\\n\\n  two\\ttabbed\\nthree, no line end'";
    [process_yaml("snippet", snippet), process_yaml("text", text), process_yaml("silent", "echo nothing to say")]
        .concat()
}

on_each!(results: Local as results_come_back_byte_for_byte_locally, Real as results_come_back_byte_for_byte_on_the_real_node);

async fn results(backend: Backend) {
    tell(&format!("results-{backend:?}"), Setting::new(backend).with_processes(&processes()), async |story| {
        let answer = story.execute("snippet", json!({})).await?;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(answer.text().await?, SNIPPET);
        assert_eq!(
            document(story, "snippet").await?,
            json!({ "out": { "value": serde_json::from_str::<Value>(SNIPPET)?, "mediaType": "application/json" } })
        );

        let answer = story.execute("text", json!({})).await?;
        assert!(answer.headers()[header::CONTENT_TYPE].to_str()?.starts_with("text/plain"));
        assert_eq!(answer.text().await?, "one\n\n  two\ttabbed\nthree, no line end");

        let silent = story.execute("silent", json!({})).await?;
        assert_eq!(silent.status(), StatusCode::NO_CONTENT, "no marker, raw");
        assert_eq!(document(story, "silent").await?, json!({}), "no marker, document");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_back_byte_for_byte_from_another_s3_server() {
    let mut setting = Setting::new(Backend::Local).with_processes(&processes());
    setting.store = StoreChoice::Versitygw;
    tell("results-versitygw", setting, async |story| {
        assert_eq!(story.execute("snippet", json!({})).await?.text().await?, SNIPPET);
        let job = story.submit("snippet", json!({})).await?;
        story.wait_done(&job).await?;
        assert!(story.archive(&job).await?.ends_with(SNIPPET));
        Ok(())
    })
    .await;
}

async fn document(story: &Story, process: &str) -> Result<Value> {
    let body = json!({ "inputs": {}, "response": "document" }).to_string();
    let answer: Response = story.post(0, process, &[], body).await?;
    assert_eq!(answer.status(), StatusCode::OK);
    Ok(answer.json().await?)
}
