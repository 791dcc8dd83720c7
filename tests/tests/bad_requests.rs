//! Requests that can't be served: each is told why.

use end_to_end::story::{Backend, Setting, tell};
use reqwest::header;
use serde_json::{Value, json};

const NO_SUCH_PROCESS: &str = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-process";
const NO_SUCH_JOB: &str = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-job";

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_with_a_reason() {
    tell("bad-requests", Setting::new(Backend::Local), async |story| {
        let hello = "hello-world-k8s";
        let large = format!("{{\"inputs\": {{\"name\": \"{}\"}}}}", "x".repeat(8 * 1024 * 1024));
        let cases = [
            (hello, "application/json", "{no json".to_owned(), 400, None),
            (hello, "application/json", "[1]".to_owned(), 400, None),
            (hello, "application/json", json!({ "inputs": ["a"] }).to_string(), 400, None),
            (hello, "application/json", json!({ "inputs": { "name": "n" }, "response": "x" }).to_string(), 400, None),
            (hello, "application/json", large, 413, None),
            (hello, "text/plain", json!({ "inputs": { "name": "n" } }).to_string(), 415, None),
            ("nope", "application/json", json!({ "inputs": {} }).to_string(), 404, Some(NO_SUCH_PROCESS)),
        ];
        for (process, content_type, body, status, kind) in cases {
            let url = format!("{}/processes/{process}/execution", story.stack.url(0));
            let answer =
                story.http.post(url).header(header::CONTENT_TYPE, content_type).body(body.clone()).send().await?;
            let shown: String = body.chars().take(60).collect();
            assert_eq!(answer.status().as_u16(), status, "{shown}");
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json", "{shown}");
            let exception: Value = answer.json().await?;
            assert_eq!(exception["status"], status, "{exception}");
            assert!(!exception["detail"].as_str().unwrap_or_default().is_empty(), "{exception}");
            if let Some(kind) = kind {
                assert_eq!(exception["type"], kind);
            }
        }
        for path in ["/jobs/018f0000-0000-7000-8000-000000000000", "/jobs/nonsense", "/jobs/nonsense/results"] {
            let answer = story.get(path).await?;
            assert_eq!(answer.status().as_u16(), 404, "{path}");
            assert_eq!(answer.json::<Value>().await?["type"], NO_SUCH_JOB, "{path}");
        }
        let url = format!("{}/processes/{hello}/execution", story.stack.url(0));
        let untyped = story.http.post(url).body(json!({ "inputs": { "name": "n" } }).to_string()).send().await?;
        assert_eq!(untyped.status().as_u16(), 200, "a missing content type is JSON");
        let list: Value = story.list_at(0, "").await?.json().await?;
        assert_eq!(list["jobs"].as_array().map(Vec::len), Some(1), "what was refused made no job: {list}");
        Ok(())
    })
    .await;
}
