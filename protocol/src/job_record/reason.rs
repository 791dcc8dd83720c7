//! Why a job failed: a stable set of words for programs. `docs/reasons.md` says what each means and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Word;

/// Makes the enum and the list of all that is in it, so that none can be missing from the list.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $word:ident),+ $(,)?) => {
        /// Why a job failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[doc = $doc])+ $word,)+
            /// A reason that a newer version wrote.
            #[serde(untagged)]
            Other(Word),
        }

        impl Reason {
            /// Every reason that this version writes.
            pub const KNOWN: &'static [Self] = &[$(Self::$word),+];
        }
    };
}

reasons! {
    /// A container ended with a code other than 0.
    ExitCode,
    /// A container was killed for its memory.
    OOMKilled,
    /// An image could not be pulled.
    ImagePull,
    /// No node takes the pod.
    Unschedulable,
    /// The pod did not start, or did not end, in time.
    Deadline,
    /// The pod was evicted.
    Evicted,
    /// A pod that counts more took the pod's place.
    Preempted,
    /// The node was lost, or shut down.
    NodeLost,
    /// The Job or its pod was deleted by someone else.
    Deleted,
    /// A container could not be made from its configuration.
    ConfigError,
    /// A container could not be started.
    StartError,
    /// A quota forbids the Job or its pod.
    QuotaExceeded,
    /// Kubernetes refused the Job or its pod, or the node its pod.
    AdmissionRejected,
    /// The process is not configured any more, or can't run on this executor.
    ProcessUnavailable,
    /// Result or log could not be stored.
    StoreUnavailable,
    /// The container ended, but what it left could not be read.
    ResultsNotCollected,
    /// The Job failed for a cause that is not known.
    JobFailed,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(word) => fmt::Display::fmt(word, out),
            known => fmt::Debug::fmt(known, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_lists_exactly_the_reasons_that_there_are() {
        let document = include_str!("../../../docs/reasons.md");
        let listed: Vec<&str> = document
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(word, _)| word)
            .collect();
        let known: Vec<String> = Reason::KNOWN.iter().map(ToString::to_string).collect();
        assert_eq!(listed, known);
    }
}
