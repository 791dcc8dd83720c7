//! Class oas30 of OGC API - Processes. That the definition is valid, and that every answer is one that it knows, is told by
//! `openapi_valid` and `schemathesis`.

use anyhow::{Context, ensure};
use end_to_end::story::{Backend, ECHO, Setting, TOKEN, tell};
use reqwest::Method;
use serde_json::{Value, json};

use crate::ogc::{definition, execute, get, links, send};

const OPENAPI: &str = "application/vnd.oai.openapi+json;version=3.0";

#[tokio::test(flavor = "multi_thread")]
async fn the_definition_comes_as_openapi_and_as_a_page() {
    tell("oas30-forms", Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), async |story| {
        let page = get(story, "/").await?.document("landingPage")?;
        let described = links(&page, "service-desc");
        let json = described.iter().find(|link| link["type"] == OPENAPI).context("no service-desc in JSON")?;
        let href = json["href"].as_str().context("no href")?;
        let answer = send(story, Method::GET, href, &[("accept", OPENAPI)], None).await?;
        ensure!(answer.has_status(200)?.header("content-type") == OPENAPI, "{:?}", answer.headers);
        ensure!(answer.json()?["openapi"].as_str().unwrap_or_default().starts_with("3.0."), "{}", answer.text());
        let documented = links(&page, "service-doc");
        let html = documented.iter().find(|link| link["type"] == "text/html").context("no service-doc in HTML")?;
        let answer =
            send(story, Method::GET, html["href"].as_str().context("no href")?, &[("accept", "text/html")], None)
                .await?;
        ensure!(answer.has_status(200)?.header("content-type").starts_with("text/html"), "{:?}", answer.headers);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definition_has_every_operation_with_its_statuses_and_exceptions() {
    tell("oas30-complete", Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), async |story| {
        let definition = definition(story).await?;
        for (path, method, statuses) in [
            ("/", "get", &["200"][..]),
            ("/conformance", "get", &["200"]),
            ("/openapi", "get", &["200"]),
            ("/processes", "get", &["200", "400"]),
            ("/processes/{processID}", "get", &["200", "404"]),
            ("/processes/echo/execution", "post", &["200", "201", "400", "413", "415"]),
            ("/jobs", "get", &["200", "400"]),
            ("/jobs/{jobID}", "get", &["200", "404"]),
            ("/jobs/{jobID}", "delete", &["200", "404"]),
            ("/jobs/{jobID}/results", "get", &["200", "404"]),
        ] {
            let responses = definition["paths"][path][method]["responses"].as_object();
            let responses = responses.with_context(|| format!("{method} {path} is not defined"))?;
            for status in statuses {
                ensure!(responses.contains_key(*status), "{method} {path} has no {status}: {:?}", responses.keys());
            }
        }
        ensure!(definition["servers"][0]["url"] == story.stack.url(0), "{}", definition["servers"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definition_says_what_needs_the_token_and_how_it_is_sent() {
    tell("oas30-security", Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), async |story| {
        let definition = definition(story).await?;
        let schemes = definition["components"]["securitySchemes"].as_object().context("no security schemes")?;
        let bearer = schemes.iter().find(|(_, scheme)| scheme["type"] == "http" && scheme["scheme"] == "bearer");
        let (name, _) = bearer.context("no scheme of bearer tokens")?;
        let security = |path: &str| definition["paths"][path]["post"]["security"].clone();
        let names =
            |security: &Value| security.as_array().is_some_and(|all| all.iter().any(|it| it.get(name).is_some()));
        ensure!(
            names(&security("/processes/echo-protected/execution")),
            "{}",
            security("/processes/echo-protected/execution")
        );
        ensure!(!names(&security("/processes/echo/execution")), "{}", security("/processes/echo/execution"));
        let body = json!({"inputs": {"echoInput": "a"}});
        let refused = execute(story, "echo-protected", &[], &body).await?;
        refused.exception(401, "unauthorized")?;
        ensure!(refused.header("www-authenticate").starts_with("Bearer"), "{:?}", refused.headers);
        let authorization = format!("Bearer {TOKEN}");
        execute(story, "echo-protected", &[("authorization", &authorization)], &body).await?.has_status(200)?;
        Ok(())
    })
    .await;
}
