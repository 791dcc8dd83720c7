//! Asks an issuer for its keys (OpenID Connect Discovery 1.0, 4).

use std::time::Duration;

use bytes::BytesMut;
use reqwest::{Certificate, Client, redirect};
use serde_json::Value;
use url::Url;

use super::{super::settings::may_be_asked, KeySet, OidcSettings};

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The largest document, in bytes.
const MOST: usize = 1 << 20;

/// Keys can't be had of an issuer.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The authority can't be read.
    #[error("the certificate authority {path} can't be read")]
    Authority {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no client.
    #[error("the client of the issuer can't be made")]
    Client(#[source] reqwest::Error),
    /// It can't be reached, or does not answer as it should.
    #[error("{what} can't be read")]
    Request {
        /// What was asked for.
        what: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It answers too much.
    #[error("{0} has more than 1 MiB")]
    TooLarge(&'static str),
    /// It is no JSON.
    #[error("{what} is no JSON")]
    NoJson {
        /// What was asked for.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It calls itself something else.
    #[error(
        "the discovery document is of another issuer than gateway.oidc.issuer, which has to be the same to the letter"
    )]
    OtherIssuer,
    /// It names no place for its keys, or one that may not be asked.
    #[error("the discovery document has no jwks_uri that may be asked: https, or this machine")]
    NoKeysUrl,
    /// There is no key that checks signatures.
    #[error("the issuer has no key that can be used")]
    NoKey,
}

/// An issuer.
pub(super) struct Issuer {
    name: String,
    client: Client,
    allow_http: bool,
}

impl Issuer {
    pub(super) fn new(name: &str, settings: &OidcSettings) -> Result<Self, IssuerError> {
        let mut client = Client::builder()
            .timeout(LIMIT)
            // A redirect could lead from https to elsewhere.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("Quayside/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &settings.ca {
            let failed = |source| IssuerError::Authority { path: path.display().to_string(), source };
            let bundle = std::fs::read(path).map_err(failed)?;
            for certificate in Certificate::from_pem_bundle(&bundle).map_err(IssuerError::Client)? {
                client = client.add_root_certificate(certificate);
            }
        }
        let client = client.build().map_err(IssuerError::Client)?;
        Ok(Self { name: name.to_owned(), client, allow_http: settings.allow_http })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its keys, as they are now.
    pub(super) async fn keys(&self) -> Result<KeySet, IssuerError> {
        let discovery = format!("{}/.well-known/openid-configuration", self.name.trim_end_matches('/'));
        let discovery = self.read("the discovery document", &discovery).await?;
        if discovery["issuer"].as_str() != Some(&self.name) {
            return Err(IssuerError::OtherIssuer);
        }
        let url = discovery["jwks_uri"].as_str().and_then(|url| Url::parse(url).ok());
        let url = url.filter(|url| may_be_asked(url, self.allow_http)).ok_or(IssuerError::NoKeysUrl)?;
        let keys = self.read("the document of the keys", url.as_str()).await?;
        KeySet::read(&keys).ok_or(IssuerError::NoKey)
    }

    async fn read(&self, what: &'static str, url: &str) -> Result<Value, IssuerError> {
        let failed = |source: reqwest::Error| IssuerError::Request { what, source };
        let mut answer = self.client.get(url).send().await.map_err(failed)?.error_for_status().map_err(failed)?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > MOST {
                return Err(IssuerError::TooLarge(what));
            }
            bytes.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&bytes).map_err(|source| IssuerError::NoJson { what, source })
    }
}
