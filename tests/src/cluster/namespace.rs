//! A fresh namespace whose pods run on one kind of node.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace as Object, ServiceAccount};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, PropagationPolicy},
};
use serde_json::json;

use super::{NODE_LABEL, NodeKind};
use crate::program::wait_until;

/// How long the controllers may take to make a namespace usable, or to empty it.
const LIMIT: Duration = Duration::from_secs(60);

/// A namespace of the test's own.
///
/// It is not deleted by dropping it, since that takes calls to the API server: use [`Namespace::delete`]. What a failed
/// test leaves behind goes with the cluster, and can be looked at until then.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    kind: NodeKind,
}

impl Namespace {
    /// Makes a namespace named `<prefix>-<five random characters>`, bound to that kind of node, and waits until pods
    /// can be created in it. On the simulated node each of its pods has an empty log.
    pub async fn create(client: &Client, prefix: &str, kind: NodeKind) -> Result<Self> {
        let manifest: Object = serde_json::from_value(manifest(prefix, kind))?;
        let created = Api::<Object>::all(client.clone()).create(&PostParams::default(), &manifest).await?;
        let name = created.metadata.name.context("a namespace without a name")?;
        let this = Self { name, kind };
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &this.name);
        wait_until("a new namespace has its service account", LIMIT, || async {
            accounts.get("default").await?;
            Ok(())
        })
        .await?;
        if kind == NodeKind::Simulated {
            this.serve_log(client, "").await?;
        }
        Ok(this)
    }

    /// The namespace `default` of a cluster that has one kind of node.
    pub fn usual(kind: NodeKind) -> Self {
        Self { name: "default".to_owned(), kind }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of node its pods run on.
    pub fn kind(&self) -> NodeKind {
        self.kind
    }

    /// Serves this text as the log of every pod in the namespace, from now on. For the simulated node only.
    ///
    /// A request that follows such a log gets the text, but never comes to an end, as it does on the real node when the
    /// container has ended: kwok takes every container for a running one there.
    pub async fn serve_log(&self, client: &Client, text: &str) -> Result<()> {
        let file = log_file(&self.name);
        let first = !file.exists();
        write_log(&file, text)?;
        if !first {
            return Ok(());
        }
        let kind = ApiResource {
            group: "kwok.x-k8s.io".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "kwok.x-k8s.io/v1alpha1".to_owned(),
            kind: "ClusterLogs".to_owned(),
            plural: "clusterlogs".to_owned(),
        };
        let object = json!({
            "apiVersion": kind.api_version, "kind": kind.kind, "metadata": { "name": self.name },
            "spec": {
                "selector": { "matchNamespaces": [self.name] },
                "logs": [{ "logsFile": file, "previousLogsFile": file, "follow": true }],
            },
        });
        Api::<DynamicObject>::all_with(client.clone(), &kind)
            .patch(&self.name, &PatchParams::apply("end-to-end").force(), &Patch::Apply(object))
            .await?;
        Ok(())
    }

    /// Deletes it with all that is in it, without waiting for the end of that.
    pub async fn delete(self, client: &Client) -> Result<()> {
        let parameters =
            DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
        Api::<Object>::all(client.clone()).delete(&self.name, &parameters).await?;
        self.remove_log()
    }

    /// Removes the file of its pods' log, as [`delete`](Self::delete) does too: for who can't call that any more.
    pub fn remove_log(&self) -> Result<()> {
        match fs::remove_file(log_file(&self.name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The manifest of a namespace whose pods run on that kind of node, with a generated name.
pub fn manifest(prefix: &str, kind: NodeKind) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "generateName": format!("{prefix}-"),
            "annotations": { "scheduler.alpha.kubernetes.io/node-selector": format!("{NODE_LABEL}={kind}") },
        },
    })
}

/// Test and kwok run on one machine, so any place does that both can reach.
fn log_file(namespace: &str) -> PathBuf {
    std::env::temp_dir().join(format!("quayside-pod-logs-{namespace}.log"))
}

/// Writes the text as the kubelet frames a container's output, and puts it in place at one stroke.
fn write_log(file: &Path, text: &str) -> Result<()> {
    let mut framed = String::new();
    let written = jiff::Timestamp::now();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let (tag, line) = match line.strip_suffix('\n') {
            Some(line) => ('F', line),
            None => ('P', line),
        };
        // Each line has its own time, as a container's lines do.
        let at = written + Duration::from_nanos(u64::try_from(number)?);
        framed.push_str(&format!("{at:.9} stdout {tag} {line}\n"));
    }
    let draft = file.with_extension("new");
    fs::write(&draft, framed)?;
    Ok(fs::rename(draft, file)?)
}
