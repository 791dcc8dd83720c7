//! An issuer of OpenID Connect, and people who sign in there.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, Response, header, redirect};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use crate::{
    ports,
    program::{Launch, Program},
    tools::{Tool, Tools},
};

/// Who signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// Of the group `water`.
    First,
    /// Of the group `air`.
    Second,
}

/// A running issuer. It has the clients `quayside`, `other`, and `late`, whose tokens have expired when they are made.
#[derive(Debug)]
pub struct Issuer {
    /// The program.
    pub program: Program,
    address: String,
    http: Client,
}

/// Where browsers are sent after they signed in; nobody listens there.
pub const REDIRECT: &str = "http://127.0.0.1:9/callback";
/// The password of everybody there.
const PASSWORD: &str = "verysecure";

impl Issuer {
    /// Starts one that logs into `folder`.
    pub async fn start(tools: &Tools, folder: &Path) -> Result<Self> {
        Self::start_at(tools, folder, ports::free()?, &[REDIRECT]).await
    }

    /// The same on a port of one's own, for browsers that come back to these URLs.
    pub async fn start_at(tools: &Tools, folder: &Path, port: u16, redirects: &[&str]) -> Result<Self> {
        let address = format!("127.0.0.1:{port}");
        let mut program = Launch::new("issuer", tools.path(Tool::ZitadelOidc)?, folder.join("issuer.log"))
            .arg(&address)
            .env("REDIRECT_URI", redirects.join(","))
            .spawn()?;
        let http = Client::builder().redirect(redirect::Policy::none()).timeout(Duration::from_secs(20)).build()?;
        let discovery = format!("http://{address}/.well-known/openid-configuration");
        program
            .wait_ready(Duration::from_secs(20), || async {
                http.get(&discovery).send().await?.error_for_status()?.json::<Value>().await?;
                Ok(())
            })
            .await?;
        Ok(Self { program, address, http })
    }

    /// What its tokens call it.
    pub fn name(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Its port.
    pub fn port(&self) -> Result<u16> {
        Ok(self.address.rsplit(':').next().context("no port")?.parse()?)
    }

    /// From now on it signs with another key, and has no other.
    pub async fn rotate(&self) -> Result<()> {
        self.http.post(format!("http://{}/rotate", self.address)).send().await?.error_for_status()?;
        Ok(())
    }

    /// The access token that a client gets when a person signs in: by an authorization code with PKCE.
    pub async fn token(&self, client: &str, person: Person) -> Result<String> {
        let base = format!("http://{}", self.address);
        let verifier = "a-verifier-of-the-tests-0123456789-0123456789-0123456789";
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        let asked = Url::parse_with_params(
            &format!("{base}/auth"),
            [
                ("client_id", client),
                ("redirect_uri", REDIRECT),
                ("response_type", "code"),
                ("scope", "openid"),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ],
        )?;
        let login = location(&self.http.get(asked).send().await?, &base)?;
        let id = query(&login, "authRequestID")?;
        let name = match person {
            Person::First => "test-user@127.0.0.1",
            Person::Second => "test-user2",
        };
        let form = form(&[("username", name), ("password", PASSWORD), ("id", &id)]);
        let callback = location(&self.post(&format!("{base}/login/username"), form).await?, &base)?;
        let back = location(&self.http.get(callback).send().await?, &base)?;
        let form = form_of_code(client, &query(&back, "code")?, verifier);
        let answer = self.post(&format!("{base}/oauth/token"), form).await?;
        let status = answer.status();
        let tokens: Value = answer.json().await?;
        ensure!(status.is_success(), "{status}: {tokens}");
        Ok(tokens["access_token"].as_str().context("no access token")?.to_owned())
    }

    async fn post(&self, url: &str, form: String) -> Result<Response> {
        let request = self.http.post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        Ok(request.body(form).send().await?)
    }
}

fn form_of_code(client: &str, code: &str, verifier: &str) -> String {
    form(&[
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT),
        ("code", code),
        ("code_verifier", verifier),
    ])
}

fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn location(answer: &Response, base: &str) -> Result<Url> {
    let location = answer.headers().get(header::LOCATION).context("the issuer does not send the browser on")?;
    Ok(Url::parse(base)?.join(location.to_str()?)?)
}

fn query(url: &Url, name: &str) -> Result<String> {
    let found = url.query_pairs().find(|(key, _)| key == name);
    Ok(found.with_context(|| format!("{url} has no {name}"))?.1.into_owned())
}
