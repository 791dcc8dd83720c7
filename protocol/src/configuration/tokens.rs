//! The file of named tokens: who has which, by their hashes, and what each may.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use config::{File, Map, Source, Value, ValueKind};
use jiff::Timestamp;

use super::{ConfigurationErrors, findings::Findings, node::Node, table::Table, yaml::Yaml11};
use crate::process::ProcessId;

/// A token that an operator gave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedToken {
    /// Its name: 1 to 64 of `A-Z a-z 0-9 . _ -`. It is public, as the owner of jobs.
    pub name: String,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    /// The processes that it may execute, of those that need a token; `None`: all.
    pub processes: Option<BTreeSet<ProcessId>>,
    /// Whether it sees everybody's jobs.
    pub sees_all_jobs: bool,
    /// Whether it may dismiss and remove the jobs that it sees.
    pub may_dismiss: bool,
    /// From when on it is none.
    pub expires: Option<Timestamp>,
}

const NAME: &str = "1 to 64 letters, digits, dots, hyphens and underscores of ASCII";
const HASH: &str = "the SHA-256 of the token, 64 hexadecimal digits in quotes";
const PROCESSES: &str = "a list of process ids, or of \"*\" alone for all";
/// SHA-256 of nothing: what a variable that is not set leads to.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Reads a file of named tokens. Nothing in it is passed over: what is not known is a mistake. No message tells a hash, nor
/// what stands in its place, which may be a token.
///
/// # Errors
/// All mistakes at once, each with path, place, what is wrong and what is allowed.
pub fn read_tokens(text: &str, source_name: &str) -> Result<Vec<NamedToken>, ConfigurationErrors> {
    let report = Arc::new(Mutex::new(Findings::default()));
    let format = Yaml11::new(source_name, text, &|_| None).reporting_to(&report);
    let tree = File::from_str(text, format).collect();
    let mut of_text = std::mem::take(&mut *report.lock().unwrap_or_else(PoisonError::into_inner));
    let root = tree.unwrap_or_else(|error| {
        of_text.mistake("document", None, error.to_string());
        of_text.incomplete = true;
        Map::new()
    });
    let of_tree = RefCell::new(Findings::default());
    let tokens = if of_text.incomplete { Vec::new() } else { tokens(&root, &of_tree) };
    let Findings { mut mistakes, .. } = super::joined(of_text, of_tree.into_inner());
    if mistakes.is_empty() {
        return Ok(tokens);
    }
    mistakes.sort_by_key(|mistake| mistake.position);
    Err(ConfigurationErrors { source_name: source_name.to_owned(), mistakes })
}

fn tokens(root: &Map<String, Value>, findings: &RefCell<Findings>) -> Vec<NamedToken> {
    let root = Table::new(root, String::new(), None, findings);
    let items = root.require("tokens", "a list of tokens, which may be empty").and_then(|node| node.items());
    let (mut names, mut hashes) = (HashMap::new(), HashMap::new());
    let mut tokens = Vec::new();
    for item in items.unwrap_or_default() {
        let Some(table) = item.table() else { continue };
        let token = token(&table);
        table.finish_strictly();
        let Some(token) = token else { continue };
        if names.insert(token.name.clone(), ()).is_some() {
            item.mistake(format!("has the name {:?}, which another token has, too", token.name));
        }
        if let Some(other) = hashes.insert(token.sha256, token.name.clone()) {
            item.mistake(format!("has the same hash as the token {other:?}: each name needs a token of its own"));
        }
        tokens.push(token);
    }
    root.finish_strictly();
    tokens
}

/// Nothing if a part can't be read; then there is a mistake.
fn token(table: &Table<'_>) -> Option<NamedToken> {
    let name = table.require("name", NAME).and_then(|node| name(&node));
    let sha256 = table.require("sha256", HASH).and_then(|node| hash(&node));
    let processes = table.require("processes", PROCESSES).and_then(|node| processes(&node));
    let words = [("own", false), ("all", true)];
    let sees_all_jobs = match table.get("jobs") {
        Some(node) => node.word(&words),
        None => Some(false),
    };
    let may_dismiss = match table.get("may_dismiss") {
        Some(node) => node.boolean(),
        // Whoever may end what is not theirs is to be told so.
        None => sees_all_jobs.map(|all| !all),
    };
    let expires = match table.get("expires") {
        Some(node) => time(&node).map(Some),
        None => Some(None),
    };
    Some(NamedToken {
        name: name?,
        sha256: sha256?,
        processes: processes?,
        sees_all_jobs: sees_all_jobs?,
        may_dismiss: may_dismiss?,
        expires: expires?,
    })
}

fn name(node: &Node<'_>) -> Option<String> {
    let name = node.text()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.len() <= 64 && name.bytes().all(is_plain) {
        return Some(name);
    }
    node.mistake(format!("is something else; allowed: {NAME}"));
    None
}

fn hash(node: &Node<'_>) -> Option<[u8; 32]> {
    let ValueKind::String(text) = &node.value.kind else {
        node.mistake(format!("is no text; allowed: {HASH}"));
        return None;
    };
    if text.eq_ignore_ascii_case(OF_NOTHING) {
        node.mistake("is the hash of nothing: the token was empty when it was made");
        return None;
    }
    let digits: Option<Vec<u8>> = text.bytes().map(digit).collect();
    let bytes = digits.filter(|digits| digits.len() == 64).map(|digits| {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(digits.chunks(2)).for_each(|(byte, pair)| *byte = pair[0] << 4 | pair[1]);
        bytes
    });
    if bytes.is_none() {
        node.mistake(format!("is something else; allowed: {HASH}"));
    }
    bytes
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[expect(clippy::option_option, reason = "nothing for a mistake; then nothing for all processes")]
fn processes(node: &Node<'_>) -> Option<Option<BTreeSet<ProcessId>>> {
    let items = node.items()?;
    let mut texts = Vec::new();
    for item in &items {
        texts.push(item.text()?);
    }
    if texts.iter().any(|text| text == "*") {
        return if texts.len() == 1 { Some(None) } else { node.wrong(PROCESSES) };
    }
    let mut ids = BTreeSet::new();
    for (item, text) in items.iter().zip(texts) {
        match text.parse::<ProcessId>() {
            Ok(id) => ids.insert(id),
            Err(why) => {
                item.mistake(why.to_string());
                return None;
            }
        };
    }
    Some(Some(ids))
}

fn time(node: &Node<'_>) -> Option<Timestamp> {
    node.text()?.parse().ok().or_else(|| node.wrong("a time such as 2027-01-31T00:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const B: &str = "60303AE22B998861BCE3B28F33EEC1BE758A213C86C93C076DBE9F558C11C752";

    fn told(text: &str) -> String {
        read_tokens(text, "tokens.yaml").unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_said_is_the_least() {
        let text = format!(
            "tokens:\n  - name: lakes\n    sha256: {A}\n    processes: [lakes, rivers]\n  - {{name: ops, sha256: '{B}', \
             processes: ['*'], jobs: all, expires: 2027-01-31T00:00:00Z}}\n"
        );
        let tokens = read_tokens(&text, "tokens.yaml").unwrap();
        let [lakes, ops] = tokens.as_slice() else { panic!("{tokens:?}") };
        assert_eq!((lakes.name.as_str(), lakes.sha256[0], lakes.sha256[31]), ("lakes", 0x9f, 0x08));
        assert_eq!(lakes.processes.as_ref().unwrap().len(), 2);
        assert!(!lakes.sees_all_jobs && lakes.may_dismiss && lakes.expires.is_none());
        assert!(ops.sees_all_jobs && !ops.may_dismiss && ops.processes.is_none() && ops.expires.is_some());
        assert_eq!(read_tokens("tokens: []", "tokens.yaml"), Ok(Vec::new()));
    }

    #[test]
    fn all_mistakes_come_at_once_with_their_places_and_no_secret() {
        let text = format!(
            "tokens:
  - name: a b
    sha256: SENSITIVE
    processes: lakes
  - name: ok
    sha256: {A}
    processes: ['*', lakes]
    jobs: some
    may_dismis: true
  - name: ok
    sha256: {A}
    processes: []
  - name: twice
    sha256: {A}
    processes: [a/b]
    expires: tomorrow
  - sha256: {OF_NOTHING}
    token: SENSITIVE
more: 1
"
        );
        let told = told(&text);
        for part in [
            "tokens[0].name (2:5): is something else; allowed: 1 to 64 letters",
            "tokens[0].sha256 (3:5): is something else; allowed: the SHA-256",
            "tokens[0].processes (4:5)",
            "tokens[1].processes (7:5): is a list; allowed: a list of process ids, or of \"*\" alone",
            "tokens[1].jobs (8:5): is the text \"some\"; allowed: own, all",
            "tokens[1].may_dismis (9:5): is not known; did you mean may_dismiss?",
            "tokens[3].processes[0]",
            "tokens[3].expires",
            "tokens[4].name (17:5): is missing",
            "tokens[4].sha256",
            "is the hash of nothing",
            "tokens[4].token",
            "more (19:1): is not known; allowed: tokens",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
        assert!(!told.contains("SENSITIVE") && !told.contains(A), "{told}");
    }

    #[test]
    fn a_name_and_a_token_are_there_once() {
        let token = |name: &str, hash: &str| format!("  - {{name: {name}, sha256: '{hash}', processes: []}}\n");
        let told = told(&format!("tokens:\n{}{}{}", token("a", A), token("a", B), token("b", &A.to_uppercase())));
        assert!(told.contains("tokens[1]") && told.contains("has the name \"a\""), "{told}");
        assert!(told.contains("tokens[2]") && told.contains("the same hash as the token \"a\""), "{told}");
    }

    #[test]
    fn what_is_no_mapping_is_told() {
        for text in ["", "- name: a", "tokens: 1", "tokens: [", "tokens:\n  - a\n"] {
            assert!(!told(text).is_empty(), "{text}");
        }
    }
}
