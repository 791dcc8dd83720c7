//! How often a process's pod is tried again.

use serde::Serialize;

/// Further pods after one that failed. None by default, as pygeoapi-k8s-manager has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Retries {
    /// `retries`: how many.
    pub count: u32,
    /// `fail_on_exit_codes`: exit codes of the main container after which none follows, each once.
    pub fail_on_exit_codes: Vec<u8>,
}
