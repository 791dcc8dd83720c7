//! A real API server takes the Job of every configuration in `job-dispatcher/tests/manifest`, and keeps all of it.

use std::fs;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    cluster::{Namespace, NodeKind, client_of_run},
    tools::workspace_directory,
};
use k8s_openapi::api::core::v1::Namespace as NamespaceObject;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::Request,
};
use serde_json::{Value, json};

#[tokio::test]
async fn the_job_of_every_configuration_is_taken_and_kept_whole_by_a_real_api_server() -> Result<()> {
    let client = client_of_run().await?;
    let namespace = Namespace::create(&client, "manifest", NodeKind::Simulated).await?;
    let path = format!("/apis/batch/v1/namespaces/{}/jobs", namespace.name());
    let cases = cases()?;
    for (name, mut job) in cases {
        job["metadata"]["namespace"] = namespace.name().into();
        let kept = dry_run(&client, &path, &job).await.with_context(|| format!("the Job of {name}"))?;
        let lost = lost(&job, &kept, "");
        ensure!(lost.is_empty(), "of the Job of {name} the server does not keep {lost:?}");
    }
    let mut wrong = json!({ "metadata": { "name": "x" }, "spec": { "template": { "spec": { "restartPolicy": "Never",
        "containers": [{ "name": "a", "image": "b" }] } } } });
    wrong["spec"]["template"]["spec"]["containers"][0]["workingDirectory"] = "/".into();
    ensure!(dry_run(&client, &path, &wrong).await.is_err(), "unknown members would go unseen");
    namespace.delete(&client).await
}

#[tokio::test]
async fn each_level_of_pod_security_is_what_a_namespace_of_that_standard_takes() -> Result<()> {
    let client = client_of_run().await?;
    let cases = cases()?;
    for (standard, taken, refused) in [
        ("baseline", ["compatible", "baseline", "restricted"].as_slice(), [].as_slice()),
        ("restricted", &["restricted"], &["compatible", "baseline"]),
    ] {
        let namespace = Namespace::create(&client, standard, NodeKind::Simulated).await?;
        let enforced = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": standard } } });
        let namespaces = Api::<NamespaceObject>::all(client.clone());
        namespaces.patch(namespace.name(), &PatchParams::default(), &Patch::Merge(enforced)).await?;
        let path = format!("/api/v1/namespaces/{}/pods", namespace.name());
        for level in taken.iter().chain(refused) {
            let name = format!("security_{level}");
            let (_, job) = cases.iter().find(|(case, _)| *case == name).context("no such case")?;
            let mut pod = job["spec"]["template"].clone();
            pod["metadata"]["name"] = (*level).into();
            let answer = dry_run(&client, &path, &pod).await;
            ensure!(answer.is_ok() == taken.contains(level), "{level} in a namespace of {standard}: {answer:?}");
        }
        namespace.delete(&client).await?;
    }
    Ok(())
}

/// Name and Job of each case.
fn cases() -> Result<Vec<(String, Value)>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(workspace_directory().join("job-dispatcher/tests/manifest"))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            let name = file.file_stem().context("a file has a name")?.to_string_lossy().into_owned();
            cases.push((name, serde_json::from_slice(&fs::read(&file)?)?));
        }
    }
    ensure!(cases.len() > 25, "only {} cases were found", cases.len());
    Ok(cases)
}

/// What the server would store; unknown members are errors.
async fn dry_run(client: &Client, path: &str, object: &Value) -> Result<Value> {
    let parameters = PostParams { dry_run: true, field_manager: None };
    let mut request = Request::new(path).create(&parameters, serde_json::to_vec(object)?)?;
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse()?;
    Ok(client.request(request).await?)
}

/// The paths of what was sent and not kept. Absent, false and the empty text are one to the server, as are two ways to write
/// an amount.
fn lost(sent: &Value, kept: &Value, path: &str) -> Vec<String> {
    match (sent, kept) {
        (Value::Object(sent), Value::Object(kept)) => {
            let member = |(name, value): (&String, &Value)| {
                lost(value, kept.get(name).unwrap_or(&Value::Null), &format!("{path}/{name}"))
            };
            sent.iter().flat_map(member).collect()
        }
        (Value::Array(sent), Value::Array(kept)) if sent.len() == kept.len() => {
            let item = |(index, (sent, kept))| lost(sent, kept, &format!("{path}/{index}"));
            sent.iter().zip(kept).enumerate().flat_map(item).collect()
        }
        (Value::Bool(false), Value::Null) => Vec::new(),
        (Value::String(text), Value::Null) if text.is_empty() => Vec::new(),
        (Value::String(sent), Value::String(kept)) if is_same_amount(sent, kept) => Vec::new(),
        (sent, kept) if sent == kept => Vec::new(),
        (sent, kept) => vec![format!("{path}: {sent} became {kept}")],
    }
}

fn is_same_amount(one: &str, other: &str) -> bool {
    let amount = |text: &str| match text.strip_suffix('m') {
        Some(thousandths) => thousandths.parse::<f64>().ok(),
        None => text.parse::<f64>().ok().map(|units| units * 1000.0),
    };
    amount(one).is_some() && amount(one) == amount(other)
}
