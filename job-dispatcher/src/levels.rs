//! Of which namespaces it is known what is there. Nothing is launched in one before: a live job would be taken for a lost one.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the watches told so far, a namespace each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Levels {
    known: BTreeSet<String>,
    unwatched: BTreeMap<String, String>,
}

impl Levels {
    /// Everything that is there is known.
    pub fn known(&mut self, namespace: &str) {
        self.unwatched.remove(namespace);
        self.known.insert(namespace.to_owned());
    }

    /// It can't be watched now. One that was known once stays known: its watch goes on from there.
    pub fn unwatched(&mut self, namespace: &str, why: String) {
        if !self.known.contains(namespace) {
            self.unwatched.insert(namespace.to_owned(), why);
        }
    }

    /// True once everything that is there is known.
    pub fn is_known(&self, namespace: &str) -> bool {
        self.known.contains(namespace)
    }

    /// True while it can't be watched, and never could.
    pub fn is_unwatched(&self, namespace: &str) -> bool {
        self.unwatched.contains_key(namespace)
    }

    /// True once each is known, or can't be.
    pub fn is_settled(&self, namespaces: &[&str]) -> bool {
        namespaces.iter().all(|namespace| self.is_known(namespace) || self.is_unwatched(namespace))
    }

    /// How many can't be watched.
    pub fn unwatched_count(&self) -> usize {
        self.unwatched.len()
    }
}

/// Waits until it is so; false when the process is to stop before.
pub async fn reached(
    mut levels: watch::Receiver<Levels>,
    is_so: impl FnMut(&Levels) -> bool,
    stop: &CancellationToken,
) -> bool {
    tokio::select! {
        reached = levels.wait_for(is_so) => reached.is_ok(),
        () = stop.cancelled() => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_cannot_be_watched_keeps_no_other_from_being_known() {
        let mut levels = Levels::default();
        levels.unwatched("b", "forbidden".into());
        assert!(!levels.is_settled(&["a", "b"]));
        levels.known("a");
        assert!(levels.is_settled(&["a", "b"]) && levels.is_known("a") && levels.is_unwatched("b"));
        levels.known("b");
        levels.unwatched("b", "away".into());
        assert!(levels.is_known("b") && !levels.is_unwatched("b"));
    }
}
