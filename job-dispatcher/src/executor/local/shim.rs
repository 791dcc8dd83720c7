//! The shim: watches over one process. It has a session of its own, so that it outlives the dispatcher and is not met by
//! signals for the terminal; it frames the output, kills what the process leaves behind, and writes how it ended.
//!
//! Nothing it runs can get away: what loses its parent becomes its child (`PR_SET_CHILD_SUBREAPER`), and a child's id is
//! not given again before the shim has asked for its end.

mod output;

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use jiff::Timestamp;
use protocol::local::{
    EXIT_CODE_LOST, EXIT_CODE_START_ERROR, Exit, Folder, REASON_COMPLETED, REASON_ERROR, REASON_START_ERROR, Run, Shim,
    Started,
};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, set_child_subreaper, setsid, wait,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, sleep_until},
};

use self::output::Outputs;
use super::{
    LocalError,
    files::{self, Level},
    processes::{Process, boot_id},
    settle::settle,
};

/// How long a process may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How long what a process left behind may take to die, and its output to end. Only a process that hangs in the kernel
/// takes it.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// Pause between two rounds of killing.
const PAUSE: Duration = Duration::from_millis(10);
/// How long another owner may have the folder's lock: longer, and it is another shim.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Runs the process of a folder to its end. The dispatcher's program does this, and nothing else, when it is called with
/// [`super::SHIM_SUBCOMMAND`].
pub fn shim_main(folder: &Path) -> ExitCode {
    match run(&Folder::at(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", platform::telemetry::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Folder) -> Result<(), LocalError> {
    setsid().map_err(|error| cannot("have a session of its own")(error.into()))?;
    set_child_subreaper(Some(getpid())).map_err(|error| cannot("adopt what loses its parent")(error.into()))?;
    let Some(level) = Level::read(folder)? else { return Ok(()) };
    let Some(lock) = lock(folder, &level.job.uid)? else { return Ok(()) };
    let level = Level::read(folder)?;
    // Where there was a shim, the process may have been started: never twice.
    if let Some(level) = level.filter(|level| level.shim.is_none() && level.exit.is_none()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let exit = runtime.map_err(cannot("run"))?.block_on(supervise(folder, &level))?;
        write_at_last(folder, &exit);
        files::remove(&folder.run())?;
    }
    drop(lock);
    settle(folder).map(drop)
}

fn cannot(what: &'static str) -> impl FnOnce(io::Error) -> LocalError {
    move |source| LocalError::InShim { what, source }
}

fn lock(folder: &Folder, uid: &str) -> Result<Option<std::fs::File>, LocalError> {
    let end = std::time::Instant::now() + LOCK_WAIT;
    loop {
        let lock = files::lock(folder, uid)?;
        if lock.is_some() || std::time::Instant::now() > end {
            return Ok(lock);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The exit must be told: a full disk is waited for, a folder that was removed by force is not.
fn write_at_last(folder: &Folder, exit: &Exit) {
    while files::write(&folder.exit(), exit).is_err() && folder.path().exists() {
        std::thread::sleep(Duration::from_secs(1));
    }
}

async fn supervise(folder: &Folder, level: &Level) -> Result<Exit, LocalError> {
    // Before the first can come.
    let mut stop = signal(SignalKind::terminate()).map_err(cannot("hear signals"))?;
    let mut child_ended = signal(SignalKind::child()).map_err(cannot("hear signals"))?;
    let uid = level.job.uid.clone();
    let own = Process::of(getpid().as_raw_pid()).ok_or(io::ErrorKind::NotFound.into()).map_err(cannot("see itself"))?;
    let boot_id = boot_id().map_err(cannot("tell this boot"))?;
    files::write(&folder.shim(), &Shim { uid: uid.clone(), pid: own.pid, start_ticks: own.start_ticks, boot_id })?;
    // From here on it can be asked to stop.
    if Level::read(folder)?.is_none_or(|level| level.deleted) {
        let message = "the job was deleted before it was started".to_owned();
        return Ok(Exit { message: Some(message), ..exit(uid, None, EXIT_CODE_LOST, REASON_ERROR) });
    }
    let mut child = match start(folder) {
        Ok(child) => child,
        Err(message) => {
            return Ok(Exit { message: Some(message), ..exit(uid, None, EXIT_CODE_START_ERROR, REASON_START_ERROR) });
        }
    };
    let started = Timestamp::now();
    // Without it the job is told as started when it has ended.
    files::write(&folder.started(), &Started { uid: uid.clone(), started }).ok();
    files::remove(&folder.run()).ok();

    let mut outputs = Outputs::new(&folder.log(), &mut child).map_err(cannot("read the process's output"))?;
    let mut family = Family { main: Pid::from_child(&child), status: None, is_gone: false };
    let mut kill_at = None;
    let mut give_up_at = None;
    loop {
        let is_killing = give_up_at.is_some();
        tokio::select! {
            () = outputs.copy_some() => {}
            _ = child_ended.recv() => {}
            _ = stop.recv() => {
                family.ask_to_stop();
                kill_at.get_or_insert(Instant::now() + GRACE);
            }
            () = until(kill_at), if !is_killing => {}
            () = sleep(PAUSE), if is_killing => {}
        }
        family.reap();
        let is_time = kill_at.is_some_and(|time| Instant::now() >= time);
        if family.status.is_some() || is_time {
            give_up_at.get_or_insert(Instant::now() + LAST_WAIT);
            family.kill();
        }
        let is_hanging = family.status.is_some() && give_up_at.is_some_and(|time| Instant::now() >= time);
        if is_hanging || (family.is_gone && outputs.are_closed()) {
            break;
        }
    }
    let log_gap = outputs.finish();
    Ok(Exit { log_gap, ..ended(uid, started, family.status) })
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Starts the process: its own process group, in the working folder, with the environment of the file and nothing else.
fn start(folder: &Folder) -> Result<Child, String> {
    let run = files::read::<Run>(&folder.run()).map_err(|error| platform::telemetry::chain(&error))?;
    let Run { uid: _, command, environment } = run.ok_or("what is to be run is missing")?;
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir(folder.work())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("the program {program:?} is not found"),
            io::ErrorKind::ArgumentListTooLong => {
                "command and environment together are longer than this machine takes".to_owned()
            }
            _ => format!("the program {program:?} can't be started: {error}"),
        })
}

/// The process and all that descend from it.
struct Family {
    main: Pid,
    status: Option<WaitStatus>,
    is_gone: bool,
}

impl Family {
    /// Asks the process, as a kubelet asks the first process of a container.
    fn ask_to_stop(&self) {
        if self.status.is_none() {
            kill_process_group(self.main, Signal::TERM).ok();
        }
    }

    /// Takes the ends of all children that ended.
    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.status = Some(status),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return,
                Err(_) => {
                    self.is_gone = true;
                    return;
                }
            }
        }
    }

    /// Kills all children. Theirs then become ours, and are met by the next round.
    fn kill(&self) {
        if self.is_gone {
            return;
        }
        let own = getpid().as_raw_pid();
        let all = Process::all().unwrap_or_default();
        for child in all.into_iter().filter(|process| process.parent == own && !process.is_over) {
            if let Some(pid) = Pid::from_raw(child.pid) {
                kill_process(pid, Signal::KILL).ok();
            }
        }
    }
}

fn ended(uid: String, started: Timestamp, status: Option<WaitStatus>) -> Exit {
    let code = status.and_then(WaitStatus::exit_status);
    let signal = status.and_then(WaitStatus::terminating_signal);
    let exit_code = code.or(signal.map(|number| 128 + number)).unwrap_or(EXIT_CODE_LOST);
    let reason = if exit_code == 0 { REASON_COMPLETED } else { REASON_ERROR };
    let message = signal.map(|number| format!("killed by signal {number}"));
    Exit { signal, message, ..exit(uid, Some(started), exit_code, reason) }
}

fn exit(uid: String, started: Option<Timestamp>, exit_code: i32, reason: &str) -> Exit {
    Exit {
        uid,
        exit_code,
        signal: None,
        reason: reason.to_owned(),
        message: None,
        started,
        finished: Timestamp::now(),
        log_gap: None,
    }
}
