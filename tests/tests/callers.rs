//! Everybody who may come: with no token, a wrong one, the static one, named ones, and those of an issuer, right and wrong.

use std::fs;

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use end_to_end::{
    issuer::{Issuer, Person},
    program::wait_until,
    services::Service,
    story::{LIMIT, Story, TOKEN},
    tools::{self, Tool},
};
use protocol::JobId;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Nobody,
    WithWrongToken,
    WithStaticToken,
    /// Has a named token for the process, and the jobs that stories make as it.
    Tenant,
    /// Has a named token for another process.
    TenantOfOtherProcess,
    /// Has a named token for the same process.
    OtherTenant,
    /// Has a named token that sees all jobs.
    Watcher,
    /// Has a named token that has expired.
    Late,
    /// Of the group that may execute the process.
    SignedIn,
    /// Of another group.
    SignedInOfOtherGroup,
    SignedInLongAgo,
    SignedInElsewhere,
    WithUnsignedToken,
    /// Signed in before the issuer took another key.
    SignedInBeforeRotation,
}

impl Caller {
    pub(crate) const ALL: [Self; 14] = [
        Self::Nobody,
        Self::WithWrongToken,
        Self::WithStaticToken,
        Self::Tenant,
        Self::TenantOfOtherProcess,
        Self::OtherTenant,
        Self::Watcher,
        Self::Late,
        Self::SignedIn,
        Self::SignedInOfOtherGroup,
        Self::SignedInLongAgo,
        Self::SignedInElsewhere,
        Self::WithUnsignedToken,
        Self::SignedInBeforeRotation,
    ];
}

/// The process that needs a token.
pub(crate) const GUARDED: &str = "guarded";

/// Named tokens: their names, the tokens, and the rest of their entries.
const NAMED: [(&str, &str, &str); 5] = [
    ("tenant", "tenant-9b1f6f2e", "processes: [guarded]"),
    ("roads", "roads-0c53e1aa", "processes: [roads]"),
    ("other", "other-5d2b7c90", "processes: [guarded, roads]"),
    ("watcher", "watcher-77aa21cd", "processes: [], jobs: all"),
    ("late", "late-e1f0b3a9", "processes: [guarded], expires: 2020-01-01T00:00:00Z"),
];

/// All callers, and the issuer that some of them signed in with.
pub(crate) struct Callers {
    /// Kept running.
    _issuer: Issuer,
    signed_in: [String; 2],
    long_ago: String,
    elsewhere: String,
    before_rotation: String,
}

/// Starts the services so that they know the callers; the story's setting must not have started them.
pub(crate) async fn start(story: &mut Story, replicas: usize) -> Result<Callers> {
    let tools = tools::require(&[Tool::ZitadelOidc], &|_| {}).await?;
    let issuer = Issuer::start(&tools, story.stack.folder()).await?;
    write_tokens(story, |_| true)?;
    let (tokens, name) = (tokens_file(story), issuer.name());
    for replica in 0..replicas {
        let more = [
            ("QUAYSIDE_GATEWAY__TOKENS", tokens.as_str()),
            ("QUAYSIDE_GATEWAY__OIDC__ISSUER", name.as_str()),
            ("QUAYSIDE_GATEWAY__OIDC__AUDIENCE", "quayside, late"),
            ("QUAYSIDE_GATEWAY__OIDC__PROCESSES_CLAIM", "groups"),
            ("QUAYSIDE_GATEWAY__OIDC__PROCESSES", "water=guarded, air=roads"),
        ];
        story.stack.start_service(Service::Gateway, replica, &more)?;
    }
    story.stack.start_service(Service::Dispatcher, 0, &[])?;
    story.stack.start_service(Service::Finalizer, 0, &[])?;
    story.stack.wait_ready().await?;

    let before_rotation = issuer.token("quayside", Person::First).await?;
    for replica in 0..replicas {
        wait_until("the issuer's keys are known", LIMIT, || async {
            ensure!(is_taken(story, replica, &before_rotation).await?, "not yet");
            Ok(())
        })
        .await?;
    }
    issuer.rotate().await?;
    let signed_in = [issuer.token("quayside", Person::First).await?, issuer.token("quayside", Person::Second).await?];
    for replica in 0..replicas {
        wait_until("the issuer's new key is known", LIMIT, || async {
            ensure!(is_taken(story, replica, &signed_in[0]).await?, "not yet");
            Ok(())
        })
        .await?;
    }
    Ok(Callers {
        signed_in,
        long_ago: issuer.token("late", Person::First).await?,
        elsewhere: issuer.token("other", Person::First).await?,
        before_rotation,
        _issuer: issuer,
    })
}

/// Whether a token is a right one, whatever it is for: nobody may dismiss what is not there.
async fn is_taken(story: &Story, replica: usize, token: &str) -> Result<bool> {
    let url = format!("{}/jobs/{}", story.stack.url(replica), JobId::generate(1));
    Ok(story.http.delete(url).bearer_auth(token).send().await?.status() == StatusCode::NOT_FOUND)
}

/// Where the named tokens are.
pub(crate) fn tokens_file(story: &Story) -> String {
    story.stack.folder().join("tokens.yaml").display().to_string()
}

/// The named token of this name.
pub(crate) fn named_token(name: &str) -> Result<&'static str> {
    let found = NAMED.iter().find(|(known, ..)| *known == name);
    found.map(|(_, token, _)| *token).context("no such token")
}

/// Writes the file of the named tokens with some of them.
pub(crate) fn write_tokens(story: &Story, has: impl Fn(&str) -> bool) -> Result<()> {
    let mut text = "tokens:\n".to_owned();
    for (name, token, rest) in NAMED.iter().filter(|(name, ..)| has(name)) {
        let hash: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("  - {{name: {name}, sha256: \"{hash}\", {rest}}}\n"));
    }
    // As a mounted secret changes: at once.
    let (file, new) = (tokens_file(story), story.stack.folder().join("tokens.new"));
    fs::write(&new, text)?;
    fs::rename(new, file)?;
    Ok(())
}

impl Callers {
    /// The token of a caller.
    pub(crate) fn token(&self, caller: Caller) -> Option<String> {
        let named = |name: &str| named_token(name).ok().map(str::to_owned);
        match caller {
            Caller::Nobody => None,
            Caller::WithWrongToken => Some("wrong-token-of-nobody".to_owned()),
            Caller::WithStaticToken => Some(TOKEN.to_owned()),
            Caller::Tenant => named("tenant"),
            Caller::TenantOfOtherProcess => named("roads"),
            Caller::OtherTenant => named("other"),
            Caller::Watcher => named("watcher"),
            Caller::Late => named("late"),
            Caller::SignedIn => Some(self.signed_in[0].clone()),
            Caller::SignedInOfOtherGroup => Some(self.signed_in[1].clone()),
            Caller::SignedInLongAgo => Some(self.long_ago.clone()),
            Caller::SignedInElsewhere => Some(self.elsewhere.clone()),
            Caller::WithUnsignedToken => {
                let claims = self.signed_in[0].split('.').nth(1).unwrap_or_default();
                Some(format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#)))
            }
            Caller::SignedInBeforeRotation => Some(self.before_rotation.clone()),
        }
    }

    /// A request as a caller.
    pub(crate) fn request(
        &self,
        story: &Story,
        caller: Caller,
        method: Method,
        replica: usize,
        path: &str,
    ) -> RequestBuilder {
        let request = story.http.request(method, format!("{}{path}", story.stack.url(replica)));
        match self.token(caller) {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// GETs a path as a caller: the status, and the document.
    pub(crate) async fn get(&self, story: &Story, caller: Caller, replica: usize, path: &str) -> Result<(u16, Value)> {
        let answer = self.request(story, caller, Method::GET, replica, path).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Executes a process asynchronously as a caller; the job.
    pub(crate) async fn submit(&self, story: &Story, caller: Caller, replica: usize, process: &str) -> Result<JobId> {
        let path = format!("/processes/{process}/execution");
        let request = self.request(story, caller, Method::POST, replica, &path).header("prefer", "respond-async");
        let answer = request.json(&json!({"inputs": {}})).send().await?;
        let status = answer.status();
        let document: Value = answer.json().await?;
        ensure!(status == StatusCode::CREATED, "{caller:?} {process}: {status} {document}");
        Ok(document["jobID"].as_str().context("no jobID")?.parse()?)
    }

    /// Waits until a caller's job has ended.
    pub(crate) async fn done(&self, story: &Story, caller: Caller, job: &JobId) -> Result<()> {
        wait_until(&format!("{job} is done"), LIMIT, || async {
            let (status, document) = self.get(story, caller, 0, &format!("/jobs/{job}")).await?;
            ensure!(status == 200 && document["status"] == "successful", "{status} {document}");
            Ok(())
        })
        .await
    }
}
