//! Places where a test may have a process die at exactly the worst moment, or stand still there.
//!
//! `QUAYSIDE_FAILPOINT=<name>` aborts the process the first time it reaches the place of that name, as `kill -9` would;
//! `QUAYSIDE_FAILPOINT=stop:<name>` stops it there as `kill -STOP` would, until it is continued. Without the variable a
//! place costs one look at a value read once.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Signal, getpid, kill_process};
use tracing::warn;

static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
static REACHED: AtomicBool = AtomicBool::new(false);

/// Dies or stops here when the environment names this place.
pub fn reach(place: &str) {
    let Some(chosen) = CHOSEN.get_or_init(|| std::env::var("QUAYSIDE_FAILPOINT").ok()) else { return };
    let (signal, name) = match chosen.strip_prefix("stop:") {
        Some(name) => (Signal::STOP, name),
        None => (Signal::KILL, chosen.as_str()),
    };
    if name == place && !REACHED.swap(true, Ordering::SeqCst) {
        warn!(place, "failpoint reached");
        if let Err(error) = kill_process(getpid(), signal) {
            warn!(%error, "the failpoint could not send its signal");
        } else if signal == Signal::STOP {
            wait_for_standstill();
        }
    }
}

/// Another thread may be the one that takes the signal, and stops this one a moment later: goes on only once a jump in
/// time shows that the process stood still.
fn wait_for_standstill() {
    const JUMP: Duration = Duration::from_secs(1);
    const LIMIT: Duration = Duration::from_secs(10);
    let begin = Instant::now();
    let mut last = begin;
    while last.elapsed() < JUMP && begin.elapsed() < LIMIT {
        last = Instant::now();
        std::thread::yield_now();
    }
}
