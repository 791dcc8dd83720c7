//! Processor time of everything that takes part, to see what a figure was limited by.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::bed::Bed;

/// Clock ticks a second in `/proc`: Linux shows all processes this constant (USER_HZ), whatever its own clock does.
const TICKS: f64 = 100.0;

/// Seconds that each process has used so far. The bench's own holds the S3 server and all clients.
#[derive(Debug)]
pub(super) struct Used(Vec<(String, f64)>);

impl Used {
    /// So far.
    pub(super) fn by(bed: &Bed) -> Result<Self> {
        let mut used = vec![("bench".to_owned(), seconds("self")?)];
        for (name, pid) in bed.processes() {
            used.push((name.to_owned(), seconds(&pid.to_string())?));
        }
        Ok(Self(used))
    }

    /// What was used since then, in milliseconds a job.
    pub(super) fn since(&self, before: &Self, jobs: f64) -> Value {
        let each = self.0.iter().zip(&before.0).map(|((name, now), (_, then))| {
            let milliseconds = (now - then) * 1000.0 / jobs;
            (name.clone(), json!((milliseconds * 10.0).round() / 10.0))
        });
        Value::Object(each.collect::<Map<_, _>>())
    }
}

fn seconds(pid: &str) -> Result<f64> {
    let file = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&file).with_context(|| format!("{file} can't be read"))?;
    parse(&text).with_context(|| format!("unexpected form of {file}"))
}

/// Time in the program and in the kernel, fields 14 and 15 (proc_pid_stat(5)); the name before them may hold anything.
fn parse(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    (ticks.len() == 2).then(|| ticks.iter().sum::<f64>() / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_program_and_kernel_is_added() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        assert_eq!(parse(stat), Some(2.0));
        assert_eq!(parse("7 (a) S"), None);
    }
}
