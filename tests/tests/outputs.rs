//! Outputs: selected, by value and by reference, alone and together, in every form of an answer.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use end_to_end::{
    multipart::{self, Part},
    services::Service,
    stack::StoreChoice,
    story::{Backend, Setting, Story, TOKEN, process_yaml, tell},
};
use protocol::JobId;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

const OBJECT: &str = r#"{"b":  2, "a": 1.50}"#;
const BOX: &str = r#"{"bbox": [1, 2, 3, 4]}"#;
const TABLE: &str = "a,b\n1,2\n";
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A process with these outputs.
fn with_outputs(id: &str, script: &str, outputs: &[(&str, &str)]) -> String {
    let yaml = process_yaml(id, script);
    let (before, rest) = yaml.split_once("        outputs:\n").unwrap();
    let (_, after) = rest.split_once("        example:").unwrap();
    let outputs: String =
        outputs.iter().map(|(id, schema)| format!("          {id}:\n            schema: {schema}\n")).collect();
    format!("{before}        outputs:\n{outputs}        example:{after}")
}

fn several(id: &str) -> String {
    let result = format!(
        r#"{{"text": "one\ntwo", "number": 1.50, "object": {OBJECT}, "box": {BOX}, "picture": "iVBORw0KGgo=",
            "table": {{"value": "a,b\n1,2\n", "mediaType": "text/csv"}}, "undeclared": true}}"#
    );
    let script = format!("echo PYGEOAPI_K8S_MANAGER_RESULT_START\nprintf '%s' '{result}'");
    let outputs = [
        ("text", "{type: string}"),
        ("number", "{type: number}"),
        ("object", "{type: object, contentMediaType: application/json}"),
        ("box", "{type: object}"),
        ("picture", "{type: string, contentMediaType: image/png, contentEncoding: base64}"),
        (
            "table",
            "{oneOf: [{type: string, contentMediaType: text/csv}, {type: string, contentMediaType: text/tab-separated-values}]}",
        ),
        ("missing", "{type: string}"),
    ];
    with_outputs(id, &script, &outputs)
}

/// An answer, with the job's id taken out of it: the same whether it was waited for or not.
#[derive(Debug, PartialEq)]
struct Told {
    status: u16,
    content_type: String,
    links: Vec<String>,
    parts: Vec<Part>,
    body: Bytes,
}

impl Told {
    async fn of(answer: Response, base: &str, job: Option<&JobId>) -> Result<(Self, JobId)> {
        let status = answer.status().as_u16();
        let header = |name: &str| answer.headers().get(name).and_then(|it| it.to_str().ok()).unwrap_or("").to_owned();
        let (content_type, announced) = (header("content-type"), header("content-length"));
        let mut links: Vec<String> = Vec::new();
        let mut monitor = None;
        for link in answer.headers().get_all(header::LINK) {
            let link = link.to_str()?.to_owned();
            if link.contains("rel=\"monitor\"") { monitor = Some(link) } else { links.push(link) }
        }
        let job = match (job, monitor) {
            (Some(job), _) => *job,
            (None, Some(link)) => {
                link.split(['<', '>']).nth(1).context("no link")?.rsplit('/').next().context("no id")?.parse()?
            }
            (None, None) => anyhow::bail!("a synchronous answer without its job"),
        };
        let body = answer.bytes().await?;
        ensure!(announced.is_empty() || announced == body.len().to_string(), "{announced} bytes announced");
        let neutral = |text: &str| text.replace(&job.to_string(), "JOB").replace(base, "BASE");
        let mut told =
            Self { status, content_type, links: links.iter().map(|it| neutral(it)).collect(), parts: Vec::new(), body };
        if told.content_type.starts_with("multipart/") {
            ensure!(!announced.is_empty(), "the length of all parts is known before");
            told.parts = multipart::parts(&told.content_type, &std::mem::take(&mut told.body))?;
            for (_, value) in told.parts.iter_mut().flat_map(|part| &mut part.headers) {
                *value = neutral(value);
            }
            told.content_type = "multipart/related".to_owned();
        } else if told.content_type == "application/json" {
            let text = neutral(std::str::from_utf8(&told.body)?);
            // Exceptions have ids of their own.
            let is_exception = told.status >= 400;
            let kind = || Ok::<_, anyhow::Error>(serde_json::from_str::<Value>(&text)?["type"].to_string());
            told.body = if is_exception { kind()? } else { text }.into();
        }
        Ok((told, job))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The same execution waited for, and come back for.
async fn both(story: &Story, body: Value) -> Result<Told> {
    let base = story.stack.url(0);
    let (waited, _) = Told::of(story.post(0, "several", &[], body.to_string()).await?, &base, None).await?;
    let created = story.post(0, "several", &[("Prefer", "respond-async")], body.to_string()).await?;
    ensure!(created.status() == StatusCode::CREATED, "{}", created.text().await?);
    let location = created.headers()[header::LOCATION].to_str()?.to_owned();
    let job: JobId = location.rsplit('/').next().context("no id")?.parse()?;
    story.wait_done(&job).await?;
    let answer = story.get(&format!("/jobs/{job}/results")).await?;
    let (later, _) = Told::of(answer, &base, Some(&job)).await?;
    assert_eq!(waited, later, "{body}");
    let head = story.http.head(format!("{base}/jobs/{job}/results")).send().await?;
    assert_eq!(head.status().as_u16(), later.status);
    let head_type = head.headers().get("content-type").map_or("", |it| it.to_str().unwrap_or(""));
    assert!(head_type.starts_with(&later.content_type), "{head_type}");
    assert_eq!(head.bytes().await?.len(), 0);
    Ok(later)
}

/// Asks for some outputs in some form.
fn ask(outputs: &[(&str, &str)], response: &str) -> Value {
    let outputs: serde_json::Map<String, Value> =
        outputs.iter().map(|(id, mode)| ((*id).to_owned(), json!({ "transmissionMode": mode }))).collect();
    json!({ "inputs": {}, "outputs": outputs, "response": response })
}

async fn every_form(story: &Story) -> Result<()> {
    // Raw, one.
    for (id, content_type, value) in [
        ("text", "text/plain", b"one\ntwo".as_slice()),
        ("number", "application/json", b"1.50"),
        ("object", "application/json", OBJECT.as_bytes()),
        ("picture", "image/png", PICTURE),
        ("table", "text/csv", TABLE.as_bytes()),
    ] {
        let told = both(story, ask(&[(id, "value")], "raw")).await?;
        assert_eq!((told.status, told.content_type.as_str()), (200, content_type), "{id}");
        assert_eq!(told.body, value, "{id}");
    }
    let told = both(story, ask(&[("table", "reference")], "raw")).await?;
    assert_eq!((told.status, told.body.len()), (204, 0));
    let link = "<BASE/jobs/JOB/results/table>; rel=\"related\"; title=\"table\"; type=\"text/csv\"";
    assert_eq!(told.links, [link]);
    let told = both(story, ask(&[("missing", "value")], "raw")).await?;
    assert!(told.status == 404 && told.text().contains("no-such-output"), "{told:?}");

    // Raw, several.
    let told = both(story, ask(&[("picture", "value"), ("table", "value"), ("missing", "value")], "raw")).await?;
    assert_eq!((told.status, told.parts.len()), (200, 2));
    assert_eq!(told.parts[0].header("content-id"), Some("picture"));
    assert_eq!((told.parts[0].header("content-type"), told.parts[0].body.as_slice()), (Some("image/png"), PICTURE));
    assert_eq!((told.parts[1].header("content-id"), told.parts[1].body.as_slice()), (Some("table"), TABLE.as_bytes()));
    let told = both(story, json!({ "inputs": {} })).await?;
    let ids: Vec<_> = told.parts.iter().filter_map(|part| part.header("content-id")).collect();
    assert_eq!(ids, ["text", "number", "object", "box", "picture", "table"], "all, as declared");
    let told = both(story, ask(&[("text", "reference"), ("table", "reference")], "raw")).await?;
    assert_eq!((told.status, told.links.len()), (204, 2));
    let told = both(story, ask(&[("text", "reference"), ("object", "value")], "raw")).await?;
    assert_eq!(told.parts[0].header("content-location"), Some("BASE/jobs/JOB/results/text"));
    assert!(told.parts[0].body.is_empty() && told.parts[1].header("content-location").is_none());
    assert_eq!(told.parts[1].body, OBJECT.as_bytes());

    // Documents.
    let told = both(story, json!({ "inputs": {}, "response": "document" })).await?;
    assert_eq!((told.status, told.content_type.as_str()), (200, "application/json"));
    let expected = format!(
        r#"{{"text":"one\ntwo","number":1.50,"object":{{"value":{OBJECT},"mediaType":"application/json"}},"box":{BOX},"picture":{{"value":"iVBORw0KGgo=","encoding":"base64","mediaType":"image/png"}},"table":{{"value":"a,b\n1,2\n","mediaType":"text/csv"}}}}"#
    );
    assert_eq!(told.text(), expected);
    let told = both(story, ask(&[("number", "value"), ("table", "reference")], "document")).await?;
    assert_eq!(told.text(), r#"{"number":1.50,"table":{"href":"BASE/jobs/JOB/results/table","type":"text/csv"}}"#);
    assert_eq!(both(story, ask(&[("missing", "value")], "document")).await?.text(), "{}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_come_in_every_form_waited_for_or_not() {
    let setting = Setting::new(Backend::Local).with_processes(&several("several"));
    tell("outputs-forms", setting, async |story| {
        every_form(story).await?;
        negotiated(story).await?;
        refused(story).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_a_result_that_was_stored_whole_come_in_every_form() {
    let setting =
        Setting::new(Backend::Local).with_processes(&several("several")).with("QUAYSIDE_FINALIZER__SPLIT_LIMIT", "0");
    tell("outputs-whole", setting, async |story| {
        every_form(story).await?;
        let job = story.submit("several", json!({})).await?;
        story.wait_done(&job).await?;
        let [result] = story.manifest(&job).await?.record.results.try_into().ok().context("not one")?;
        assert_eq!((result.id.as_str(), result.is_member), ("result", false), "as the version before stored it");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_s3_outputs_come_in_every_form_from_the_stream() {
    let mut setting = Setting::new(Backend::Local).with_processes(&several("several"));
    setting.store = StoreChoice::Absent;
    // Nothing is in a store: there is nothing to presign.
    setting = setting.with("QUAYSIDE_GATEWAY__REFERENCE_URLS", "presigned");
    tell("outputs-no-store", setting, async |story| {
        every_form(story).await?;
        let job = story.submit("several", json!({})).await?;
        story.wait_done(&job).await?;
        let part = range(story, &job, "table", "bytes=4-6").await?;
        assert_eq!((part.status().as_u16(), part.text().await?.as_str()), (206, "1,2"));
        Ok(())
    })
    .await;
}

async fn negotiated(story: &Story) -> Result<()> {
    let job = story.submit("several", json!({})).await?;
    story.wait_done(&job).await?;
    let get = async |query: &str, accept: &str| -> Result<(u16, String)> {
        let url = format!("{}/jobs/{job}/results{query}", story.stack.url(0));
        let answer = story.http.get(url).header(header::ACCEPT, accept).send().await?;
        let content_type = answer.headers()[header::CONTENT_TYPE].to_str()?.to_owned();
        Ok((answer.status().as_u16(), content_type.split(';').next().unwrap_or_default().to_owned()))
    };
    for (query, accept, status, content_type) in [
        ("", "*/*", 200, "multipart/related"),
        ("", "application/json", 200, "multipart/related"),
        ("", "application/json, */*;q=0", 200, "application/json"),
        ("?f=json", "*/*", 200, "application/json"),
        ("?outputs=picture", "*/*", 200, "image/png"),
        ("?outputs=picture", "application/json", 200, "image/png"),
        ("?outputs=picture", "*/*, image/png;q=0", 406, "application/json"),
        ("?outputs=picture,table", "*/*", 200, "multipart/related"),
        ("?outputs=none", "*/*", 400, "application/json"),
        ("/picture", "image/png", 200, "image/png"),
        ("/picture", "*/*, image/png;q=0", 406, "application/json"),
    ] {
        assert_eq!(get(query, accept).await?, (status, content_type.to_owned()), "{query} {accept}");
    }
    Ok(())
}

async fn refused(story: &Story) -> Result<()> {
    let wrong = json!({ "inputs": {}, "outputs": {
        "none": {}, "table": { "format": { "mediaType": "image/png" } }, "text": { "transmissionMode": "pigeon" },
    } });
    let answer = story.post(0, "several", &[], wrong.to_string()).await?;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let detail = answer.json::<Value>().await?["detail"].to_string();
    for part in [
        "outputs.none: the process has no such output",
        "outputs.table.format.mediaType: expected one of text/csv, text/tab-separated-values",
        "outputs.text.transmissionMode: expected value or reference",
    ] {
        assert!(detail.contains(part), "{detail}");
    }
    let process: Value = story.get("/processes/several").await?.json().await?;
    assert_eq!(process["outputTransmission"], json!(["value", "reference"]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_output_is_read_alone_in_parts_and_only_by_those_who_may() {
    let processes = [
        several("several"),
        with_outputs(
            "page",
            "echo 'PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: text/html'\necho PYGEOAPI_K8S_MANAGER_RESULT_START\nprintf '<p>'",
            &[("a b/c", "{type: string}")],
        ),
        process_yaml("slow", "sleep 600"),
        process_yaml("fails", "exit 3"),
    ];
    let mut setting = Setting::new(Backend::Local).with_processes(&processes.concat());
    setting = setting.with_manager("protect_jobs: true");
    tell("outputs-alone", setting, async |story| {
        let mut headers = header::HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {TOKEN}").parse()?);
        let stranger = std::mem::replace(&mut story.http, reqwest::Client::builder().default_headers(headers).build()?);

        let slow = story.submit("slow", json!({})).await?;
        exception(story.get(&format!("/jobs/{slow}/results/out")).await?, 404, "result-not-ready").await?;
        let failed = story.submit("fails", json!({})).await?;
        story.wait_done(&failed).await?;
        exception(story.get(&format!("/jobs/{failed}/results/out")).await?, 500, "job-failed").await?;
        let nobody = JobId::generate(1);
        exception(story.get(&format!("/jobs/{nobody}/results/out")).await?, 404, "no-such-job").await?;

        let job = story.submit("several", json!({})).await?;
        story.wait_done(&job).await?;
        let url = format!("{}/jobs/{job}/results/picture", story.stack.url(0));
        exception(stranger.get(&url).send().await?, 401, "unauthorized").await?;
        exception(story.get(&format!("/jobs/{job}/results/missing")).await?, 404, "no-such-output").await?;
        parts_of_one(story, &job, &url).await?;

        let page = story.submit("page", json!({})).await?;
        story.wait_done(&page).await?;
        let answer = story.get(&format!("/jobs/{page}/results/a%20b%2Fc")).await?;
        assert_eq!(answer.headers()[header::CONTENT_DISPOSITION], "attachment; filename=\"a_b_c.html\"");
        assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(answer.text().await?, "<p>");
        Ok(())
    })
    .await;
}

async fn parts_of_one(story: &Story, job: &JobId, url: &str) -> Result<()> {
    let whole = story.http.get(url).send().await?;
    let headers = whole.headers().clone();
    assert_eq!(headers[header::CONTENT_TYPE], "image/png");
    assert_eq!(headers[header::ACCEPT_RANGES], "bytes");
    assert_eq!(headers[header::CONTENT_DISPOSITION], "inline; filename=\"picture.png\"");
    let tag = headers[header::ETAG].to_str()?.to_owned();
    assert_eq!(whole.bytes().await?, PICTURE);
    let head = story.http.head(url).send().await?;
    assert_eq!(
        (head.headers()[header::CONTENT_LENGTH].to_str()?, &head.headers()[header::ETAG]),
        ("8", &headers[header::ETAG])
    );

    let part = range(story, job, "picture", "bytes=1-3").await?;
    assert_eq!((part.status().as_u16(), part.headers()[header::CONTENT_RANGE].to_str()?), (206, "bytes 1-3/8"));
    assert_eq!(part.bytes().await?, "PNG");
    let beyond = range(story, job, "picture", "bytes=8-").await?;
    assert_eq!(beyond.headers()[header::CONTENT_RANGE], "bytes */8");
    exception(beyond, 416, "range-not-satisfiable").await?;
    assert_eq!(range(story, job, "picture", "bytes=0-0,2-2").await?.status(), StatusCode::OK);

    for (name, value, status) in [
        (header::IF_NONE_MATCH, tag.as_str(), 304),
        (header::IF_NONE_MATCH, "\"another\"", 206),
        (header::IF_RANGE, tag.as_str(), 206),
        (header::IF_RANGE, "\"another\"", 200),
    ] {
        let answer = story.http.get(url).header(header::RANGE, "bytes=0-0").header(&name, value).send().await?;
        assert_eq!(answer.status().as_u16(), status, "{name} {value}");
    }
    Ok(())
}

async fn range(story: &Story, job: &JobId, output: &str, range: &str) -> Result<Response> {
    let url = format!("{}/jobs/{job}/results/{output}", story.stack.url(0));
    Ok(story.http.request(Method::GET, url).header(header::RANGE, range).send().await?)
}

async fn exception(answer: Response, status: u16, kind: &str) -> Result<()> {
    assert_eq!(answer.status().as_u16(), status);
    let body: Value = answer.json().await?;
    assert_eq!(body["type"], format!("http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/{kind}"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn presigned_references_are_read_from_the_store_by_anybody() {
    let mut setting = Setting::new(Backend::Local)
        .with_processes(&several("several"))
        .with("QUAYSIDE_GATEWAY__REFERENCE_URLS", "presigned")
        .with("QUAYSIDE_GATEWAY__PRESIGNED_EXPIRY", "60");
    setting.store = StoreChoice::Versitygw;
    tell("outputs-presigned", setting, async |story| {
        let body = ask(&[("table", "reference"), ("picture", "reference")], "document").to_string();
        let document: Value = story.post(0, "several", &[], body).await?.json().await?;
        for (id, media_type, value) in [("table", "text/csv", TABLE.as_bytes()), ("picture", "image/png", PICTURE)] {
            let href = document[id]["href"].as_str().context("no href")?;
            assert!(href.contains("X-Amz-Signature") && !href.starts_with(&story.stack.url(0)), "{href}");
            assert!(href.split(['?', '&']).any(|part| part == "X-Amz-Expires=60"), "as configured: {href}");
            assert_eq!(document[id]["type"], media_type);
            let answer = reqwest::get(href).await?;
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()[header::CONTENT_TYPE]),
                (200, &media_type.parse()?)
            );
            assert_eq!(answer.bytes().await?, value);
            let changed = href.replace(media_type.split('/').next_back().unwrap_or_default(), "html");
            assert_eq!(reqwest::get(changed).await?.status(), StatusCode::FORBIDDEN, "what is signed is not changed");
        }
        let job = story.submit("several", json!({})).await?;
        story.wait_done(&job).await?;
        let part = range(story, &job, "table", "bytes=-4").await?;
        assert_eq!((part.status().as_u16(), part.text().await?.as_str()), (206, "1,2\n"));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_outputs_are_sent_in_bounded_memory() {
    const MIB: u64 = 1024 * 1024;
    const SIZE: u64 = 64 * MIB;
    let script =
        format!("echo PYGEOAPI_K8S_MANAGER_RESULT_START\nhead -c {} /dev/zero | tr '\\0' 'x'\nprintf end", SIZE - 3);
    tell(
        "outputs-large",
        Setting::new(Backend::Local).with_processes(&process_yaml("large", &script)),
        async |story| {
            let job = story.submit("large", json!({})).await?;
            story.wait_done(&job).await?;
            let pid = story.stack.service(Service::Gateway, 0)?.program.pid();
            let before = peak(pid)?;
            let mut answer = story.get(&format!("/jobs/{job}/results/out")).await?;
            assert_eq!(answer.content_length(), Some(SIZE));
            let mut read = 0;
            while let Some(chunk) = answer.chunk().await? {
                read += chunk.len() as u64;
            }
            assert_eq!(read, SIZE);
            let end = range(story, &job, "out", "bytes=-5").await?;
            assert_eq!(end.text().await?, "xxend");
            let middle = range(story, &job, "out", &format!("bytes={}-{}", 20 * MIB, 40 * MIB - 1)).await?;
            assert_eq!(middle.bytes().await?.len() as u64, 20 * MIB);
            let used = peak(pid)?.saturating_sub(before);
            ensure!(used < 24 * MIB, "the gateway's peak rose by {used} bytes");

            let body = json!({ "inputs": {}, "response": "document" }).to_string();
            let refused = story.post(0, "large", &[], body).await?;
            assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE);
            let detail = refused.json::<Value>().await?["detail"].to_string();
            assert!(detail.contains("/results/{output}") && detail.contains("transmissionMode reference"), "{detail}");
            Ok(())
        },
    )
    .await;
}

/// The most memory that a process has had, in bytes.
fn peak(pid: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    Ok(peak.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}
