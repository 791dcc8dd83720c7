//! Stores what a job leaves, then seals it: log, result and manifest first, the terminal status after them.
//!
//! `running` → [`follow`]; `ended`, `dismissed` → [`finalize`] → [`collect`] → [`archive`], [`result`] → [`seal`] →
//! [`release`]. What a lost message would have done, [`sweep`] does. Logs come from an executor behind [`pods`].

pub mod archive;
pub mod collect;
pub mod finalize;
mod follow;
pub mod metrics;
pub mod pods;
mod release;
pub mod result;
mod run;
mod seal;
pub mod settings;
pub mod sweep;

pub use run::{queue, run};
