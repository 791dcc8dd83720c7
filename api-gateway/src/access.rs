//! Who asks, and what they may: [`rule`] (what an operation wants) → [`presented`] (what the request has) → [`Access`]
//! (who that is) → [`Admission`], which every handler finds in its request. The check is made in one place, `admit`; only an
//! execution's input `token` is looked at where the body is read.

mod admission;
mod caller;
mod door;
mod named;
mod oidc;
mod operator;
pub mod presented;
pub mod rule;
pub mod sight;

use jiff::Timestamp;
use protocol::configuration::Configuration;
use serde_json::{Map, Value};

use crate::rates::TooMany;

use self::operator::digest;
pub(crate) use self::{admission::admit, door::Door};
pub use self::{
    admission::{Admission, View},
    caller::{Caller, Identity, Rights},
    named::{NamedTokens, TokenFileError},
    oidc::{Invalid, IssuerError, Oidc, OidcSettings, ProcessRule},
    operator::OperatorToken,
    rule::{Need, Rule},
};

/// The input that carries the token of an execution.
pub const TOKEN_INPUT: &str = "token";

/// Why a client may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It presented nothing: 401.
    Missing,
    /// What it presented, or one of the two, is wrong: 403.
    Wrong,
    /// Nobody may, as no token is configured: 403.
    Closed,
    /// Its token was right, until it expired: 403.
    Expired,
    /// It presented a JSON Web Token that is not taken: 401.
    Invalid(Invalid),
    /// It presented one of an issuer whose keys are not known yet: 503.
    NotNow,
    /// Its token is right, and not for this process: 403.
    OtherProcess,
    /// Its token is right, and not for dismissing: 403.
    NoDismissal,
    /// It, or its address, has asked too often: 429.
    TooMany(TooMany),
}

/// The sources of tokens; cheap to clone.
#[derive(Clone, Default)]
pub struct Access {
    /// The one static token.
    pub operator: Option<OperatorToken>,
    /// Named tokens.
    pub named: Option<NamedTokens>,
    /// The issuer of OpenID Connect.
    pub oidc: Option<Oidc>,
}

impl Access {
    /// Whether there is any source of tokens.
    pub fn has_source(&self) -> bool {
        self.operator.is_some() || self.named.is_some() || self.oidc.is_some()
    }

    /// The issuer whose tokens are taken.
    pub fn issuer(&self) -> Option<&str> {
        self.oidc.as_ref().map(Oidc::issuer)
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// When it is nobody's.
    pub async fn identify(&self, presented: &str) -> Result<Caller, Refusal> {
        if !self.has_source() {
            return Err(Refusal::Closed);
        }
        let digest = digest(presented);
        if self.operator.as_ref().is_some_and(|operator| operator.is(&digest)) {
            return Ok(Caller::operator());
        }
        if let Some(named) = &self.named
            && let Some(found) = named.find(&digest, Timestamp::now())
        {
            return found;
        }
        if let Some(oidc) = &self.oidc
            && let Some(found) = oidc.identify(presented).await
        {
            return found;
        }
        Err(Refusal::Wrong)
    }

    /// How the sources are, for metrics: a name, what it is, a number. What is not configured has none.
    pub fn condition(&self) -> Vec<(&'static str, &'static str, usize)> {
        let named = self.named.iter().flat_map(|named| {
            [
                ("named_tokens", "Named tokens in force", named.len()),
                (
                    "token_file_failing",
                    "1 while the file of named tokens can't be used",
                    usize::from(named.is_failing()),
                ),
            ]
        });
        let issuer = self.oidc.iter().flat_map(|oidc| {
            let (keys, failing) = oidc.keys();
            [
                ("issuer_keys", "Keys of the issuer that are known", keys),
                ("issuer_failing", "1 while keys can't be had of the issuer", usize::from(failing)),
            ]
        });
        named.chain(issuer).collect()
    }

    /// Whether anything needs a token, and none can be right.
    pub fn is_closed_by_omission(&self, configuration: &Configuration) -> bool {
        let manager = &configuration.server.manager;
        let protects = Rule::ALL.iter().any(|rule| rule.need(manager) == Need::Token)
            || configuration.processes.values().any(|process| process.check_auth);
        protects && !self.has_source()
    }
}

/// Takes the token out of the inputs of a protected process, so that nothing after the gateway's door ever sees it.
pub fn take_token(inputs: &mut Map<String, Value>) -> Option<Value> {
    inputs.shift_remove(TOKEN_INPUT)
}
