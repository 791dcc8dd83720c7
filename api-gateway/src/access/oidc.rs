//! Tokens of an issuer of OpenID Connect (Core 1.0; RFC 7519, RFC 8725): [`verify`] (it is the issuer's, and for us) →
//! [`claims`] (who it is of, and what they may).

mod claims;
mod keys;
mod settings;
mod verify;

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub use self::{
    keys::IssuerError,
    settings::{OidcSettings, ProcessRule},
    verify::Invalid,
};
use self::{
    keys::Keys,
    verify::{Shape, Wanted},
};
use super::{Caller, Refusal};

/// A configured issuer; cheap to clone.
#[derive(Clone)]
pub struct Oidc(Arc<Inner>);

struct Inner {
    issuer: String,
    wanted: Wanted,
    settings: OidcSettings,
    keys: Keys,
}

impl Oidc {
    /// As configured; `None` without an issuer. Nothing is asked of the issuer yet, which may be away. Requests are made on
    /// `runtime`.
    ///
    /// # Errors
    /// When the issuer's authority can't be used.
    pub fn new(settings: &OidcSettings, runtime: Handle) -> Result<Option<Self>, IssuerError> {
        let Some(issuer) = settings.issuer.clone() else { return Ok(None) };
        let keys = Keys::new(&issuer, settings, runtime)?;
        let wanted =
            Wanted { issuer: issuer.clone(), audience: settings.audience.clone(), leeway: settings.leeway.as_secs() };
        Ok(Some(Self(Arc::new(Inner { issuer, wanted, settings: settings.clone(), keys }))))
    }

    /// The issuer, as its tokens name it.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// How many keys are known, and whether the issuer failed to answer last.
    pub(super) fn keys(&self) -> (usize, bool) {
        (self.0.keys.current().map_or(0, |set| set.len()), self.0.keys.is_failing())
    }

    /// Id of the client with which people sign in on the pages.
    pub fn client_id(&self) -> Option<&str> {
        self.0.settings.client_id.as_deref()
    }

    /// Whose token this is; `None` of one that has not the form of a JSON Web Token.
    pub(super) async fn identify(&self, token: &str) -> Option<Result<Caller, Refusal>> {
        match Shape::of(token) {
            Shape::Opaque => None,
            Shape::Signed(Err(invalid)) => Some(Err(Refusal::Invalid(invalid))),
            Shape::Signed(Ok(header)) => Some(self.verified(token, &header).await),
        }
    }

    async fn verified(&self, token: &str, header: &verify::Header) -> Result<Caller, Refusal> {
        let Inner { issuer, wanted, settings, keys } = &*self.0;
        let check = |set: &keys::KeySet| verify::check(token, header, set.find(header), wanted);
        let checked = match keys.current() {
            Some(set) => check(&set),
            None => Err(Invalid::UnknownKey),
        };
        let checked = match checked {
            // The issuer may have new keys, which need not have new names.
            Err(Invalid::UnknownKey | Invalid::Signature) => {
                let set = keys.asked_again().await.ok_or(Refusal::NotNow)?;
                check(&set)
            }
            checked => checked,
        };
        let claims = checked.map_err(Refusal::Invalid)?;
        claims::caller(issuer, &claims, settings).map_err(Refusal::Invalid)
    }

    /// Asks the issuer for its keys now, and every so often, until `shutdown`.
    pub async fn keep_up(self, shutdown: CancellationToken) {
        self.0.keys.keep_up(shutdown).await;
    }
}
