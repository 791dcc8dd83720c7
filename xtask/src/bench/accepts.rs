//! Durable accepts a second, beside plain publishes to the same nats-server by the same client library.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use end_to_end::{
    services::Service,
    stack::{ExecutorChoice, Stack},
    tools::Tools,
};
use protocol::names::subjects::{ALL_EXECUTIONS, STREAM};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Sizes,
    gateway::{self, Gateway},
    report::{Aim, Figure, Report},
    say,
    statistics::median,
};

const CLIENTS: [usize; 3] = [1, 8, 32];
/// An accept is two messages, so that half of the peer's rate is the most there can be.
const AIM: f64 = 0.45;
const WARM_UP: Duration = Duration::from_millis(300);

/// Measures it with a gateway alone: nothing takes the executions.
pub(super) async fn measure(work: &Path, tools: &Tools, sizes: &Sizes, report: &mut Report) -> Result<()> {
    let options = gateway::options(work, ExecutorChoice::Local)?;
    let mut stack = Stack::start_servers(options, tools, &say).await?;
    stack.start_service(Service::Gateway, 0, &[])?;
    stack.wait_ready().await?;
    let gateway = Gateway::new(&stack.url(0))?;
    gateway.submit().await?;
    let jetstream = jetstream::new(async_nats::connect(stack.nats.url()).await?);
    let size = jetstream.get_stream_no_info(STREAM).await?.get_last_raw_message_by_subject(ALL_EXECUTIONS).await?;
    let payload = Bytes::from(vec![b'x'; size.payload.len()]);
    let plain = stream::Config {
        name: "BENCH".to_owned(),
        subjects: vec!["bench.>".to_owned()],
        storage: stream::StorageType::File,
        ..stream::Config::default()
    };
    jetstream.create_stream(plain).await?;
    for clients in CLIENTS {
        say(&format!("accepts and publishes of {} bytes, {clients} at once", payload.len()));
        let (mut accepts, mut publishes) = (Vec::new(), Vec::new());
        let accept = async |time| {
            let gateway = gateway.clone();
            rate(clients, time, move |_| {
                let gateway = gateway.clone();
                async move { gateway.submit().await.map(|_| ()) }
            })
            .await
        };
        let publish = async |time| {
            let (jetstream, payload) = (jetstream.clone(), payload.clone());
            rate(clients, time, move |client| {
                let (jetstream, payload) = (jetstream.clone(), payload.clone());
                async move {
                    jetstream.publish(format!("bench.{client}"), payload).await?.await?;
                    Ok(())
                }
            })
            .await
        };
        accept(WARM_UP).await?;
        publish(WARM_UP).await?;
        for _ in 0..sizes.accept_rounds {
            accepts.push(accept(sizes.accept_time).await?);
            publishes.push(publish(sizes.accept_time).await?);
        }
        let (ours, theirs) = (median(&accepts), median(&publishes));
        let ratio = ours / theirs;
        report.add(Figure {
            name: format!("durable accepts, {clients} at once"),
            ratio,
            aim: Some(Aim::at_least(AIM, ratio)),
            ours: format!("{ours:.0}/s"),
            peer: format!("{theirs:.0}/s plain publishes"),
            setting: format!(
                "{} bytes; {} × {:?}, alternating, medians",
                payload.len(),
                sizes.accept_rounds,
                sizes.accept_time
            ),
            numbers: json!({
                "clients": clients, "payload_bytes": payload.len(),
                "accepts_per_second": accepts, "publishes_per_second": publishes,
            }),
        });
    }
    stack.stop().await
}

/// How often a second `clients` together do something, each one thing after the other.
async fn rate<F, R>(clients: usize, time: Duration, work: F) -> Result<f64>
where
    F: Fn(usize) -> R + Clone + Send + 'static,
    R: Future<Output = Result<()>> + Send,
{
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let work = work.clone();
        tasks.spawn(async move {
            let mut done = 0_u32;
            while started.elapsed() < time {
                work(client).await?;
                done += 1;
            }
            Ok::<_, anyhow::Error>(done)
        });
    }
    let mut done = 0;
    while let Some(joined) = tasks.join_next().await {
        done += joined??;
    }
    if done == 0 {
        bail!("nothing was done in {time:?}");
    }
    Ok(f64::from(done) / started.elapsed().as_secs_f64())
}
