//! A log larger than the finalizer's memory.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    services::Service,
    stack::StoreChoice,
    story::{Backend, Setting, Story, process_yaml, tell},
};
use futures::TryStreamExt;
use serde_json::json;

const MIB: u64 = 1024 * 1024;
const SIZE: u64 = 1024 * MIB;
/// A gibibyte is written and read three times, beside other stories.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn one_line_of_a_gibibyte_without_an_end_is_archived_whole_in_bounded_memory() {
    let script = format!("head -c {SIZE} /dev/zero | tr '\\0' 'x'");
    let mut setting = Setting::new(Backend::Local).with_processes(&process_yaml("talks", &script));
    setting.store = StoreChoice::Versitygw;
    tell("large-log", setting, async |story| {
        let job = story.submit("talks", json!({})).await?;
        let status = wait_until("the log is archived", PATIENCE, || async {
            let status = story.status(&job).await?;
            ensure!(status["status"] != "accepted" && status["status"] != "running", "{status}");
            Ok(status)
        })
        .await?;
        assert_eq!(status["status"], "successful", "{status}");
        let manifest = story.manifest(&job).await?;
        assert_eq!(manifest.containers.iter().map(|container| container.size).sum::<u64>(), SIZE);
        let key = manifest.record.archive.key.context("no archive")?;
        let content = story.stack.objects()?.get_stream(&key).await?.context("no archive object")?;
        let (size, mut bytes) = (content.size, content.stream);
        let heading = manifest.containers[0].start;
        assert_eq!(size, heading + SIZE);
        let (mut read, mut other) = (0_u64, 0_usize);
        while let Some(chunk) = bytes.try_next().await? {
            let skip = usize::try_from(heading.saturating_sub(read))?.min(chunk.len());
            other += chunk[skip..].iter().filter(|byte| **byte != b'x').count();
            read += chunk.len() as u64;
        }
        assert_eq!((read, other), (size, 0));
        little_memory(story)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_any_kind_and_millions_of_lines_are_archived_whole_in_bounded_memory() {
    const ZEROS: usize = 20 * 1024 * 1024;
    const LINES: usize = 2 * 1024 * 1024;
    let script = format!(
        "head -c {ZEROS} /dev/zero\nhead -c {LINES} /dev/zero | tr '\\0' '\\n'\nhead -c {ZEROS} /dev/zero | tr '\\0' '\\377'"
    );
    tell("strange-log", Setting::new(Backend::Local).with_processes(&process_yaml("talks", &script)), async |story| {
        let job = story.submit("talks", json!({})).await?;
        let status = story.wait_done(&job).await?;
        assert_eq!(status["status"], "successful", "{status}");
        let manifest = story.manifest(&job).await?;
        ensure!(manifest.gaps.is_empty(), "{:?}", manifest.gaps);
        let key = manifest.record.archive.key.context("no archive")?;
        let archive = story.stack.objects()?.get(&key, 100 * MIB).await?.context("no archive object")?;
        let log = &archive[usize::try_from(manifest.containers[0].start)?..];
        ensure!(log.len() == 2 * ZEROS + LINES, "{} bytes", log.len());
        for (part, byte) in [(&log[..ZEROS], 0), (&log[ZEROS..ZEROS + LINES], b'\n'), (&log[ZEROS + LINES..], 0xff)] {
            ensure!(part.iter().all(|found| *found == byte), "not all bytes are {byte}");
        }
        little_memory(story)
    })
    .await;
}

/// That the finalizer used little memory at its peak.
fn little_memory(story: &mut Story) -> Result<()> {
    let pid = story.stack.service(Service::Finalizer, 0)?.program.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    let peak: u64 = peak.trim().trim_end_matches(" kB").trim().parse()?;
    ensure!(peak * 1024 < 96 * MIB, "the finalizer used {peak} kB at its peak");
    Ok(())
}
