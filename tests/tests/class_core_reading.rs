//! Class core of OGC API - Processes: what can be read before anything is executed.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use end_to_end::story::{Backend, ECHO, Setting, Story, tell};
use reqwest::Method;
use serde_json::Value;

use crate::ogc::{REL, check_links, definition, get, link, links, parameter, send};

async fn told(name: &str, body: impl AsyncFnOnce(&mut Story) -> Result<()>) {
    tell(name, Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_landing_page_leads_to_everything() {
    told("core-landing-page", async |story| {
        let page = get(story, "/").await?.document("landingPage")?;
        check_links(story, &page).await?;
        let conformance = get(story, &link(&page, &format!("{REL}conformance"))?).await?.document("confClasses")?;
        ensure!(conformance["conformsTo"].is_array(), "{conformance}");
        get(story, &link(&page, &format!("{REL}processes"))?).await?.document("processList")?;
        get(story, &link(&page, &format!("{REL}job-list"))?).await?.document("jobList")?;
        link(&page, "self")?;
        for relation in ["service-desc", "service-doc"] {
            let definitions = links(&page, relation);
            ensure!(!definitions.is_empty(), "no {relation}: {}", page["links"]);
            for definition in definitions {
                let href = definition["href"].as_str().context("no href")?;
                let kind = definition["type"].as_str().context("no type")?;
                let answer = send(story, Method::GET, href, &[("accept", kind)], None).await?;
                ensure!(
                    answer.has_status(200)?.header("content-type").starts_with(kind),
                    "{definition} {:?}",
                    answer.headers
                );
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_1_is_spoken_with_its_methods_and_heads() {
    told("core-http", async |story| {
        for path in ["/", "/conformance", "/processes", "/processes/echo", "/jobs"] {
            let whole = get(story, path).await?;
            ensure!(whole.has_status(200)?.version == reqwest::Version::HTTP_11, "{:?}", whole.version);
            let head = send(story, Method::HEAD, path, &[("accept", "application/json")], None).await?;
            ensure!(head.has_status(200)?.body.is_empty(), "HEAD {path} has a body");
            ensure!(head.header("content-type") == whole.header("content-type"), "{path}: {:?}", head.headers);
            let wrong = send(story, Method::PATCH, path, &[], None).await?;
            wrong.exception(405, "method-not-allowed")?;
            ensure!(wrong.header("allow").contains("GET"), "{path}: {:?}", wrong.headers);
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_processes_is_limited_linked_and_leads_to_each_description() {
    told("core-process-list", async |story| {
        let all = get(story, "/processes").await?.document("processList")?;
        check_links(story, &all).await?;
        let ids = ids(&all);
        ensure!(ids.contains("echo") && ids.len() == 6, "{ids:?}");
        let mut paged = BTreeSet::new();
        let mut next = Some("/processes?limit=1".to_owned());
        while let Some(url) = next {
            let page = get(story, &url).await?.document("processList")?;
            let shown = self::ids(&page);
            ensure!(shown.len() == 1, "limit=1 gives {shown:?}");
            ensure!(shown.iter().all(|id| paged.insert(id.clone())), "{shown:?} comes twice");
            check_links(story, &page).await?;
            next = links(&page, "next").first().and_then(|link| link["href"].as_str()).map(str::to_owned);
        }
        ensure!(paged == ids, "{paged:?}");
        ensure!(
            self::ids(&get(story, "/processes?limit=10000").await?.document("processList")?) == ids,
            "a high limit"
        );
        for wrong in ["0", "-1", "x", "1.5"] {
            get(story, &format!("/processes?limit={wrong}")).await?.exception(400, "invalid-parameter-value")?;
        }
        let limit = parameter(&definition(story).await?, "/processes", "limit")?;
        ensure!(limit["in"] == "query" && limit["required"] != true, "{limit}");
        ensure!(limit["schema"]["type"] == "integer" && limit["schema"]["minimum"] == 1, "{limit}");
        ensure!(limit["schema"]["default"] == 10, "{limit}");
        for id in &ids {
            let description = get(story, &format!("/processes/{id}")).await?.document("process")?;
            ensure!(description["id"] == id.as_str(), "{description}");
            check_links(story, &description).await?;
            link(&description, &format!("{REL}execute"))?;
        }
        get(story, "/processes/no-such-process").await?.exception(404, "no-such-process")?;
        Ok(())
    })
    .await;
}

fn ids(list: &Value) -> BTreeSet<String> {
    let processes = list["processes"].as_array().map(Vec::as_slice).unwrap_or_default();
    processes.iter().filter_map(|process| process["id"].as_str().map(str::to_owned)).collect()
}
