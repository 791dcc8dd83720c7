//! Stores what a job leaves, then seals it: log, result and manifest first, the terminal status after them.

pub mod pods;
