use std::{collections::HashSet, fs::File, io::Read as _, path::Path, sync::Arc};

use protocol::configuration::{ConfigurationErrors, NamedToken, read_tokens};

use super::Entry;
use crate::access::{
    Caller, Rights,
    operator::{Digest, digest},
};

/// The largest file, in bytes: some thousand tokens.
const LIMIT: u64 = 1 << 20;

/// The file of named tokens can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It can't be read.
    #[error("the file of tokens {path} can't be read")]
    Read {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is too large.
    #[error("the file of tokens {path} has more than 1 MiB")]
    TooLarge {
        /// Its path.
        path: String,
    },
    /// It holds mistakes.
    #[error("{0}")]
    Mistakes(ConfigurationErrors),
}

/// What was in the file.
pub(super) struct Read {
    pub(super) entries: Vec<Entry>,
    /// Of the whole file.
    pub(super) hash: Digest,
    /// Which token is for which process, by name.
    pub(super) named_processes: Vec<(String, String)>,
}

pub(super) fn read(path: &Path) -> Result<Read, TokenFileError> {
    let shown = || path.display().to_string();
    let failed = |source| TokenFileError::Read { path: shown(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LIMIT + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LIMIT {
        return Err(TokenFileError::TooLarge { path: shown() });
    }
    let tokens = read_tokens(&text, &shown()).map_err(TokenFileError::Mistakes)?;
    let named_processes = tokens.iter().flat_map(|token| {
        let ids = token.processes.iter().flatten();
        ids.map(|id| (token.name.clone(), id.as_str().to_owned()))
    });
    let named_processes = named_processes.collect();
    Ok(Read { entries: tokens.into_iter().map(entry).collect(), hash: digest(&text), named_processes })
}

fn entry(token: NamedToken) -> Entry {
    let NamedToken { name, sha256, processes, sees_all_jobs, may_dismiss, expires } = token;
    let processes = processes.map(|ids| ids.iter().map(|id| id.as_str().to_owned()).collect::<HashSet<_>>());
    let rights = Rights { processes, sees_all_jobs, may_dismiss };
    Entry { digest: sha256, expires, caller: Caller::named(name.into(), Arc::new(rights)) }
}
