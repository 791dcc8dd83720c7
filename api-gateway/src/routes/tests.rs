//! The resources over HTTP, as far as they need no NATS server; and what they answer while there is none.

use actix_web::{
    http::{Method, StatusCode, header::HeaderMap},
    test,
    web::Data,
};
use jiff::Timestamp;
use protocol::{
    JobId, JobRecord,
    configuration::Configuration,
    job_record::{ArchiveState, Outcome, Place, Reason, ResponseForm, Status, StoredResult},
};
use serde_json::{Value, json};

use crate::{
    app::{self, Gateway},
    testing,
    testing::TOKEN,
};

const EXCEPTIONS: &str = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn is_exception(&self, status: u16, kind: &str) -> bool {
        let body = self.json();
        let members = ["type", "title", "status", "detail", "instance"];
        self.status.as_u16() == status
            && body["type"] == format!("{EXCEPTIONS}{kind}")
            && body["status"] == status
            && members.iter().all(|member| !body[*member].is_null())
            && self.header("content-type") == "application/json"
    }
}

async fn call(gateway: &Gateway, request: test::TestRequest) -> Answer {
    let app = test::init_service(app::app(Data::new(gateway.clone()))).await;
    let response = test::call_service(&app, request.to_request()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: test::read_body(response).await.to_vec() }
}

async fn get(gateway: &Gateway, path: &str) -> Answer {
    call(gateway, test::TestRequest::get().uri(path)).await
}

/// With the token.
async fn get_as_operator(gateway: &Gateway, path: &str) -> Answer {
    let token = format!("Bearer {TOKEN}");
    call(gateway, test::TestRequest::get().uri(path).insert_header(("authorization", token))).await
}

fn execution(process: &str, body: impl Into<String>) -> test::TestRequest {
    test::TestRequest::post()
        .uri(&format!("/processes/{process}/execution"))
        .insert_header(("content-type", "application/json"))
        .set_payload(body.into())
}

fn job(gateway: &Gateway, status: Status, change: impl FnOnce(&mut JobRecord)) -> JobId {
    let id = JobId::generate(1_700_000_000_000);
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let mut record = JobRecord::accepted(id, "open".parse().unwrap(), "1".into(), now, ArchiveState::Off);
    record.status = status;
    change(&mut record);
    gateway.index.apply_record(&record, gateway.index.sequence() + 1);
    id
}

#[actix_web::test]
async fn every_link_is_absolute_and_below_the_public_url() {
    let gateway = testing::gateway().await;
    for path in ["/", "/processes", "/processes/open", "/jobs"] {
        let answer = get_as_operator(&gateway, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        for link in answer.json()["links"].as_array().unwrap() {
            assert!(link["href"].as_str().unwrap().starts_with("http://api.example.org/ogc/"), "{link}");
        }
    }
}

#[actix_web::test]
async fn head_has_the_head_of_get() {
    let gateway = testing::gateway().await;
    let answer = call(&gateway, test::TestRequest::default().method(Method::HEAD).uri("/processes/open")).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
}

#[actix_web::test]
async fn wrong_paths_and_methods_are_exceptions() {
    let gateway = testing::gateway().await;
    assert!(get(&gateway, "/nothing").await.is_exception(404, "not-found"));
    assert!(get(&gateway, "/processes/none").await.is_exception(404, "no-such-process"));
    assert!(get(&gateway, "/jobs/none").await.is_exception(404, "no-such-job"));
    let put = call(&gateway, test::TestRequest::put().uri("/jobs")).await;
    assert!(put.is_exception(405, "method-not-allowed"));
    assert_eq!(put.header("allow"), "GET, HEAD, OPTIONS");
    assert!(get(&gateway, "/processes/open/execution").await.is_exception(405, "method-not-allowed"));
    assert!(get(&gateway, "/?f=xml").await.is_exception(400, "invalid-parameter-value"));
    assert_eq!(get(&gateway, "/processes/?f=json").await.status, 200);
}

#[actix_web::test]
async fn everything_is_below_the_script_name() {
    let mut configuration: Configuration = testing::configuration();
    configuration.server.base_path = "/ogc/api".into();
    let gateway = testing::with(configuration, None).await;
    for path in ["/ogc/api", "/ogc/api/", "/ogc/api/processes/open"] {
        assert_eq!(get(&gateway, path).await.status, 200, "{path}");
    }
    assert!(get(&gateway, "/processes").await.is_exception(404, "not-found"));
}

#[actix_web::test]
async fn problem_json_is_given_to_those_who_ask_for_it() {
    let gateway = testing::gateway().await;
    for (accept, expected) in [
        ("application/problem+json", "application/problem+json"),
        ("text/html;q=0.8, application/problem+json;q=0.9, application/json;q=0.1", "application/problem+json"),
        ("application/json, application/problem+json", "application/json"),
        ("text/html", "text/html; charset=utf-8"),
        ("*/*", "application/json"),
    ] {
        let request = test::TestRequest::get().uri("/nothing").insert_header(("accept", accept));
        assert_eq!(call(&gateway, request).await.header("content-type"), expected, "{accept}");
    }
}

#[actix_web::test]
async fn the_definition_has_its_own_media_type() {
    let answer = get(&testing::gateway().await, "/openapi").await;
    assert_eq!(answer.header("content-type"), "application/vnd.oai.openapi+json;version=3.0");
    assert_eq!(answer.json()["openapi"], "3.0.3");
}

#[actix_web::test]
async fn the_definition_comes_in_the_form_that_is_asked_for() {
    let gateway = testing::gateway().await;
    let of = async |path: &str, accept: &str| {
        let answer = call(&gateway, test::TestRequest::get().uri(path).insert_header(("accept", accept))).await;
        answer.header("content-type").to_owned()
    };
    let (json, yaml) = ("application/vnd.oai.openapi+json;version=3.0", "application/vnd.oai.openapi;version=3.0");
    for (path, accept, expected) in [
        ("/openapi", "*/*", json),
        ("/openapi", "application/json", "application/json"),
        ("/openapi", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("/openapi", "application/vnd.oai.openapi;q=0.5, text/html;q=0.2", yaml),
        ("/openapi?f=yaml", "text/html", yaml),
        ("/openapi?f=json", "text/html", json),
    ] {
        assert_eq!(of(path, accept).await, expected, "{path} {accept}");
    }
    assert!(get(&gateway, "/openapi?f=xml").await.is_exception(400, "invalid-parameter-value"));
    assert_eq!(get(&gateway, "/openapi?f=html&lang=de").await.header("content-language"), "de");
    let yaml = get(&gateway, "/openapi?f=yaml").await;
    let read: Value = serde_saphyr::from_str(std::str::from_utf8(&yaml.body).unwrap()).unwrap();
    assert_eq!(read, get(&gateway, "/openapi?f=json").await.json());
}

#[actix_web::test]
async fn the_page_of_the_definition_needs_nothing_from_elsewhere() {
    let gateway = testing::gateway().await;
    let page = get(&gateway, "/openapi?f=html").await;
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    let text = String::from_utf8(page.body).unwrap();
    let targets: Vec<&str> = ["src=\"", "href=\""].iter().flat_map(|name| text.split(name).skip(1)).collect();
    assert!(targets.len() >= 6, "{text}");
    for target in targets {
        let url = target.split('"').next().unwrap();
        let path = url.strip_prefix("http://api.example.org/ogc").unwrap_or_else(|| panic!("{url} is elsewhere"));
        assert_eq!(get(&gateway, path).await.status, 200, "{path}");
    }
    let start = get(&gateway, "/openapi/page/swagger-initializer.js").await;
    assert!(String::from_utf8(start.body).unwrap().contains("http://api.example.org/ogc/openapi?f=json"));
    assert!(get(&gateway, "/openapi/page/none.js").await.is_exception(404, "not-found"));
}

#[actix_web::test]
async fn texts_come_in_the_language_that_is_asked_for() {
    let gateway = testing::gateway().await;
    let german = get(&gateway, "/?lang=de").await;
    assert_eq!((german.json()["title"].as_str().unwrap(), german.header("content-language")), ("Prüfungen", "de"));
    assert_eq!(get(&gateway, "/").await.json()["title"], "Tests");
}

#[actix_web::test]
async fn a_description_has_inputs_outputs_and_modes() {
    let description = get(&testing::gateway().await, "/processes/open").await.json();
    assert_eq!(description["jobControlOptions"], json!(["sync-execute", "async-execute", "dismiss"]));
    assert_eq!(description["inputs"]["text"]["schema"], json!({"type": "string"}));
    assert_eq!(description["outputs"]["out"]["title"], "Out");
    assert_eq!(description["example"], json!({"inputs": {"text": "x"}}));
}

#[actix_web::test]
async fn the_list_of_processes_is_paged() {
    let gateway = testing::gateway().await;
    let first = get(&gateway, "/processes?limit=1").await.json();
    assert_eq!(first["processes"].as_array().unwrap().len(), 1);
    let links = first["links"].to_string();
    assert!(links.contains("processes?limit=1&offset=1") && !links.contains("\"prev\""), "{links}");
    let last = get(&gateway, "/processes?offset=2").await.json();
    assert_eq!(last["processes"][0]["id"], "protected");
    assert!(last["links"].to_string().contains("\"prev\"") && !last["links"].to_string().contains("\"next\""));
    assert!(get(&gateway, "/processes?limit=0").await.is_exception(400, "invalid-parameter-value"));
}

#[actix_web::test]
async fn an_execution_that_does_not_fit_is_refused() {
    let gateway = testing::gateway().await;
    let refused = async |request, status, kind| {
        let answer = call(&gateway, request).await;
        assert!(answer.is_exception(status, kind), "{} {}", answer.status, answer.json());
    };
    refused(execution("open", "nonsense"), 400, "invalid-parameter-value").await;
    refused(execution("open", r#"{"inputs": []}"#), 400, "invalid-parameter-value").await;
    refused(execution("hello-world-k8s", "{}"), 400, "invalid-parameter-value").await;
    refused(execution("open", " ".repeat(2049)), 413, "content-too-large").await;
    refused(execution("none", "{}"), 404, "no-such-process").await;
    let text = || execution("open", "{}").insert_header(("content-type", "text/plain"));
    refused(text(), 415, "unsupported-media-type").await;
}

#[actix_web::test]
async fn a_protected_process_wants_the_token_and_repeats_none() {
    let gateway = testing::gateway().await;
    let bearer =
        |value: &str| execution("protected", r#"{"inputs": {"text": "x"}}"#).insert_header(("authorization", value));
    let missing = call(&gateway, execution("protected", r#"{"inputs": {"text": "x"}}"#)).await;
    assert!(missing.is_exception(401, "unauthorized"));
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    for wrong in [
        bearer("Bearer WRONG"),
        execution("protected", r#"{"inputs": {"text": "x", "token": "WRONG"}}"#),
        execution("protected", format!(r#"{{"inputs": {{"token": "{TOKEN}"}}}}"#))
            .insert_header(("authorization", "Bearer WRONG")),
    ] {
        let answer = call(&gateway, wrong).await;
        assert!(answer.is_exception(403, "forbidden"));
        assert!(!answer.json().to_string().contains("WRONG"));
    }
    // The right token opens the door: what is wrong now is that there is no NATS.
    let token = format!("Bearer {TOKEN}");
    assert_eq!(call(&gateway, bearer(&token)).await.status, 503);
    let input = execution("protected", format!(r#"{{"inputs": {{"text": "x", "token": "{TOKEN}"}}}}"#));
    assert_eq!(call(&gateway, input).await.status, 503);
    let mistaken = execution("protected", format!(r#"{{"inputs": {{"token": "{TOKEN}"}}}}"#));
    let answer = call(&gateway, mistaken).await;
    assert!(answer.is_exception(400, "invalid-parameter-value") && !answer.json().to_string().contains(TOKEN));
}

#[actix_web::test]
async fn without_a_configured_token_a_protected_process_is_closed() {
    let gateway = testing::with(testing::configuration(), None).await;
    for request in [
        execution("protected", r#"{"inputs": {"text": "x"}}"#),
        execution("protected", r#"{"inputs": {"text": "x", "token": ""}}"#),
        execution("protected", r#"{"inputs": {"text": "x"}}"#).insert_header(("authorization", "Bearer ")),
    ] {
        assert!(call(&gateway, request).await.is_exception(403, "forbidden"));
    }
}

#[actix_web::test]
async fn every_violation_is_told_with_its_input_and_a_pointer_into_the_body() {
    let gateway = testing::gateway().await;
    let body = r#"{"inputs": {"count": "SENSITIVE", "several": [1, "SENSITIVE"], "other": 1}, "response": "x"}"#;
    let answer = call(&gateway, execution("defaults", body)).await;
    assert!(answer.is_exception(400, "invalid-parameter-value"));
    let exception = answer.json();
    assert!(!exception.to_string().contains("SENSITIVE"), "{exception}");
    assert_eq!(
        exception["errors"],
        json!([
            {"input": "text", "pointer": "/inputs/text", "message": "this input is required"},
            {"input": "count", "pointer": "/inputs/count", "message": "expected a whole number"},
            {"input": "several", "pointer": "/inputs/several/1", "message": "expected a whole number"},
            {"input": "other", "pointer": "/inputs/other", "message": "the process has no such input"},
            {"message": "response: expected raw or document"},
        ])
    );
    let query = get_as_operator(&gateway, "/jobs?limit=0").await;
    assert!(query.is_exception(400, "invalid-parameter-value") && query.json().get("errors").is_none());
}

#[actix_web::test]
async fn a_reference_that_leads_inside_is_refused() {
    let gateway = testing::gateway().await;
    let body = r#"{"inputs": {"text": {"href": "https://169.254.169.254/latest/meta-data"}}}"#;
    let answer = call(&gateway, execution("open", body)).await;
    assert!(answer.is_exception(400, "invalid-parameter-value"));
    assert_eq!(answer.json()["errors"][0]["pointer"], "/inputs/text/href");
}

#[actix_web::test]
async fn without_nats_nothing_is_taken_and_the_client_may_try_again() {
    let gateway = testing::gateway().await;
    let answer = call(&gateway, execution("open", "{}")).await;
    assert!(answer.is_exception(503, "service-unavailable"));
    assert!(!answer.header("retry-after").is_empty());
    assert!(!answer.json().to_string().contains("NATS"), "a 5xx tells nothing of the inside");
    let job = get(&gateway, &format!("/jobs/{}", JobId::generate(1))).await;
    assert!(job.is_exception(503, "service-unavailable"));
}

#[actix_web::test]
async fn a_finished_job_is_answered_from_memory() {
    let gateway = testing::gateway().await;
    let id = job(&gateway, Status::Successful, |record| record.parameters = Some(r#"{"token":"*"}"#.into()));
    let status = get(&gateway, &format!("/jobs/{id}")).await.json();
    assert_eq!((&status["status"], &status["parameters"]), (&json!("successful"), &json!(r#"{"token":"*"}"#)));
    let raw = get(&gateway, &format!("/jobs/{id}/results")).await;
    assert_eq!((raw.status.as_u16(), raw.body.len()), (204, 0));
    let id = job(&gateway, Status::Successful, |record| record.response = ResponseForm::Document);
    assert_eq!(get(&gateway, &format!("/jobs/{id}/results")).await.body, b"{}");
}

#[actix_web::test]
async fn an_output_that_a_job_does_not_have_is_told_with_those_that_it_has() {
    let gateway = testing::gateway().await;
    let id = job(&gateway, Status::Successful, |record| {
        record.results = vec![StoredResult {
            id: "a b".into(),
            media_type: "text/csv".into(),
            size: 10,
            sha256: "abc".into(),
            place: Place::Stream("results.open.x.y.z".into()),
            is_member: false,
            unknown: protocol::Unknown::new(),
        }];
    });
    let answer = get(&gateway, &format!("/jobs/{id}/results/out")).await;
    assert!(answer.is_exception(404, "no-such-output"));
    assert!(answer.json()["detail"].as_str().unwrap().ends_with("it has: a b"), "{}", answer.json());
    let path = format!("/jobs/{id}/results/a%20b");
    let range = test::TestRequest::get().uri(&path).insert_header(("range", "bytes=10-"));
    let answer = call(&gateway, range).await;
    assert!(answer.is_exception(416, "range-not-satisfiable"));
    assert_eq!(answer.header("content-range"), "bytes */10");
    let known = test::TestRequest::get().uri(&path).insert_header(("if-none-match", "\"abc\""));
    let answer = call(&gateway, known).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag"), answer.body.len()), (304, "\"abc\"", 0));
}

#[actix_web::test]
async fn a_failed_and_a_dismissed_job_answer_exceptions() {
    let gateway = testing::gateway().await;
    let message = "the container ended with exit code 3";
    let failed = job(&gateway, Status::Failed, |record| {
        record.outcome = Some(Outcome {
            reason: Some(Reason::ExitCode),
            exit_code: Some(3),
            message: message.into(),
            unknown: protocol::Unknown::new(),
        });
    });
    let answer = get(&gateway, &format!("/jobs/{failed}/results")).await;
    assert!(answer.is_exception(500, "job-failed"));
    assert_eq!(answer.json()["detail"], message);
    let dismissed = job(&gateway, Status::Dismissed, |_| {});
    assert!(get(&gateway, &format!("/jobs/{dismissed}/results")).await.is_exception(404, "job-dismissed"));
}

#[actix_web::test]
async fn the_list_of_jobs_is_paged_and_filtered() {
    let gateway = testing::gateway().await;
    for _ in 0..3 {
        job(&gateway, Status::Successful, |_| {});
    }
    job(&gateway, Status::Failed, |_| {});
    let list = async |query: &str| get_as_operator(&gateway, &format!("/jobs{query}")).await.json();
    assert_eq!(list("").await["jobs"].as_array().unwrap().len(), 2, "the configured default");
    assert_eq!(list("?limit=100").await["jobs"].as_array().unwrap().len(), 3, "the configured maximum");
    let first = list("?limit=3&type=process").await;
    let link = |page: &Value, rel: &str| {
        let links = page["links"].as_array().unwrap().iter().find(|link| link["rel"] == rel);
        links.map(|link| link["href"].as_str().unwrap().replace("http://api.example.org/ogc", ""))
    };
    assert_eq!(link(&first, "self").unwrap(), "/jobs?limit=3&type=process");
    assert_eq!(link(&list("").await, "self").unwrap(), "/jobs");
    let second = get_as_operator(&gateway, &link(&first, "next").unwrap()).await.json();
    assert_eq!((second["jobs"].as_array().unwrap().len(), link(&second, "next")), (1, None));
    assert_eq!(get_as_operator(&gateway, &link(&second, "prev").unwrap()).await.json()["jobs"], first["jobs"]);
    assert_eq!(list("?status=failed").await["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(list("?processID=other").await["jobs"], json!([]));
    for wrong in ["status=finished", "limit=1&limit=2", "datetime=2026-01-31"] {
        assert!(
            get_as_operator(&gateway, &format!("/jobs?{wrong}")).await.is_exception(400, "invalid-parameter-value"),
            "{wrong}"
        );
    }
}

#[actix_web::test]
async fn protected_jobs_want_the_token() {
    let mut configuration: Configuration = testing::configuration();
    configuration.server.manager.protect_jobs = Some(true);
    let gateway = testing::with(configuration, Some(TOKEN)).await;
    let id = JobId::generate(1);
    let paths = ["", "/ID", "/ID/results", "/ID/results/out"].map(|path| format!("/jobs{path}"));
    for path in paths.map(|path| path.replace("ID", &id.to_string())) {
        assert!(get(&gateway, &path).await.is_exception(401, "unauthorized"), "{path}");
    }
    assert_eq!(get_as_operator(&gateway, "/jobs").await.status, 200);
}
