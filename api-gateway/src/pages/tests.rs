//! Pages over HTTP, as far as they need no NATS server; and forms there and back.

use actix_web::{
    http::{Method, header::HeaderMap},
    test::{self, TestRequest},
    web::Data,
};
use jiff::Timestamp;
use proptest::prelude::*;
use protocol::{
    JobId, JobRecord, ProcessDefinition,
    configuration::Configuration,
    job_record::{ArchiveState, Status},
};
use serde_json::{Map, Value, json};

use super::{
    IS_PAGE,
    form::{self, Fields},
};
use crate::{
    app::{self, Gateway},
    testing::{self, TOKEN},
    validate::{Request, Schemas},
};

/// The processes that are opened in a browser: one of them has every control.
const PROCESSES: &str = include_str!("../../../tests/data/pages.yaml");
const FORM: &str = "application/x-www-form-urlencoded";
const OWN: (&str, &str) = ("origin", "http://api.example.org");
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn is_page(&self) -> bool {
        self.header("content-type") == "text/html; charset=utf-8" && self.text.starts_with("<!DOCTYPE html>")
    }
}

fn configuration() -> Configuration {
    let head = "server: {url: http://api.example.org/ogc/, languages: [en-US, de], manager: {name: KubernetesManager, protect_jobs: false, protect_dismiss: false}}\n\
                metadata: {identification: {title: '<b>Tests</b> & more'}}\nresources:\n";
    Configuration::read(&format!("{head}{PROCESSES}"), "test", &|_| None).unwrap().0
}

async fn gateway() -> Gateway {
    testing::with(configuration(), Some(TOKEN)).await
}

async fn call(gateway: &Gateway, request: TestRequest) -> Answer {
    let app = test::init_service(app::app(Data::new(gateway.clone()))).await;
    let response = test::call_service(&app, request.to_request()).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: String::from_utf8(test::read_body(response).await.to_vec()).unwrap() }
}

async fn page(gateway: &Gateway, path: &str) -> Answer {
    call(gateway, TestRequest::get().uri(path).insert_header(("accept", BROWSER))).await
}

fn post(path: &str, body: &str) -> TestRequest {
    TestRequest::post()
        .uri(path)
        .insert_header(("content-type", FORM))
        .insert_header(("accept", BROWSER))
        .set_payload(body.to_owned())
}

fn execution(process: &str, body: &str) -> TestRequest {
    post(&format!("/processes/{process}/execution"), body).insert_header(OWN)
}

fn job(gateway: &Gateway, process: &str, status: Status) -> JobId {
    let id = JobId::generate(1_700_000_000_000);
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let mut record = JobRecord::accepted(id, process.parse().unwrap(), "1".into(), now, ArchiveState::Off);
    record.status = status;
    record.message = Some("<i>what</i> it says".to_owned());
    gateway.index.apply_record(&record, gateway.index.sequence() + 1);
    id
}

#[actix_web::test]
async fn browsers_get_pages_and_programs_the_documents_that_they_always_got() {
    let gateway = gateway().await;
    let done = job(&gateway, "form", Status::Failed);
    let job = format!("/jobs/{done}");
    for path in ["/", "/conformance", "/processes", "/processes/form", "/jobs", &job] {
        let html = page(&gateway, path).await;
        assert!(html.status == 200 && html.is_page(), "{path}: {} {}", html.status, html.text);
        let named = call(&gateway, TestRequest::get().uri(&format!("{path}?f=html"))).await;
        assert!(named.is_page(), "{path}");
        for accept in ["*/*", "application/json", "application/json, text/html"] {
            let json = call(&gateway, TestRequest::get().uri(path).insert_header(("accept", accept))).await;
            assert_eq!((json.status, json.header("content-type")), (200, "application/json"), "{path} {accept}");
        }
        let json = call(&gateway, TestRequest::get().uri(&format!("{path}?f=json")).insert_header(("accept", BROWSER)));
        let json = json.await;
        assert_eq!(json.header("content-type"), "application/json", "{path}");
        assert!(html.header("vary").contains("accept") && json.header("vary").contains("accept"), "{path}");
        assert_eq!(html.header("etag").is_empty(), json.header("etag").is_empty(), "{path}");
        assert!(html.header("etag") != json.header("etag") || html.header("etag").is_empty(), "{path}");
        let head = TestRequest::default().method(Method::HEAD).uri(path).insert_header(("accept", BROWSER));
        assert_eq!(call(&gateway, head).await.header("content-type"), html.header("content-type"), "{path}");
        assert!(html.text.contains("rel=\"alternate\" type=\"application/json\""), "{path}");
    }
}

#[actix_web::test]
async fn a_page_loads_nothing_from_elsewhere_and_runs_nothing_that_is_written_into_it() {
    let gateway = gateway().await;
    for path in ["/", "/processes/form", "/jobs", "/nothing", "/signin"] {
        let html = page(&gateway, path).await;
        let policy = html.header("content-security-policy");
        let script = html.text.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert!(policy.starts_with(&format!("default-src 'none'; script-src {script};")), "{policy}");
        assert!(script.starts_with("http://api.example.org/ogc/pages/quayside-"), "{script}");
        assert_eq!(html.header(IS_PAGE), "1");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(html.header("x-content-type-options"), "nosniff");
        assert_eq!(html.header("referrer-policy"), "same-origin");
        for inline in ["<style", " style=", "javascript:", " onclick", " onload", "<script>"] {
            assert!(!html.text.contains(inline), "{path}: {inline}");
        }
        let loaded = html
            .text
            .split("<script defer src=\"")
            .skip(1)
            .chain(html.text.split("rel=\"stylesheet\" href=\"").skip(1));
        for url in loaded.map(|rest| rest.split('"').next().unwrap()) {
            let file = page(&gateway, url.strip_prefix("http://api.example.org/ogc").unwrap()).await;
            assert_eq!((file.status, file.header("x-content-type-options")), (200, "nosniff"), "{url}");
            assert!(file.header("cache-control").contains("immutable") && !file.header("etag").is_empty(), "{url}");
        }
    }
    let other = page(&gateway, "/pages/quayside-0123456789abcdef.css").await;
    assert_eq!((other.status, other.header("cache-control")), (200, "no-cache"), "while versions change");
    assert_eq!(page(&gateway, "/pages/quayside.css").await.status, 404);
}

#[actix_web::test]
async fn texts_of_others_are_no_markup() {
    let gateway = gateway().await;
    let done = job(&gateway, "form", Status::Failed);
    assert!(page(&gateway, "/").await.text.contains("&#60;b&#62;Tests&#60;/b&#62; &#38; more"));
    let shown = page(&gateway, &format!("/jobs/{done}")).await;
    assert!(shown.text.contains("&#60;i&#62;what&#60;/i&#62; it says") && !shown.text.contains("<i>what"));
    let list = page(&gateway, "/jobs?datetime=%22%3E%3Cscript%3E").await;
    assert!(list.status == 400 && list.is_page() && !list.text.contains("\"><script>"), "{}", list.text);
}

#[actix_web::test]
async fn errors_are_pages_for_who_prefers_them_with_the_same_status_and_head() {
    let gateway = gateway().await;
    let running = job(&gateway, "form", Status::Failed);
    for (path, status) in [
        ("/nothing".to_owned(), 404),
        ("/processes/none".to_owned(), 404),
        ("/jobs/none".to_owned(), 404),
        ("/jobs?limit=0".to_owned(), 400),
        (format!("/jobs/{running}/results"), 500),
        ("/processes/form/execution".to_owned(), 405),
    ] {
        let (html, json) = (page(&gateway, &path).await, call(&gateway, TestRequest::get().uri(&path)).await);
        assert!(html.is_page() && html.status == status, "{path}: {} {}", html.status, html.text);
        assert_eq!((json.status, json.header("content-type")), (status, "application/json"), "{path}");
        for name in ["allow", "link", "cache-control"] {
            assert_eq!(html.header(name), json.header(name), "{path} {name}");
        }
    }
    let named = call(&gateway, TestRequest::get().uri("/nothing?f=html")).await;
    assert!(named.is_page());
}

#[actix_web::test]
async fn a_protected_page_asks_for_a_token_and_tells_nothing() {
    let mut configuration = configuration();
    configuration.server.manager.protect_jobs = Some(true);
    let gateway = testing::with(configuration, Some(TOKEN)).await;
    let done = job(&gateway, "form", Status::Failed);
    for path in ["/jobs".to_owned(), format!("/jobs/{done}"), format!("/jobs/{done}/dismiss")] {
        let refused = page(&gateway, &path).await;
        assert!(refused.status == 401 && refused.is_page() && refused.header("www-authenticate") == "Bearer", "{path}");
        assert!(refused.text.contains("data-sign-in=") && !refused.text.contains("what</i>"), "{path}");
        let request = TestRequest::get().uri(&path).insert_header(("accept", BROWSER));
        let shown = call(&gateway, request.insert_header(("authorization", format!("Bearer {TOKEN}")))).await;
        assert!(shown.status == 200 && shown.is_page(), "{path}");
    }
}

#[actix_web::test]
async fn a_form_of_another_site_is_refused() {
    let gateway = gateway().await;
    let done = job(&gateway, "form", Status::Failed);
    for path in ["/processes/form/execution".to_owned(), format!("/jobs/{done}/dismiss")] {
        let body = "value:line=Shore";
        for (name, value) in [
            ("origin", "https://elsewhere.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let refused = call(&gateway, post(&path, body).insert_header((name, value))).await;
            assert!(
                refused.status == 403 && refused.text.contains("form was sent by another site"),
                "{path} {name} {value}"
            );
        }
        let of_curl = call(&gateway, post(&path, "{}")).await;
        assert!(of_curl.status == 415 && of_curl.text.contains("send content-type application/json"), "{path}");
        let both = post(&path, body).insert_header(OWN).insert_header(("sec-fetch-site", "cross-site"));
        assert_eq!(call(&gateway, both).await.status, 403, "{path}");
        // What is right goes on, to NATS, which is not there.
        for (name, value) in [OWN, ("sec-fetch-site", "same-origin")] {
            assert_eq!(call(&gateway, post(&path, body).insert_header((name, value))).await.status, 503, "{path}");
        }
    }
}

#[actix_web::test]
async fn what_does_not_fit_comes_back_beside_its_field_with_all_that_was_typed() {
    let gateway = gateway().await;
    let body = "value:line=%3Cscript%3E&value:count=11&value:several=1&value:several=x&value:object=%7B&crs:area=&west:area=1\
                &value:tags=a&chooses-outputs=1";
    let answer = call(&gateway, execution("form", body)).await;
    assert!(answer.status == 400 && answer.is_page(), "{}", answer.text);
    for part in [
        "<p class=\"error\" id=\"i0-error\">Expected text of the pattern",
        "<p class=\"error\" id=\"i2-error\">Expected at most 10</p>",
        "id=\"i10-error\">Value 2: expected a number</p>",
        "This is not JSON: line 1, column 1</p>",
        "Outputs: choose at least one",
        "value=\"&#60;script&#62;\"",
        "name=\"value:several\" value=\"x\"",
        "name=\"west:area\" value=\"1\"",
        "<title>Error: ",
    ] {
        assert!(answer.text.contains(part), "{part} is not in {}", answer.text);
    }
    assert!(!answer.text.contains("name=\"output\" value=\"line\" checked"));
    let more = call(&gateway, execution("form", "value:several=1&value:line=Shore&more=several")).await;
    assert_eq!((more.status, more.text.matches("name=\"value:several\"").count()), (200, 3));
    assert!(more.text.contains("value=\"Shore\""));
}

#[actix_web::test]
async fn a_form_of_a_protected_process_needs_the_token_and_repeats_none() {
    let gateway = gateway().await;
    for (body, status) in [
        ("value:line=Shore", 401),
        ("value:line=Shore&token=", 401),
        ("value:line=Shore&token=WRONG", 403),
        // The token comes first: who has none does not learn what else is wrong.
        ("value:line=7&chooses-outputs=1", 401),
        ("value:line=7&chooses-outputs=1&token=WRONG", 403),
    ] {
        let answer = call(&gateway, execution("guarded", body)).await;
        assert!(answer.status == status && answer.is_page(), "{body}: {}", answer.status);
        assert!(answer.text.contains("id=\"token-error\"") && !answer.text.contains("WRONG"), "{body}");
        assert!(!answer.text.contains("i0-error"), "{body}");
    }
    let right = format!("value:line=Shore&token={TOKEN}");
    assert_eq!(
        call(&gateway, execution("guarded", &right)).await.status,
        503,
        "the door is open, and there is no NATS"
    );
    let mistaken = call(&gateway, execution("guarded", &format!("value:line=7&token={TOKEN}"))).await;
    assert!(mistaken.status == 400 && !mistaken.text.contains(TOKEN));
}

#[actix_web::test]
async fn forms_meet_the_limits_of_every_body() {
    let gateway = gateway().await;
    let large = format!("value:line={}", "a".repeat(3000));
    assert_eq!(call(&gateway, execution("form", &large)).await.status, 413);
    assert_eq!(call(&gateway, execution("none", "")).await.status, 404);
    let many = gateway_with_room().await;
    assert_eq!(call(&many, execution("form", &"a&".repeat(20_000))).await.status, 400);
}

async fn gateway_with_room() -> Gateway {
    let mut gateway = gateway().await;
    let settings = crate::settings::GatewaySettings { max_body: 1 << 20, ..(*gateway.settings).clone() };
    gateway.settings = std::sync::Arc::new(settings);
    gateway
}

#[actix_web::test]
async fn who_was_asked_whether_to_stop_a_job_has_not_agreed_to_its_removal() {
    let gateway = gateway().await;
    let done = job(&gateway, "form", Status::Failed);
    let path = format!("/jobs/{done}/dismiss");
    let asked = page(&gateway, &path).await;
    assert!(asked.text.contains("Remove this job?") && asked.text.contains("name=\"status\" value=\"failed\""));
    assert!(!asked.text.contains("id=\"token\""));
    let answer = call(&gateway, post(&path, "status=running").insert_header(OWN)).await;
    assert!(answer.status == 409 && answer.text.contains("has ended before it could be dismissed"), "{}", answer.text);
}

#[actix_web::test]
async fn dismissing_by_a_form_wants_the_token_as_a_field_or_in_the_head() {
    let mut configuration = configuration();
    configuration.server.manager.protect_dismiss = true;
    let gateway = testing::with(configuration, Some(TOKEN)).await;
    let done = job(&gateway, "form", Status::Failed);
    let path = format!("/jobs/{done}/dismiss");
    assert!(page(&gateway, &path).await.text.contains("id=\"token\""));
    let right = format!("status=failed&token={TOKEN}");
    let head = ("authorization", format!("Bearer {TOKEN}"));
    for (request, status) in [
        (post(&path, "status=failed"), 401),
        (post(&path, "status=failed&token="), 401),
        (post(&path, "status=failed&token=WRONG"), 403),
        (post(&path, "status=failed&token=WRONG").insert_header(head.clone()), 403),
        (post(&path, &right).insert_header(("authorization", "Bearer WRONG")), 403),
        // The door is open, and there is no NATS.
        (post(&path, &right), 503),
        (post(&path, "status=failed").insert_header(head), 503),
    ] {
        let answer = call(&gateway, request.insert_header(OWN)).await;
        assert!(answer.status == status && answer.is_page(), "{} in place of {status}: {}", answer.status, answer.text);
        assert!(!answer.text.contains("WRONG") && !answer.text.contains(TOKEN));
        assert_eq!(answer.text.contains("id=\"token\""), status != 503, "who is refused is asked again");
    }
}

fn process(configuration: &Configuration) -> &ProcessDefinition {
    configuration.processes.get("form").unwrap()
}

#[test]
fn the_example_and_the_defaults_fill_the_form() {
    let configuration = configuration();
    let process = process(&configuration);
    let example = form::request(process, &form::example(process));
    assert!(example.violations.is_empty());
    assert_eq!(example.body, process.description.example.clone().unwrap());
    assert_eq!(form::request(process, &form::defaults(process)).body, json!({"inputs": {"count": 3}}));
}

#[test]
fn every_kind_of_value_goes_through_the_form_and_back() {
    let configuration = configuration();
    let process = process(&configuration);
    let inputs = json!({
        "line": "North Shore", "lines": "one\ntwo", "count": 4, "ratio": 0.25, "flag": false, "colour": "green",
        "sensor": "MODIS", "day": "2026-01-31", "moment": "2026-01-31T12:00:00Z", "website": "https://example.org/?a=b&c",
        "several": [1, -2.5], "tags": ["a", "b c"], "area": {"bbox": [1, 2, 3, 4, 5, 6.5], "crs": "http://www.opengis.net/def/crs/OGC/0/CRS84h"},
        "image": {"href": "https://example.org/a.tif", "type": "image/tiff"}, "mixed": "plain text", "object": {"size": 1},
        "typed": {"value": "<gml/>", "mediaType": "application/gml+xml"}, "pause": 0,
    });
    let fields = filled(process, inputs.as_object().unwrap()).unwrap();
    let read = Fields::read(fields.written().as_bytes()).unwrap();
    let asked = form::request(process, &read);
    assert!(asked.violations.is_empty());
    assert_eq!(asked.body["inputs"], inputs);
    let schemas = Schemas::compile(&configuration).unwrap().0;
    let request = Request::parse(asked.body.to_string().as_bytes()).unwrap();
    assert!(request.against(process, &schemas, None).is_ok());
}

/// The fields of these inputs; `None` where a form can't show one of them.
fn filled(process: &ProcessDefinition, inputs: &Map<String, Value>) -> Option<Fields> {
    let mut fields = Fields::default();
    for (id, value) in inputs {
        let field = form::Field::of(&process.description.inputs[id]);
        if !form::fill(id, &field, value, &mut fields) {
            return None;
        }
    }
    Some(fields)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|number: f64| json!(number)),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,5}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_inputs() -> impl Strategy<Value = Map<String, Value>> {
    let word = prop::sample::select(vec!["red", "green", "blue"]);
    let number = || prop_oneof![any::<i32>().prop_map(Value::from), (-1e6..1e6).prop_map(|it: f64| json!(it))];
    let some = |strategy: BoxedStrategy<Value>| prop::option::of(strategy);
    (
        some("[a-zA-Z ]{1,20}".prop_map(Value::from).boxed()),
        some("[^\r]{1,40}".prop_map(Value::from).boxed()),
        some(any::<i64>().prop_map(Value::from).boxed()),
        some(any::<bool>().prop_map(Value::from).boxed()),
        some(word.prop_map(Value::from).boxed()),
        some(prop::collection::vec(number(), 1..5).prop_map(Value::from).boxed()),
        some(prop::collection::vec(number(), 4..5).prop_map(|it| json!({"bbox": it})).boxed()),
        some(prop::collection::vec(number(), 6..7).prop_map(|it| json!({"bbox": it, "crs": "x"})).boxed()),
        some(any_json().boxed()),
        some(any_json().boxed()),
    )
        .prop_map(|(line, lines, count, flag, colour, several, flat, high, mixed, object)| {
            let all = [
                ("line", line),
                ("lines", lines),
                ("count", count),
                ("flag", flag),
                ("colour", colour),
                ("several", several),
                ("area", flat.or(high)),
                ("mixed", mixed),
                ("object", object),
            ];
            all.into_iter().filter_map(|(id, value)| Some((id.to_owned(), value?))).collect()
        })
}

/// Names and values that forms have, and others.
fn any_body() -> impl Strategy<Value = Vec<(String, String)>> {
    let ids =
        ["line", "lines", "count", "several", "tags", "area", "image", "mixed", "object", "typed", "flag", "none", ""];
    let parts = ["value", "type", "href", "crs", "west", "south", "bottom", "east", "north", "top", "odd"];
    let own = ["token", "mode", "output", "chooses-outputs", "more"].map(str::to_owned).to_vec();
    let of_input = (prop::sample::select(parts.to_vec()), prop::sample::select(ids.to_vec()));
    let name = prop_oneof![
        4 => of_input.prop_map(|(part, id)| format!("{part}:{id}")),
        1 => prop::sample::select(own),
        1 => "\\PC{0,8}",
    ];
    let values =
        ["", "1", "true", "wait", "{\"size\": 1}", "[", "several", "line", "https://127.0.0.1/", "1e999", "-", "\u{0}"];
    let value = prop_oneof![prop::sample::select(values.map(str::to_owned).to_vec()), "\\PC{0,20}"];
    prop::collection::vec((name, value), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_a_form_can_show_is_what_it_sends(inputs in any_inputs()) {
        let configuration = configuration();
        let process = process(&configuration);
        if let Some(fields) = filled(process, &inputs) {
            let read = Fields::read(fields.written().as_bytes()).unwrap();
            let asked = form::request(process, &read);
            prop_assert!(asked.violations.is_empty());
            prop_assert_eq!(&asked.body["inputs"], &Value::Object(inputs));
        }
    }
}

#[test]
fn no_form_whatever_is_in_it_is_too_much() {
    let runtime = actix_web::rt::System::new();
    let gateway = runtime.block_on(gateway());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
    let told = runner.run(&any_body(), |fields| {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        let answer = runtime.block_on(call(&gateway, execution("form", &body)));
        // What is right goes on to NATS, which is not there.
        prop_assert!([200, 400, 413, 503].contains(&answer.status), "{}: {}", answer.status, answer.text);
        prop_assert!(answer.is_page());
        Ok(())
    });
    told.unwrap();
}

#[actix_web::test]
async fn a_body_without_a_type_is_not_taken_from_another_site() {
    let gateway = gateway().await;
    for (told, status) in [
        (None, 400),
        (Some(OWN), 400),
        (Some(("origin", "https://evil.example")), 415),
        (Some(("origin", "null")), 415),
        (Some(("sec-fetch-site", "cross-site")), 415),
    ] {
        let mut request = TestRequest::post().uri("/processes/form/execution").set_payload("{");
        if let Some(told) = told {
            request = request.insert_header(told);
        }
        let answer = call(&gateway, request).await;
        assert_eq!(answer.status, status, "{told:?} {}", answer.text);
    }
}
