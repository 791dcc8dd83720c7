//! The gateway: OGC API - Processes in front, the stream and the bucket behind. It has nothing to do with Kubernetes.
//!
//! An execution's way: [`routes`] → [`access`] → [`validate`] → [`accept`] → the stream → [`index`] → [`results`].
//! Who is told about the job: [`validate`] → [`accept`] → [`callbacks`].
//! A question about a job: [`routes`] → [`jobs`] (memory, then the leader) → [`status`] or [`results`]; its end: [`dismiss`].

pub mod accept;
pub mod access;
pub mod app;
pub mod audit;
pub mod callbacks;
pub mod datetime;
pub mod dismiss;
pub mod error;
pub mod guard;
pub mod idempotency;
pub mod index;
pub mod job_list;
pub mod jobs;
pub mod language;
pub mod limits;
pub mod links;
pub mod logs;
mod media_type;
pub mod memory;
pub mod metrics;
pub mod negotiation;
mod openapi;
pub(crate) mod pages;
mod peer;
pub mod prefer;
pub mod proxies;
pub mod query;
pub mod rates;
pub mod references;
pub mod representation;
pub mod request_id;
pub mod requests;
pub mod results;
pub mod routes;
pub mod server;
pub mod settings;
pub mod start;
pub mod status;
#[cfg(test)]
mod testing;
pub mod validate;

pub use start::run;
