//! Class core of OGC API - Processes: outputs in every form, of synchronous executions and at `/results` alike.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use end_to_end::story::{Backend, ECHO, Setting, Story, tell};
use reqwest::Method;
use serde_json::{Value, json};

use crate::ogc::{Answer, JSON, execute, get, send, submit, wait_for};

fn inputs() -> Value {
    json!({"echoInput": "Ahoy", "arrayInput": [1, 2], "objectInput": {"value": {"number": 1}}, "pause": 0})
}

async fn told(name: &str, body: impl AsyncFnOnce(&mut Story) -> Result<()>) {
    tell(name, Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), body).await;
}

/// The answers of a synchronous and of an asynchronous execution.
async fn both(story: &Story, process: &str, body: &Value) -> Result<[Answer; 2]> {
    let location = submit(story, process, body).await?;
    let synchronous = execute(story, process, &[], body).await?;
    wait_for(story, &location, &["successful"]).await?;
    // Neither asks for a media type: several raw outputs are no JSON.
    Ok([synchronous, send(story, Method::GET, &format!("{location}/results"), &[], None).await?])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_results_document_has_the_outputs_that_were_asked_for_by_value_and_by_reference() {
    told("core-document", async |story| {
        let outputs = json!({"echoInput": {}, "objectInput": {"transmissionMode": "value"},
            "arrayInput": {"transmissionMode": "reference"}});
        let body = json!({"inputs": inputs(), "outputs": outputs, "response": "document"});
        for answer in both(story, "echo", &body).await? {
            let document = answer.document("results")?;
            ensure!(ids(&document) == set(&["echoInput", "objectInput", "arrayInput"]), "{document}");
            ensure!(document["echoInput"] == "Ahoy", "a plain text is a bare string: {document}");
            ensure!(document["objectInput"]["value"].is_object(), "an object is a qualified value: {document}");
            let array = &document["arrayInput"];
            ensure!(array["type"] == JSON, "{document}");
            let behind = get(story, array["href"].as_str().context("no href")?).await?;
            ensure!(behind.has_status(200)?.json()? == json!([1, 2]), "{}", behind.text());
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_choice_of_outputs_all_of_them_come() {
    told("core-default-outputs", async |story| {
        let everything = set(&["echoInput", "arrayInput", "objectInput", "pause"]);
        // The certification suite sends an empty choice where the process has no output of the kind that it looks for.
        for chosen in [None, Some(json!({}))] {
            let mut body = json!({"inputs": inputs(), "response": "document"});
            if let Some(chosen) = chosen {
                body["outputs"] = chosen;
            }
            for answer in both(story, "echo", &body).await? {
                let document = answer.document("results")?;
                ensure!(ids(&document) == everything, "{document}");
            }
        }
        for answer in both(story, "echo", &json!({"inputs": inputs()})).await? {
            let parts: BTreeSet<String> = answer.parts()?.into_iter().map(|part| content_id(&part)).collect();
            ensure!(parts == everything, "{parts:?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_raw_output_is_the_value_itself_with_its_media_type() {
    told("core-raw-one", async |story| {
        for answer in both(story, "text", &json!({})).await? {
            ensure!(answer.has_status(200)?.header("content-type").starts_with("text/plain"), "{:?}", answer.headers);
            ensure!(answer.text() == "a line\nanother", "{}", answer.text());
        }
        let body =
            json!({"inputs": inputs(), "outputs": {"echoInput": {"transmissionMode": "value"}}, "response": "raw"});
        for answer in both(story, "echo", &body).await? {
            ensure!(answer.has_status(200)?.text().contains("Ahoy"), "{}", answer.text());
            ensure!(!answer.text().contains("pause"), "only what was asked for: {}", answer.text());
        }
        let body = json!({"inputs": inputs(), "outputs": {"arrayInput": {}}});
        for answer in both(story, "echo", &body).await? {
            ensure!(answer.has_status(200)?.header("content-type") == JSON, "{:?}", answer.headers);
            ensure!(answer.json()? == json!([1, 2]), "{}", answer.text());
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_raw_outputs_are_the_parts_of_one_answer() {
    told("core-raw-multi", async |story| {
        let value = json!({"transmissionMode": "value"});
        let body = json!({"inputs": inputs(), "outputs": {"echoInput": value, "arrayInput": value}, "response": "raw"});
        for answer in both(story, "echo", &body).await? {
            let parts = answer.parts()?;
            ensure!(parts.len() == 2, "{parts:?}");
            let [text, array] = &parts[..] else { anyhow::bail!("{parts:?}") };
            ensure!(content_id(text) == "echoInput" && content_id(array) == "arrayInput", "{parts:?}");
            ensure!(String::from_utf8_lossy(&text.body).contains("Ahoy"), "{parts:?}");
            ensure!(serde_json::from_slice::<Value>(&array.body)? == json!([1, 2]), "{parts:?}");
            ensure!(parts.iter().all(|part| part.headers.contains_key("content-type")), "{parts:?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_outputs_by_reference_are_links_and_no_content() {
    told("core-raw-reference", async |story| {
        let reference = json!({"transmissionMode": "reference"});
        for (outputs, count) in
            [(json!({"arrayInput": reference}), 1), (json!({"arrayInput": reference, "objectInput": reference}), 2)]
        {
            let body = json!({"inputs": inputs(), "outputs": outputs, "response": "raw"});
            for answer in both(story, "echo", &body).await? {
                ensure!(answer.has_status(204)?.body.is_empty(), "{}", answer.text());
                let all = answer.headers.get_all("link").iter().filter_map(|value| value.to_str().ok());
                let links: Vec<&str> = all.filter(|link| !link.contains("monitor")).collect();
                ensure!(links.len() == count, "{links:?}");
                let target = links[0].split(['<', '>']).nth(1).context("no target")?;
                ensure!(get(story, target).await?.has_status(200)?.json()? == json!([1, 2]), "{target}");
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_outputs_by_value_and_by_reference_share_an_answer() {
    told("core-raw-mixed", async |story| {
        let outputs =
            json!({"echoInput": {"transmissionMode": "value"}, "arrayInput": {"transmissionMode": "reference"}});
        let body = json!({"inputs": inputs(), "outputs": outputs, "response": "raw"});
        for answer in both(story, "echo", &body).await? {
            let parts = answer.parts()?;
            ensure!(parts.len() == 2, "{parts:?}");
            for part in &parts {
                if content_id(part) == "echoInput" {
                    ensure!(String::from_utf8_lossy(&part.body).contains("Ahoy"), "{parts:?}");
                    ensure!(!part.headers.contains_key("content-location"), "{parts:?}");
                } else {
                    ensure!(content_id(part) == "arrayInput" && part.body.is_empty(), "{parts:?}");
                    let target = part.headers.get("content-location").context("no Content-Location")?;
                    ensure!(get(story, target).await?.has_status(200)?.json()? == json!([1, 2]), "{target}");
                }
            }
        }
        Ok(())
    })
    .await;
}

fn content_id(part: &crate::ogc::Part) -> String {
    part.headers.get("content-id").map(|id| id.trim_matches(['<', '>']).to_owned()).unwrap_or_default()
}

fn ids(document: &Value) -> BTreeSet<String> {
    document.as_object().into_iter().flat_map(|members| members.keys().cloned()).collect()
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}
