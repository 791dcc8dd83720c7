//! Executions until they are sealed, beside the same Jobs applied bare.

use std::time::{Duration, Instant};

use anyhow::Result;
use end_to_end::cluster::ControllerLimits;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use protocol::{Event, JobId};
use serde_json::{Value, json};

use super::{
    Sizes,
    bare::{self, Template},
    bed::{Bed, within},
    cpu::Used,
    events::Events,
    report::{Aim, Figure, Report},
    say,
    statistics::median,
};

/// Requests under way at one time, of either client.
pub(super) const AT_ONCE: usize = 32;

const AIM: f64 = 0.95;

/// The way of a job that ends well.
const STEPS: [Event; 5] = [Event::Accepted, Event::Launching, Event::Running, Event::Ended, Event::Successful];

/// One batch of jobs.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// Until the last was taken.
    pub(super) submitted: Duration,
    /// Until the last was done.
    pub(super) done: Duration,
    /// Until no pod was held and all Jobs were complete, seen once a second.
    pub(super) quiet: Duration,
    /// Until the last had taken each step, in seconds.
    pub(super) steps: Value,
    /// Processor time until it was quiet, of each process, in milliseconds a job.
    pub(super) processor: Value,
}

/// Batches of either kind.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Executions.
    pub(super) ours: Vec<Batch>,
    /// Bare Jobs.
    pub(super) bare: Vec<Batch>,
}

/// How long so many jobs may take, even with stock controllers on a busy machine.
pub(super) fn limit(count: usize) -> Duration {
    Duration::from_secs(120) + Duration::from_secs(1) * u32::try_from(count).unwrap_or(u32::MAX)
}

/// Executes `count` times, and waits until a subscriber has heard that all are successful, which is only told once
/// everything is stored. Returns when the cluster is quiet again.
pub(super) async fn executions(bed: &Bed, count: usize) -> Result<Batch> {
    let events = Events::listen(&bed.stack.nats.url()).await?;
    let before = Used::by(bed)?;
    let (started, began) = (Instant::now(), Timestamp::now());
    let submitting = stream::iter(0..count).map(|_| bed.gateway.submit()).buffer_unordered(AT_ONCE).try_collect();
    let jobs: Vec<JobId> = within(limit(count), "the requests", submitting).await?;
    let submitted = started.elapsed();
    events.successful(&jobs, limit(count)).await?;
    let done = started.elapsed();
    let last = |event| Some(events.last(&jobs, event)?.duration_since(began).as_secs_f64());
    let steps = STEPS.map(|event| (event.as_str().to_owned(), json!(last(event))));
    let steps = Value::Object(steps.into_iter().collect());
    bed.wait_quiet().await?;
    let quiet = started.elapsed();
    Ok(Batch { submitted, done, quiet, steps, processor: Used::by(bed)?.since(&before, number(count)) })
}

/// The rounds after the first; who begins alternates, as what is done already slows the cluster down.
pub(super) async fn more_rounds(bed: &Bed, template: &Template, sizes: &Sizes, rounds: &mut Rounds) -> Result<()> {
    for round in 2..=sizes.jobs_rounds {
        say(&format!("round {round} of {}: {} jobs of each kind", sizes.jobs_rounds, sizes.jobs));
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                rounds.bare.push(bare::apply(bed, template, sizes.jobs).await?);
            } else {
                rounds.ours.push(executions(bed, sizes.jobs).await?);
            }
        }
    }
    Ok(())
}

/// Adds the row.
pub(super) fn report(rounds: &Rounds, count: usize, controllers: ControllerLimits, report: &mut Report) {
    let rate =
        |batches: &[Batch]| median(&batches.iter().map(|batch| per_second(count, batch.done)).collect::<Vec<_>>());
    let (ours, bare) = (rate(&rounds.ours), rate(&rounds.bare));
    let ratio = ours / bare;
    let controllers = match controllers {
        ControllerLimits::Stock => "stock",
        ControllerLimits::Raised => "raised",
    };
    let seconds = |batches: &[Batch]| -> Vec<Value> {
        let one = |batch: &Batch| {
            let Batch { submitted, done, quiet, steps, processor } = batch;
            let [submitted, done, quiet] = [submitted, done, quiet].map(Duration::as_secs_f64);
            json!({
                "submitted": submitted, "done": done, "quiet": quiet, "last_reached": steps,
                "processor_ms_a_job": processor,
            })
        };
        batches.iter().map(one).collect()
    };
    report.add(Figure {
        name: format!("{count} executions to sealed, {controllers} controllers"),
        ratio,
        aim: Some(Aim::at_least(AIM, ratio)),
        ours: format!("{ours:.2}/s"),
        peer: format!("{bare:.2}/s bare Jobs to Complete"),
        setting: match rounds.ours.len() {
            1 => format!("{AT_ONCE} clients, one batch of each"),
            several => format!("{AT_ONCE} clients, {several} batches of each in turns, medians"),
        },
        numbers: json!({
            "jobs": count, "controllers": controllers, "clients": AT_ONCE,
            "ours_seconds": seconds(&rounds.ours), "bare_seconds": seconds(&rounds.bare),
        }),
    });
}

fn per_second(count: usize, time: Duration) -> f64 {
    number(count) / time.as_secs_f64()
}

/// A count, to reckon with.
pub(super) fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
