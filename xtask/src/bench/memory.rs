//! Memory of the services.

use std::fs;

use anyhow::{Context, Result};
use end_to_end::{services::Service, stack::Stack};
use serde_json::json;

use super::report::{Aim, Figure, Report};

/// What each service may take when idle.
const LIMIT_MIB: f64 = 60.0;

/// Memory of one process, in MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory {
    /// All that is resident, pages of the program's file included.
    resident: f64,
    /// What of it belongs to no file.
    anonymous: f64,
    /// The most that was resident so far.
    pub(super) peak: f64,
}

/// Memory of each service now.
pub(super) fn of(stack: &mut Stack) -> Result<Vec<(Service, Memory)>> {
    stack
        .services()
        .map(|(service, running)| {
            let file = format!("/proc/{}/status", running.program.pid());
            let text = fs::read_to_string(&file).with_context(|| format!("{} is gone", service.name()))?;
            Ok((service, parse(&text).with_context(|| format!("unexpected form of {file}"))?))
        })
        .collect()
}

/// What of this process's own memory belongs to no file.
pub(super) fn own_anonymous_mib() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/status").context("this process can't see itself")?;
    Ok(parse(&text).context("unexpected form of /proc/self/status")?.anonymous)
}

fn parse(status: &str) -> Option<Memory> {
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
    };
    Some(Memory { resident: mib("VmRSS")?, anonymous: mib("RssAnon")?, peak: mib("VmHWM")? })
}

/// Adds two rows for each service.
pub(super) fn report(idle: &[(Service, Memory)], after: &[(Service, Memory)], jobs: usize, report: &mut Report) {
    let mut add = |service: Service, when: &str, memory: Memory, is_aimed_at: bool| {
        let ratio = memory.resident / LIMIT_MIB;
        report.add(Figure {
            name: format!("memory of {}, {when}", service.name()),
            ratio,
            aim: is_aimed_at.then(|| Aim::at_most(1.0, ratio)),
            ours: format!("{:.1} MiB", memory.resident),
            peer: format!("{LIMIT_MIB:.0} MiB, the limit when idle"),
            setting: format!("resident; {:.1} of it anonymous, peak {:.1}", memory.anonymous, memory.peak),
            numbers: json!({
                "resident_mib": memory.resident, "anonymous_mib": memory.anonymous, "peak_mib": memory.peak,
                "limit_mib": LIMIT_MIB,
            }),
        });
    };
    for (service, memory) in idle {
        add(*service, "idle", *memory, true);
    }
    for (service, memory) in after {
        add(*service, &format!("after {jobs} executions"), *memory, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_mebibytes() {
        let text = "Name:\tx\nVmHWM:\t   4096 kB\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\n";
        assert_eq!(parse(text), Some(Memory { resident: 2.0, anonymous: 1.0, peak: 4.0 }));
        assert_eq!(parse("Name:\tx\n"), None);
    }
}
