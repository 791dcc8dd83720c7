//! Stores what a job leaves, then seals it: log, result and manifest first, the terminal status after them.
//!
//! `running` → `follow`; `ended`, `dismissed` → [`finalize`] → `take` → [`sections`] → [`collect`] → [`archive`], [`result`] →
//! `seal` → `release`. What attempts leave that come to nothing is deleted by `leftovers`. A log that is archived only after its job is terminal goes through `late`. What a lost message would have
//! done, [`sweep`] does; what jobs leave for good goes through `retention`. Logs come from an executor behind [`pods`].

pub mod archive;
pub mod collect;
pub mod finalize;
mod follow;
mod given;
mod late;
mod leftovers;
pub mod metrics;
pub mod pods;
mod release;
mod remove;
pub mod result;
mod resume;
pub mod retention;
mod run;
mod seal;
pub mod sections;
pub mod settings;
mod stored_log;
pub mod sweep;
mod take;
pub mod tries;

pub use run::{queue, run};
