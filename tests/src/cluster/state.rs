//! What a running cluster consists of, written down so that another process can find and stop it, also after a crash.

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{ControllerLimits, NodeKind, real_node::Places};
use crate::program::{Launch, ProcessIdentity, Program};

/// The file's name in the cluster's folder.
const FILE: &str = "cluster.json";

/// One of the cluster's programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) process: ProcessIdentity,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Set once all of it answers.
    pub(super) ready: bool,
    pub(super) nodes: Vec<NodeKind>,
    pub(super) controllers: ControllerLimits,
    pub(super) audit: bool,
    /// In the order in which they were started.
    pub(super) members: Vec<Member>,
    /// What the real node leaves on the machine.
    pub(super) real_node: Option<Places>,
}

impl State {
    /// What is written in the folder, or `None`.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let file = folder.join(FILE);
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} can't be understood", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} can't be read", file.display())),
        }
    }

    /// Writes it at one stroke.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let draft = folder.join(format!("{FILE}.new"));
        fs::write(&draft, serde_json::to_vec_pretty(self)?)?;
        Ok(fs::rename(draft, folder.join(FILE))?)
    }

    /// The program of this name is another process now.
    pub(super) fn replace(&mut self, name: &str, process: ProcessIdentity) {
        if let Some(member) = self.members.iter_mut().find(|member| member.name == name) {
            member.process = process;
        }
    }

    /// Whether every member still runs.
    pub(super) fn is_running(&self) -> bool {
        !self.members.is_empty() && self.members.iter().all(|member| member.process.is_running())
    }

    /// Ends all members, last started first, and removes what the real node left. What the cluster stored is worth
    /// nothing without it, so nobody is asked politely.
    pub(super) fn end(&self, folder: &Path) -> Result<()> {
        let mut failed = None;
        for member in self.members.iter().rev() {
            let ended = member.process.stop_blocking(Duration::ZERO);
            failed = failed.or(ended.with_context(|| format!("{} can't be stopped", member.name)).err());
        }
        if let Some(places) = &self.real_node {
            failed = failed.or(places.clear().context("the real node can't be cleared away").err());
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(fs::remove_file(folder.join(FILE))?),
        }
    }
}

/// Starts programs and writes each down at once, so that none is lost if this process ends while it waits for one.
pub(super) struct Roster<'a> {
    folder: &'a Path,
    state: Mutex<State>,
}

impl<'a> Roster<'a> {
    pub(super) fn new(folder: &'a Path, state: State) -> Self {
        Self { folder, state: Mutex::new(state) }
    }

    pub(super) fn spawn(&self, launch: Launch) -> Result<Program> {
        let program = launch.spawn()?;
        let member = Member { name: program.name().to_owned(), process: program.identity()? };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.members.push(member);
        state.write(self.folder)?;
        Ok(program)
    }

    pub(super) fn into_state(self) -> State {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
