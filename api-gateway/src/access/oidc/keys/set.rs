use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Header,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use serde_json::Value;

/// Keys of an issuer (RFC 7517), those that can check signatures.
#[derive(Debug, Default)]
pub(crate) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// `None`: any of its family.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

/// More keys than this are not looked at: each costs a try where a token names none.
const MOST: usize = 64;

impl KeySet {
    /// Reads a document. Keys that are not understood, for encryption, or shared secrets are left out; `None` where no key is
    /// left.
    pub(crate) fn read(document: &Value) -> Option<Self> {
        let keys = document.get("keys")?.as_array()?;
        let keys: Vec<Key> = keys.iter().filter_map(Key::read).take(MOST).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The keys that a token may have been signed with.
    pub(crate) fn find(&self, header: &Header) -> impl Iterator<Item = &DecodingKey> {
        let (id, algorithm) = (header.kid.clone(), header.alg);
        let fits = move |key: &&Key| {
            key.key.family() == algorithm.family()
                && key.algorithm.is_none_or(|own| own == algorithm)
                // One that names no key may be of any, and a key without a name may be meant by any name.
                && (id.is_none() || key.id.is_none() || key.id == id)
        };
        self.0.iter().filter(fits).map(|key| &key.key)
    }

    /// The names of the keys, which are no secrets.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.0.iter().map(|key| key.id.clone().unwrap_or_default()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_))
            || !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature))
        {
            return None;
        }
        let algorithm = match value.get("alg") {
            None => None,
            // One that is not known here can't be checked here.
            Some(name) => Some(name.as_str()?.parse().ok()?),
        };
        let key = DecodingKey::from_jwk(&jwk).ok().filter(|key| key.family() != AlgorithmFamily::Hmac)?;
        Some(Self { id: jwk.common.key_id, algorithm, key })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_check_no_signature_is_left_out() {
        let rsa = |id: &str, more: &[(&str, &str)]| {
            let mut key = json!({"kty": "RSA", "kid": id, "n": "u1SU1LfVLPHCozMxH2Mo", "e": "AQAB"});
            for (name, value) in more {
                key[*name] = json!(value);
            }
            key
        };
        let keys = [
            rsa("plain", &[]),
            rsa("named", &[("alg", "RS256"), ("use", "sig")]),
            rsa("encrypts", &[("use", "enc")]),
            rsa("other", &[("alg", "RSA-OAEP")]),
            json!({"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}),
            json!({"kty": "later", "kid": "later"}),
            json!("nonsense"),
        ];
        let set = KeySet::read(&json!({ "keys": keys })).unwrap();
        assert_eq!(set.ids(), ["plain", "named"]);
        let count = |kid: Option<&str>, algorithm| {
            set.find(&Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) }).count()
        };
        assert_eq!(count(Some("named"), Algorithm::RS256), 1);
        assert_eq!(count(Some("named"), Algorithm::PS256), 0, "a key is for its own algorithm");
        assert_eq!(count(Some("plain"), Algorithm::PS256), 1);
        assert_eq!(count(None, Algorithm::RS256), 2);
        assert_eq!(count(Some("secret"), Algorithm::HS256), 0);
        for nothing in [json!({"keys": []}), json!({}), json!({"keys": [keys[4]]})] {
            assert!(KeySet::read(&nothing).is_none(), "{nothing}");
        }
    }
}
