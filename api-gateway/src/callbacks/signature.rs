//! Signatures of deliveries, as Standard Webhooks has them (<https://www.standardwebhooks.com>): HMAC-SHA256 of id, time and
//! body, so that a receiver knows who sent them and when.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use platform::secret::Secret;
use sha2::Sha256;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// Signs with each of its keys. Its `Debug` shows none.
pub(super) struct Signer(Vec<Hmac<Sha256>>);

impl Signer {
    /// From secrets and the names of their settings.
    ///
    /// # Errors
    /// When one is none.
    pub(super) fn new<'a>(secrets: impl Iterator<Item = (String, &'a Secret)>) -> Result<Self, String> {
        let keys = secrets.map(|(name, secret)| {
            let decoded = secret.reveal().strip_prefix(PREFIX).and_then(|text| BASE64_STANDARD.decode(text).ok());
            let bytes = decoded.filter(|bytes| (24..=64).contains(&bytes.len()));
            let key = bytes.and_then(|bytes| Hmac::<Sha256>::new_from_slice(&bytes).ok());
            key.ok_or_else(|| format!("{name}: expected {PREFIX} and 24 to 64 bytes in base64"))
        });
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// Whether there is any key.
    pub(super) fn signs(&self) -> bool {
        !self.0.is_empty()
    }

    /// The header `webhook-signature`; `None` without a key. `seconds` is the header `webhook-timestamp`.
    pub(super) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> Option<String> {
        let signatures = self.0.iter().map(|key| {
            let mut mac = key.clone();
            mac.update(format!("{id}.{seconds}.").as_bytes());
            mac.update(body);
            format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
        });
        let header = signatures.collect::<Vec<_>>().join(" ");
        (!header.is_empty()).then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secrets: &[&str]) -> Result<Signer, String> {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        Signer::new(secrets.iter().map(|secret| ("s".to_owned(), secret)))
    }

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_signature_is_the_one_of_the_standards_own_example() {
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let signed = signer(&[SECRET]).unwrap().sign(id, 1_614_265_330, body).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_being_replaced_both_sign_and_without_one_none_does() {
        let both = signer(&[SECRET, "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]).unwrap();
        let signed = both.sign("i", 1, b"b").unwrap();
        let alone = signer(&[SECRET]).unwrap().sign("i", 1, b"b").unwrap();
        assert!(signed.starts_with(&format!("{alone} v1,")), "{signed}");
        let none = signer(&[]).unwrap();
        assert!(!none.signs() && none.sign("i", 1, b"b").is_none());
    }

    #[test]
    fn what_is_no_secret_is_refused_without_showing_it() {
        for wrong in ["", "hush", "whsec_", "whsec_hush!", "whsec_aHVzaA=="] {
            let mistake = signer(&[wrong]).err().unwrap();
            assert!(mistake.contains("24 to 64 bytes") && !mistake.contains("hush"), "{mistake}");
        }
    }
}
