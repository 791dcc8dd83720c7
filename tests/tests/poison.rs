//! Messages that no service can use: kept aside, and in nobody's way.

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    story::{Backend, LIMIT, Setting, tell},
};
use protocol::{Event, JobId, JobRecord, ProcessId, job_record::ArchiveState, names::subjects};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_cannot_be_read_are_kept_aside_and_their_job_fails() {
    let setting = Setting::new(Backend::Local).with("QUAYSIDE_DISPATCHER__SWEEP_EVERY", "1");
    tell("poison", setting, async |story| {
        let process: ProcessId = "hello-world-k8s".parse()?;
        let client = async_nats::connect(story.stack.nats.url()).await?;
        let jetstream = async_nats::jetstream::new(client);
        let publish = async |subject: String, payload: Vec<u8>| -> Result<()> {
            jetstream.publish(subject, payload.into()).await?.await?;
            Ok(())
        };
        // One job of which nothing can be read, and one that was told before its request was spoilt.
        let (unknown, told) = (JobId::generate(1_700_000_000_000), JobId::generate(1_700_000_000_001));
        let now = jiff::Timestamp::now();
        let record = JobRecord::accepted(told, process.clone(), "1".into(), now, ArchiveState::Pending);
        let event = protocol::JobEvent::new(Event::Accepted, record);
        publish(subjects::event(&process, &told, Event::Accepted), serde_json::to_vec(&event)?).await?;
        publish(subjects::execution(&process, &told), b"{\"schema\": 99}".to_vec()).await?;
        publish(subjects::execution(&process, &unknown), b"no json \xff".to_vec()).await?;

        let status = story.wait_done(&told).await?;
        ensure!(status["status"] == "failed", "{status}");
        ensure!(status["message"].as_str().context("no message")?.contains("can't be read"), "{status}");
        wait_until("both are kept among the dead letters", LIMIT, || async {
            let mut dead = jetstream.get_stream(subjects::DEAD_LETTER_STREAM).await?;
            let kept = dead.info().await?.state.messages;
            ensure!(kept == 2, "{kept} dead letters");
            Ok(())
        })
        .await?;
        let answer = story.execute("hello-world-k8s", json!({ "name": "N" })).await?;
        ensure!(answer.status().is_success(), "others run on: {}", answer.status());
        Ok(())
    })
    .await;
}
