//! Names and file formats of the local executor, which the dispatcher and the finalizer of one machine share.
//!
//! One folder a job, `<root>/<job name>/`. It is prepared under [`NEW`] and renamed into place, so that its name is
//! unique and it is never seen half made; it is renamed to [`GONE`] before it is removed.
//!
//! | in the folder | written by | what |
//! |---|---|---|
//! | `job.json` | dispatcher, before the folder appears | [`LocalJob`] |
//! | `work/` | the process | its working folder, empty at first |
//! | `inputs.json` | dispatcher, before the folder appears | the inputs, where they are not in the environment |
//! | `results/` | the process | a file for each output, where the process gives them in files |
//! | `log` | shim | standard output and error, framed as the kubelet does ([`log_frames`]) |
//! | `run.json` | dispatcher; removed once it was read | [`Run`]: may hold secrets, readable by its owner only |
//! | `lock` | nobody | locked by the shim while it lives, by others while they end or remove the folder |
//! | `shim.json` | shim, before it starts the process | [`Shim`]: where it is, nothing is ever started again |
//! | `started.json` | shim | [`Started`] |
//! | `exit.json` | shim; a dispatcher where the shim was lost | [`Exit`]: where it is, the log is complete |
//! | `annotations.json` | finalizer | [`Annotations`] |
//! | `hold-<uid>` | dispatcher, before the folder appears | stands for the pod's finalizer; the finalizer removes it |
//! | `deleted-<uid>` | dispatcher | the deletion was asked for |
//!
//! JSON files appear by rename. Each names the incarnation's UID, as do the markers, so that what was meant for an
//! earlier folder of the same name has no effect on a later one.

pub mod log_frames;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Builder;

use crate::{JobId, ProcessId};

/// Namespace of local jobs.
pub const NAMESPACE: &str = "local";
/// The root's folder in which folders are prepared.
pub const NEW: &str = ".new";
/// The root's folder in which folders are removed.
pub const GONE: &str = ".gone";
/// Hidden subcommand of the dispatcher that runs the shim; the job's folder follows it.
pub const SHIM_SUBCOMMAND: &str = "local-shim";

/// Reason of an exit whose shim was lost: the kubelet's word for a container that it can't find any more.
pub const REASON_LOST: &str = "ContainerStatusUnknown";
/// Reason of an exit whose command could not be started: the kubelet's word, with exit code [`EXIT_CODE_START_ERROR`].
pub const REASON_START_ERROR: &str = "StartError";
/// Reason of an exit with code 0.
pub const REASON_COMPLETED: &str = "Completed";
/// Reason of any other exit.
pub const REASON_ERROR: &str = "Error";
/// Exit code where the shim was lost: the kubelet's choice too.
pub const EXIT_CODE_LOST: i32 = 137;
/// Exit code where the command could not be started: the kubelet's choice too.
pub const EXIT_CODE_START_ERROR: i32 = 128;

/// The name of a job's one pod.
pub fn pod_name(job_name: &str) -> String {
    format!("{job_name}-local")
}

/// A new UID of an incarnation.
pub fn new_uid() -> String {
    Builder::from_random_bytes(rand::random()).into_uuid().hyphenated().to_string()
}

/// The folder of a job, as paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at a path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder of a job below `root`; `None` when its name can't be that of a job's folder.
    pub fn of(root: &Path, job_name: &str) -> Option<Self> {
        let is_plain = !job_name.is_empty() && !job_name.starts_with('.') && !job_name.contains(['/', '\0']);
        is_plain.then(|| Self(root.join(job_name)))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// [`LocalJob`].
    pub fn job(&self) -> PathBuf {
        self.0.join("job.json")
    }

    /// The process's working folder.
    pub fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// The file with the inputs, where they are not in the environment.
    pub fn inputs(&self) -> PathBuf {
        self.0.join("inputs.json")
    }

    /// The folder for a file of each output.
    pub fn results(&self) -> PathBuf {
        self.0.join("results")
    }

    /// The framed log.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// [`Run`].
    pub fn run(&self) -> PathBuf {
        self.0.join("run.json")
    }

    /// What the shim locks.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// [`Shim`].
    pub fn shim(&self) -> PathBuf {
        self.0.join("shim.json")
    }

    /// [`Started`].
    pub fn started(&self) -> PathBuf {
        self.0.join("started.json")
    }

    /// [`Exit`].
    pub fn exit(&self) -> PathBuf {
        self.0.join("exit.json")
    }

    /// [`Annotations`].
    pub fn annotations(&self) -> PathBuf {
        self.0.join("annotations.json")
    }

    /// The marker that keeps the folder.
    pub fn hold(&self, uid: &str) -> PathBuf {
        self.0.join(format!("hold-{uid}"))
    }

    /// The marker of an asked deletion.
    pub fn deleted(&self, uid: &str) -> PathBuf {
        self.0.join(format!("deleted-{uid}"))
    }

    /// Where a JSON file is written before it is renamed to `target`; `token` tells writers apart.
    pub fn draft(target: &Path, token: &str) -> PathBuf {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        target.with_file_name(format!("{DRAFT_PREFIX}{name}.{token}"))
    }

    /// True of a file whose appearing or vanishing changes how the job looks.
    pub fn tells(file_name: &str) -> bool {
        matches!(file_name, "job.json" | "shim.json" | "started.json" | "exit.json")
            || file_name.starts_with("hold-")
            || file_name.starts_with("deleted-")
    }
}

const DRAFT_PREFIX: &str = ".draft-";

/// A file that names the incarnation that it belongs to.
pub trait OfIncarnation {
    /// The UID of that incarnation.
    fn uid(&self) -> &str;
}

/// What a folder is for; never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalJob {
    /// UID of this incarnation, and of its pod.
    pub uid: String,
    /// Id of the job.
    pub job_id: JobId,
    /// Id of the process.
    pub process_id: ProcessId,
    /// Name of the folder.
    pub job_name: String,
    /// When the folder was made.
    pub created: Timestamp,
    /// Name of the main container.
    pub container: String,
    /// Its image, which is not used.
    pub image: String,
    /// What a Kubernetes Job would have as annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What the shim runs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// UID of the incarnation.
    pub uid: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its whole environment, name and value; of a name given twice the last counts.
    pub environment: Vec<(String, String)>,
}

/// The process that watches over a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shim {
    /// UID of the incarnation.
    pub uid: String,
    /// Its process id, and the id of its session.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did: a later process of the same id has another.
    pub start_ticks: u64,
    /// The machine's boot: after another one no process of this file is left.
    pub boot_id: String,
}

/// The process was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// UID of the incarnation.
    pub uid: String,
    /// When.
    pub started: Timestamp,
}

/// How the process ended. Its log is complete, or [`Self::log_gap`] says why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// UID of the incarnation.
    pub uid: String,
    /// Its exit code; 128 + the signal's number when it was killed by one.
    pub exit_code: i32,
    /// The signal's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// One word: [`REASON_COMPLETED`], [`REASON_ERROR`], [`REASON_START_ERROR`], [`REASON_LOST`].
    pub reason: String,
    /// Details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it started; absent when it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// Why the end of the log is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_gap: Option<String>,
}

/// What the finalizer writes on a job after its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotations {
    /// UID of the incarnation.
    pub uid: String,
    /// Name → value.
    pub values: BTreeMap<String, String>,
}

macro_rules! of_incarnation {
    ($($file:ty),+) => {
        $(impl OfIncarnation for $file {
            fn uid(&self) -> &str {
                &self.uid
            }
        })+
    };
}
of_incarnation!(LocalJob, Run, Shim, Started, Exit, Annotations);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_have_a_folder() {
        let root = Path::new("root");
        assert_eq!(Folder::of(root, "job-1").unwrap().path(), Path::new("root/job-1"));
        for name in ["", ".", "..", ".new", "../x", "a/b", "a\0"] {
            assert_eq!(Folder::of(root, name), None, "{name:?}");
        }
    }

    #[test]
    fn a_draft_is_in_the_folder_of_its_target_and_tells_nothing() {
        let folder = Folder::at("root/job-1");
        let draft = Folder::draft(&folder.exit(), "t");
        assert_eq!(draft.parent(), Some(folder.path()));
        assert!(!Folder::tells(&draft.file_name().unwrap().to_string_lossy()));
        assert!(Folder::tells("exit.json") && Folder::tells("hold-1") && !Folder::tells("log"));
    }

    #[test]
    fn an_exit_comes_back_from_its_json() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let exit = Exit {
            uid: new_uid(),
            exit_code: 143,
            signal: Some(15),
            reason: REASON_ERROR.into(),
            message: None,
            started: Some(now),
            finished: now,
            log_gap: None,
        };
        let json = serde_json::to_string(&exit).unwrap();
        assert!(json.contains("\"exitCode\":143") && !json.contains("null"), "{json}");
        assert_eq!(serde_json::from_str::<Exit>(&json).unwrap(), exit);
    }
}
