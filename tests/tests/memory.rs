//! Memory of a gateway that many ask much of at the same time.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    services::Service,
    story::{Backend, Setting, Story, process_yaml, tell},
};
use futures::future::try_join_all;
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::Instant,
};

const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_that_wait_for_other_servers_hold_little() {
    // It takes connections, and never answers.
    let tarpit = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let href = format!("http://{}/x", tarpit.local_addr().unwrap());
    let setting = Setting::new(Backend::Local)
        .with_processes(&process_yaml("open", "true"))
        .with("QUAYSIDE_GATEWAY__REFERENCES__ALLOW_HTTP", "true")
        .with("QUAYSIDE_GATEWAY__REFERENCES__ALLOW_PRIVATE", "127.0.0.0/8")
        .with("QUAYSIDE_GATEWAY__REFERENCES__TIMEOUT", "3");
    tell("memory-references", setting, async |story| {
        // Parsed, each of them takes some 30 MB.
        let many = "[[0]],".repeat(50_000);
        let text = json!({"href": href, "type": "text/plain"});
        let body = format!(r#"{{"inputs": {{"text": {text}}}, "ignored": [{many}0]}}"#);
        let before = peak(story)?;
        let answers = try_join_all((0..60).map(|_| story.post(0, "open", &[], body.clone()))).await?;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
        ensure!(statuses.iter().all(|status| [400, 503].contains(status)), "{statuses:?}");
        ensure!(statuses.contains(&503), "60 are more than what may wait: {statuses:?}");
        let risen = peak(story)?.saturating_sub(before);
        ensure!(risen < 300 * MIB, "the gateway's peak rose by {risen} bytes");
        let metrics = metrics(story).await?;
        ensure!(metrics.contains("quayside_gateway_memory_used_bytes{for=\"executions\"} 0\n"), "{metrics}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_results_keeps_no_memory_from_others() {
    let script = format!("echo PYGEOAPI_K8S_MANAGER_RESULT_START\nhead -c {} /dev/zero | tr '\\0' 'x'", 8 * MIB - 1);
    let setting = Setting::new(Backend::Local)
        .with_processes(&process_yaml("large", &script))
        .with("QUAYSIDE_GATEWAY__MAX_DOCUMENT", "8388608")
        // Four documents while they are put together are more than this.
        .with("QUAYSIDE_GATEWAY__DOCUMENTS_MEMORY", "67108864")
        .with("QUAYSIDE_GATEWAY__SEND_TIMEOUT", "4");
    tell("memory-results", setting, async |story| {
        let created =
            story.post(0, "large", &[("prefer", "respond-async")], r#"{"response": "document"}"#.into()).await?;
        let job = created.json::<serde_json::Value>().await?["jobID"].as_str().context("no id")?.parse()?;
        story.wait_done(&job).await?;
        let path = format!("/jobs/{job}/results");
        let address: SocketAddr = story.stack.url(0).trim_start_matches("http://").parse()?;
        let mut idle = Vec::new();
        for _ in 0..7 {
            idle.push(ask_and_read_nothing(address, &path).await?);
        }
        until(story, "the results are held", |used| used > 40 * MIB).await?;
        // There is room again, at the latest when the others have had their time.
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = story.get(&path).await?;
            if answer.status() == 200 {
                assert_eq!(answer.bytes().await?.len() as u64, 8 * MIB - 1 + r#"{"out":""}"#.len() as u64);
                break;
            }
            assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str()?), (503, "5"));
            ensure!(Instant::now() < deadline, "there is never room again");
        }
        until(story, "what was held is given back", |used| used == 0).await?;
        drop(idle);
        Ok(())
    })
    .await;
}

/// A connection that asked, and will not read. Its buffer is small, so that the answer does not end up there.
async fn ask_and_read_nothing(address: SocketAddr, path: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await?;
    Ok(stream)
}

async fn until(story: &mut Story, what: &str, holds: impl Fn(u64) -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = metrics(story).await?;
        let line =
            text.lines().find_map(|line| line.strip_prefix("quayside_gateway_memory_used_bytes{for=\"results\"} "));
        let used = line.context("no such metric")?.parse()?;
        if holds(used) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{what}: {used} bytes after a minute");
    }
}

async fn metrics(story: &mut Story) -> Result<String> {
    let probe = story.stack.service(Service::Gateway, 0)?.probe;
    Ok(reqwest::get(format!("http://127.0.0.1:{probe}/metrics")).await?.text().await?)
}

/// The most memory that the gateway has had, in bytes.
fn peak(story: &mut Story) -> Result<u64> {
    let pid = story.stack.service(Service::Gateway, 0)?.program.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    Ok(peak.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}
