//! The header `Prefer` (RFC 7240), as far as an execution looks at it.

use std::time::Duration;

/// What a client prefers. Preferences that this service does not know are ignored, as RFC 7240 wants it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preferences {
    /// `respond-async`: a job to come back for.
    pub respond_async: bool,
    /// `wait=N`: the longest that a synchronous answer may take.
    pub wait: Option<Duration>,
}

impl Preferences {
    /// Reads the values of all `Prefer` headers of a request, in their order. Of a preference that comes more than once
    /// the first counts; one that makes no sense is ignored.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Self {
        let mut found = Self::default();
        for (name, value) in headers.into_iter().flat_map(|header| outside_quotes(header, ',')).filter_map(preference) {
            match name.as_str() {
                "respond-async" => found.respond_async = true,
                "wait" if found.wait.is_none() => found.wait = value.parse().ok().map(Duration::from_secs),
                _ => {}
            }
        }
        found
    }
}

/// Name in lower case and value of one preference; its parameters say nothing to us.
fn preference(text: &str) -> Option<(String, String)> {
    let token = outside_quotes(text, ';').next()?;
    let (name, value) = token.split_once('=').unwrap_or((token, ""));
    let name = name.trim().to_ascii_lowercase();
    (!name.is_empty()).then(|| (name, value.trim().trim_matches('"').to_owned()))
}

/// The parts of a text between separators that are not inside a quoted string.
fn outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let in_quotes = quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == separator && !in_quotes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(headers: &[&str]) -> (bool, Option<u64>) {
        let found = Preferences::parse(headers.iter().copied());
        (found.respond_async, found.wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn respond_async_is_found_wherever_it_stands() {
        for headers in [
            &["respond-async"][..],
            &["respond-async "],
            &["return=minimal, Respond-Async"],
            &["handling=lenient", "respond-async;foo=bar"],
            &["x=\"a, b;c\\\"\" , respond-async"],
            &["respond-async=\"\""],
        ] {
            assert!(parsed(headers).0, "{headers:?}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_not_respond_async() {
        for headers in
            [&[][..], &["respond-sync"], &["x=\"respond-async\""], &["x=\"a, respond-async\""], &["; respond-async"]]
        {
            assert!(!parsed(headers).0, "{headers:?}");
        }
    }

    #[test]
    fn the_first_wait_counts_and_nonsense_is_ignored() {
        assert_eq!(parsed(&["wait=10, wait=20"]), (false, Some(10)));
        assert_eq!(parsed(&["respond-async, wait=\"7\""]), (true, Some(7)));
        assert_eq!(parsed(&["wait=soon", "wait=-1", "wait=3"]), (false, Some(3)));
        assert_eq!(parsed(&["wait"]), (false, None));
    }
}
