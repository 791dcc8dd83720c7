//! What a user sends as inputs: checked, told what is wrong with it, and passed on as it was sent.

use anyhow::{Result, ensure};
use end_to_end::story::{Backend, Setting, Story, tell};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const ECHO: &str = "echo";

/// Answers every request with this.
async fn serve(media_type: &'static str, body: &'static str) -> Result<String> {
    Ok(serve_until_aborted(media_type, body).await?.0)
}

/// The same, until the task is aborted.
pub(crate) async fn serve_until_aborted(
    media_type: &'static str,
    body: &'static str,
) -> Result<(String, tokio::task::JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let serving = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = connection.read_u8().await else { return };
                head.push(byte);
            }
            let shown = if head.starts_with(b"HEAD") { "" } else { body };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{shown}");
            // Who hung up wants no answer.
            connection.write_all(answer.as_bytes()).await.ok();
        }
    });
    Ok((url, serving))
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_of_every_kind_reach_the_container_as_they_were_sent() {
    let setting = Setting::new(Backend::Local)
        .with("QUAYSIDE_GATEWAY__REFERENCES__ALLOW_HTTP", "true")
        .with("QUAYSIDE_GATEWAY__REFERENCES__ALLOW_PRIVATE", "127.0.0.0/8");
    tell("inputs", setting, async |story| {
        let inputs = json!({
            "echoInput": {"href": serve("application/json", "\"by reference\"").await?},
            "arrayInput": [1, 2, 3],
            "bboxInput": {"bbox": [51.9, 7, 52, 7.1], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
            "mixedInput": {"value": {"any": "object"}, "mediaType": "application/json"},
            "objectInput": {"name": "quay", "size": 3.5},
            "binaryInput": {"href": serve("image/tiff", "II*").await?, "type": "image/tiff"},
            "pause": 0,
        });
        let job = story.submit(ECHO, inputs.clone()).await?;
        let status = story.wait_done(&job).await?;
        ensure!(status["status"] == "successful", "{status}");
        ensure!(printed(story, &job).await? == inputs, "passed on as sent");
        Ok(())
    })
    .await;
}

/// What the echo process printed as its result.
async fn printed(story: &Story, job: &protocol::JobId) -> Result<Value> {
    let archive = story.archive(job).await?;
    let (_, printed) = archive.split_once("PYGEOAPI_K8S_MANAGER_RESULT_START\n").unwrap_or_default();
    Ok(serde_json::from_str(printed.lines().next().unwrap_or_default())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_request_is_told_every_mistake_and_an_inner_address_is_not_asked() {
    tell("mistyped-inputs", Setting::new(Backend::Local), async |story| {
        let inputs = json!({
            "arrayInput": [1, "two", 3],
            "bboxInput": {"bbox": [1, 2, 3]},
            "binaryInput": {"value": "TWFu", "mediaType": "image/png"},
            "pause": -1,
            "puase": 1,
        });
        let answer = story.execute(ECHO, inputs).await?;
        ensure!(answer.status() == 400, "{}", answer.status());
        let exception: Value = answer.json().await?;
        let place = |violation: &Value| violation["pointer"].as_str().unwrap_or_default().to_owned();
        let places: Vec<String> = exception["errors"].as_array().into_iter().flatten().map(place).collect();
        assert_eq!(
            places,
            [
                "/inputs/echoInput",
                "/inputs/arrayInput/1",
                "/inputs/bboxInput/bbox",
                "/inputs/binaryInput/mediaType",
                "/inputs/pause",
                "/inputs/puase",
            ]
        );
        ensure!(exception.to_string().contains("allowed: image/tiff"), "{exception}");
        for href in [
            "https://169.254.169.254/latest/meta-data",
            "https://10.0.0.1/",
            "https://[::1]/",
            "https://localhost/",
            "http://127.0.0.1/",
            "file:///etc/passwd",
        ] {
            let answer = story.execute(ECHO, json!({ "echoInput": { "href": href } })).await?;
            ensure!(answer.status() == 400, "{href}: {}", answer.status());
            let exception: Value = answer.json().await?;
            ensure!(exception["errors"][0]["pointer"] == "/inputs/echoInput/href", "{exception}");
        }
        let jobs: Value = story.list_at(0, "").await?.json().await?;
        ensure!(jobs["jobs"] == json!([]), "{jobs}");
        Ok(())
    })
    .await;
}
