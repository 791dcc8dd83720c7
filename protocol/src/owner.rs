//! Whose a job is.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hex;

/// Whose a job is, as its record tells it to everybody who reads events: the name of a token, which an operator chose
/// knowing this, or a digest of who signed in, as a subject may be somebody's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Owner(String);

impl Owner {
    /// Who has the named token of this name.
    pub fn token(name: &str) -> Self {
        Self(format!("token:{name}"))
    }

    /// Whom this issuer of OpenID Connect calls so.
    pub fn subject(issuer: &str, subject: &str) -> Self {
        // No issuer has a zero byte: two pairs never run together.
        let digest = Sha256::new().chain_update(issuer).chain_update([0]).chain_update(subject).finalize();
        Self(format!("oidc:{}", hex(&digest[..16])))
    }

    /// The text in records.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_stays_the_same_for_good() {
        assert_eq!(Owner::token("lakes").as_str(), "token:lakes");
        let subject = Owner::subject("https://id.example.org", "someone@example.org");
        assert_eq!(subject.as_str(), "oidc:6e08e725bb755df407badd8dac47436b");
        assert_ne!(subject, Owner::subject("https://id.example.org/s", "omeone@example.org"));
    }
}
