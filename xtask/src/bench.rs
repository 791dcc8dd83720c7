//! `cargo xtask bench`: what Quayside does in a second, beside what a plain client of the same servers does in it.
//!
//! Every figure is a ratio to a peer, or to a limit, measured in the same run: machines differ, ratios less so.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use end_to_end::{
    cluster::ControllerLimits,
    services,
    tools::{self, Tool, Tools, target_directory, workspace_directory},
};

use self::{
    bed::Bed,
    report::{Report, Run},
};
use crate::{interrupt::interrupted, lock};

mod accepts;
mod audit;
mod bare;
mod bed;
mod cap;
mod cpu;
mod events;
mod gateway;
mod jobs;
mod latency;
mod lists;
mod logs;
mod memory;
mod report;
mod statistics;

/// What can be asked of `bench`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Small numbers, to see that all of it works: about two minutes. The ratios say little then.
    #[arg(long)]
    quick: bool,
    /// Measures only this.
    #[arg(long, value_enum)]
    only: Option<Topic>,
    /// Measures the services as this build has them, instead of building them, and this command, for release first.
    #[arg(long)]
    debug_build: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Topic {
    /// Durable accepts a second, beside plain JetStream publishes.
    Accepts,
    /// Executions until they are sealed, beside the same Jobs applied bare.
    Jobs,
    /// From a pod's end in Kubernetes to its job's status, beside a plain watch.
    Latency,
    /// Memory of each service, idle and after executions.
    Memory,
    /// Kubernetes requests for each job.
    Requests,
    /// A page of the list of jobs out of many, beside one out of few.
    Lists,
    /// Live jobs at one time out of many that wait, beside how many may be.
    Cap,
    /// A log that is printed as fast as can be: lines a second, and what they take of a finalizer's memory.
    Logs,
}

/// How much of everything.
#[derive(Clone, Debug)]
struct Sizes {
    accept_rounds: usize,
    accept_time: Duration,
    jobs: usize,
    jobs_rounds: usize,
    stock_jobs: usize,
    latency_jobs: usize,
    listed_jobs: usize,
    /// Jobs, and how many of them may be live at one time.
    capped_jobs: (usize, usize),
    log_lines: usize,
    settle: Duration,
}

impl Sizes {
    const FULL: Self = Self {
        accept_rounds: 5,
        accept_time: Duration::from_secs(3),
        jobs: 500,
        jobs_rounds: 3,
        stock_jobs: 500,
        latency_jobs: 100,
        listed_jobs: 100_000,
        capped_jobs: (2000, 200),
        log_lines: 20_000_000,
        settle: Duration::from_secs(5),
    };
    const QUICK: Self = Self {
        accept_rounds: 3,
        accept_time: Duration::from_millis(700),
        jobs: 40,
        jobs_rounds: 1,
        stock_jobs: 20,
        latency_jobs: 12,
        listed_jobs: 10_000,
        capped_jobs: (200, 20),
        log_lines: 1_000_000,
        settle: Duration::from_secs(2),
    };
}

/// Measures, prints the table, and writes it as JSON. What was measured before a failure or Ctrl-C is shown too.
///
/// # Errors
/// When a server or service can't be started, a job fails, or something takes far too long.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    if cfg!(debug_assertions) && !arguments.debug_build {
        return Err(in_release());
    }
    let folder = target_directory().join("quayside-bench");
    // One bench a folder, and better one a machine.
    let _lock = lock::take(&folder, "bench", "wait for it, or stop it")?;
    let mut report = Report::new(Run::now(arguments.quick, arguments.only.is_some()));
    let started = Instant::now();
    let work = folder.join("work");
    let outcome = tokio::select! {
        outcome = measure(&arguments, &work, &mut report) => outcome,
        // Everything that was started ends with the dropped future.
        outcome = interrupted() => outcome,
    };
    if !report.is_empty() {
        let file = folder.join("report.json");
        report.finish(started.elapsed());
        report.write(&file)?;
        println!("{report}\nas JSON: {}", file.display());
    }
    outcome
}

async fn measure(arguments: &Arguments, work: &Path, report: &mut Report) -> Result<()> {
    let sizes = if arguments.quick { Sizes::QUICK } else { Sizes::FULL };
    let asked = |topic| arguments.only.is_none_or(|only| only == topic);
    if asked(Topic::Lists) {
        say(&format!("pages out of {} jobs", sizes.listed_jobs));
        lists::measure(sizes.listed_jobs, report)?;
    }
    if arguments.only == Some(Topic::Lists) {
        return Ok(());
    }
    services::build(&say).await?;
    let tools = tools::require(&[Tool::NatsServer], &say).await?;
    clear(work)?;
    if asked(Topic::Accepts) {
        accepts::measure(&work.join("accepts"), &tools, &sizes, report).await?;
    }
    if asked(Topic::Logs) {
        logs::measure(&work.join("logs"), &tools, sizes.log_lines, report).await?;
    }
    if [Topic::Jobs, Topic::Latency, Topic::Memory, Topic::Requests].into_iter().any(asked) {
        on_raised(&work.join("raised"), &tools, &sizes, &asked, report).await?;
    }
    if asked(Topic::Cap) {
        cap::measure(&work.join("cap"), &tools, sizes.capped_jobs, report).await?;
    }
    if asked(Topic::Jobs) {
        on_stock(&work.join("stock"), &tools, &sizes, report).await?;
    }
    clear(work)
}

/// All that needs a cluster, with its controllers out of the way.
async fn on_raised(
    work: &Path,
    tools: &Tools,
    sizes: &Sizes,
    asked: &impl Fn(Topic) -> bool,
    report: &mut Report,
) -> Result<()> {
    let is_audited = asked(Topic::Requests) || asked(Topic::Latency);
    let mut bed = Bed::start(work, ControllerLimits::Raised, is_audited, tools).await?;
    tokio::time::sleep(sizes.settle).await;
    let idle = memory::of(&mut bed.stack)?;
    let template = bed.warm_up().await?;
    let mut rounds = jobs::Rounds::default();
    if asked(Topic::Jobs) || asked(Topic::Memory) || asked(Topic::Requests) {
        let before = audit::mark(&bed)?;
        say(&format!("{} executions", sizes.jobs));
        rounds.ours.push(jobs::executions(&bed, sizes.jobs).await?);
        let ours = audit::since(&bed, before)?;
        if asked(Topic::Memory) {
            tokio::time::sleep(sizes.settle).await;
            memory::report(&idle, &memory::of(&mut bed.stack)?, sizes.jobs, report);
        }
        if asked(Topic::Jobs) || asked(Topic::Requests) {
            let before = audit::mark(&bed)?;
            say(&format!("{} bare Jobs", sizes.jobs));
            rounds.bare.push(bare::apply(&bed, &template, sizes.jobs).await?);
            if asked(Topic::Requests) {
                audit::report(&ours, &audit::since(&bed, before)?, sizes.jobs, report);
            }
        }
    }
    if asked(Topic::Jobs) {
        jobs::more_rounds(&bed, &template, sizes, &mut rounds).await?;
        jobs::report(&rounds, sizes.jobs, ControllerLimits::Raised, report);
    }
    if asked(Topic::Latency) {
        latency::measure(&bed, sizes.latency_jobs, report).await?;
    }
    bed.stop().await
}

/// The same jobs with the controllers as Kubernetes ships them.
async fn on_stock(work: &Path, tools: &Tools, sizes: &Sizes, report: &mut Report) -> Result<()> {
    let bed = Bed::start(work, ControllerLimits::Stock, false, tools).await?;
    let template = bed.warm_up().await?;
    let mut rounds = jobs::Rounds::default();
    say(&format!("{} executions, stock controllers", sizes.stock_jobs));
    rounds.ours.push(jobs::executions(&bed, sizes.stock_jobs).await?);
    say(&format!("{} bare Jobs, stock controllers", sizes.stock_jobs));
    rounds.bare.push(bare::apply(&bed, &template, sizes.stock_jobs).await?);
    jobs::report(&rounds, sizes.stock_jobs, ControllerLimits::Stock, report);
    bed.stop().await
}

/// Becomes the same command in the release profile; returns only if that can't be.
fn in_release() -> anyhow::Error {
    say("building for release, which takes minutes the first time; --debug-build measures what is there");
    let error = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace_directory())
        .args(["run", "--release", "--package", "xtask", "--"])
        .args(std::env::args_os().skip(1))
        .exec();
    anyhow::Error::new(error).context("cargo can't be started; install Rust from rustup.rs")
}

fn clear(work: &Path) -> Result<()> {
    match fs::remove_dir_all(work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} can't be removed", work.display()))
        }
        _ => Ok(()),
    }
}

/// One line about what is being done; the table alone goes to the standard output.
fn say(line: &str) {
    eprintln!("- {line}");
}
