//! What the executable test suite of the Open Geospatial Consortium sends to the echo process of the example, request by request,
//! made from the description in the way that the suite makes it; and what it wants to see.

use anyhow::{Context, Result, ensure};
use end_to_end::{
    story::{Backend, Setting, Story, tell},
    tools::workspace_directory,
};
use serde_json::{Map, Value, json};

use crate::ogc::{Answer, JSON, REL, execute, get, link, links, submit, wait_for};

const TEXT: &str = "teststring";
const ACCEPT: (&str, &str) = ("accept", JSON);
/// With the space at its end, as the suite sends it in places.
const ASYNC: (&str, &str) = ("prefer", "respond-async ");

#[tokio::test(flavor = "multi_thread")]
async fn the_certification_suite_finds_what_it_wants() {
    // The suite takes the target of the Link of a synchronous answer with its brackets, so that it can't be there; and it
    // knows of no token.
    let example = std::fs::read_to_string(workspace_directory().join("quayside-config.yaml")).unwrap();
    let config = example.replace(
        "    finalizer_controller: true",
        "    finalizer_controller: true\n    sync_link: false\n    protect_jobs: false\n    protect_dismiss: false",
    );
    assert_ne!(config, example);
    let mut setting = Setting::new(Backend::Local);
    setting.config = Some(config);
    tell("certification", setting, async |story| {
        reads(story).await?;
        let description = get(story, "/processes/echo").await?.document("process")?;
        let suite = Suite { description };
        executes(story, &suite).await?;
        inputs(story, &suite).await?;
        jobs(story, &suite).await?;
        exceptions(story, &suite).await
    })
    .await;
}

/// The suite's view of the process: it knows inputs by the types of their schemas.
struct Suite {
    description: Value,
}

impl Suite {
    fn of(&self, member: &str) -> Vec<(&String, &Value)> {
        self.description[member].as_object().into_iter().flatten().map(|(id, it)| (id, &it["schema"])).collect()
    }

    /// Every input of the kinds that it sends unasked: plain texts and objects.
    fn usual_inputs(&self) -> Map<String, Value> {
        let mut inputs = Map::new();
        for (id, schema) in self.of("inputs") {
            for kind in kinds(schema) {
                if kind["type"] == "string" && kind["contentMediaType"].is_null() && kind["format"].is_null() {
                    inputs.insert(id.clone(), TEXT.into());
                } else if kind["type"] == "object" {
                    inputs.insert(id.clone(), json!({"value": TEXT}));
                }
            }
        }
        inputs
    }

    fn with(&self, input: &str, value: Value) -> Value {
        let mut inputs = self.usual_inputs();
        inputs.insert(input.to_owned(), value);
        json!({"inputs": inputs, "outputs": self.outputs()})
    }

    /// Every output by value.
    fn outputs(&self) -> Value {
        let outputs = self.of("outputs").into_iter();
        outputs.map(|(id, _)| (id.clone(), json!({"transmissionMode": "value"}))).collect::<Map<_, _>>().into()
    }

    fn usual(&self) -> Value {
        json!({"inputs": self.usual_inputs(), "outputs": self.outputs()})
    }

    fn one_output(&self) -> Result<Value> {
        let (first, _) = *self.of("inputs").first().context("no inputs")?;
        let output = json!({"transmissionMode": "value"});
        Ok(json!({"inputs": self.usual_inputs(), "outputs": {first: output}, "response": "raw"}))
    }
}

/// The alternatives of a schema; the suite knows `type` and `oneOf`.
fn kinds(schema: &Value) -> Vec<Value> {
    match (&schema["type"], &schema["oneOf"]) {
        (Value::String(_), _) => vec![schema.clone()],
        (_, Value::Array(choices)) => choices.clone(),
        _ => Vec::new(),
    }
}

async fn reads(story: &Story) -> Result<()> {
    let page = get(story, "/").await?.document("landingPage")?;
    ensure!(!links(&page, "service-desc").is_empty() || !links(&page, "service-doc").is_empty(), "{page}");
    for relation in ["conformance", "processes"] {
        link(&page, &format!("{REL}{relation}"))?;
    }
    get(story, "/conformance").await?.document("confClasses")?;
    let list = get(story, "/processes").await?.document("processList")?;
    ensure!(list["processes"].as_array().is_some_and(|all| !all.is_empty()), "{list}");
    let limited = get(story, "/processes?limit=1").await?.document("processList")?;
    ensure!(limited["processes"].as_array().map(Vec::len) == Some(1) && limited["links"].is_array(), "{limited}");
    for process in list["processes"].as_array().context("no processes")? {
        let id = process["id"].as_str().context("no id")?;
        let description = get(story, &format!("/processes/{id}")).await?.document("process")?;
        ensure!(description["inputs"].is_object() && description["outputs"].is_object(), "{description}");
    }
    get(story, "/processes/invalid-process-7d2d7e2c").await?.exception(404, "no-such-process")?;
    Ok(())
}

async fn executes(story: &Story, suite: &Suite) -> Result<()> {
    let synchronous = |answer: Answer| -> Result<Answer> {
        answer.has_status(200)?;
        ensure!(
            answer.headers.get("link").is_none_or(|link| !link.to_str().unwrap_or_default().contains("monitor")),
            "a Link"
        );
        Ok(answer)
    };
    // The default mode, all outputs, raw.
    let answer = synchronous(execute(story, "echo", &[ACCEPT], &suite.usual()).await?)?;
    is_echo(&answer)?;
    synchronous(execute(story, "echo", &[ACCEPT], &json!({"inputs": suite.usual_inputs()})).await?)?;
    let mut document = suite.usual();
    document["response"] = "document".into();
    synchronous(execute(story, "echo", &[ACCEPT], &document).await?)?.document("results")?;
    let one = synchronous(execute(story, "echo", &[ACCEPT], &suite.one_output()?).await?)?;
    ensure!(one.text().contains(TEXT), "{}", one.text());

    // Asynchronous: strictly 201, and the job at once.
    for body in [suite.usual(), document, suite.one_output()?] {
        let answer = execute(story, "echo", &[ACCEPT, ASYNC], &body).await?;
        answer.has_status(201)?.content("statusInfo")?;
        let location = answer.header("location").to_owned();
        get(story, &location).await?.document("statusInfo")?;
        // It follows monitor until there is a link to the results, which it reads without an Accept header.
        let done = wait_for(story, &location, &["successful", "failed"]).await?;
        let results = link(&done, &format!("{REL}results"))?;
        let answer = crate::ogc::send(story, reqwest::Method::GET, &results, &[], None).await?;
        ensure!(answer.has_status(200)?.text().contains(TEXT), "{}", answer.text());
    }
    Ok(())
}

/// Several raw outputs, one of which has the text. Where the answer is JSON, which the suite says it accepts, it has to match one
/// of the suite's schemas and no second one: as the suite reads them, that needs a member that is a whole number.
fn is_echo(answer: &Answer) -> Result<()> {
    if answer.header("content-type") == JSON {
        let document = answer.content("results")?;
        let members: Vec<&Value> = document.as_object().into_iter().flat_map(Map::values).collect();
        let is_single = members.iter().any(|member| member.is_i64());
        ensure!(members.iter().any(|member| **member == TEXT) && is_single, "{document}");
        return Ok(());
    }
    let parts = answer.parts()?;
    ensure!(parts.iter().any(|part| String::from_utf8_lossy(&part.body).contains(TEXT)), "{parts:?}");
    Ok(())
}

async fn inputs(story: &Story, suite: &Suite) -> Result<()> {
    let tiff = "SUkqAAgAAAAAAA==";
    let bbox = json!({"bbox": [51.9, 7, 52, 7.1], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"});
    let binary = json!({"value": tiff, "format": {"mediaType": "image/tiff", "encoding": "base64"}});
    for (input, value) in [("arrayInput", json!([1, 2, 3])), ("bboxInput", bbox), ("binaryInput", binary)] {
        let answer = execute(story, "echo", &[ACCEPT], &suite.with(input, value.clone())).await?;
        answer.has_status(200)?;
        // Where it finds no output of that kind, it asks for none.
        let mut none = suite.with(input, value);
        none["outputs"] = json!({});
        execute(story, "echo", &[ACCEPT], &none).await?.has_status(200)?;
    }
    // An input with a media type is given as something that it is not.
    let wrong = suite.with("binaryInput", json!({"type": "wrong/type_7d2d7e2c"}));
    execute(story, "echo", &[ACCEPT], &wrong).await?.exception(400, "invalid-parameter-value")?;
    let answer = execute(story, "echo", &[ACCEPT], &json!({"invalid-execute-request": "true)"})).await?;
    answer.exception(400, "invalid-parameter-value")?;
    Ok(())
}

async fn jobs(story: &Story, suite: &Suite) -> Result<()> {
    let list = get(story, "/jobs").await?.document("jobList")?;
    ensure!(list["jobs"].as_array().is_some_and(|jobs| !jobs.is_empty()), "{list}");
    let mut waiting = suite.one_output()?;
    waiting["inputs"] = json!({"echoInput": TEXT, "pause": 5});
    let location = submit(story, "echo", &waiting).await?;
    get(story, &location).await?.document("statusInfo")?;
    get(story, &format!("{location}/results")).await?.exception(404, "result-not-ready")?;
    Ok(())
}

async fn exceptions(story: &Story, suite: &Suite) -> Result<()> {
    for path in ["/jobs/invalid-job-7d2d7e2c", "/jobs/invalid-job-7d2d7e2c/results"] {
        get(story, path).await?.exception(404, "no-such-job")?;
    }
    execute(story, "invalid-process-7d2d7e2c", &[ACCEPT], &suite.usual()).await?.exception(404, "no-such-process")?;
    Ok(())
}
