//! A client of the gateway, and the process that it executes.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    stack::{ExecutorChoice, Options, StoreChoice},
    story::{Backend, Setting, process_yaml},
};
use protocol::JobId;
use reqwest::{Client, StatusCode, header};
use serde_json::Value;

/// The id of the process that is executed.
pub(super) const PROCESS: &str = "bench";

/// What its container prints on the simulated node.
pub(super) const LOG: &str =
    "ran\nPYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: application/json\nPYGEOAPI_K8S_MANAGER_RESULT_START\n{}";

const BODY: &str = r#"{"inputs": {"text": "a text that is neither long nor short"}}"#;

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What a stack of the bench is started with; the configuration is written into its folder.
pub(super) fn options(folder: &Path, executor: ExecutorChoice) -> Result<Options> {
    options_to_run(folder, executor, "echo ran\necho PYGEOAPI_K8S_MANAGER_RESULT_START\necho '{}'")
}

/// The same, with another script for where containers run.
pub(super) fn options_to_run(folder: &Path, executor: ExecutorChoice, script: &str) -> Result<Options> {
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let setting = Setting::new(Backend::Simulated).with_processes(&process_yaml(PROCESS, script));
    let config = folder.join("config.yaml");
    fs::write(&config, setting.config.unwrap_or_default())?;
    Ok(Options {
        folder: folder.to_path_buf(),
        config,
        token: None,
        port: None,
        replicas: 1,
        executor,
        store: StoreChoice::Embedded,
        inherit_environment: false,
        environment: Vec::new(),
    })
}

/// Talks to one gateway over connections that it keeps; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    http: Client,
    execution: String,
    jobs: String,
}

impl Gateway {
    /// A client of the gateway at this URL.
    pub(super) fn new(url: &str) -> Result<Self> {
        Ok(Self {
            http: Client::builder().timeout(ANSWER_LIMIT).build()?,
            execution: format!("{url}/processes/{PROCESS}/execution"),
            jobs: format!("{url}/jobs"),
        })
    }

    /// Executes asynchronously; the id of the job.
    pub(super) async fn submit(&self) -> Result<JobId> {
        let request = self.http.post(&self.execution).header(header::CONTENT_TYPE, "application/json");
        let answer = request.header("Prefer", "respond-async").body(BODY).send().await?;
        let status = answer.status();
        let location = answer.headers().get(header::LOCATION).cloned();
        // Read to its end, so that the connection can be used again.
        let text = answer.text().await?;
        ensure!(status == StatusCode::CREATED, "expected 201, got {status}: {text}");
        let location = location.context("201 without Location")?;
        Ok(location.to_str()?.rsplit('/').next().unwrap_or_default().parse()?)
    }

    /// The status of a job, as a word.
    pub(super) async fn status(&self, job: &JobId) -> Result<String> {
        let answer = self.http.get(format!("{}/{job}", self.jobs)).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status == StatusCode::OK, "expected 200, got {status}: {text}");
        let document: Value = serde_json::from_str(&text)?;
        Ok(document["status"].as_str().context("a status document without status")?.to_owned())
    }
}
