//! What a request presents.

use actix_web::http::header::{self, HeaderMap, HeaderValue};

use super::Refusal;

/// The one bearer token of a request's headers.
///
/// # Errors
/// When there are several, or it can't be read as text.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    one(credentials(headers.get_all(header::AUTHORIZATION).map(HeaderValue::as_bytes)))
}

/// The credentials in the values of `Authorization` headers, `None` for some that are no text; other schemes than `Bearer`
/// count as not presented.
fn credentials<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Vec<Option<&'a str>> {
    let credentials = |value: &'a [u8]| {
        let scheme = value.get(..6)?;
        let rest = &value[6..];
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && (rest.is_empty() || rest[0] == b' ');
        is_bearer.then(|| std::str::from_utf8(rest).ok().map(str::trim))
    };
    headers.into_iter().filter_map(credentials).collect()
}

fn one(found: Vec<Option<&str>>) -> Result<Option<&str>, Refusal> {
    match found.as_slice() {
        [] => Ok(None),
        [Some(first), rest @ ..] if rest.iter().all(|text| *text == Some(*first)) => Ok(Some(first)),
        _ => Err(Refusal::Wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_credentials_are_looked_at() {
        let found = |value: &'static str| credentials([value.as_bytes()]);
        assert_eq!(found("Bearer abc"), [Some("abc")]);
        assert_eq!(found("bEARER  abc "), [Some("abc")]);
        assert_eq!(found("Bearer"), [Some("")]);
        assert!(found("Basic abc").is_empty());
        assert!(found("BearerX").is_empty());
        assert!(found("").is_empty());
        assert_eq!(credentials([&b"Bearer \xff"[..]]), [None]);
    }

    #[test]
    fn two_tokens_are_none() {
        assert_eq!(one(vec![]), Ok(None));
        assert_eq!(one(vec![Some("a"), Some("a")]), Ok(Some("a")));
        assert_eq!(one(vec![Some("a"), Some("b")]), Err(Refusal::Wrong));
        assert_eq!(one(vec![Some("a"), None]), Err(Refusal::Wrong));
        assert_eq!(one(vec![None]), Err(Refusal::Wrong));
    }
}
