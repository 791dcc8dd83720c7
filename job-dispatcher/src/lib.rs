//! job-dispatcher
