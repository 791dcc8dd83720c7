//! The definition of the API, held against the specification of OpenAPI by a validator that is not ours.

use std::time::Duration;

use end_to_end::{
    python,
    story::{Backend, ECHO, Setting, Story, tell},
};
use reqwest::header;

#[tokio::test(flavor = "multi_thread")]
async fn the_definition_is_valid_openapi_3_0() {
    let Some(python) = python::require_or_skip("openapi-valid").await else { return };
    tell("openapi-valid", Setting::new(Backend::Local).with_processes(ECHO), async |story| {
        for (path, accept, kind) in [
            ("/openapi?f=json", "", "application/vnd.oai.openapi+json;version=3.0"),
            (
                "/openapi",
                "application/vnd.oai.openapi+json;version=3.0",
                "application/vnd.oai.openapi+json;version=3.0",
            ),
            ("/openapi?f=yaml", "", "application/vnd.oai.openapi;version=3.0"),
        ] {
            let text = definition(story, path, accept, kind).await?;
            let file = story.stack.folder().join("definition");
            std::fs::write(&file, text)?;
            let file = file.display().to_string();
            python.script(story.stack.folder(), "openapi_valid.py", &[&file], Duration::from_secs(60)).await?;
        }
        Ok(())
    })
    .await;
}

async fn definition(story: &Story, path: &str, accept: &str, kind: &str) -> anyhow::Result<String> {
    let mut request = story.http.get(format!("{}{path}", story.stack.url(0)));
    if !accept.is_empty() {
        request = request.header(header::ACCEPT, accept);
    }
    let answer = request.send().await?;
    anyhow::ensure!(answer.status() == 200, "{path}: {}", answer.status());
    let found = answer.headers()[header::CONTENT_TYPE].to_str()?.to_owned();
    anyhow::ensure!(found == kind, "{path} {accept}: {found}");
    Ok(answer.text().await?)
}
