//! What the server does around its routes: in process where that is enough, over a socket where the framework does it.

mod audit;
mod rates;

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{
    http::{Method, StatusCode, header::HeaderMap},
    rt, test,
    test::TestRequest,
};
use protocol::{
    JobId, JobRecord,
    configuration::Configuration,
    job_record::{ArchiveState, Status},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::{
    server::{listen, serve},
    testing,
    validate::parts::MOST_PARTS,
};

const DESCRIPTIONS: [&str; 5] = ["/", "/conformance", "/openapi", "/processes", "/processes/open"];
const EXECUTION: &str = "/processes/open/execution";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }
}

async fn call(gateway: &Gateway, request: TestRequest) -> Answer {
    let app = test::init_service(app(web::Data::new(gateway.clone()))).await;
    let response = test::call_service(&app, request.to_request()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: test::read_body(response).await.to_vec() }
}

fn get(path: &str) -> TestRequest {
    let token = format!("Bearer {}", testing::TOKEN);
    TestRequest::get().uri(path).insert_header(("authorization", token))
}

async fn configured(change: impl FnOnce(&mut Configuration)) -> Gateway {
    let mut configuration = testing::configuration();
    change(&mut configuration);
    testing::with(configuration, Some(testing::TOKEN)).await
}

fn settled() -> JobRecord {
    let (id, now) = (JobId::generate(1), jiff::Timestamp::UNIX_EPOCH);
    let record = JobRecord::accepted(id, "open".parse().unwrap(), "1".into(), now, ArchiveState::Off);
    JobRecord { status: Status::Successful, ..record }
}

fn limited(mut gateway: Gateway, change: impl FnOnce(&mut GatewaySettings)) -> Gateway {
    let mut settings = GatewaySettings::clone(&gateway.settings);
    change(&mut settings);
    gateway.settings = Arc::new(settings);
    gateway
}

#[actix_web::test]
async fn a_description_that_is_known_is_not_sent_again() {
    let gateway = testing::gateway().await;
    for path in DESCRIPTIONS {
        let first = call(&gateway, get(path)).await;
        let tag = first.header("etag").to_owned();
        assert_eq!((first.header("cache-control"), tag.len()), ("no-cache", 34), "{path}");
        assert!(first.header("vary").contains("accept-language"), "{path}");
        for method in [Method::GET, Method::HEAD] {
            let known = TestRequest::with_uri(path)
                .method(method)
                .insert_header(("if-none-match", format!("\"other\", W/{tag}")));
            let answer = call(&gateway, known).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0), "{path}");
            assert_eq!(answer.header("etag"), tag, "{path}");
            assert!(answer.header("vary").contains("accept"), "{path}");
        }
        let other = call(&gateway, get(path).insert_header(("if-none-match", "\"other\""))).await;
        assert_eq!((other.status.as_u16(), other.body), (200, first.body), "{path}");
    }
}

#[actix_web::test]
async fn another_language_or_layout_is_another_representation() {
    let gateway = testing::gateway().await;
    let pretty = configured(|configuration| configuration.server.pretty_print = true).await;
    let tag = async |gateway: &Gateway, path: &str| call(gateway, get(path)).await.header("etag").to_owned();
    let english = tag(&gateway, "/").await;
    assert_eq!(english, tag(&gateway, "/?lang=en").await);
    assert_ne!(english, tag(&gateway, "/?lang=de").await);
    assert_ne!(english, tag(&pretty, "/").await);
    // The same text in another language is another representation, too.
    assert_ne!(tag(&gateway, "/processes/open").await, tag(&gateway, "/processes/open?lang=de").await);
}

#[actix_web::test]
async fn what_changes_has_no_tag_and_what_is_protected_is_not_stored() {
    let by_id = testing::gateway().await;
    let open = configured(|configuration| configuration.server.manager.protect_jobs = Some(false)).await;
    let protected = configured(|configuration| configuration.server.manager.protect_jobs = Some(true)).await;
    let list = call(&open, get("/jobs")).await;
    assert_eq!((list.header("etag"), list.header("cache-control")), ("", "no-cache"));
    assert_eq!(call(&by_id, get("/jobs")).await.header("cache-control"), "no-store", "what is seen hangs on the token");
    let record = settled();
    let id = record.job_id;
    for (gateway, expected) in [(&by_id, "no-cache"), (&open, "no-cache"), (&protected, "no-store")] {
        gateway.index.apply_record(&record, 1);
        for path in [format!("/jobs/{id}"), format!("/jobs/{id}/results")] {
            let answer = call(gateway, get(&path)).await;
            assert!(answer.status.is_success(), "{path}");
            assert_eq!(answer.header("cache-control"), expected, "{path}");
        }
    }
    assert_eq!(call(&open, get("/nothing")).await.header("cache-control"), "no-store");
    assert_eq!(call(&open, TestRequest::post().uri(EXECUTION)).await.header("cache-control"), "no-store");
}

#[actix_web::test]
async fn texts_are_compressed_for_those_who_take_it_where_it_is_configured() {
    let (on, off) = (configured(|configuration| configuration.server.gzip = true).await, testing::gateway().await);
    let take = |path: &str, accept: &'static str| get(path).insert_header(("accept-encoding", accept));
    let plain = call(&on, get("/openapi")).await;
    let zipped = call(&on, take("/openapi", "br, gzip")).await;
    assert_eq!((plain.header("content-encoding"), zipped.header("content-encoding")), ("", "gzip"));
    assert!(plain.header("vary").contains("accept-encoding") && zipped.header("vary").contains("accept-encoding"));
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(zipped.body.as_slice()), &mut text).unwrap();
    assert!(text == plain.body && zipped.body.len() < plain.body.len() / 2);
    assert_ne!(plain.header("etag"), zipped.header("etag"), "other bytes have another strong tag");
    for tag in [plain.header("etag"), zipped.header("etag")] {
        let known = call(&on, take("/openapi", "gzip").insert_header(("if-none-match", tag))).await;
        assert_eq!((known.status.as_u16(), known.header("content-encoding")), (304, ""), "{tag}");
    }
    assert_eq!(call(&on, take("/openapi", "identity")).await.body, plain.body);
    assert_eq!(call(&on, take("/conformance", "gzip")).await.header("content-encoding"), "", "too small");
    let never = call(&off, take("/openapi", "gzip")).await;
    assert_eq!((never.header("content-encoding"), never.header("vary").contains("encoding")), ("", false));
}

#[actix_web::test]
async fn a_client_that_takes_none_of_what_is_offered_is_told_what_is() {
    let gateway = testing::gateway().await;
    for path in DESCRIPTIONS.into_iter().chain(["/jobs"]) {
        let refused = call(&gateway, get(path).insert_header(("accept", "image/png"))).await;
        assert_eq!((refused.status.as_u16(), refused.header("content-type")), (406, "application/json"), "{path}");
        assert!(refused.json()["detail"].as_str().unwrap().contains("json"), "{path}");
        for accept in ["application/json", "text/html, */*;q=0.1", "application/*", "application/problem+json", ""] {
            let answer = call(&gateway, get(path).insert_header(("accept", accept))).await;
            assert_eq!(answer.status, 200, "{path} {accept}");
        }
    }
    for accept in ["application/yaml", "text/yaml", "application/vnd.oai.openapi", "text/html", "application/xhtml+xml"]
    {
        let answer = call(&gateway, get("/openapi").insert_header(("accept", accept))).await;
        assert_eq!(answer.status, 200, "{accept}");
    }
    let named = call(&gateway, get("/?f=json").insert_header(("accept", "image/png"))).await;
    assert_eq!(named.status, 200, "f says it by name");
    let error = call(&gateway, get("/nothing").insert_header(("accept", "image/png"))).await;
    assert_eq!(error.status, 404, "an error is told to everybody");
}

#[actix_web::test]
async fn every_resource_says_its_methods() {
    let gateway = testing::gateway().await;
    let options = async |path: &str| call(&gateway, TestRequest::with_uri(path).method(Method::OPTIONS)).await;
    for path in DESCRIPTIONS.into_iter().chain(["/jobs", "/jobs/none/results"]) {
        let answer = options(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, "GET, HEAD, OPTIONS"), "{path}");
    }
    assert_eq!(options(EXECUTION).await.header("allow"), "POST, OPTIONS");
    assert_eq!(options("/nothing").await.status, 404);
    for method in [Method::TRACE, Method::from_bytes(b"BREW").unwrap(), Method::CONNECT] {
        let answer = call(&gateway, TestRequest::with_uri("/jobs").method(method.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.json()["status"].as_u64()), (405, Some(405)), "{method}");
    }
}

#[actix_web::test]
async fn scripts_of_other_origins_are_let_in_where_that_is_configured() {
    let (on, off) = (configured(|configuration| configuration.server.cors = true).await, testing::gateway().await);
    let preflight =
        || TestRequest::with_uri(EXECUTION).method(Method::OPTIONS).insert_header(("origin", "https://example.org"));
    let preflight = || {
        preflight()
            .insert_header(("access-control-request-method", "POST"))
            .insert_header(("access-control-request-headers", "authorization, prefer, idempotency-key"))
    };
    let answer = call(&on, preflight()).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, "*"));
    assert!(answer.header("access-control-allow-methods").contains("POST"));
    assert_eq!(answer.header("access-control-allow-headers"), "authorization, prefer, idempotency-key");
    assert_eq!(answer.header("access-control-allow-credentials"), "", "a browser's own credentials are not asked for");
    assert!(!answer.header("x-request-id").is_empty());
    let from = |path: &str| get(path).insert_header(("origin", "https://example.org"));
    let long = format!("/{}", "a".repeat(10_000));
    for path in ["/", "/nothing", "/jobs?limit=0", "/%zz", &long, "/jobs/018f0000-0000-7000-8000-000000000000"] {
        let answer = call(&on, from(path)).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path} {}", answer.status);
        let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
        for name in ["location", "link", "preference-applied", "retry-after", "etag", "x-request-id"] {
            assert!(exposed.contains(name), "{name} is not in {exposed}");
        }
    }
    assert_eq!(call(&off, from("/")).await.header("access-control-allow-origin"), "");
    assert_eq!(call(&off, preflight()).await.header("access-control-allow-origin"), "");
}

#[actix_web::test]
async fn every_answer_has_a_request_id() {
    let gateway = testing::gateway().await;
    for path in ["/", "/nothing", "/%00"] {
        let given = call(&gateway, get(path).insert_header(("x-request-id", "client-7"))).await;
        assert_eq!(given.header("x-request-id"), "client-7", "{path}");
        let (one, two) = (call(&gateway, get(path)).await, call(&gateway, get(path)).await);
        assert_eq!(one.header("x-request-id").len(), 36, "{path}");
        assert_ne!(one.header("x-request-id"), two.header("x-request-id"), "{path}");
    }
}

#[actix_web::test]
async fn heads_beyond_the_limits_are_exceptions() {
    let gateway = testing::gateway().await;
    let many = format!("/jobs?{}", "a=b&".repeat(65));
    for (path, status) in [(format!("/{}", "a".repeat(9000)), 414), (many, 400), ("/a%zz".to_owned(), 400)] {
        let answer = call(&gateway, get(&path)).await;
        assert_eq!((answer.status.as_u16(), answer.json()["status"].as_u64()), (status, Some(u64::from(status))));
    }
    let large = call(&gateway, get("/").insert_header(("x-large", "y".repeat(40_000)))).await;
    assert_eq!((large.status.as_u16(), large.json()["status"].as_u64()), (431, Some(431)));
}

#[actix_web::test]
async fn no_path_is_redirected() {
    let gateway = testing::gateway().await;
    for (path, status) in [
        ("/processes/", 200),
        ("//processes", 404),
        ("/processes//open", 404),
        ("/processes/../jobs", 404),
        ("/processes/..", 404),
        ("/processes/%2e%2e/x", 404),
        ("/processes/%2e%2e%2fjobs", 404),
        ("/jobs/%00", 400),
        ("/processes/%ff", 400),
        ("/processes/a%2", 400),
        ("/processes/a;b=c", 404),
        ("/./jobs", 404),
    ] {
        let answer = call(&gateway, get(path)).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (status, ""), "{path}");
    }
}

#[actix_web::test]
async fn beyond_what_is_accepted_at_once_clients_are_told_to_come_back() {
    let mut gateway = testing::gateway().await;
    gateway.accepting = Arc::new(Semaphore::new(0));
    let answer = call(&gateway, TestRequest::post().uri(EXECUTION).set_payload("{}")).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "5"));
    assert_eq!(call(&gateway, get("/")).await.status, 200, "whatever only reads goes on");
}

/// An array of many small values, in `inputs.text`.
fn many_parts(parts: usize) -> String {
    format!(r#"{{"inputs": {{"text": [{}0]}}}}"#, "0,".repeat(parts))
}

#[actix_web::test]
async fn a_body_is_not_parsed_without_the_memory_that_it_would_take() {
    let gateway = limited(testing::gateway().await, |settings| settings.max_body = 4 << 20);
    let post = |body: String| TestRequest::post().uri(EXECUTION).set_payload(body);
    let answer = call(&gateway, post(many_parts(1000))).await;
    assert_eq!(answer.status, 400, "an array is no text");
    assert_eq!(gateway.memory.used(), 0);
    let many = call(&gateway, post(many_parts(MOST_PARTS))).await;
    assert_eq!(many.status, 400);
    let detail = many.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("allowed: 250000"), "{detail}");

    // What others left is enough for the bytes, and not for what they are parsed to.
    let others = gateway.memory.take(gateway.settings.memory - (100 << 10));
    let busy = call(&gateway, post(many_parts(1000))).await;
    assert_eq!((busy.status.as_u16(), busy.header("retry-after")), (503, "5"));
    assert_eq!(call(&gateway, post(many_parts(100))).await.status, 400);
    let all = gateway.memory.take(100 << 10);
    let busy = call(&gateway, post("{}".to_owned())).await;
    assert_eq!((busy.status.as_u16(), busy.header("retry-after")), (503, "5"));
    drop((others, all));
    assert_eq!(gateway.memory.used(), 0);
}

#[actix_web::test]
async fn who_waits_for_other_servers_keeps_nobody_from_being_accepted() {
    // It takes connections, and never answers.
    let tarpit = TcpListener::bind("127.0.0.1:0").unwrap();
    let href = format!("http://{}/x", tarpit.local_addr().unwrap());
    let mut gateway = limited(testing::gateway().await, |settings| {
        settings.references.allow_http = true;
        settings.references.allow_private = vec!["127.0.0.0/8".to_owned()];
        settings.references.max_executions = 1;
    });
    gateway.references = References::new(&gateway.settings.references, gateway.memory.clone()).unwrap();
    gateway.resolving = Arc::new(Semaphore::new(1));
    gateway.accepting = Arc::new(Semaphore::new(1));
    let body = serde_json::json!({"inputs": {"text": {"href": href}}}).to_string();
    let app = test::init_service(app(web::Data::new(gateway.clone()))).await;
    let post = |body: &str| TestRequest::post().uri(EXECUTION).set_payload(body.to_owned()).to_request();
    let waiting = test::call_service(&app, post(&body));
    let others = async {
        // While it waits, its text is all that it holds.
        let waits = async {
            while gateway.resolving.available_permits() > 0 || gateway.memory.used() > 1024 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waits).await.expect("it never waits with its text alone");
        let second = call(&gateway, TestRequest::post().uri(EXECUTION).set_payload(body.clone())).await;
        assert_eq!((second.status.as_u16(), second.header("retry-after")), (503, "5"), "one at a time");
        assert!(second.json()["detail"].as_str().unwrap().contains("too many executions"));
        let other = call(&gateway, TestRequest::post().uri(EXECUTION).set_payload("[]")).await;
        assert_eq!(other.status, 400, "it was accepted, and looked at");
    };
    tokio::select! {
        _ = waiting => panic!("nobody answered"),
        () = others => {}
    }
    drop(tarpit);
}

#[actix_web::test]
async fn an_idempotency_key_that_is_none_is_refused() {
    let gateway = testing::gateway().await;
    let post = |key: &str| TestRequest::post().uri(EXECUTION).insert_header(("idempotency-key", key)).set_payload("{}");
    let answer = call(&gateway, post("a b")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["detail"].as_str().unwrap().contains("Idempotency-Key"));
    assert_eq!(call(&gateway, post("\"a\"")).await.status, 503, "a good one needs NATS");
}

/// A server on a port of its own.
struct Served {
    address: SocketAddr,
    shutdown: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn serve_on_socket(gateway: Gateway) -> Served {
    let listener = listen("127.0.0.1", 0, 16).unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), gateway.shutdown.clone());
    rt::spawn(serve(listener, gateway, Duration::from_secs(1)));
    Served { address, shutdown }
}

/// Sends bytes and reads until the server closes the connection.
async fn raw(server: &Served, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // A server that has seen enough closes before all is sent.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("the connection stays open").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn fetch(server: &Served, method: &str, path: &str, more: &str) -> (Vec<String>, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: 1\r\n{more}\r\n");
    let answer = raw(server, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut head: Vec<String> =
        head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:")).map(str::to_owned).collect();
    head[1..].sort();
    (head, body.to_owned())
}

#[actix_web::test]
async fn a_client_whose_body_does_not_come_keeps_nobody_from_being_accepted() {
    let mut gateway = testing::gateway().await;
    gateway.accepting = Arc::new(Semaphore::new(1));
    let server = serve_on_socket(gateway.clone());
    let head = |length| {
        format!("POST {EXECUTION} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
    };
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(format!("{}[1, ", head(100)).as_bytes()).await.unwrap();
    let is_read = async {
        while gateway.memory.used() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_read).await.expect("its body is not read");
    let other = raw(&server, format!("{}[]", head(2)).as_bytes()).await;
    assert!(other.starts_with("HTTP/1.1 400 "), "{other}");
}

#[actix_web::test]
async fn head_has_exactly_the_head_of_get() {
    let server = serve_on_socket(configured(|configuration| configuration.server.gzip = true).await);
    for path in DESCRIPTIONS.into_iter().chain(["/jobs", "/nothing", "/processes/none", "/jobs?limit=0"]) {
        for more in ["", "accept-encoding: gzip\r\n", "accept: image/png\r\n", "origin: https://example.org\r\n"] {
            let (get, body) = fetch(&server, "GET", path, more).await;
            let (head, nothing) = fetch(&server, "HEAD", path, more).await;
            assert_eq!(get, head, "{path} {more}");
            assert!(nothing.is_empty() && !body.is_empty(), "{path} {more}");
            assert!(head.iter().any(|line| line.to_ascii_lowercase().starts_with("content-length: ")), "{head:?}");
        }
    }
}

#[actix_web::test]
async fn what_is_no_request_is_refused_and_the_connection_closed() {
    let server = serve_on_socket(testing::gateway().await);
    let (large, many) = ("y".repeat(200_000), "a: b\r\n".repeat(120));
    let post = format!("POST {EXECUTION} HTTP/1.1\r\nhost: x\r\n");
    let cases = [
        ("both lengths", format!("{post}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), "400"),
        ("two lengths", format!("{post}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"), "400"),
        ("a length that is none", format!("{post}content-length: -1\r\n\r\n"), "400"),
        ("a coding that is none", format!("{post}transfer-encoding: cow\r\n\r\n"), "400"),
        ("no request line", "nonsense\r\n\r\n".to_owned(), "400"),
        ("spaces in the path", "GET /a b HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("a header without a name", "GET / HTTP/1.1\r\n: b\r\n\r\n".to_owned(), "400"),
        ("too many headers", format!("GET / HTTP/1.1\r\n{many}\r\n"), "431"),
        ("headers beyond the framework's limit", format!("GET / HTTP/1.1\r\nx: {large}\r\n\r\n"), "431"),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "400"),
    ];
    for (what, bytes, status) in cases {
        let answer = raw(&server, bytes.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "what follows is no second request: {what}: {answer}");
    }
    let options = raw(&server, b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(options.starts_with("HTTP/1.1 404 "), "{options}");
}

#[actix_web::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let gateway = limited(testing::gateway().await, |settings| settings.head_timeout = Duration::from_millis(300));
    let answer = raw(&serve_on_socket(gateway), b"GET / HTTP/1.1\r\nhost: x\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

/// Clients open connections before they need them, and take whatever comes on one for the answer to what they just sent.
#[actix_web::test]
async fn a_connection_that_was_not_used_yet_is_no_head_that_does_not_come() {
    let gateway = limited(testing::gateway().await, |settings| settings.head_timeout = Duration::from_millis(300));
    let server = serve_on_socket(gateway);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut answer = [0; 12];
    let early = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut answer)).await;
    assert!(early.is_err(), "nothing was asked: {early:?} {}", String::from_utf8_lossy(&answer));
    stream.write_all(b"GET /conformance HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[actix_web::test]
async fn a_connection_that_is_never_used_is_closed_without_a_word() {
    let gateway = limited(testing::gateway().await, |settings| settings.keep_alive = Duration::from_millis(300));
    assert_eq!(raw(&serve_on_socket(gateway), b"").await, "");
}

#[actix_web::test]
async fn a_connection_without_requests_is_closed() {
    let gateway = limited(testing::gateway().await, |settings| settings.keep_alive = Duration::from_millis(300));
    let answer = raw(&serve_on_socket(gateway), b"GET /conformance HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[actix_web::test]
async fn a_connection_beyond_the_limit_is_served_once_another_is_gone() {
    let gateway = limited(testing::gateway().await, |settings| {
        settings.workers = 1;
        settings.max_connections = 1;
        settings.keep_alive = Duration::from_secs(600);
    });
    let server = serve_on_socket(gateway);
    let request = b"GET /conformance HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut answer = [0; 12];
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(request).await.unwrap();
    first.read_exact(&mut answer).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(request).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), second.read(&mut answer)).await;
    assert!(early.is_err(), "it waits in the backlog");
    drop(first);
    tokio::time::timeout(Duration::from_secs(30), second.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}
