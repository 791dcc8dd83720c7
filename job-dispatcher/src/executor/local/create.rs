//! From a plan to a folder, complete before it appears under its name.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};

use jiff::Timestamp;
use protocol::{
    job_record::Reason,
    local::{Folder, LocalJob, NEW, Run, new_uid},
    names::kubernetes::main_container,
    process::{EnvValue, EnvVar},
};

use super::{LocalError, files, settle::settle};
use crate::{
    exchange::InputsFile,
    executor::{CreateError, JobPlan},
    manifest::{self, ManifestError, Paths},
};

/// `PATH` where the dispatcher itself has none.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What goes into the folder.
pub(super) fn describe(plan: &JobPlan, folder: &Folder) -> Result<(LocalJob, Run), CreateError> {
    let process = &plan.process;
    let uid = new_uid();
    let mut command = manifest::command(process);
    if command.is_empty() {
        return Err(refused(format!(
            "the local executor needs a command: the process '{}' has none, and its image is not used",
            process.id
        )));
    }
    command.extend(process.pod.args.iter().cloned());
    // First, so that a configured one takes its place.
    let path = std::env::var("PATH").unwrap_or_else(|_| PATH_DEFAULT.to_owned());
    let mut environment = vec![("PATH".to_owned(), path)];
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let paths = Paths { inputs_file: text(folder.inputs()), results: text(folder.results()) };
    for EnvVar { name, value } in manifest::environment(plan, &paths).map_err(not_a_job)? {
        match value {
            EnvValue::Value(value) => environment.push((name, value)),
            EnvValue::Secret { name: secret, key } => {
                return Err(refused(format!(
                    "the environment variable {name} comes from the key '{key}' of the secret '{secret}', \
                     which the local executor can't read"
                )));
            }
        }
    }
    let job = LocalJob {
        uid: uid.clone(),
        job_id: plan.job_id,
        process_id: process.id.clone(),
        job_name: plan.job_name.clone(),
        created: Timestamp::now(),
        container: main_container(&process.kind).to_owned(),
        image: process.image.clone(),
        annotations: annotations(plan)?,
    };
    Ok((job, Run { uid, command, environment }))
}

/// Those of the Kubernetes Job that the plan would make.
fn annotations(plan: &JobPlan) -> Result<BTreeMap<String, String>, CreateError> {
    let job = manifest::job(plan).map_err(not_a_job)?;
    Ok(job.metadata.annotations.unwrap_or_default())
}

/// Makes the folder; the rename decides who made it.
pub(super) fn make(
    folder: &Folder,
    job: &LocalJob,
    run: &Run,
    inputs: Option<&str>,
    hold: bool,
) -> Result<(), CreateError> {
    let new = Folder::at(folder.path().with_file_name(NEW).join(&job.uid));
    let filled = fill(&new, job, run, inputs, hold).and_then(|()| match fs::rename(new.path(), folder.path()) {
        Ok(()) => Ok(true),
        Err(error) if is_taken(&error) => Ok(false),
        Err(source) => Err(LocalError::Write { path: folder.path().to_owned(), source }),
    });
    if matches!(filled, Ok(true)) {
        return Ok(());
    }
    // What can't be removed here is cleared later.
    drop(fs::remove_dir_all(new.path()));
    match filled {
        Ok(_) => Err(CreateError::Exists),
        Err(error) => Err(CreateError::Passing(Box::new(error))),
    }
}

fn fill(new: &Folder, job: &LocalJob, run: &Run, inputs: Option<&str>, hold: bool) -> Result<(), LocalError> {
    for dir in [new.path().to_owned(), new.work(), new.results()] {
        let made = DirBuilder::new().mode(0o700).create(&dir);
        made.map_err(|source| LocalError::Write { path: dir, source })?;
    }
    if let Some(text) = inputs {
        let path = new.inputs();
        fs::write(&path, text).map_err(|source| LocalError::Write { path, source })?;
    }
    files::mark(&new.lock())?;
    files::mark(&new.log())?;
    if hold {
        files::mark(&new.hold(&job.uid))?;
    }
    files::write(&new.run(), run)?;
    files::write(&new.job(), job)
}

/// What goes into the file with the inputs. One that is in the bucket is read by whoever makes the plan.
pub(super) fn inputs(plan: &JobPlan) -> Option<String> {
    match plan.exchange.inputs_file.as_ref()? {
        InputsFile::Text(text) => Some(text.clone()),
        InputsFile::Stored { .. } => None,
    }
}

/// Removes a folder whose shim could not be started, unless another replica started one.
pub(super) fn take_back(folder: &Folder, uid: &str) -> Result<(), LocalError> {
    files::remove(&folder.hold(uid))?;
    files::mark(&folder.deleted(uid))?;
    settle(folder).map(drop)
}

pub(super) fn not_a_name(job_name: &str) -> CreateError {
    refused(format!("the local executor can't have a folder named {job_name:?}"))
}

fn not_a_job(error: ManifestError) -> CreateError {
    refused(platform::telemetry::chain(&error))
}

fn refused(message: String) -> CreateError {
    CreateError::Refused { reason: Reason::ConfigError, message }
}

/// A folder can be renamed onto an empty one only, and ours never are.
fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    )
}
