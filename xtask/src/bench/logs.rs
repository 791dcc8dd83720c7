//! A container that prints lines as fast as it can: how many a second it gets rid of, and how much memory the finalizer takes that
//! follows it.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    services::Service,
    stack::{ExecutorChoice, Stack},
    tools::Tools,
};
use protocol::{JobId, Manifest, names::objects};
use serde_json::json;

use super::{
    events::Events,
    gateway::{self, Gateway},
    jobs::number,
    memory,
    report::{Aim, Figure, Report},
    say,
};

/// What is printed, again and again.
const LINE: &str = "2026-01-31T12:00:00Z INFO tile 4711 of 90000: 12.5 km2, 17 lakes";

/// Lines a second that a log may have.
const LINES: f64 = 1_000_000.0;

/// MiB that a finalizer may have in memory at its peak, whatever the log does.
const PEAK_MIB: f64 = 96.0;

/// How long the job and the storing of its log may take.
const LIMIT: Duration = Duration::from_secs(900);

/// How large a manifest may be.
const MANIFEST: u64 = 1 << 23;

/// Runs one job that prints so many lines, and adds the rows.
pub(super) async fn measure(work: &Path, tools: &Tools, lines: usize, report: &mut Report) -> Result<()> {
    say(&format!("a log of {lines} lines"));
    let script = format!("yes '{LINE}' | head -n {lines}");
    let options = gateway::options_to_run(work, ExecutorChoice::Local, &script)?;
    let mut stack = Stack::start(options, tools, &say).await?;
    let events = Events::listen(&stack.nats.url()).await?;
    let job = Gateway::new(&stack.url(0))?.submit().await?;
    events.successful(&[job], LIMIT).await?;
    let manifest = manifest(&stack, &job).await?;
    let log = manifest.containers.first().context("the manifest names no log")?;
    let bytes = lines * (LINE.len() + 1);
    ensure!(manifest.gaps.is_empty(), "the log has gaps: {:?}", manifest.gaps);
    ensure!(log.size == u64::try_from(bytes)?, "the log has {} bytes instead of {bytes}", log.size);
    let (first, last) = log.first.zip(log.last).context("the manifest has no times")?;
    let printed = last.duration_since(first).as_secs_f64();
    let stored = manifest.written.duration_since(first).as_secs_f64();
    let rate = number(lines) / printed;
    report.add(Figure {
        name: format!("a log of {lines} lines, printed as fast as can be"),
        ratio: rate / LINES,
        aim: Some(Aim::at_least(1.0, rate / LINES)),
        ours: format!("{:.2} million lines/s, {:.0} MB/s", rate / 1e6, number(bytes) / printed / 1e6),
        peer: "1 million lines/s".to_owned(),
        setting: format!("local executor, by the times of the first and the last line; archived {stored:.1} s after the first"),
        numbers: json!({
            "lines": lines, "bytes": bytes, "printed_seconds": printed, "stored_seconds": stored, "followed": log.followed,
        }),
    });
    let memory = memory::of(&mut stack)?;
    let found = memory.iter().find(|(service, _)| *service == Service::Finalizer);
    let peak = found.context("no finalizer")?.1.peak;
    report.add(Figure {
        name: "memory of the finalizer that followed and archived it".to_owned(),
        ratio: peak / PEAK_MIB,
        aim: Some(Aim::at_most(1.0, peak / PEAK_MIB)),
        ours: format!("{peak:.1} MiB"),
        peer: format!("{PEAK_MIB:.0} MiB, the limit at the peak"),
        setting: "resident".to_owned(),
        numbers: json!({ "peak_mib": peak, "limit_mib": PEAK_MIB }),
    });
    stack.stop().await
}

async fn manifest(stack: &Stack, job: &JobId) -> Result<Manifest> {
    let store = stack.objects()?;
    let key = objects::manifest(store.prefix(), job);
    // It follows the last event.
    end_to_end::program::wait_until("the manifest", LIMIT, || async {
        let bytes = store.get(&key, MANIFEST).await?.with_context(|| format!("no object {key}"))?;
        Ok(serde_json::from_slice(&bytes)?)
    })
    .await
}
