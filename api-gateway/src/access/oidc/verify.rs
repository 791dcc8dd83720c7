//! Whether a JSON Web Token is the issuer's, for us, and of now. Pure but for the clock.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
pub(super) use jsonwebtoken::Header;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde_json::{Map, Value};

/// Algorithms that are taken: with all of them only the issuer can sign. What is not named here, `none` and those with a shared
/// secret above all, is refused before any key is looked for (RFC 8725, 3.1).
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Why a JSON Web Token is not taken. The text goes to the client, as `error_description` too, and so has nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It can't be read.
    #[error("the token can not be read")]
    Unreadable,
    /// Not signed, or with an algorithm that is not taken.
    #[error("the algorithm of the token is not allowed")]
    Algorithm,
    /// No key of the issuer fits it.
    #[error("the key of the token is not among those of the issuer")]
    UnknownKey,
    /// Signed by someone else, or changed.
    #[error("the signature of the token is wrong")]
    Signature,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// For someone else.
    #[error("the token is for another audience")]
    Audience,
    /// Of another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// A claim is missing, or of another type.
    #[error("the token lacks a claim that is needed")]
    Claim,
}

/// What a text looks like.
#[derive(Debug)]
pub(super) enum Shape {
    /// No JSON Web Token.
    Opaque,
    /// One, with its header where that may be gone on with.
    Signed(Result<Box<Header>, Invalid>),
}

/// What a token has to be.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) issuer: String,
    pub(super) audience: Vec<String>,
    /// Seconds.
    pub(super) leeway: u64,
}

impl Shape {
    pub(super) fn of(token: &str) -> Self {
        let mut parts = token.split('.');
        let header = parts.next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let header = header.and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok());
        let Some(raw) = header.filter(|header| header.contains_key("alg") && parts.clone().count() > 1) else {
            return Self::Opaque;
        };
        // An extension that has to be understood is not (RFC 7515, 4.1.11); an encrypted token has five parts.
        if parts.count() != 2 || raw.contains_key("crit") {
            return Self::Signed(Err(Invalid::Unreadable));
        }
        let name = raw.get("alg").and_then(Value::as_str).and_then(|name| name.parse::<Algorithm>().ok());
        if !name.is_some_and(|algorithm| ALGORITHMS.contains(&algorithm)) {
            return Self::Signed(Err(Invalid::Algorithm));
        }
        Self::Signed(jsonwebtoken::decode_header(token).map(Box::new).map_err(|_| Invalid::Unreadable))
    }
}

/// The claims of a token that one of `keys` has signed.
pub(super) fn check<'a>(
    token: &str,
    header: &Header,
    keys: impl IntoIterator<Item = &'a DecodingKey>,
    wanted: &Wanted,
) -> Result<Map<String, Value>, Invalid> {
    let mut validation = Validation::new(header.alg);
    validation.leeway = wanted.leeway;
    validation.validate_nbf = true;
    validation.set_issuer(&[&wanted.issuer]);
    validation.set_audience(&wanted.audience);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let mut outcome = Err(Invalid::UnknownKey);
    for key in keys {
        outcome = match jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation) {
            Ok(data) => return Ok(data.claims),
            Err(error) => Err(reason(error.kind())),
        };
        if outcome != Err(Invalid::Signature) {
            return outcome;
        }
    }
    outcome
}

fn reason(kind: &ErrorKind) -> Invalid {
    match kind {
        ErrorKind::ExpiredSignature => Invalid::Expired,
        ErrorKind::ImmatureSignature => Invalid::NotYet,
        ErrorKind::InvalidAudience => Invalid::Audience,
        ErrorKind::InvalidIssuer => Invalid::Issuer,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::InvalidSubject => {
            Invalid::Claim
        }
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm | ErrorKind::InvalidAlgorithmName => {
            Invalid::Algorithm
        }
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Json(_) | ErrorKind::Utf8(_) => Invalid::Unreadable,
        // What the key can't check was not signed by it.
        _ => Invalid::Signature,
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, get_current_timestamp};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
    use serde_json::json;

    use super::{super::keys::KeySet, *};

    const ISSUER: &str = "https://id.example.org";

    struct Issuer {
        key: EncodingKey,
        set: KeySet,
    }

    fn issuer(kid: &str) -> Issuer {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let point = pair.public_key_raw();
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
            "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]),
        });
        Issuer { key, set: KeySet::read(&json!({ "keys": [jwk] })).unwrap() }
    }

    fn header(kid: Option<&str>) -> Header {
        Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::ES256) }
    }

    fn claims() -> Value {
        json!({"iss": ISSUER, "aud": ["other", "quayside"], "sub": "someone", "exp": get_current_timestamp() + 60})
    }

    fn checked(token: &str, set: &KeySet) -> Result<Map<String, Value>, Invalid> {
        let wanted = Wanted { issuer: ISSUER.into(), audience: vec!["quayside".into()], leeway: 5 };
        match Shape::of(token) {
            Shape::Signed(Ok(header)) => check(token, &header, set.find(&header), &wanted),
            Shape::Signed(Err(invalid)) => Err(invalid),
            Shape::Opaque => panic!("opaque"),
        }
    }

    #[test]
    fn a_token_of_the_issuer_for_us_is_taken() {
        let issuer = issuer("a");
        for kid in [Some("a"), None] {
            let token = jsonwebtoken::encode(&header(kid), &claims(), &issuer.key).unwrap();
            assert_eq!(checked(&token, &issuer.set).unwrap()["sub"], "someone", "{kid:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_token_is_told() {
        let issuer = issuer("a");
        let now = get_current_timestamp();
        for (name, value, expected) in [
            ("exp", json!(now - 60), Invalid::Expired),
            ("nbf", json!(now + 60), Invalid::NotYet),
            ("aud", json!("other"), Invalid::Audience),
            ("aud", json!([]), Invalid::Audience),
            ("iss", json!("https://id.example.org/"), Invalid::Issuer),
            ("exp", json!("soon"), Invalid::Claim),
            ("exp", Value::Null, Invalid::Claim),
            ("aud", Value::Null, Invalid::Claim),
            ("iss", Value::Null, Invalid::Claim),
            ("sub", Value::Null, Invalid::Claim),
        ] {
            let mut claims = claims();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
            let token = jsonwebtoken::encode(&header(Some("a")), &claims, &issuer.key).unwrap();
            assert_eq!(checked(&token, &issuer.set), Err(expected), "{name}: {value}");
        }
        let mut late = claims();
        late["exp"] = json!(now - 2);
        let token = jsonwebtoken::encode(&header(Some("a")), &late, &issuer.key).unwrap();
        assert!(checked(&token, &issuer.set).is_ok(), "within the leeway");
    }

    #[test]
    fn a_token_of_someone_else_is_not_taken() {
        let (ours, theirs) = (issuer("a"), issuer("a"));
        let token = jsonwebtoken::encode(&header(Some("a")), &claims(), &theirs.key).unwrap();
        assert_eq!(checked(&token, &ours.set), Err(Invalid::Signature));
        let token = jsonwebtoken::encode(&header(Some("b")), &claims(), &ours.key).unwrap();
        assert_eq!(checked(&token, &ours.set), Err(Invalid::UnknownKey));
        let token = jsonwebtoken::encode(&header(Some("a")), &claims(), &ours.key).unwrap();
        let (signed, _) = token.rsplit_once('.').unwrap();
        assert_eq!(checked(&format!("{signed}."), &ours.set), Err(Invalid::Signature), "cut off");
    }

    #[test]
    fn only_algorithms_with_two_keys_are_taken() {
        let ours = issuer("a");
        // The public key as a shared secret is the classic confusion.
        let secret = EncodingKey::from_secret(b"public");
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
        assert_eq!(checked(&token, &ours.set), Err(Invalid::Algorithm));
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        for algorithm in ["none", "None", "", "HS512", "ES256K"] {
            let token = format!("{}.{}.", part(&json!({"alg": algorithm, "kid": "a"})), part(&claims()));
            assert_eq!(checked(&token, &ours.set), Err(Invalid::Algorithm), "{algorithm}");
        }
        let token = format!("{}.{}.x", part(&json!({"alg": "RS256", "kid": "a"})), part(&claims()));
        assert_eq!(checked(&token, &ours.set), Err(Invalid::UnknownKey), "a key is for its own algorithm");
        let token = format!("{}.{}.x", part(&json!({"alg": "ES256", "kid": "a", "crit": ["x"]})), part(&claims()));
        assert_eq!(checked(&token, &ours.set), Err(Invalid::Unreadable));
    }

    #[test]
    fn what_is_no_json_web_token_is_told_apart() {
        let object = URL_SAFE_NO_PAD.encode("{\"alg\":\"ES256\"}");
        for opaque in ["", "a", "a.b.c", "..", &object, &format!("{object}."), "eyJ.a.b"] {
            assert!(matches!(Shape::of(opaque), Shape::Opaque), "{opaque}");
        }
        assert!(matches!(Shape::of(&format!("{object}.a.b.c.d")), Shape::Signed(Err(Invalid::Unreadable))));
    }

    #[test]
    fn reasons_can_be_quoted_in_a_header() {
        for invalid in [
            Invalid::Unreadable,
            Invalid::Algorithm,
            Invalid::UnknownKey,
            Invalid::Signature,
            Invalid::Expired,
            Invalid::NotYet,
            Invalid::Audience,
            Invalid::Issuer,
            Invalid::Claim,
        ] {
            assert!(invalid.to_string().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b' '), "{invalid}");
        }
    }
}
