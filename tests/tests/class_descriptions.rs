//! Classes json and ogc-process-description of OGC API - Processes.

use anyhow::{Context, Result, ensure};
use end_to_end::{
    ogc_schemas,
    story::{Backend, ECHO, Setting, Story, tell},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::ogc::{JSON, get, send, submit, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_have_every_input_and_output_with_its_schema() {
    tell("class-description", Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), async |story| {
        let description = get(story, "/processes/echo").await?.document("process")?;
        let ids = |member: &str| -> Vec<String> {
            description[member].as_object().map(|it| it.keys().cloned().collect()).unwrap_or_default()
        };
        let expected =
            ["echoInput", "arrayInput", "listInput", "bboxInput", "mixedInput", "objectInput", "binaryInput", "pause"];
        ensure!(ids("inputs") == expected, "in the file's order: {:?}", ids("inputs"));
        ensure!(ids("outputs").len() == 6, "{:?}", ids("outputs"));
        for member in ["inputs", "outputs"] {
            for id in ids(member) {
                ogc_schemas::check("schema", &description[member][&id]["schema"]).context(id)?;
            }
        }
        let inputs = &description["inputs"];
        ensure!(inputs["echoInput"]["minOccurs"] == 1 && inputs["pause"]["minOccurs"] == 0, "{inputs}");
        ensure!(inputs["listInput"]["maxOccurs"] == 5, "{inputs}");
        // The first of several is the default: the order is kept.
        for mixed in [&inputs["mixedInput"], &description["outputs"]["mixedInput"]] {
            let choices = mixed["schema"]["oneOf"].as_array().context("no oneOf")?;
            let types: Vec<&Value> = choices.iter().map(|choice| &choice["type"]).collect();
            ensure!(types == ["string", "object"], "{mixed}");
        }
        let binary = json!({"type": "string", "contentEncoding": "binary", "contentMediaType": "image/tiff"});
        ensure!(inputs["binaryInput"]["schema"] == binary, "{inputs}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_document_is_json_for_who_asks_for_json_or_nothing() {
    tell("class-json", Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), async |story| {
        let job = submit(story, "echo", &json!({"inputs": {"echoInput": "a"}, "response": "document"})).await?;
        wait_for(story, &job, &["successful"]).await?;
        let results = format!("{job}/results");
        for (url, schema) in [
            ("/", "landingPage"),
            ("/conformance", "confClasses"),
            ("/processes", "processList"),
            ("/processes/echo", "process"),
            ("/jobs", "jobList"),
            (&job, "statusInfo"),
            (&results, "results"),
        ] {
            for headers in [&[][..], &[("accept", JSON)], &[("accept", "*/*")]] {
                send(story, Method::GET, url, headers, None).await?.document(schema)?;
            }
            for form in ["json"] {
                send(story, Method::GET, &format!("{url}?f={form}"), &[("accept", "text/html")], None)
                    .await?
                    .document(schema)?;
            }
        }
        let definition = get(story, "/openapi").await?;
        ensure!(definition.has_status(200)?.header("content-type") == JSON, "{:?}", definition.headers);
        problems(story).await
    })
    .await;
}

/// Exceptions are plain JSON, but for who asks for problem+json or a page.
async fn problems(story: &Story) -> Result<()> {
    for (accept, kind) in [
        ("application/problem+json", "application/problem+json"),
        ("text/html", "text/html; charset=utf-8"),
        ("*/*", JSON),
        (JSON, JSON),
    ] {
        let answer = send(story, Method::GET, "/jobs/nonsense", &[("accept", accept)], None).await?;
        ensure!(answer.has_status(404)?.header("content-type") == kind, "{accept}: {:?}", answer.headers);
    }
    Ok(())
}
