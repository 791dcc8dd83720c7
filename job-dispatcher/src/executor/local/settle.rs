//! What a kubelet and an API server do by themselves: ends what lost its shim, finds what never got one, removes what
//! may go. Any replica may do it, at any time, any number of times.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use protocol::local::{EXIT_CODE_LOST, Exit, Folder, GONE, NEW, REASON_LOST};
use tracing::warn;

use super::{
    LocalError,
    files::{self, Level},
    processes,
};

/// A folder that has no shim for longer lost its maker before it started one.
const SHIM_DUE: SignedDuration = SignedDuration::from_secs(2);
/// What is being prepared for longer lost its maker.
const NEW_DUE: Duration = Duration::from_secs(600);

/// What is to be done with a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// Nothing.
    Well,
    /// Its shim is to be started.
    NeedsShim,
}

/// Settles one folder. Does nothing while its shim lives.
pub(super) fn settle(folder: &Folder) -> Result<Settled, LocalError> {
    let Some(level) = Level::read(folder)? else { return Ok(Settled::Well) };
    let uid = &level.job.uid;
    let may_be_over = level.exit.is_some() || level.shim.is_some() || level.deleted;
    if !may_be_over {
        let is_due = Timestamp::now().duration_since(level.job.created) > SHIM_DUE;
        return Ok(if is_due { Settled::NeedsShim } else { Settled::Well });
    }
    if level.exit.is_some() && (level.held || !level.deleted) {
        return Ok(Settled::Well);
    }
    let Some(lock) = files::lock(folder, uid)? else { return Ok(Settled::Well) };
    // The shim may have ended between the two.
    let Some(level) = Level::read(folder)? else { return Ok(Settled::Well) };
    if level.exit.is_none() {
        end(folder, &level)?;
    }
    if level.deleted && !level.held {
        remove(folder, &level.job.uid)?;
    }
    drop(lock);
    Ok(Settled::Well)
}

/// Ends a job whose shim is lost, or that was deleted before it had one.
fn end(folder: &Folder, level: &Level) -> Result<(), LocalError> {
    let (message, log_gap) = match &level.shim {
        Some(shim) => {
            if let Err(error) = processes::kill_left_overs(shim, &level.job.job_id) {
                // No reason to keep the job for ever.
                warn!(job_id = %level.job.job_id, %error, "what a lost shim left running can't be killed");
            }
            let message = "the shim that watched over the process was lost: it was killed, or the machine restarted";
            (message, Some("the log ends where its writer was lost".to_owned()))
        }
        None => ("the job was deleted before it was started", None),
    };
    let exit = Exit {
        uid: level.job.uid.clone(),
        exit_code: EXIT_CODE_LOST,
        signal: None,
        reason: REASON_LOST.to_owned(),
        message: Some(message.to_owned()),
        started: level.started.as_ref().map(|started| started.started),
        finished: Timestamp::now(),
        log_gap,
    };
    files::write(&folder.exit(), &exit)?;
    files::remove(&folder.run())
}

/// Frees the name at once, then removes what was under it.
fn remove(folder: &Folder, uid: &str) -> Result<(), LocalError> {
    let gone = folder.path().with_file_name(GONE).join(uid);
    let unwritable = |source| LocalError::Write { path: folder.path().to_owned(), source };
    fs::rename(folder.path(), &gone).map_err(unwritable)?;
    remove_all(&gone).map_err(unwritable)
}

/// Clears what others left half made or half removed.
pub(super) fn clear(root: &Path) {
    let half_removed = entries(&root.join(GONE), |_| true);
    let half_made = entries(&root.join(NEW), |age| age > NEW_DUE);
    for path in half_removed.into_iter().chain(half_made) {
        if let Err(error) = remove_all(&path) {
            warn!(path = %path.display(), %error, "what is left of a job can't be removed");
        }
    }
}

fn entries(dir: &Path, is_old: impl Fn(Duration) -> bool) -> Vec<std::path::PathBuf> {
    let age = |entry: &fs::DirEntry| -> Option<Duration> {
        SystemTime::now().duration_since(entry.metadata().ok()?.modified().ok()?).ok()
    };
    let found = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    found.filter(|entry| age(entry).is_some_and(&is_old)).map(|entry| entry.path()).collect()
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        // Another replica is at it too.
        Err(error) if files::is_absent(&error) => Ok(()),
        removed => removed,
    }
}
