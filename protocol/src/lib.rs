//! What Quayside's services agree on, written once: ids, process definitions, requests, records, events, the manifest,
//! and every name that two programs share. Pure: nothing here opens a file, a socket or a clock.
//!
//! A job's way through the types:
//! [`process`] → [`execution`] → [`job_record`] → [`job_event`] → [`manifest`]

pub mod companion;
pub mod configuration;
pub mod process;
pub mod schema;

pub mod audit;
pub mod callback;
pub mod deadline;
pub mod digest;
pub mod evolution;
pub mod execution;
pub mod idempotency;
pub mod job_event;
pub mod job_id;
pub mod job_record;
pub mod kubelet_log;
pub mod ledger;
pub mod local;
pub mod log_markers;
pub mod log_text;
pub mod manifest;
pub mod masking;
pub mod media_type;
pub mod names;
pub mod output_members;
pub mod owner;
pub mod progress;

pub use evolution::{SCHEMA, Unknown, Word};
pub use execution::ExecutionRequest;
pub use job_event::{Event, JobEvent};
pub use job_id::JobId;
pub use job_record::JobRecord;
pub use manifest::Manifest;
pub use owner::Owner;
pub use process::{ProcessDefinition, ProcessId};
