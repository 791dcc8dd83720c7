use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// The one static token, which may everything; as its digest only: comparing digests tells nothing of the token's length.
#[derive(Clone)]
pub struct OperatorToken(Digest);

/// SHA-256 of a token.
pub(super) type Digest = [u8; 32];

impl OperatorToken {
    /// The digest of a configured token; an empty text is none.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(digest(text)))
    }

    pub(super) fn is(&self, presented: &Digest) -> bool {
        self.0.ct_eq(presented).into()
    }
}

pub(super) fn digest(token: &str) -> Digest {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_token_is_none() {
        assert!(OperatorToken::new("").is_none());
        assert!(OperatorToken::new("a").is_some_and(|token| token.is(&digest("a")) && !token.is(&digest(""))));
    }
}
