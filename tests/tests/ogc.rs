//! What the stories about the standard share: requests as strict clients send them, and what every answer has to hold.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use end_to_end::{ogc_schemas, story::Story};
use reqwest::{Method, header::HeaderMap};
use serde_json::Value;

pub(crate) const REL: &str = "http://www.opengis.net/def/rel/ogc/1.0/";
pub(crate) const EXCEPTIONS: &str = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/";
pub(crate) const JSON: &str = "application/json";

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) what: String,
    pub(crate) status: u16,
    pub(crate) version: reqwest::Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A part of a multipart answer.
#[derive(Debug)]
pub(crate) struct Part {
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: {} {}", self.what, self.status, self.text()))
    }

    pub(crate) fn has_status(&self, status: u16) -> Result<&Self> {
        ensure!(self.status == status, "{}: {} in place of {status}: {}", self.what, self.status, self.text());
        Ok(self)
    }

    /// A document of this schema with status 200.
    pub(crate) fn document(&self, schema: &str) -> Result<Value> {
        self.has_status(200)?.content(schema)
    }

    /// A JSON document of this schema, whatever its status.
    pub(crate) fn content(&self, schema: &str) -> Result<Value> {
        ensure!(self.header("content-type") == JSON, "{}: {}", self.what, self.header("content-type"));
        let document = self.json()?;
        ogc_schemas::check(schema, &document).with_context(|| self.what.clone())?;
        Ok(document)
    }

    /// An exception with this status and type; its detail.
    pub(crate) fn exception(&self, status: u16, kind: &str) -> Result<String> {
        let document = self.has_status(status)?.content("exception")?;
        ensure!(document["type"] == format!("{EXCEPTIONS}{kind}"), "{}: {document}", self.what);
        ensure!(document["status"] == status, "{}: {document}", self.what);
        Ok(document["detail"].as_str().context("no detail")?.to_owned())
    }

    /// The parts of `multipart/related` (RFC 2387).
    pub(crate) fn parts(&self) -> Result<Vec<Part>> {
        let kind = self.has_status(200)?.header("content-type");
        ensure!(kind.starts_with("multipart/related"), "{}: {kind}", self.what);
        let (_, boundary) = kind.split_once("boundary=").context("no boundary")?;
        let boundary = format!("\r\n--{}", boundary.split(';').next().unwrap_or_default().trim().trim_matches('"'));
        let text = format!("\r\n{}", self.text());
        let mut parts = Vec::new();
        let mut pieces = text.split(&boundary).skip(1);
        for piece in pieces.by_ref() {
            if piece.starts_with("--") {
                ensure!(pieces.next().is_none(), "{}: there is more after the end", self.what);
                return Ok(parts);
            }
            let piece = piece.strip_prefix("\r\n").context("no line end after a boundary")?;
            let (head, body) = piece.split_once("\r\n\r\n").context("a part without head")?;
            let headers = head.lines().filter_map(|line| line.split_once(':'));
            let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
            parts.push(Part { headers, body: body.as_bytes().to_vec() });
        }
        bail!("{}: the last boundary is missing", self.what)
    }
}

/// Sends a request. `url` is absolute, or a path.
pub(crate) async fn send(
    story: &Story,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Answer> {
    let absolute = if url.starts_with("http") { url.to_owned() } else { format!("{}{url}", story.stack.url(0)) };
    let mut request = story.http.request(method.clone(), absolute);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json; charset=UTF-8").body(body.to_string());
    }
    let answer = request.send().await?;
    let (status, version, headers) = (answer.status().as_u16(), answer.version(), answer.headers().clone());
    let what = format!("{method} {url} {}", body.map(Value::to_string).unwrap_or_default());
    Ok(Answer { what, status, version, headers, body: answer.bytes().await?.to_vec() })
}

/// GET as a client that wants JSON.
pub(crate) async fn get(story: &Story, url: &str) -> Result<Answer> {
    send(story, Method::GET, url, &[("accept", JSON)], None).await
}

/// DELETE.
pub(crate) async fn delete(story: &Story, url: &str) -> Result<Answer> {
    send(story, Method::DELETE, url, &[("accept", JSON)], None).await
}

/// An execution as a client that would like JSON, but takes anything.
pub(crate) async fn execute(story: &Story, process: &str, headers: &[(&str, &str)], body: &Value) -> Result<Answer> {
    send(story, Method::POST, &format!("/processes/{process}/execution"), headers, Some(body)).await
}

/// An asynchronous execution; where its job is.
pub(crate) async fn submit(story: &Story, process: &str, body: &Value) -> Result<String> {
    let answer = execute(story, process, &[("prefer", "respond-async")], body).await?;
    answer.has_status(201)?.content("statusInfo")?;
    Ok(answer.header("location").to_owned())
}

/// The status document of the job at `location` once its status is one of these.
pub(crate) async fn wait_for(story: &Story, location: &str, wanted: &[&str]) -> Result<Value> {
    end_to_end::program::wait_until(&format!("{location} {wanted:?}"), end_to_end::story::LIMIT, || async {
        let status = get(story, location).await?.document("statusInfo")?;
        ensure!(wanted.iter().any(|word| status["status"] == *word), "{status}");
        Ok(status)
    })
    .await
}

/// The target of the one link with this relation.
pub(crate) fn link(document: &Value, relation: &str) -> Result<String> {
    let all = links(document, relation);
    ensure!(all.len() == 1, "{} links {relation}: {}", all.len(), document["links"]);
    Ok(all[0]["href"].as_str().context("no href")?.to_owned())
}

/// The links with this relation.
pub(crate) fn links(document: &Value, relation: &str) -> Vec<Value> {
    let all = document["links"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|link| link["rel"] == relation).collect()
}

/// Every link is absolute, below the public URL, and leads to what it says; `self` to this document.
pub(crate) async fn check_links(story: &Story, document: &Value) -> Result<()> {
    let base = story.stack.url(0);
    for link in document["links"].as_array().context("no links")? {
        let (href, relation) = (link["href"].as_str().unwrap_or_default(), &link["rel"]);
        ensure!(href.starts_with(&base), "{link}");
        if *relation == format!("{REL}execute") {
            continue;
        }
        let kind = link["type"].as_str().unwrap_or("*/*");
        let answer = send(story, Method::GET, href, &[("accept", kind)], None).await?;
        answer.has_status(200)?;
        let essence = |kind: &str| kind.split(';').next().unwrap_or_default().trim().to_owned();
        let fits = kind == "*/*" || essence(answer.header("content-type")) == essence(kind);
        ensure!(fits, "{link} is answered as {}", answer.header("content-type"));
        if relation == "self" && essence(kind) == JSON {
            ensure!(link_of_self(&answer.json()?) == href, "{link} leads elsewhere");
        }
    }
    Ok(())
}

fn link_of_self(document: &Value) -> String {
    link(document, "self").unwrap_or_default()
}

/// The definition of the API, as JSON.
pub(crate) async fn definition(story: &Story) -> Result<Value> {
    get(story, "/openapi?f=json").await?.has_status(200)?.json()
}

/// A parameter of `GET path` in the definition, references followed.
pub(crate) fn parameter(definition: &Value, path: &str, name: &str) -> Result<Value> {
    let all = definition["paths"][path]["get"]["parameters"].as_array().context("no parameters")?;
    let mut resolved = all.iter().map(|parameter| resolve(definition, parameter));
    resolved.find(|parameter| parameter["name"] == name).with_context(|| format!("{path} has no parameter {name}"))
}

fn resolve(definition: &Value, value: &Value) -> Value {
    let target = value["$ref"].as_str().and_then(|reference| definition.pointer(reference.trim_start_matches('#')));
    target.unwrap_or(value).clone()
}
