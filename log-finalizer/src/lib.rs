//! log-finalizer
