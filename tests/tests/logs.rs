//! The log of a job, as its archive has it.

use anyhow::{Context, Result, ensure};
use end_to_end::story::{Backend, Setting, Story, TOKEN, process_yaml, tell};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const REL: &str = "urn:quayside:rel:log";

async fn ask(story: &Story, method: Method, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let mut request = story.http.request(method, format!("{}{path}", story.stack.url(0))).bearer_auth(TOKEN);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.send().await?)
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archived_log_is_read_whole_or_in_parts_where_the_status_links_it() {
    let processes = [process_yaml("talks", "echo begun\necho ended >&2"), process_yaml("waits", "sleep 600")].concat();
    tell("logs", Setting::new(Backend::Local).with_processes(&processes), async |story| {
        let job = story.submit("talks", json!({})).await?;
        let status = story.wait_done(&job).await?;
        let path = format!("/jobs/{job}/logs");
        let href = format!("{}{path}", story.stack.url(0));
        let links = |document: &Value| -> Vec<Value> {
            let all = document["links"].as_array().cloned().unwrap_or_default();
            all.into_iter().filter(|link| link["rel"] == REL).collect()
        };
        ensure!(links(&status).first().context("no link")?["href"] == href.as_str(), "{status}");
        let list: Value = story.list_at(0, "?processID=talks").await?.json().await?;
        ensure!(links(&list["jobs"][0]).len() == 1, "{list}");

        let archived = story.archive(&job).await?;
        ensure!(archived.contains("begun") && archived.contains("ended"), "{archived}");
        let whole = ask(story, Method::GET, &path, &[]).await?;
        ensure!(whole.status().as_u16() == 200, "{}", whole.status());
        ensure!(header(&whole, "content-type") == "text/plain; charset=utf-8", "{:?}", whole.headers());
        ensure!(header(&whole, "x-content-type-options") == "nosniff", "{:?}", whole.headers());
        let (tag, length) = (header(&whole, "etag").to_owned(), header(&whole, "content-length").to_owned());
        ensure!(length == archived.len().to_string(), "{length}");
        ensure!(whole.text().await? == archived);

        let head = ask(story, Method::HEAD, &path, &[]).await?;
        ensure!(head.status().as_u16() == 200 && header(&head, "content-length") == length, "{:?}", head.headers());
        let part = ask(story, Method::GET, &path, &[("range", "bytes=0-3"), ("if-range", &tag)]).await?;
        ensure!(part.status().as_u16() == 206 && part.text().await? == archived[..4], "a part");
        let known = ask(story, Method::GET, &path, &[("if-none-match", &tag)]).await?;
        ensure!(known.status().as_u16() == 304, "{}", known.status());
        let beyond = ask(story, Method::GET, &path, &[("range", &format!("bytes={length}-"))]).await?;
        ensure!(beyond.status().as_u16() == 416, "{}", beyond.status());

        let running = story.submit("waits", json!({})).await?;
        let status = story.wait_for(&running, &["running"]).await?;
        ensure!(links(&status).len() == 1, "{status}");
        let nobodys = story.get(&path).await?;
        ensure!(nobodys.status().as_u16() == 401, "{}: an id does not suffice for a log", nobodys.status());

        ensure!(story.delete_at(0, &job).await?.status().as_u16() == 200, "removed");
        let removed = ask(story, Method::GET, &path, &[]).await?;
        let (code, exception) = (removed.status().as_u16(), removed.json::<Value>().await?);
        ensure!(code == 404 && exception["type"].as_str().unwrap_or_default().ends_with("/no-such-job"), "{exception}");
        Ok(())
    })
    .await;
}
