//! How often somebody may ask, as clients see it.

use std::collections::HashSet;

use super::*;
use crate::{
    access::NamedTokens,
    rates::{LimitSettings, Rates},
};

const PROTECTED: &str = "/processes/protected/execution";

async fn with_limits(limits: LimitSettings) -> Gateway {
    let gateway = testing::gateway().await;
    let rates = Rates::new(&limits);
    Gateway { rates, ..limited(gateway, |settings| settings.limits = limits) }
}

fn from(address: &str, request: TestRequest) -> TestRequest {
    request.peer_addr(SocketAddr::new(address.parse().unwrap(), 1))
}

fn nobody(path: &str) -> TestRequest {
    TestRequest::get().uri(path)
}

fn with_token(path: &str, token: &str) -> TestRequest {
    nobody(path).insert_header(("authorization", format!("Bearer {token}")))
}

fn seconds(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

#[actix_web::test]
async fn who_asks_too_often_is_told_when_to_come_back_and_what_there_is() {
    let gateway = with_limits(LimitSettings { reads: 6, reads_burst: 2, ..LimitSettings::default() }).await;
    let ask = async |address: &str| call(&gateway, from(address, nobody("/processes"))).await;
    let first = ask("192.0.2.1").await;
    assert_eq!((first.status.as_u16(), first.header("ratelimit-policy")), (200, "\"reads\";q=2;w=20"));
    assert_eq!(first.header("ratelimit"), "\"reads\";r=1;t=10");
    assert_eq!(ask("192.0.2.1").await.header("ratelimit"), "\"reads\";r=0;t=10");
    let refused = ask("192.0.2.1").await;
    assert_eq!(refused.status.as_u16(), 429);
    let body = refused.json();
    assert!(body["type"].as_str().unwrap().ends_with("/too-many-requests"), "{body}");
    assert!(body["detail"].as_str().unwrap().starts_with("too many requests from this address"), "{body}");
    assert!((9..=10).contains(&seconds(&refused)), "{}", seconds(&refused));
    assert_eq!(refused.header("ratelimit"), format!("\"reads\";r=0;t={}", seconds(&refused)));
    assert_eq!(refused.header("cache-control"), "no-store");
    assert_eq!(ask("192.0.2.2").await.status, 200, "another address");
    let as_operator = call(&gateway, from("192.0.2.1", get("/processes"))).await;
    assert_eq!(as_operator.header("ratelimit"), "\"reads\";r=1;t=10", "who has a token has a budget of its own");
    let preflight = nobody("/processes").method(Method::OPTIONS);
    assert_eq!(call(&gateway, from("192.0.2.1", preflight)).await.status, 204, "free");
    assert_eq!(call(&gateway, from("192.0.2.1", nobody("/pages/quayside.css"))).await.header("ratelimit"), "", "free");
}

#[actix_web::test]
async fn a_page_tells_it_too() {
    let gateway = with_limits(LimitSettings { reads: 1, ..LimitSettings::default() }).await;
    let ask = || from("192.0.2.1", nobody("/processes").insert_header(("accept", "text/html")));
    assert_eq!(call(&gateway, ask()).await.status, 200);
    let refused = call(&gateway, ask()).await;
    assert_eq!((refused.status.as_u16(), refused.header("content-type")), (429, "text/html; charset=utf-8"));
    assert!(seconds(&refused) >= 59 && refused.header("ratelimit").starts_with("\"reads\";r=0"));
}

#[actix_web::test]
async fn executions_count_for_whom_the_token_names_in_head_or_body() {
    let limits = LimitSettings { executions: 6, executions_burst: 3, ..LimitSettings::default() };
    let gateway = with_limits(limits).await;
    let body = format!(r#"{{"inputs": {{"token": "{}", "text": 3}}}}"#, testing::TOKEN);
    let execute =
        |address: &str, body: &str| from(address, TestRequest::post().uri(PROTECTED)).set_payload(body.to_owned());
    let told = |answer: &Answer| (answer.status.as_u16(), answer.header("ratelimit").to_owned());
    let budget = |left: u32, reset: u32| format!("\"executions\";r={left};t={reset}");
    let in_body = call(&gateway, execute("192.0.2.1", &body)).await;
    assert_eq!(told(&in_body), (400, budget(2, 10)), "the text is none, and counted for who has the token");
    let wrong = call(&gateway, execute("192.0.2.1", "{}")).await;
    assert_eq!(
        told(&wrong),
        (401, budget(1, 20)),
        "the address was counted, too: nothing was known of the caller then"
    );
    let bearer = execute("192.0.2.1", r#"{"inputs": {"text": 3}}"#);
    let bearer = bearer.insert_header(("authorization", format!("Bearer {}", testing::TOKEN)));
    assert_eq!(told(&call(&gateway, bearer).await), (400, budget(1, 20)));
    assert_eq!(told(&call(&gateway, execute("192.0.2.2", &body)).await), (400, budget(0, 10)));
    let from_anywhere = call(&gateway, execute("192.0.2.3", &body)).await;
    assert_eq!(from_anywhere.status.as_u16(), 429);
    assert!(from_anywhere.json()["detail"].as_str().unwrap().contains("with this token"));
    assert_eq!(
        call(&gateway, from("192.0.2.3", get("/jobs"))).await.header("ratelimit"),
        "",
        "reads have no limit here"
    );
}

#[actix_web::test]
async fn tokens_cant_be_guessed_at_speed() {
    let limits = LimitSettings { failures: 6, failures_burst: 3, ..LimitSettings::default() };
    let gateway = with_limits(limits).await;
    let ask = async |address: &str, token: &str| call(&gateway, from(address, with_token("/jobs", token))).await;
    for guess in 0..3 {
        assert_eq!(ask("192.0.2.1", testing::TOKEN).await.status, 200, "right ones cost nothing");
        assert_eq!(ask("192.0.2.1", &format!("guess-{guess}")).await.status, 403);
    }
    let refused = ask("192.0.2.1", testing::TOKEN).await;
    assert_eq!(refused.status.as_u16(), 429, "not even the right one is looked at");
    assert!(refused.json()["detail"].as_str().unwrap().starts_with("too many wrong tokens from this address"));
    assert!((9..=10).contains(&seconds(&refused)));
    let open = call(&gateway, from("192.0.2.1", with_token("/processes", testing::TOKEN))).await;
    assert_eq!(open.status.as_u16(), 429, "nor where none is needed");
    assert_eq!(call(&gateway, from("192.0.2.1", nobody("/processes"))).await.status, 200, "without a token");
    let body = format!(r#"{{"inputs": {{"token": "{}"}}}}"#, testing::TOKEN);
    let in_body = from("192.0.2.1", TestRequest::post().uri(PROTECTED)).set_payload(body);
    assert_eq!(call(&gateway, in_body).await.status.as_u16(), 429, "nor in a body");
    assert_eq!(ask("192.0.2.2", testing::TOKEN).await.status, 200, "from elsewhere");
}

#[actix_web::test]
async fn guesses_in_bodies_count_as_well() {
    let gateway = with_limits(LimitSettings { failures: 2, ..LimitSettings::default() }).await;
    let guess =
        || from("192.0.2.1", TestRequest::post().uri(PROTECTED)).set_payload(r#"{"inputs": {"token": "guess"}}"#);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(call(&gateway, guess()).await.status.as_u16());
    }
    assert_eq!(statuses, [403, 403, 429]);
}

#[actix_web::test]
async fn one_tenants_flood_takes_nothing_of_anothers_budget() {
    let limits = LimitSettings { reads: 3, ..LimitSettings::default() };
    let mut gateway = with_limits(limits).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.yaml");
    let entry =
        |name: &str| format!("  - {{name: {name}, sha256: \"{}\", processes: []}}\n", protocol::digest::sha256(name));
    std::fs::write(&file, format!("tokens:\n{}{}", entry("loud"), entry("quiet"))).unwrap();
    gateway.access.named = Some(NamedTokens::read(&file, &gateway.configuration).unwrap());
    let ask = async |token: &str| call(&gateway, from("192.0.2.1", with_token("/jobs", token))).await.status.as_u16();
    let mut flood = HashSet::new();
    for _ in 0..20 {
        flood.insert(ask("loud").await);
    }
    assert_eq!(flood, HashSet::from([200, 429]));
    assert_eq!((ask("loud").await, ask("quiet").await), (429, 200));
}

#[actix_web::test]
async fn the_address_that_counts_is_the_one_behind_trusted_proxies() {
    let gateway = with_limits(LimitSettings { reads: 1, ..LimitSettings::default() }).await;
    let gateway =
        limited(gateway, |settings| settings.trusted_proxies = serde_json::from_value("10.0.0.0/8".into()).unwrap());
    let ask = async |peer: &str, forwarded: &str| {
        let request = nobody("/processes").insert_header(("x-forwarded-for", forwarded.to_owned()));
        call(&gateway, from(peer, request)).await.status.as_u16()
    };
    assert_eq!((ask("10.0.0.1", "192.0.2.1").await, ask("10.0.0.1", "192.0.2.2").await), (200, 200));
    assert_eq!(ask("10.0.0.2", "192.0.2.1").await, 429);
    assert_eq!((ask("192.0.2.9", "192.0.2.7").await, ask("192.0.2.9", "192.0.2.8").await), (200, 429), "not believed");
}
