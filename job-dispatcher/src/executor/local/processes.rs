//! Processes, as `/proc` shows them (`proc_pid_stat(5)`). A process id alone says nothing: it is given again. With the
//! time at which the process started, and the machine's boot, it names one process.

use std::{fs, io, time::Duration};

use protocol::{JobId, local::Shim, names::environment};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Pause between two looks at what does not die.
const PAUSE: Duration = Duration::from_millis(10);
/// Looks at what does not die: with [`PAUSE`] some 5 seconds.
const ROUNDS: usize = 500;

/// What is known of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) session: i32,
    pub(super) start_ticks: u64,
    /// It ended, and its parent has not asked how yet.
    pub(super) is_over: bool,
}

impl Process {
    /// The process of that id; `None` when there is none.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// All processes.
    pub(super) fn all() -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
            found.extend(pid.and_then(Self::of));
        }
        Ok(found)
    }

    /// Reads `/proc/<pid>/stat`. The program's name, in parentheses, may hold anything.
    fn parse(stat: &[u8]) -> Option<Self> {
        let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
        let (before, after) =
            (std::str::from_utf8(stat.split(|byte| *byte == b' ').next()?).ok()?, &stat[end_of_name + 1..]);
        let fields: Vec<&str> = std::str::from_utf8(after).ok()?.split_ascii_whitespace().collect();
        Some(Self {
            pid: before.parse().ok()?,
            is_over: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }

    /// Sends a signal to this very process.
    fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        // The descriptor stands for one process for ever: what is seen after it was opened is true of that one.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if Self::of(self.pid).is_some_and(|now| now.start_ticks == self.start_ticks) {
            // It may have ended meanwhile, which is as good.
            pidfd_send_signal(&process, signal).ok();
        }
    }
}

/// Names the time since the machine was started last.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Asks a shim to end its process; nothing happens when it is gone.
pub(super) fn ask_to_stop(shim: &Shim) {
    let is_this_boot = boot_id().is_ok_and(|id| id == shim.boot_id);
    let process = Process::of(shim.pid).filter(|process| process.start_ticks == shim.start_ticks);
    if let (true, Some(process)) = (is_this_boot, process) {
        process.signal(Signal::TERM);
    }
}

/// Kills what a shim that is gone left running: all of its session, and what left that session but has the job's id in
/// its environment.
pub(super) fn kill_left_overs(shim: &Shim, job: &JobId) -> io::Result<()> {
    if boot_id()? != shim.boot_id {
        return Ok(());
    }
    let mark = format!("{}={job}", environment::JOB_ID);
    for _ in 0..ROUNDS {
        let mut left = Process::all()?;
        left.retain(|process| {
            !process.is_over
                && process.start_ticks >= shim.start_ticks
                && (process.session == shim.pid || has_variable(process.pid, &mark))
        });
        if left.is_empty() {
            return Ok(());
        }
        for process in left {
            process.signal(Signal::KILL);
        }
        std::thread::sleep(PAUSE);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "some processes do not end"))
}

fn has_variable(pid: i32, variable: &str) -> bool {
    // That of other users' processes can't be read: those are not ours.
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_can_hold_anything() {
        let stat = b"42 (a) R (\xff b) S 7 42 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1\n";
        let expected = Process { pid: 42, parent: 7, session: 41, start_ticks: 987_654, is_over: false };
        assert_eq!(Process::parse(stat), Some(expected));
        assert_eq!(Process::parse(b"42 (a"), None);
    }

    #[test]
    fn this_process_is_found_among_all() {
        let own = i32::try_from(std::process::id()).unwrap();
        let seen = Process::of(own).unwrap();
        assert!(!seen.is_over && seen.start_ticks > 0);
        assert!(Process::all().unwrap().contains(&seen));
    }

    #[test]
    fn a_reused_process_id_is_not_mistaken() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let (seen, boot_id) = (Process::of(pid).unwrap(), boot_id().unwrap());
        let shim = Shim { uid: String::new(), pid, start_ticks: seen.start_ticks - 1, boot_id };
        ask_to_stop(&shim);
        ask_to_stop(&Shim { start_ticks: seen.start_ticks, boot_id: "another".into(), ..shim.clone() });
        // A signal would have been delivered before kill, and told by the status.
        child.kill().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(9));
    }
}
