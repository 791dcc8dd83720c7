//! A job that prints what the story gives it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    story::{LIMIT, Story, TOKEN, process_yaml},
};
use protocol::JobId;
use reqwest::{Method, Response};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::unix::pipe};

/// The container that prints.
pub(super) const MAIN: &str = "generic-image-processor";

/// YAML of the process of these jobs: it prints what comes through the pipe that its input names.
pub(super) fn process() -> String {
    process_yaml("tells", "pipe=${PYGEOAPI_K8S_MANAGER_INPUTS#*\\\"text\\\":\\\"}\nexec cat \"${pipe%%\\\"*}\"")
}

/// A job, and the pipe to it.
pub(super) struct Feed {
    pub(super) job: JobId,
    pipe: std::path::PathBuf,
    sender: Option<pipe::Sender>,
}

impl Feed {
    /// A job that need not run yet.
    pub(super) async fn submit(story: &Story) -> Result<Self> {
        let pipe = story.stack.folder().join("pipe");
        ensure!(Command::new("mkfifo").arg(&pipe).status()?.success(), "no pipe");
        let job = story.submit("tells", json!({ "text": pipe })).await?;
        Ok(Self { job, pipe, sender: None })
    }

    /// A job that runs.
    pub(super) async fn start(story: &Story) -> Result<Self> {
        let mut feed = Self::submit(story).await?;
        feed.runs().await?;
        Ok(feed)
    }

    /// Waits until it runs.
    pub(super) async fn runs(&mut self) -> Result<()> {
        let open = || async { Ok(pipe::OpenOptions::new().open_sender(&self.pipe)?) };
        self.sender = Some(wait_until("the job reads its pipe", LIMIT, open).await?);
        Ok(())
    }

    /// Has it print bytes.
    pub(super) async fn print(&mut self, bytes: &[u8]) -> Result<()> {
        let sender = self.sender.as_mut().context("it does not run")?;
        Ok(tokio::time::timeout(LIMIT, sender.write_all(bytes)).await??)
    }

    /// Has it end.
    pub(super) fn end(&mut self) {
        self.sender = None;
    }
}

/// GETs, or something else, the log of a job.
pub(super) async fn ask_by(
    story: &Story,
    method: Method,
    job: &JobId,
    query: &str,
    headers: &[(&str, &str)],
) -> Result<Response> {
    let url = format!("{}/jobs/{job}/logs{query}", story.stack.url(0));
    let mut request = story.http.request(method, url).bearer_auth(TOKEN);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.send().await?)
}

/// GETs the log of a job.
pub(super) async fn ask(story: &Story, job: &JobId, query: &str, headers: &[(&str, &str)]) -> Result<Response> {
    ask_by(story, Method::GET, job, query, headers).await
}

/// A header of an answer, or nothing.
pub(super) fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// An answer that follows a log.
pub(super) struct Followed {
    answer: Response,
    /// What has come.
    pub(super) seen: Vec<u8>,
}

impl Followed {
    /// Begins to read one of the status 200 or 206.
    pub(super) fn begin(answer: Response) -> Result<Self> {
        ensure!(answer.status().is_success(), "{}", answer.status());
        Ok(Self { answer, seen: Vec::new() })
    }

    /// Reads until there are so many bytes.
    pub(super) async fn until(&mut self, bytes: usize) -> Result<()> {
        while self.seen.len() < bytes {
            let chunk = tokio::time::timeout(LIMIT, self.answer.chunk()).await;
            let chunk = chunk.with_context(|| format!("{} of {bytes} bytes have come", self.seen.len()))??;
            self.seen.extend_from_slice(&chunk.with_context(|| format!("it ended after {}", self.seen.len()))?);
        }
        Ok(())
    }

    /// Reads to its proper end: everything that has come.
    pub(super) async fn until_end(mut self) -> Result<Vec<u8>> {
        while let Some(chunk) = tokio::time::timeout(LIMIT, self.answer.chunk()).await.context("no end")?? {
            self.seen.extend_from_slice(&chunk);
        }
        Ok(self.seen)
    }
}

/// Lines of many lengths, some of them no text.
pub(super) fn lines(bytes: usize, seed: u64) -> Vec<u8> {
    let (mut text, mut state) = (Vec::with_capacity(bytes + 300), seed);
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = usize::try_from(state >> 56).unwrap();
        text.extend_from_slice(format!("{} {state} ", text.len()).as_bytes());
        text.extend((0..length).map(|at| u8::try_from((state >> (at % 50)) & 0xff).unwrap() | 0x20));
        text.push(b'\n');
    }
    text
}
