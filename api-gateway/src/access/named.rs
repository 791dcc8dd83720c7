//! Named tokens: from their file to callers, and anew whenever the file changes.

mod read;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use platform::telemetry::chain;
use protocol::configuration::Configuration;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use self::read::TokenFileError;
use self::read::{Read, read};
use super::{Caller, Refusal, operator::Digest};

/// How often the file is read. A mounted secret changes by a link that is swapped, and some file systems tell nobody of changes:
/// reading the file itself misses none.
const EVERY: Duration = Duration::from_secs(2);

/// The tokens of a file; cheap to clone.
#[derive(Clone)]
pub struct NamedTokens {
    path: PathBuf,
    /// Processes that are configured: naming another one is no mistake, and worth a word.
    known: Arc<[String]>,
    current: Arc<RwLock<Read>>,
    failing: Arc<AtomicBool>,
}

/// A token, as its digest.
#[derive(Clone)]
struct Entry {
    digest: Digest,
    expires: Option<Timestamp>,
    caller: Caller,
}

impl NamedTokens {
    /// Reads the file.
    ///
    /// # Errors
    /// When it can't be read, or holds mistakes: all of them.
    pub fn read(path: &Path, configuration: &Configuration) -> Result<Self, TokenFileError> {
        let known = configuration.processes.keys().map(|id| id.as_str().to_owned()).collect();
        let tokens =
            Self { path: path.to_owned(), known, current: Arc::new(RwLock::new(read(path)?)), failing: Arc::default() };
        tokens.tell();
        Ok(tokens)
    }

    /// Whose token this is; `None`: nobody's. Every digest is compared, so that the time tells nothing of which.
    pub(super) fn find(&self, presented: &Digest, now: Timestamp) -> Option<Result<Caller, Refusal>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for entry in &current.entries {
            if entry.digest.ct_eq(presented).into() {
                found = Some(entry);
            }
        }
        let entry = found?;
        let has_expired = entry.expires.is_some_and(|expires| now >= expires);
        Some(if has_expired { Err(Refusal::Expired) } else { Ok(entry.caller.clone()) })
    }

    pub(super) fn len(&self) -> usize {
        self.current.read().unwrap_or_else(PoisonError::into_inner).entries.len()
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Takes up what changes in the file, until `shutdown`. While it can't be used the tokens stay as they were.
    pub async fn keep_up(self, shutdown: CancellationToken) {
        let mut trouble = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.cancelled() => return,
            }
            let path = self.path.clone();
            let read = tokio::task::spawn_blocking(move || read(&path)).await;
            self.failing.store(!matches!(read, Ok(Ok(_))), Ordering::Relaxed);
            match read {
                Ok(Ok(read)) => {
                    let is_new = {
                        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                        let is_new = current.hash != read.hash;
                        *current = read;
                        is_new
                    };
                    if is_new {
                        self.tell();
                    } else if trouble.is_some() {
                        info!(path = %self.path.display(), "the file of tokens is again as it was");
                    }
                    trouble = None;
                }
                Ok(Err(error)) => {
                    // Once for each kind of trouble, not each time that the file is looked at.
                    let text = chain(&error).to_string();
                    if trouble.as_ref() != Some(&text) {
                        error!(error = %text, "the file of tokens can't be used: tokens stay as they were");
                        trouble = Some(text);
                    }
                }
                Err(lost) => error!(error = %lost, "the task that reads the file of tokens was lost"),
            }
        }
    }

    fn tell(&self) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        info!(path = %self.path.display(), tokens = current.entries.len(), "named tokens are in force");
        for (token, process) in &current.named_processes {
            if !self.known.contains(process) {
                warn!(token, process, "a token is for a process that is not configured");
            }
        }
    }
}

impl fmt::Debug for NamedTokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NamedTokens").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{access::operator::digest, testing};

    fn line(name: &str, token: &str, more: &str) -> String {
        let hash = protocol::digest::sha256(token);
        format!("  - {{name: {name}, sha256: '{hash}', processes: [open]{more}}}\n")
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_in_the_file_is_taken_up_and_what_is_broken_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.yaml");
        let write = |lines: &[String]| fs::write(&path, format!("tokens:\n{}", lines.concat())).unwrap();
        write(&[line("a", "first", ""), line("b", "second", ", expires: 2020-01-01T00:00:00Z")]);
        let tokens = NamedTokens::read(&path, &testing::configuration()).unwrap();
        let of = |tokens: &NamedTokens, token: &str| {
            let found = tokens.find(&digest(token), Timestamp::now());
            found.map(|found| found.map(|caller| caller.identity().to_string()))
        };
        assert_eq!(of(&tokens, "first"), Some(Ok("token:a".to_owned())));
        assert_eq!(of(&tokens, "second"), Some(Err(Refusal::Expired)));
        assert_eq!(of(&tokens, "third"), None);

        let shutdown = CancellationToken::new();
        let task = tokio::spawn(tokens.clone().keep_up(shutdown.clone()));
        let until = async |token: &str, expected: bool| {
            while of(&tokens, token).is_some() != expected {
                tokio::time::sleep(EVERY).await;
            }
        };
        write(&[line("c", "third", "")]);
        until("third", true).await;
        assert_eq!(of(&tokens, "first"), None, "it was removed");
        fs::write(&path, "tokens: nonsense").unwrap();
        tokio::time::sleep(3 * EVERY).await;
        fs::remove_file(&path).unwrap();
        tokio::time::sleep(3 * EVERY).await;
        assert!(of(&tokens, "third").is_some() && tokens.is_failing(), "a broken file changes nothing");
        write(&[]);
        fs::write(&path, "tokens: []").unwrap();
        until("third", false).await;
        assert!(!tokens.is_failing() && tokens.len() == 0);
        shutdown.cancel();
        task.await.unwrap();
    }

    #[test]
    fn a_broken_file_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.yaml");
        let told = |path: &Path| chain(&NamedTokens::read(path, &testing::configuration()).unwrap_err()).to_string();
        assert!(told(&path).contains("can't be read"), "{}", told(&path));
        fs::write(&path, "tokens:\n  - {name: a}\n").unwrap();
        assert!(told(&path).contains("tokens[0].sha256 (2:5)"), "{}", told(&path));
        fs::write(&path, "#".repeat(2 << 20)).unwrap();
        assert!(told(&path).contains("1 MiB"), "{}", told(&path));
    }

    #[test]
    fn tokens_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.yaml");
        fs::write(&path, format!("tokens:\n{}", line("a", "first", ""))).unwrap();
        let shown = format!("{:?}", NamedTokens::read(&path, &testing::configuration()).unwrap());
        assert!(shown.contains("tokens.yaml") && !shown.contains("digest"), "{shown}");
    }
}
