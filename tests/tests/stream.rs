//! What every service does to the stream at its start, beside operators and other versions.

use std::time::Duration;

use anyhow::{Result, ensure};
use async_nats::jetstream::stream::Config;
use end_to_end::{
    nats_server::NatsServer,
    tools::{Tool, require},
};
use platform::nats::{self, NatsSettings};
use protocol::names::subjects::{STREAM, STREAM_SUBJECTS};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_adds_to_the_stream_what_is_missing_and_changes_nothing_else() -> Result<()> {
    let tools = require(&[Tool::NatsServer], &|line| eprintln!("{line}")).await?;
    let folder = tempfile::tempdir()?;
    let server = NatsServer::start(&tools, folder.path(), None).await?;
    let settings = NatsSettings { url: server.url(), ..NatsSettings::default() };
    let jetstream = async_nats::jetstream::new(async_nats::connect(server.url()).await?);
    let config = async || -> Result<Config> { Ok(jetstream.get_stream(STREAM).await?.cached_info().config.clone()) };
    nats::connect(&settings, "first").await?;
    let first = config().await?;
    ensure!(first.subjects == STREAM_SUBJECTS && first.max_messages_per_subject == 1, "{first:?}");
    nats::connect(&settings, "again").await?;
    ensure!(config().await? == first, "repeating it changes nothing");

    let mut changed = first.clone();
    changed.subjects = vec!["jobs.>".into(), "executions.>".into(), "later.>".into()];
    changed.max_messages_per_subject = 2;
    changed.duplicate_window = Duration::from_secs(60);
    changed.description = Some("an operator's".into());
    jetstream.update_stream(&changed).await?;
    nats::connect(&settings, "older").await?;
    changed.subjects.push("results.>".into());
    changed.max_messages_per_subject = 1;
    let merged = config().await?;
    ensure!(merged == changed, "{merged:?}");

    let refused = nats::connect(&NatsSettings { replicas: 3, ..settings }, "too many").await;
    let told = refused.err().map(|error| platform::telemetry::chain(&error)).unwrap_or_default();
    ensure!(told.contains("replicas"), "the server's own words: {told}");
    ensure!(config().await? == merged, "nothing is changed by what is refused");
    Ok(())
}
