//! A real API server takes the Job of every configuration in `job-dispatcher/tests/manifest`, and keeps all of it.

use std::fs;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    cluster::{Namespace, NodeKind, client_of_run},
    story::skipped,
    tools::workspace_directory,
};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Namespace as NamespaceObject, Pod, ServiceAccount},
    node::v1::RuntimeClass,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams, ValidationDirective},
};
use serde_json::{Value, json};

/// What the cases name and the API server looks for when it is given a pod.
const ACCOUNT: &str = "reader";
const RUNTIME_CLASS: &str = "a-sandbox";

#[tokio::test]
async fn the_job_of_every_configuration_is_taken_and_kept_whole_by_a_real_api_server() -> Result<()> {
    if skipped("manifest-dry-run", NodeKind::Simulated) {
        return Ok(());
    }
    let client = client_of_run().await?;
    let namespace = Namespace::create(&client, "manifest", NodeKind::Simulated).await?;
    let jobs = Api::<Value>::namespaced_with(client.clone(), namespace.name(), &());
    for (name, expected) in cases()? {
        let mut job = expected;
        job["metadata"]["namespace"] = namespace.name().into();
        let kept = dry_run(&client, &format!("/apis/batch/v1/namespaces/{}/jobs", namespace.name()), &job)
            .await
            .with_context(|| format!("the Job of {name}"))?;
        missing(&job, &kept, "").with_context(|| format!("the Job of {name}"))?;
    }
    drop(jobs);
    namespace.delete(&client).await
}
