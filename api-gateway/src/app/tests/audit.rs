//! What the audit is told of requests, as far as that needs no NATS server.

use prometheus_client::registry::Registry;
use protocol::audit::{Action, AuditEvent};

use super::*;
use crate::{
    access::NamedTokens,
    audit::{Audit, AuditSettings, Queue},
};

async fn audited(queue: usize) -> (Gateway, Queue, Registry) {
    let gateway = testing::gateway().await;
    let mut registry = Registry::default();
    let memories = [gateway.memory.clone(), gateway.memory.clone(), gateway.memory.clone()];
    let metrics = Metrics::new(&mut registry, gateway.index.clone(), memories);
    let (audit, waiting) = Audit::new(&AuditSettings { queue, ..AuditSettings::default() }, metrics);
    (Gateway { audit, ..gateway }, waiting, registry)
}

fn from(address: &str, request: TestRequest) -> TestRequest {
    request.peer_addr(SocketAddr::new(address.parse().unwrap(), 1)).insert_header(("x-request-id", "the-request"))
}

fn with_token(request: TestRequest, token: &str) -> TestRequest {
    request.insert_header(("authorization", format!("Bearer {token}")))
}

fn told(event: &AuditEvent) -> Value {
    serde_json::to_value(event.entry()).unwrap()
}

#[actix_web::test]
async fn every_refusal_is_told_with_what_is_known() {
    let (mut gateway, mut queue, _) = audited(100).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.yaml");
    let hash = protocol::digest::sha256("hush-hush");
    let tokens = format!("tokens:\n  - {{name: lakes, sha256: \"{hash}\", processes: [], may_dismiss: false}}\n");
    std::fs::write(&file, tokens).unwrap();
    gateway.access.named = Some(NamedTokens::read(&file, &gateway.configuration).unwrap());
    let job = JobId::generate(1);
    let (protected, path) = ("/processes/protected/execution", format!("/jobs/{job}"));
    let post = |body: &str| TestRequest::post().uri(protected).set_payload(body.to_owned());
    let execution = "POST /processes/{processID}/execution";
    let cases = [
        (
            post("{}"),
            401,
            serde_json::json!({"who": "anonymous", "operation": execution, "processId": "protected", "outcome": "unauthorized"}),
        ),
        (
            with_token(TestRequest::get().uri("/jobs"), "wrong"),
            403,
            serde_json::json!({"who": "anonymous", "operation": "GET /jobs", "outcome": "forbidden"}),
        ),
        (
            with_token(post("{}"), "hush-hush"),
            403,
            serde_json::json!({"who": "token:lakes", "operation": execution, "processId": "protected", "outcome": "forbidden"}),
        ),
        (
            with_token(TestRequest::delete().uri(&path), "hush-hush"),
            403,
            serde_json::json!({"who": "token:lakes", "operation": "DELETE /jobs/{jobID}", "jobId": job, "outcome": "forbidden"}),
        ),
        (
            post(r#"{"inputs": {"token": "hush-hush"}}"#),
            403,
            serde_json::json!({"who": "token:lakes", "operation": execution, "processId": "protected", "outcome": "forbidden"}),
        ),
    ];
    for (number, (request, status, mut expected)) in cases.into_iter().enumerate() {
        let address = format!("192.0.2.{number}");
        assert_eq!(call(&gateway, from(&address, request)).await.status.as_u16(), status, "{expected}");
        (expected["address"], expected["requestId"], expected["schema"]) =
            (address.into(), "the-request".into(), 1.into());
        let waiting = queue.taken();
        assert_eq!(waiting.iter().map(told).collect::<Vec<_>>(), [expected]);
        assert_eq!(waiting[0].action(), Some(Action::Refused));
    }
    for (path, status) in [("/jobs?limit=0", 400), ("/nothing", 404), ("/jobs", 200)] {
        assert_eq!(call(&gateway, from("192.0.2.9", get(path))).await.status.as_u16(), status);
    }
    assert!(queue.taken().is_empty(), "nothing else is");
}

#[actix_web::test]
async fn many_refusals_of_one_address_are_one_entry_and_a_full_queue_loses_none_silently() {
    let (gateway, mut queue, registry) = audited(1).await;
    let ask =
        async |address: &str| call(&gateway, from(address, TestRequest::get().uri("/jobs"))).await.status.as_u16();
    for _ in 0..50 {
        assert_eq!(ask("192.0.2.1").await, 401);
    }
    assert_eq!((ask("192.0.2.2").await, ask("192.0.2.3").await), (401, 401), "requests go on");
    let mut shown = String::new();
    prometheus_client::encoding::text::encode(&mut shown, &registry).unwrap();
    assert!(shown.contains("audit_entries_total{end=\"logged\"} 2") && shown.contains("audit_waiting 1"), "{shown}");
    assert_eq!(queue.taken().len(), 1);
}
