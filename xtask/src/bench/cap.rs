//! Many more jobs than may be live, through two dispatchers: how many the API server had at one time.

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};
use end_to_end::{cluster::ControllerLimits, live_jobs::LiveJobs, tools::Tools};
use futures::{StreamExt, TryStreamExt, stream};
use protocol::JobId;
use serde_json::json;

use super::{
    bed::{Bed, within},
    events::Events,
    jobs::{AT_ONCE, limit, number},
    report::{Aim, Figure, Report},
    say,
};

const DISPATCHERS: usize = 2;

/// Executes all of them, and adds the row.
pub(super) async fn measure(
    work: &Path,
    tools: &Tools,
    (count, cap): (usize, usize),
    report: &mut Report,
) -> Result<()> {
    let variables = [("QUAYSIDE_DISPATCHER__MAX_LIVE", cap.to_string())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let raised = ControllerLimits::Raised;
    let bed = Bed::with_dispatchers(work, raised, false, DISPATCHERS, &variables, tools).await?;
    say(&format!("{count} executions, {cap} of them live at one time"));
    let live = LiveJobs::watch(bed.admin(), bed.ours.name());
    let events = Events::listen(&bed.stack.nats.url()).await?;
    let started = Instant::now();
    let submitting = stream::iter(0..count).map(|_| bed.gateway.submit()).buffer_unordered(AT_ONCE).try_collect();
    let jobs: Vec<JobId> = within(limit(count), "the requests", submitting).await?;
    events.successful(&jobs, limit(count)).await?;
    let done = started.elapsed();
    bed.wait_quiet().await?;
    let (made, most) = (live.made(), live.most(|_| true));
    for job in &jobs {
        let uids = made.get(&job.to_string()).map_or(0, Vec::len);
        ensure!(uids == 1, "{job} had {uids} Jobs");
    }
    ensure!(most <= cap, "{most} Jobs were live at one time, {cap} may be");
    let ratio = number(most) / number(cap);
    report.add(Figure {
        name: format!("live Jobs at one time, {count} executions"),
        ratio,
        aim: Some(Aim::at_most(1.0, ratio)),
        ours: format!("{most}, {:.2}/s to sealed", number(count) / done.as_secs_f64()),
        peer: format!("{cap} that may be live"),
        setting: format!("{DISPATCHERS} dispatchers, raised controllers, as the API server's own watch tells"),
        numbers: json!({ "jobs": count, "cap": cap, "most": most, "done_seconds": done.as_secs_f64() }),
    });
    bed.stop().await
}
