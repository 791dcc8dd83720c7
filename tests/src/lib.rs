//! end-to-end

pub mod cluster;
pub mod local_jobs;
pub mod nats_server;
pub mod ports;
pub mod program;
pub mod s3_server;
pub mod services;
pub mod stack;
pub mod tools;
