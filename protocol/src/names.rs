//! Every name that two programs must agree on.

pub mod environment;
pub mod kubernetes;
pub mod objects;
pub mod subjects;
