//! Class html of OGC API - Processes. How the pages look and work in a browser is told by `pages`.

use anyhow::{Context, Result, ensure};
use end_to_end::{
    story::{Backend, ECHO, Setting, Story, tell},
    tools::workspace_directory,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::ogc::{Answer, delete, execute, get, send, submit, wait_for};

const HTML: &str = "text/html";

/// A document as a page: asked for by its media type, and by name.
async fn page(story: &Story, url: &str) -> Result<Answer> {
    let accepted = send(story, Method::GET, url, &[("accept", HTML)], None).await?;
    is_page(&accepted)?;
    let separator = if url.contains('?') { '&' } else { '?' };
    let named = send(story, Method::GET, &format!("{url}{separator}f=html"), &[], None).await?;
    is_page(&named)?;
    Ok(accepted)
}

fn is_page(answer: &Answer) -> Result<()> {
    let is_html = answer.has_status(200)?.header("content-type").starts_with(HTML);
    ensure!(is_html && answer.text().starts_with("<!DOCTYPE html>"), "{}: {:?}", answer.what, answer.headers);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_with_200_comes_as_a_page_too() {
    tell("html-definition", Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), async |story| {
        let body = json!({"inputs": {"echoInput": "a", "pause": 0}});
        let job = submit(story, "echo", &body).await?;
        wait_for(story, &job, &["successful"]).await?;
        let results = format!("{job}/results");
        for url in ["/", "/conformance", "/openapi", "/processes", "/processes/echo", "/jobs", &job, &results] {
            page(story, url).await?;
        }
        is_page(&send(story, Method::GET, &format!("{results}/echoInput?f=html"), &[], None).await?)?;
        let executed = execute(story, "echo", &[("accept", HTML)], &body).await?;
        is_page(&executed)?;
        ensure!(executed.header("link").contains("monitor"), "{:?}", executed.headers);
        let removed = send(story, Method::DELETE, &job, &[("accept", HTML)], None).await?;
        is_page(&removed)?;
        let last = submit(story, "echo", &json!({"inputs": {"echoInput": "a", "pause": 50}})).await?;
        is_page(&send(story, Method::DELETE, &last, &[("accept", HTML)], None).await?)?;
        delete(story, &last).await?.has_status(200)?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_has_all_that_its_document_says_and_links_to() {
    let mut setting = Setting::new(Backend::Local);
    setting.config = Some(std::fs::read_to_string(workspace_directory().join("quayside-config.yaml")).unwrap());
    tell("html-content", setting.open_to_all(), async |story| {
        let inputs =
            json!({"inputs": {"echoInput": "Ahoy & <more>", "arrayInput": [41, 42], "objectInput": {"name": "quay"}}});
        let job = submit(story, "echo", &inputs).await?;
        wait_for(story, &job, &["successful"]).await?;
        let running = submit(story, "echo", &json!({"inputs": {"echoInput": "b", "pause": 30}})).await?;
        wait_for(story, &running, &["running"]).await?;
        for url in ["/", "/conformance", "/processes?limit=2", "/processes/echo", "/jobs?limit=1", &job, &running] {
            let document = get(story, url).await?.has_status(200)?.json()?;
            let html = page(story, url).await?.text();
            let text = plain(&html);
            says(&document, &text, &html).with_context(|| url.to_owned())?;
        }
        let results = get(story, &format!("{job}/results?f=json")).await?.json()?;
        let html = page(story, &format!("{job}/results")).await?.text();
        says(&results, &plain(&html), &html)?;
        delete(story, &running).await?.has_status(200)?;
        Ok(())
    })
    .await;
}

/// Everything that a document says is on its page: texts, numbers, times; each link as the target of one.
fn says(document: &Value, text: &str, html: &str) -> Result<()> {
    match document {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("href", Value::String(url)) => {
                        let target = url.replace('&', "&#38;");
                        // The links to a document itself name its form.
                        let forms = ["", "?f=html", "?f=json", "&#38;f=html", "&#38;f=json"];
                        let links = forms.map(|form| format!("href=\"{target}{form}\""));
                        ensure!(links.iter().any(|link| html.contains(link)), "{url} is not linked to");
                    }
                    // A long name of a relation is told by its end; inputs are shown in lines of their own.
                    ("rel", Value::String(rel)) => says(&rel.rsplit('/').next().into(), text, html)?,
                    ("parameters", Value::String(inputs)) => says(&serde_json::from_str(inputs)?, text, html)?,
                    (_, value) => says(value, text, html).with_context(|| name.clone())?,
                }
            }
        }
        Value::Array(items) => items.iter().try_for_each(|item| says(item, text, html))?,
        Value::Bool(_) | Value::Null => {}
        Value::Number(number) => ensure!(text.contains(&number.to_string()), "{number} is not on the page"),
        Value::String(said) => {
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            let is_time = html.contains(&format!("datetime=\"{said}\""));
            // Inside of JSON a text is quoted.
            let quoted = Value::from(said.as_str()).to_string();
            let is_there = is_time || text.contains(&said) || text.contains(quoted.trim_matches('"'));
            ensure!(is_there, "{said:?} is not on the page");
        }
    }
    Ok(())
}

/// What a page shows, without its markup.
fn plain(html: &str) -> String {
    let mut text = String::new();
    for piece in html.split('<') {
        text.push(' ');
        text.push_str(piece.split_once('>').map_or("", |(_, shown)| shown));
    }
    let text = text.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"").replace("&#39;", "'");
    text.replace("&#38;", "&").split_whitespace().collect::<Vec<_>>().join(" ")
}
