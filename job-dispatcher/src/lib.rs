//! Takes execution requests, creates Jobs, watches them, tells what happens to them, deletes those of dismissed jobs.
//!
//! [`intake`] → [`launcher`] → [`manifest`] → [`executor`] → [`watcher`] → [`outcome`] → [`reporter`]; beside them
//! [`levels`], [`pace`], [`cancel`], the [`sweep`], and [`adopt`] for what pygeoapi-k8s-manager left.

pub mod adopt;
pub mod cancel;
pub mod exchange;
pub mod executor;
pub mod intake;
pub mod launcher;
pub mod levels;
pub mod manifest;
pub mod metrics;
pub mod outcome;
pub mod pace;
pub mod reporter;
pub mod room;
pub mod settings;
pub mod sweep;
pub mod watcher;

mod refusal;
mod run;
mod stopping;

pub use run::run;
