//! The harness of the stories in `tests/`, on which `cargo xtask` stands too: real servers, the services as processes, a real
//! control plane.

pub mod api_proxy;
pub mod chromium;
pub mod cluster;
pub mod companion;
pub mod failures;
pub mod issuer;
pub mod live_jobs;
pub mod local_jobs;
pub mod multipart;
pub mod nats_server;
pub mod ogc_schemas;
pub mod ports;
pub mod program;
pub mod python;
pub mod receiver;
pub mod reverse_proxy;
pub mod s3_server;
pub mod services;
pub mod stack;
pub mod story;
pub mod strays;
pub mod tools;
