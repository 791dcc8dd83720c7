//! The API token: who may execute a protected process, and who may look at jobs where that is protected too.

use protocol::configuration::Configuration;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The input that carries the token.
pub const TOKEN_INPUT: &str = "token";

/// The configured token, as its digest only: comparing digests tells nothing of the token's length.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// The digest of a configured token; an empty text is none.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(Sha256::digest(text).into()))
    }

    fn is(&self, presented: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        self.0.ct_eq(&digest).into()
    }
}

/// What a client presented. Holds secrets: it has no `Debug`.
#[derive(Default)]
pub struct Presented<'a> {
    /// The credentials of each `Authorization: Bearer` header; `None` for one that can't be read as text.
    pub bearer: Vec<Option<&'a str>>,
    /// The value of the input `token`.
    pub input: Option<&'a Value>,
}

/// Why a client may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It presented nothing: 401.
    Missing,
    /// What it presented, or one of the two, is wrong: 403.
    Wrong,
    /// Nobody may, as no token is configured: 403.
    Closed,
}

/// Decides over a request to something protected. Never open by omission: without a configured token nobody passes.
///
/// # Errors
/// When the client may not go on.
pub fn check(configured: Option<&Token>, presented: &Presented<'_>) -> Result<(), Refusal> {
    let Some(token) = configured else { return Err(Refusal::Closed) };
    if presented.bearer.is_empty() && presented.input.is_none() {
        return Err(Refusal::Missing);
    }
    let headers = presented.bearer.iter().all(|text| text.is_some_and(|text| token.is(text)));
    let input = presented.input.is_none_or(|value| value.as_str().is_some_and(|text| token.is(text)));
    if headers && input { Ok(()) } else { Err(Refusal::Wrong) }
}

/// Whether who dismisses or removes a job has to present the token: the one place of this rule. `check_auth` is that of
/// the job's process, `None` where that is not configured any more. Only where the configuration protects neither jobs nor
/// this process does the job's id suffice, which can't be guessed.
pub fn protects_dismissal(protect_jobs: Option<bool>, check_auth: Option<bool>) -> bool {
    protect_jobs == Some(true) || check_auth != Some(false)
}

/// The credentials in the values of `Authorization` headers; other schemes than `Bearer` count as not presented.
pub fn bearer<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Vec<Option<&'a str>> {
    let credentials = |value: &'a [u8]| {
        let scheme = value.get(..6)?;
        let rest = &value[6..];
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && (rest.is_empty() || rest[0] == b' ');
        is_bearer.then(|| std::str::from_utf8(rest).ok().map(str::trim))
    };
    headers.into_iter().filter_map(credentials).collect()
}

/// Takes the token out of the inputs of a protected process, so that nothing after the gateway's door ever sees it.
pub fn take_token(inputs: &mut Map<String, Value>) -> Option<Value> {
    inputs.shift_remove(TOKEN_INPUT)
}

/// Whether anything is protected by a token that is not there.
pub fn is_closed_by_omission(configuration: &Configuration, configured: Option<&Token>) -> bool {
    let protects = configuration.server.manager.protect_jobs == Some(true)
        || configuration.processes.values().any(|p| p.check_auth);
    protects && configured.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_tokens() {
        let token = Token::new("right");
        let (right, wrong, number) = (Value::from("right"), Value::from("wrong"), Value::from(1));
        type Case<'a> = (&'a [Option<&'a str>], Option<&'a Value>, Result<(), Refusal>);
        let cases: [Case<'_>; 10] = [
            (&[], None, Err(Refusal::Missing)),
            (&[Some("right")], None, Ok(())),
            (&[], Some(&right), Ok(())),
            (&[Some("right")], Some(&right), Ok(())),
            (&[Some("wrong")], None, Err(Refusal::Wrong)),
            (&[], Some(&wrong), Err(Refusal::Wrong)),
            (&[Some("right")], Some(&wrong), Err(Refusal::Wrong)),
            (&[Some("wrong")], Some(&right), Err(Refusal::Wrong)),
            (&[], Some(&number), Err(Refusal::Wrong)),
            (&[None], None, Err(Refusal::Wrong)),
        ];
        for (index, (bearer, input, expected)) in cases.into_iter().enumerate() {
            let presented = Presented { bearer: bearer.to_vec(), input };
            assert_eq!(check(token.as_ref(), &presented), expected, "case {index}");
            assert_eq!(check(None, &presented), Err(Refusal::Closed), "case {index}");
        }
    }

    #[test]
    fn the_table_of_dismissals() {
        for (protect_jobs, check_auth, expected) in [
            (None, Some(false), false),
            (Some(false), Some(false), false),
            (Some(true), Some(false), true),
            (None, Some(true), true),
            (Some(false), Some(true), true),
            (Some(true), Some(true), true),
            (None, None, true),
            (Some(false), None, true),
        ] {
            assert_eq!(protects_dismissal(protect_jobs, check_auth), expected, "{protect_jobs:?} {check_auth:?}");
        }
    }

    #[test]
    fn an_empty_token_is_none() {
        assert!(Token::new("").is_none());
    }

    #[test]
    fn only_bearer_credentials_are_looked_at() {
        let found = |value: &'static str| bearer([value.as_bytes()]);
        assert_eq!(found("Bearer abc"), [Some("abc")]);
        assert_eq!(found("bEARER  abc "), [Some("abc")]);
        assert_eq!(found("Bearer"), [Some("")]);
        assert!(found("Basic abc").is_empty());
        assert!(found("BearerX").is_empty());
        assert!(found("").is_empty());
        assert_eq!(bearer([&b"Bearer \xff"[..]]), [None]);
    }
}
