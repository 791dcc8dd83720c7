//! The id under which a request is found in answers and logs.

use std::fmt;

use actix_web::http::header::{HeaderMap, HeaderValue};

/// The header, in requests and answers.
pub const HEADER: &str = "x-request-id";

/// The longest id that is taken from a client.
const LONGEST: usize = 128;

/// A client's own id, or one that is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// The one that the client, or a proxy before us, gave; without a sane one a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let sane =
            given.filter(|id| (1..=LONGEST).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
        let drawn = || uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
        Self(sane.map_or_else(drawn, str::to_owned))
    }

    /// As a header's value.
    pub fn header_value(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;

    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_others_are_replaced() {
        let of = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(HEADER), HeaderValue::from_str(id).unwrap());
            RequestId::of(&headers).to_string()
        };
        assert_eq!(of("abc-1"), "abc-1");
        assert_eq!(of(&"a".repeat(128)).len(), 128);
        for other in ["", "a b", &"a".repeat(129)] {
            assert_ne!(of(other), other);
            assert_eq!(of(other).len(), 36);
        }
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }
}
