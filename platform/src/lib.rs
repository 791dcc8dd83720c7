//! What each service stands on.
//!
//! [`config`] → [`telemetry`] → [`shutdown`], [`probe`] → [`nats`] → [`publish`], [`consume`] → [`job_store`],
//! [`object_store`]

pub mod config;
pub mod consume;
pub mod failpoint;
pub mod forget;
pub mod job_store;
pub mod log_parts;
pub mod nats;
pub mod object_store;
pub mod probe;
pub mod publish;
pub mod secret;
pub mod shutdown;
pub mod telemetry;
