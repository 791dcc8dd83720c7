//! The table, for people and as JSON.

use std::{fmt, fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// One row.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    /// What was measured.
    pub(super) name: String,
    /// Ours ÷ the peer's, or ÷ the limit.
    pub(super) ratio: f64,
    /// What it should be.
    pub(super) aim: Option<Aim>,
    /// Our raw number, with its unit.
    pub(super) ours: String,
    /// The peer's raw number, with its unit and who the peer is.
    pub(super) peer: String,
    /// What was so in this figure and need not be so in others.
    pub(super) setting: String,
    /// Every number behind it.
    pub(super) numbers: Value,
}

/// What a figure should be; reported, not enforced.
#[derive(Debug, Serialize)]
pub(super) struct Aim {
    pub(super) text: String,
    pub(super) met: bool,
}

impl Aim {
    /// The ratio, or whatever `value` is, should be this or more.
    pub(super) fn at_least(limit: f64, value: f64) -> Self {
        Self { text: format!("≥ {limit}"), met: value >= limit }
    }

    /// The ratio should be this or less.
    pub(super) fn at_most(limit: f64, value: f64) -> Self {
        Self { text: format!("≤ {limit}"), met: value <= limit }
    }

    /// Another number than the ratio should be this or less.
    pub(super) fn raw_at_most(what: &str, limit: f64, unit: &str, value: f64) -> Self {
        Self { text: format!("{what} ≤ {limit}{unit}"), met: value <= limit }
    }
}

/// What was so in the whole run.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    started: Timestamp,
    seconds: u64,
    build: &'static str,
    quick: bool,
    partial: bool,
    processors: usize,
    /// Runnable processes in the last minute, at the start and at the end: others use the machine too.
    load: [f64; 2],
    nats: &'static str,
    store: &'static str,
    services: &'static str,
}

impl Run {
    /// A run that starts now.
    pub(super) fn now(quick: bool, partial: bool) -> Self {
        Self {
            started: Timestamp::now(),
            seconds: 0,
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            quick,
            partial,
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            load: [load(), 0.0],
            nats: "one nats-server, file storage, sync_interval: always (an fsync before each ack)",
            store: "s3s-fs inside the bench's own process",
            services: "one of each, their settings as shipped",
        }
    }
}

/// The load average of the last minute; 0 where it can't be had.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// All rows.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    run: Run,
    figures: Vec<Figure>,
}

impl Report {
    /// An empty one.
    pub(super) fn new(run: Run) -> Self {
        Self { run, figures: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// True while nothing was measured.
    pub(super) fn is_empty(&self) -> bool {
        self.figures.is_empty()
    }

    /// Notes how long all of it took.
    pub(super) fn finish(&mut self, took: Duration) {
        self.run.seconds = took.as_secs();
        self.run.load[1] = load();
    }

    /// Writes it as JSON.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text).with_context(|| format!("{} can't be written", file.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { started, seconds, build, quick, partial, processors, load, nats, store, services } = &self.run;
        let size = if *quick { ", small numbers (--quick)" } else { "" };
        let part = if *partial { ", not all figures" } else { "" };
        writeln!(
            out,
            "\n{build} build{size}{part}; {started:.0}, {seconds} s; {processors} processors, load {load:?}"
        )?;
        writeln!(out, "NATS: {nats}\nS3: {store}\nservices: {services}\n")?;
        let mut rows = vec![["figure", "ratio", "aim", "", "ours", "peer", "setting"].map(str::to_owned)];
        rows.extend(self.figures.iter().map(cells));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 7] = std::array::from_fn(width);
        for (number, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(widths).map(|(text, width)| format!("{text:<width$}"));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
            if number == 0 {
                writeln!(out, "{}", widths.map(|width| "-".repeat(width)).join("  ").trim_end())?;
            }
        }
        Ok(())
    }
}

fn cells(figure: &Figure) -> [String; 7] {
    let ratio = if figure.ratio < 10.0 { format!("{:.2}", figure.ratio) } else { format!("{:.0}", figure.ratio) };
    let (aim, met) = match &figure.aim {
        Some(Aim { text, met: true }) => (text.clone(), "met"),
        Some(Aim { text, met: false }) => (text.clone(), "missed"),
        None => (String::new(), ""),
    };
    let Figure { name, ours, peer, setting, .. } = figure;
    [name.clone(), ratio, aim, met.to_owned(), ours.clone(), peer.clone(), setting.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_figure_under_straight_columns() {
        let mut report = Report::new(Run::now(true, false));
        for (name, ratio) in [("short", 0.5), ("a longer name", 12.3)] {
            report.add(Figure {
                name: name.to_owned(),
                ratio,
                aim: Some(Aim::at_least(0.45, ratio)),
                ours: "ours".to_owned(),
                peer: "peer".to_owned(),
                setting: String::new(),
                numbers: Value::Null,
            });
        }
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("figure")).collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[2], "short          0.50   ≥ 0.45  met  ours  peer");
        assert!(lines[3].starts_with("a longer name  12     ≥ 0.45  met"), "{text}");
    }
}
