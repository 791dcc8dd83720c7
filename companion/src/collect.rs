//! Waits until the main container has ended, then stores the file of each output.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use ureq::Agent;

use crate::{
    MissingVariable, chain,
    protocol::{COLLECT_SECONDS, COLLECTED, Collected, MEDIA_TYPE_SUFFIX, RESULTS, UPLOADS, Upload},
    transfer::{self, TransferError},
    variable,
};

/// The longest first line of a file that says a media type.
const MEDIA_TYPE_LIMIT: u64 = 255;

/// Nothing can be collected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    #[error(transparent)]
    Variable(#[from] MissingVariable),
    #[error("the environment variable {UPLOADS} can't be read")]
    Uploads(#[source] serde_json::Error),
    #[error("signals can't be waited for")]
    Signals(#[source] io::Error),
}

/// The file of an output was not stored.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("there is no such file")]
    Absent,
    #[error("it is no plain file")]
    NotPlain,
    #[error("it can't be read")]
    Read(#[source] io::Error),
    #[error("it can't be stored")]
    Store(#[from] TransferError),
}

/// A sidecar is told to end once all other containers have ended. What it could not store is said in its log: whether the job fails for
/// that is decided by who reads it.
pub(crate) fn run() -> Result<(), CollectError> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(CollectError::Signals)?;
    let folder = variable(RESULTS)?;
    let uploads: Vec<Upload> = serde_json::from_str(&variable(UPLOADS)?).map_err(CollectError::Uploads)?;
    let seconds = variable(COLLECT_SECONDS)?.parse().unwrap_or(120);
    signals.forever().next();
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let agent = transfer::agent();
    for upload in &uploads {
        tell(&collect(&agent, Path::new(&folder), upload, deadline));
    }
    Ok(())
}

fn tell(collected: &Collected) {
    if let Ok(json) = serde_json::to_string(collected) {
        println!("{COLLECTED}{json}");
    }
}

fn collect(agent: &Agent, folder: &Path, upload: &Upload, deadline: Instant) -> Collected {
    match store(agent, folder, upload, deadline) {
        Ok(stored) => Collected {
            output: upload.output.clone(),
            size: Some(stored.size),
            sha256: Some(stored.sha256),
            problem: None,
        },
        Err(error) => {
            let problem = Some(chain(&error));
            Collected { output: upload.output.clone(), size: None, sha256: None, problem }
        }
    }
}

fn store(agent: &Agent, folder: &Path, upload: &Upload, deadline: Instant) -> Result<transfer::Transferred, FileError> {
    let path = folder.join(&upload.file);
    plain(&path)?;
    let media_type = media_type(&folder.join(format!("{}{MEDIA_TYPE_SUFFIX}", upload.file)));
    let media_type = media_type.as_deref().unwrap_or(&upload.media_type);
    let stored = transfer::persistently(deadline, || {
        let failed = |error| transfer::Attempt::Final(TransferError::File(error));
        let file = File::open(&path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        transfer::put(agent, &upload.url, media_type, size, file)
    })?;
    Ok(stored)
}

/// A link could lead to what the process itself can't read.
fn plain(path: &Path) -> Result<(), FileError> {
    match fs::symlink_metadata(path) {
        Ok(told) if told.is_file() => Ok(()),
        Ok(_) => Err(FileError::NotPlain),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FileError::Absent),
        Err(error) => Err(FileError::Read(error)),
    }
}

fn media_type(path: &Path) -> Option<String> {
    plain(path).ok()?;
    let mut text = String::new();
    File::open(path).ok()?.take(MEDIA_TYPE_LIMIT).read_to_string(&mut text).ok()?;
    let line = text.lines().next()?.trim();
    let is_header = !line.is_empty() && line.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    is_header.then(|| line.to_owned())
}
