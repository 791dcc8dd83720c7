//! Reads and writes the files of a job's folder.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use protocol::local::{Exit, Folder, LocalJob, OfIncarnation, Shim, Started, new_uid};
use serde::{Serialize, de::DeserializeOwned};

use super::LocalError;

/// What the folder of a job says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) job: LocalJob,
    pub(super) shim: Option<Shim>,
    pub(super) started: Option<Started>,
    pub(super) exit: Option<Exit>,
    pub(super) held: bool,
    pub(super) deleted: bool,
}

impl Level {
    /// Reads a folder; `None` when it is not there, or not ours.
    pub(super) fn read(folder: &Folder) -> Result<Option<Self>, LocalError> {
        loop {
            let Some(job) = read::<LocalJob>(&folder.job())? else { return Ok(None) };
            let uid = job.uid.as_str();
            let level = Self {
                // The end first: where it is missing now, what follows may still be about to change.
                exit: read_of(&folder.exit(), uid)?,
                shim: read_of(&folder.shim(), uid)?,
                started: read_of(&folder.started(), uid)?,
                held: exists(&folder.hold(uid))?,
                deleted: exists(&folder.deleted(uid))?,
                job,
            };
            // While reading, the folder may have given way to another of the same name.
            match read::<LocalJob>(&folder.job())? {
                Some(now) if now.uid != level.job.uid => {}
                Some(_) => return Ok(Some(level)),
                None => return Ok(None),
            }
        }
    }
}

/// Reads a JSON file; `None` when there is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, LocalError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(source) => return Err(LocalError::Read { path: path.to_owned(), source }),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| LocalError::Damaged { path: path.to_owned(), source })
}

fn read_of<T: DeserializeOwned + OfIncarnation>(path: &Path, uid: &str) -> Result<Option<T>, LocalError> {
    Ok(read::<T>(path)?.filter(|file| file.uid() == uid))
}

fn exists(path: &Path) -> Result<bool, LocalError> {
    fs::exists(path).map_err(|source| LocalError::Read { path: path.to_owned(), source })
}

/// Writes a JSON file that only its owner can read. It appears whole or not at all.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), LocalError> {
    let draft = Folder::draft(path, &new_uid());
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        fs::rename(&draft, path)
    };
    written().map_err(|source| LocalError::Write { path: path.to_owned(), source })
}

/// Makes an empty file; no error when it is there.
pub(super) fn mark(path: &Path) -> Result<(), LocalError> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    match made {
        Ok(_) => Ok(()),
        // The whole folder is gone.
        Err(error) if is_absent(&error) => Ok(()),
        Err(source) => Err(LocalError::Write { path: path.to_owned(), source }),
    }
}

/// Removes a file; no error when it is gone.
pub(super) fn remove(path: &Path) -> Result<(), LocalError> {
    match fs::remove_file(path) {
        Err(source) if !is_absent(&source) => Err(LocalError::Write { path: path.to_owned(), source }),
        _ => Ok(()),
    }
}

/// Locks the folder of the incarnation `uid` while the file is held; `None` while someone else has it, or when that
/// incarnation is gone.
///
/// Who has the lock is alone with the folder: the shim has it as long as it lives, and nobody removes the folder without
/// it. The system drops it with its owner, whatever ends that.
pub(super) fn lock(folder: &Folder, uid: &str) -> Result<Option<File>, LocalError> {
    let path = folder.lock();
    let unreadable = |source| LocalError::Read { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(source) => return Err(unreadable(source)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(unreadable(source)),
    }
    // What was locked may have given way to another folder before it was.
    let is_current = read::<LocalJob>(&folder.job())?.is_some_and(|job| job.uid == uid);
    Ok(is_current.then_some(file))
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
