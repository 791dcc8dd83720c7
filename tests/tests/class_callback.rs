//! Class callback of OGC API - Processes. What happens when receivers or services are away is told by other stories.

use anyhow::{Context, ensure};
use end_to_end::{
    receiver::{Manner, Receiver},
    story::{ECHO, LIMIT, tell},
};
use serde_json::json;

use crate::{
    callbacks::setting,
    ogc::{definition, get, submit, wait_for},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_the_results_of_its_job() {
    tell("class-callback", setting(ECHO), async |story| {
        let receiver = Receiver::start(0, Manner::status(202)).await?;
        for name in ["successUri", "successUrl"] {
            let target = format!("/{name}");
            let body = json!({
                "inputs": {"echoInput": "Ahoy", "pause": 1}, "subscriber": {name: receiver.url(&target)},
            });
            let job = submit(story, "echo", &body).await?;
            let told = receiver.wait_for(&target, 1, LIMIT).await?;
            ensure!(told[0].header("content-type") == "application/json", "{:?}", told[0]);
            let results = told[0].json()?;
            end_to_end::ogc_schemas::check("results", &results)?;
            ensure!(results["echoInput"] == "Ahoy" && results["pause"] == 1, "{results}");
            ensure!(told[0].header("link") == format!("<{job}>; rel=\"monitor\""), "{:?}", told[0]);
            wait_for(story, &job, &["successful"]).await?;
        }
        let definition = definition(story).await?;
        let operation = &definition["paths"]["/processes/echo/execution"]["post"];
        let operation = if operation.is_null() {
            let paths = definition["paths"].as_object().context("no paths")?;
            let found = paths.iter().find(|(path, _)| path.ends_with("/processes/echo/execution"));
            &found.context("no execution of echo")?.1["post"]
        } else {
            operation
        };
        let called = operation["callbacks"].as_object().context("no callbacks")?;
        ensure!(called.values().any(|it| it.get("{$request.body#/subscriber/successUri}").is_some()), "{called:?}");
        let classes = get(story, "/conformance").await?.document("confClasses")?;
        ensure!(classes.to_string().contains("/conf/callback\""), "{classes}");
        Ok(())
    })
    .await;
}
