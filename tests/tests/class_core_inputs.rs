//! Class core of OGC API - Processes: inputs in every form, and those that do not fit.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use end_to_end::story::{Backend, ECHO, Setting, tell};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

use crate::ogc::execute;

const CRS84: &str = "http://www.opengis.net/def/crs/OGC/1.3/CRS84";

#[tokio::test(flavor = "multi_thread")]
async fn inputs_come_in_every_form_that_the_standard_knows() {
    tell("core-inputs", Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), async |story| {
        let bbox = json!({"bbox": [51.9, 7, 52, 7.1], "crs": CRS84});
        let object = json!({"number": 5});
        for (input, value, echoed) in [
            ("echoInput", json!("a text"), Some(json!("a text"))),
            ("echoInput", json!({"value": "a text"}), None),
            ("arrayInput", json!([1, 2, 3]), Some(json!([1, 2, 3]))),
            ("arrayInput", json!([1]), Some(json!([1]))),
            ("arrayInput", json!({"value": [1, 2]}), None),
            // maxOccurs above 1: a list, also of one; a bare value is a list of one.
            ("listInput", json!([1.5, 2]), None),
            ("listInput", json!([1.5]), None),
            ("listInput", json!(1.5), None),
            ("bboxInput", bbox.clone(), Some(bbox)),
            ("bboxInput", json!({"bbox": [1, 2, 3, 4]}), None),
            (
                "bboxInput",
                json!({"bbox": [1, 2, 3, 4, 5, 6], "crs": "http://www.opengis.net/def/crs/OGC/0/CRS84h"}),
                None,
            ),
            ("objectInput", json!({"value": object}), None),
            ("objectInput", object.clone(), None),
            ("mixedInput", json!("a text"), Some(json!("a text"))),
            ("mixedInput", json!({"value": "a text"}), None),
            ("mixedInput", json!({"value": {"a": "b"}}), None),
            ("binaryInput", json!("SUkqAA=="), None),
            ("binaryInput", json!({"value": "SUkqAA==", "mediaType": "image/tiff", "encoding": "base64"}), None),
            (
                "binaryInput",
                json!({"value": "SUkqAA==", "format": {"mediaType": "image/tiff", "encoding": "base64"}}),
                None,
            ),
        ] {
            let mut inputs = json!({"echoInput": "x", "pause": 0});
            inputs[input] = value;
            let answer = execute(story, "echo", &[], &json!({"inputs": inputs, "response": "document"})).await?;
            let document = answer.document("results")?;
            let expected = echoed.unwrap_or(Value::Null);
            ensure!(expected.is_null() || unqualified(&document[input]) == expected, "{input}: {document}");
        }
        Ok(())
    })
    .await;
}

/// A value that is no literal comes with its media type in a results document.
fn unqualified(value: &Value) -> Value {
    value.get("value").unwrap_or(value).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_off_their_schema_are_refused_and_named() {
    tell("core-input-validation", Setting::new(Backend::Local).with_processes(ECHO).open_to_all(), async |story| {
        for (input, value) in [
            ("echoInput", json!(5)),
            ("echoInput", json!("")),
            ("echoInput", Value::Null),
            ("echoInput", json!({"value": 5})),
            ("arrayInput", json!("x")),
            ("arrayInput", json!(["x"])),
            ("arrayInput", json!([])),
            ("listInput", json!([1, 2, 3, 4, 5, 6])),
            ("listInput", json!(["x"])),
            ("bboxInput", json!({"bbox": [1]})),
            ("bboxInput", json!("1,2,3,4")),
            ("objectInput", json!("x")),
            ("objectInput", json!({"number": "x"})),
            ("mixedInput", json!(5)),
            ("mixedInput", json!({"value": {"b": "no a"}})),
            ("binaryInput", json!("this is no base64!")),
            ("binaryInput", json!({"value": "SUkqAA==", "mediaType": "text/plain"})),
            ("pause", json!(-1)),
            ("pause", json!("5")),
            ("unknown", json!("x")),
        ] {
            let mut inputs = json!({"echoInput": "x"});
            inputs[input] = value;
            let answer = execute(story, "echo", &[], &json!({"inputs": inputs})).await?;
            let detail = answer.exception(400, "invalid-parameter-value")?;
            ensure!(detail.contains(input), "{input}: {detail}");
        }
        for body in [json!({"inputs": {}}), json!({})] {
            let detail = execute(story, "echo", &[], &body).await?.exception(400, "invalid-parameter-value")?;
            ensure!(detail.contains("echoInput"), "{detail}");
        }
        let several = json!({"inputs": {"pause": "x", "arrayInput": "x", "unknown": 1}});
        let detail = execute(story, "echo", &[], &several).await?.exception(400, "invalid-parameter-value")?;
        for named in ["echoInput", "pause", "arrayInput", "unknown"] {
            ensure!(detail.contains(named), "{named} is missing: {detail}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_by_reference_are_resolved_and_validated_as_inline_ones() {
    let setting = Setting::new(Backend::Local)
        .with_processes(ECHO)
        .with("QUAYSIDE_GATEWAY__REFERENCES__ALLOW_HTTP", "true")
        .with("QUAYSIDE_GATEWAY__REFERENCES__ALLOW_PRIVATE", "127.0.0.1/32");
    tell("core-input-references", setting, async |story| {
        let base = serve_values().await?;
        let inputs = |path: &str| json!({"echoInput": {"href": format!("{base}{path}"), "type": "application/json"}});
        let right = execute(story, "echo", &[], &json!({"inputs": inputs("/text"), "response": "document"})).await?;
        right.document("results")?;
        for path in ["/number", "/missing"] {
            let answer = execute(story, "echo", &[], &json!({"inputs": inputs(path)})).await?;
            let detail = answer.exception(400, "invalid-parameter-value")?;
            ensure!(detail.contains("echoInput"), "{path}: {detail}");
        }
        Ok(())
    })
    .await;
}

/// An HTTP server with a text and a number, for this test; it ends with the test's runtime.
async fn serve_values() -> Result<String> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let base = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { serving.serve_connection(TokioIo::new(stream), service_fn(value)).await.ok() });
        }
    });
    Ok(base)
}

async fn value(request: Request<Incoming>) -> Result<Response<String>, hyper::http::Error> {
    let (status, text) = match request.uri().path() {
        "/text" => (200, "\"from elsewhere\""),
        "/number" => (200, "5"),
        _ => (404, "{}"),
    };
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(text.to_owned())
}
