//! A child process: its own process group, its output in a file, stopped by its own process id.

use std::{
    ffi::{OsStr, OsString},
    fs,
    future::Future,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::strays;

/// How long a dropped program may take to stop before it is killed.
const GRACE_ON_DROP: Duration = Duration::from_secs(3);

/// How often a condition is looked at while it is waited for.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// How much of a log an error shows.
const TAIL_BYTES: u64 = 4096;

/// What to start: program, arguments, environment, log file.
#[derive(Debug)]
#[must_use]
pub struct Launch {
    name: String,
    command: Command,
    log: PathBuf,
}

impl Launch {
    /// A program by its path; `name` is what messages call it. Standard output and standard error are appended to `log`.
    pub fn new(name: impl Into<String>, program: impl AsRef<OsStr>, log: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), command: Command::new(program), log: log.into() }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets variables of its environment.
    pub fn envs(mut self, variables: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>) -> Self {
        self.command.envs(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Starts from an empty environment instead of this process's own; variables set before are forgotten.
    pub fn env_clear(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// Sets its working folder.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Starts it. Must be called inside a tokio runtime.
    pub fn spawn(mut self) -> Result<Program> {
        if let Some(folder) = self.log.parent() {
            fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("{} can't be opened", self.log.display()))?;
        self.command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Also into an environment that was cleared.
        let is_told = self.command.as_std().get_envs().any(|(name, _)| name == strays::VARIABLE);
        if let Some(run) = std::env::var_os(strays::VARIABLE).filter(|_| !is_told) {
            self.command.env(strays::VARIABLE, run);
        }
        // Its own group, so that Ctrl-C at the terminal reaches only the command that started it.
        self.command.process_group(0);
        let (child, pid) = self.start()?;
        Ok(Program { launch: self, child, pid, detached: false })
    }

    fn start(&mut self) -> Result<(Child, i32)> {
        let child = self.command.spawn().with_context(|| format!("{} can't be started", self.name))?;
        let pid = child.id().context("a new process has no id")?;
        Ok((child, i32::try_from(pid)?))
    }
}

/// A running program, stopped when dropped.
#[derive(Debug)]
pub struct Program {
    launch: Launch,
    child: Child,
    pid: i32,
    detached: bool,
}

impl Program {
    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    /// Its process id, also after its end.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The file with its standard output and standard error.
    pub fn log(&self) -> &Path {
        &self.launch.log
    }

    /// What names this very process, for a file that outlives us.
    pub fn identity(&self) -> Result<ProcessIdentity> {
        ProcessIdentity::of(self.pid).with_context(|| format!("{} is gone", self.name()))
    }

    /// How it ended, or `None` while it runs.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Sends it a signal (STOP and CONT among them). An error when it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // Until it is reaped, which only `child` does, its process id can't belong to anybody else.
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended ({status})", self.name());
        }
        kill_process(pid(self.pid)?, signal).with_context(|| format!("{} can't be signalled", self.name()))
    }

    /// Asks it to end (TERM), and kills it when it has not after `grace`.
    pub async fn stop(&mut self, grace: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        match tokio::time::timeout(grace, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => self.kill().await,
        }
    }

    /// Ends it at once (KILL), as a crash would.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::KILL)?;
        self.wait().await
    }

    /// Starts it again as it was, once it has ended; its output is appended to the same log.
    pub fn start_again(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            bail!("{} runs", self.name());
        }
        (self.child, self.pid) = self.launch.start()?;
        Ok(())
    }

    /// Waits until `check` succeeds. Fails with the end of the log as soon as the program ends, and after `limit` with
    /// what `check` said last.
    pub async fn wait_ready<F, R>(&mut self, limit: Duration, mut check: F) -> Result<()>
    where
        F: FnMut() -> R,
        R: Future<Output = Result<()>>,
    {
        let mut last = None;
        let ready = async {
            loop {
                match check().await {
                    Ok(()) => return,
                    Err(error) => last = Some(error),
                }
                tokio::time::sleep(POLL_EVERY).await;
            }
        };
        tokio::select! {
            outcome = tokio::time::timeout(limit, ready) => if outcome.is_ok() {
                return Ok(());
            },
            status = self.child.wait() => bail!("{} ended ({}) before it was ready:\n{}", self.launch.name, status?, self.log_tail()),
        }
        let last = last.map_or_else(|| "no answer".to_owned(), |error| format!("{error:#}"));
        bail!("{} was not ready after {} s: {last}\n{}", self.launch.name, limit.as_secs(), self.log_tail())
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        tail(self.log()).unwrap_or_else(|error| format!("({} can't be read: {error})", self.log().display()))
    }

    /// Lets it run on when this value is dropped.
    pub fn detach(mut self) -> Result<ProcessIdentity> {
        self.detached = true;
        self.identity()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.detached || self.signal(Signal::TERM).is_err() {
            return;
        }
        let limit = Instant::now() + GRACE_ON_DROP;
        while Instant::now() < limit {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Tokio reaps it.
        self.child.start_kill().ok();
    }
}

/// Waits until `check` succeeds; after `limit` fails with what it said last.
pub async fn wait_until<F, R, T>(what: &str, limit: Duration, mut check: F) -> Result<T>
where
    F: FnMut() -> R,
    R: Future<Output = Result<T>>,
{
    let mut last = None;
    let ready = async {
        loop {
            match check().await {
                Ok(value) => return value,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    match tokio::time::timeout(limit, ready).await {
        Ok(value) => Ok(value),
        Err(_) => {
            let last = last.map_or_else(|| "no answer".to_owned(), |error| format!("{error:#}"));
            bail!("{what}: not within {} s: {last}", limit.as_secs())
        }
    }
}

/// A process named so that another one, which later got the same process id, is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
}

impl ProcessIdentity {
    /// The process that has this id now.
    pub fn of(pid: i32) -> Result<Self> {
        Ok(Self { pid, started: stat(pid)?.started })
    }

    /// Whether this very process runs. A zombie does not, once all its threads have ended.
    pub fn is_running(self) -> bool {
        stat(self.pid).is_ok_and(|now| now.started == self.started && (now.state != 'Z' || now.threads > 1))
    }

    /// Signals the process if it still runs.
    pub fn signal(self, signal: Signal) -> Result<()> {
        if self.is_running() {
            match kill_process(pid(self.pid)?, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).with_context(|| format!("process {} can't be signalled", self.pid)),
            }
        }
        Ok(())
    }

    /// Ends the process as [`Program::stop`] does. It need not be our child. Blocks the thread for up to `grace`.
    pub fn stop_blocking(self, grace: Duration) -> Result<()> {
        if !grace.is_zero() {
            self.signal(Signal::TERM)?;
        }
        let limit = Instant::now() + grace;
        while self.is_running() && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.signal(Signal::KILL)?;
        let limit = Instant::now() + GRACE_ON_DROP;
        while self.is_running() {
            if Instant::now() >= limit {
                bail!("process {} does not end", self.pid);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// What `/proc/<pid>/stat` says (see proc_pid_stat(5)).
struct Stat {
    state: char,
    threads: u64,
    started: u64,
}

fn stat(pid: i32) -> Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything, also parentheses; the state, field 3, comes after it.
    let (_, fields) = text.rsplit_once(") ").context("unexpected form of /proc/<pid>/stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let field = |number: usize| fields.get(number - 3).copied().context("too few fields in /proc/<pid>/stat");
    let state = field(3)?.chars().next().context("no state in /proc/<pid>/stat")?;
    Ok(Stat { state, threads: field(20)?.parse()?, started: field(22)?.parse()? })
}

fn pid(number: i32) -> Result<Pid> {
    Pid::from_raw(number).context("no process has the id 0")
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &Path, script: &str) -> Launch {
        Launch::new("a script", "/bin/sh", folder.join("log")).args(["-c", script])
    }

    #[tokio::test]
    async fn a_program_that_ends_early_is_reported_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = shell(folder.path(), "echo the reason; exit 3").spawn().unwrap();
        let error = program.wait_ready(Duration::from_secs(20), || async { bail!("not yet") }).await.unwrap_err();
        assert!(format!("{error:#}").contains("the reason"), "{error:#}");
        assert!(format!("{error:#}").contains("exit status: 3"), "{error:#}");
    }

    #[tokio::test]
    async fn a_program_that_is_never_ready_is_reported_with_what_the_check_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = shell(folder.path(), "exec sleep 60").spawn().unwrap();
        let error = program.wait_ready(Duration::from_millis(200), || async { bail!("no port") }).await.unwrap_err();
        assert!(format!("{error:#}").contains("no port"), "{error:#}");
    }

    #[tokio::test]
    async fn a_program_that_ignores_term_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = shell(folder.path(), "trap '' TERM; echo armed; while :; do sleep 1; done").spawn().unwrap();
        let log = program.log().to_path_buf();
        program
            .wait_ready(Duration::from_secs(20), || {
                let armed = fs::read_to_string(&log).is_ok_and(|text| text.contains("armed"));
                async move { if armed { Ok(()) } else { bail!("not armed") } }
            })
            .await
            .unwrap();
        let status = program.stop(Duration::from_millis(100)).await.unwrap();
        assert!(!status.success());
        assert!(program.signal(Signal::TERM).is_err());
    }

    #[tokio::test]
    async fn a_program_that_has_ended_is_started_again_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = shell(folder.path(), "echo \"$WORD\"").env("WORD", "again").spawn().unwrap();
        program.wait().await.unwrap();
        program.start_again().unwrap();
        assert!(program.wait().await.unwrap().success());
        assert_eq!(fs::read_to_string(program.log()).unwrap(), "again\nagain\n");
    }

    #[tokio::test]
    async fn a_dropped_program_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let program = shell(folder.path(), "exec sleep 60").spawn().unwrap();
        let identity = program.identity().unwrap();
        assert!(identity.is_running());
        drop(program);
        assert!(!identity.is_running());
    }

    #[tokio::test]
    async fn a_detached_program_runs_on_until_its_identity_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let identity = shell(folder.path(), "exec sleep 60").spawn().unwrap().detach().unwrap();
        assert!(identity.is_running());
        identity.stop_blocking(Duration::from_secs(5)).unwrap();
        assert!(!identity.is_running());
    }
}
