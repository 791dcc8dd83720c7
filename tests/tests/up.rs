//! `cargo xtask up`, as a newcomer uses it.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use end_to_end::{
    cluster::KUBECONFIG_VARIABLE,
    ports,
    program::{Launch, Program, Signal, wait_until},
    story::{Backend, LIMIT, Setting, process_yaml, tell},
    tools::target_directory,
};
use serde_json::json;

/// The `xtask` that runs this test, or that `cargo xtask` would run.
fn up(folder: &Path, arguments: &[&str]) -> Result<Program> {
    up_with(folder, arguments, &[])
}

fn up_with(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Program> {
    let xtask = target_directory().join(if cfg!(debug_assertions) { "debug" } else { "release" }).join("xtask");
    ensure!(xtask.exists(), "xtask is not built: cargo build --package xtask");
    let data = folder.join("data").display().to_string();
    Launch::new("cargo xtask up", xtask, folder.join("up.log"))
        .arg("up")
        .args(["--data", &data])
        .args(arguments)
        .env("PYGEOAPI_K8S_MANAGER_API_TOKEN", "")
        .envs(environment.iter().copied())
        .spawn()
}

async fn wait_up(program: &mut Program) -> Result<String> {
    let log = program.log().to_path_buf();
    // It may build the services first.
    program
        .wait_ready(LIMIT * 5, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            async move { if text.contains("Ctrl-C stops all of it") { Ok(()) } else { bail!("{text}") } }
        })
        .await?;
    Ok(fs::read_to_string(&log)?)
}

/// Processes that have this folder in their command line or environment.
fn left_running(folder: &Path) -> Vec<String> {
    let needle = folder.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.bytes().all(|byte| byte.is_ascii_digit()) && name != std::process::id().to_string() {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            let all = String::from_utf8_lossy(&command).into_owned() + &String::from_utf8_lossy(&environment);
            if all.contains(&needle) {
                found.push(format!("{name} {}", String::from_utf8_lossy(&command).replace('\0', " ")));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn up_serves_keeps_its_state_over_a_restart_and_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let [port] = ports::all_free::<1>().unwrap();
    let port_text = port.to_string();
    let mut program = up(folder.path(), &["--port", &port_text]).unwrap();
    let told = wait_up(&mut program).await.unwrap();
    let url = format!("http://127.0.0.1:{port}");
    assert!(told.contains(&url) && told.contains("curl -X POST"), "{told}");
    let token = token_in(&told).unwrap();
    let client = reqwest::Client::new();
    let execution = |process: &str, inputs: serde_json::Value| {
        client
            .post(format!("{url}/processes/{process}/execution"))
            .header("Prefer", "respond-async")
            .json(&json!({ "inputs": inputs }))
            .send()
    };
    let answer = execution("generic-image-processor-example", json!({ "text": "a", "token": token })).await.unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with(&url), "server.url follows --port: {location}");
    wait_until("the job ends", LIMIT, || async {
        let status: serde_json::Value = client.get(&location).send().await?.json().await?;
        ensure!(status["status"] == "successful", "{status}");
        Ok(())
    })
    .await
    .unwrap();
    program.signal(Signal::INT).unwrap();
    let status = tokio::time::timeout(Duration::from_secs(60), program.wait()).await.unwrap().unwrap();
    assert!(status.success(), "Ctrl-C is no failure: {status}");
    assert_eq!(left_running(folder.path()), Vec::<String>::new());

    fs::write(folder.path().join("up.log"), "").unwrap();
    let mut program = up(folder.path(), &["--port", &port_text]).unwrap();
    let told = wait_up(&mut program).await.unwrap();
    assert_eq!(token_in(&told).unwrap(), token, "the token is kept");
    let results = client.get(format!("{location}/results")).send().await.unwrap();
    assert_eq!(results.status().as_u16(), 200, "jobs survive a restart");
    let second = up(folder.path(), &["--port", &ports::free().unwrap().to_string()]).unwrap().wait().await.unwrap();
    assert!(!second.success(), "one `up` a folder");
    program.signal(Signal::TERM).unwrap();
    program.wait().await.unwrap();
    assert_eq!(left_running(folder.path()), Vec::<String>::new());
}

fn token_in(told: &str) -> Result<String> {
    let line = told.lines().find_map(|line| line.trim().strip_prefix("token ")).context("no token")?;
    Ok(line.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn up_refuses_a_port_in_use_and_a_broken_configuration_with_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut program = up(folder.path(), &["--port", &port]).unwrap();
    assert!(!program.wait().await.unwrap().success());
    assert!(program.log_tail().contains(&port), "{}", program.log_tail());

    let config = folder.path().join("broken.yaml");
    fs::write(&config, "server: {url: nowhere}\nresources: {a: {type: process}}\n").unwrap();
    let free = ports::free().unwrap().to_string();
    let mut program = up(folder.path(), &["--port", &free, "--config", &config.display().to_string()]).unwrap();
    assert!(!program.wait().await.unwrap().success());
    let told = program.log_tail();
    assert!(told.contains("server.url") && told.contains("resources.a.processor"), "{told}");
    assert_eq!(left_running(folder.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn up_says_which_tool_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, free) = (folder.path().join("empty").display().to_string(), ports::free().unwrap().to_string());
    let mut program =
        up_with(folder.path(), &["--port", &free], &[("PATH", &empty), ("CARGO_TARGET_DIR", &empty)]).unwrap();
    assert!(!program.wait().await.unwrap().success());
    let told = program.log_tail();
    assert!(told.contains("error:") && told.to_lowercase().contains("go"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_runs_replicas_and_forgets_everything_when_fresh() {
    let folder = tempfile::tempdir().unwrap();
    let [port] = ports::all_free::<1>().unwrap();
    let arguments = ["--port".to_owned(), port.to_string(), "--replicas".to_owned(), "2".to_owned()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut program = up(folder.path(), &arguments).unwrap();
    wait_up(&mut program).await.unwrap();
    let hello = json!({ "inputs": { "name": "N" } });
    for replica in [port, port + 1] {
        let url = format!("http://127.0.0.1:{replica}/processes/hello-world-k8s/execution");
        let answer = reqwest::Client::new().post(url).json(&hello).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), r#"{"id": "echo", "value": "Hello 'N'!"}"#);
    }
    program.stop(Duration::from_secs(60)).await.unwrap();
    fs::write(folder.path().join("up.log"), "").unwrap();
    let mut program = up(folder.path(), &[arguments, vec!["--fresh"]].concat()).unwrap();
    wait_up(&mut program).await.unwrap();
    let token = fs::read_to_string(folder.path().join("data/token")).unwrap();
    let list = reqwest::Client::new().get(format!("http://127.0.0.1:{port}/jobs")).bearer_auth(token.trim());
    let list: serde_json::Value = list.send().await.unwrap().json().await.unwrap();
    assert_eq!(list["jobs"], json!([]), "--fresh starts empty");
    program.stop(Duration::from_secs(60)).await.unwrap();
    assert_eq!(left_running(folder.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn up_starts_a_cluster_of_its_own_on_the_simulated_node() {
    let folder = tempfile::tempdir().unwrap();
    let port = ports::free().unwrap().to_string();
    let mut program = up(folder.path(), &["--port", &port, "--cluster", "simulated"]).unwrap();
    wait_up(&mut program).await.unwrap();
    let url = format!("http://127.0.0.1:{port}/processes/hello-world-k8s/execution");
    let hello = json!({ "inputs": { "name": "N" } });
    let answer = reqwest::Client::new().post(url).json(&hello).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 204, "a simulated pod prints nothing, so it has no result");
    program.stop(Duration::from_secs(90)).await.unwrap();
    assert_eq!(left_running(folder.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn up_uses_the_cluster_of_the_kubeconfig_on_the_real_node() {
    let setting = Setting { start_services: false, ..Setting::new(Backend::Real) };
    tell("up-kubernetes", setting, async |story| {
        let folder = tempfile::tempdir()?;
        let (port, kubeconfig) = (ports::free()?.to_string(), std::env::var(KUBECONFIG_VARIABLE)?);
        let (namespace, _) = story.cluster()?;
        let environment = [("KUBECONFIG", kubeconfig.as_str()), ("PYGEOAPI_K8S_MANAGER_NAMESPACE", namespace.name())];
        let mut program = up_with(folder.path(), &["--port", &port, "--executor", "kubernetes"], &environment)?;
        wait_up(&mut program).await?;
        let url = format!("http://127.0.0.1:{port}/processes/hello-world-k8s/execution");
        let answer = story.http.post(url).json(&json!({ "inputs": { "name": "N" } })).send().await?;
        assert_eq!(answer.text().await?, r#"{"id": "echo", "value": "Hello 'N'!"}"#);
        let objects = story.kubernetes_objects().await?;
        assert!(objects.contains("hello-world-k8s"), "it ran in that cluster: {objects}");
        program.stop(Duration::from_secs(60)).await?;
        assert_eq!(left_running(folder.path()), Vec::<String>::new());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_the_real_node_that_up_starts_reach_its_s3() {
    let setting = Setting { start_services: false, ..Setting::new(Backend::Real) };
    tell("up-real", setting, async |story| {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("config.yaml");
        let files = process_yaml("files", "printf '{}' > \"$QUAYSIDE_RESULTS/out\"")
            .replace("      check_auth: false\n", "      check_auth: false\n      results: files\n");
        fs::write(&config, Setting::new(Backend::Real).with_processes(&files).config.context("a configuration")?)?;
        let port = ports::free()?.to_string();
        let config = config.display().to_string();
        let arguments = ["--port", &port, "--cluster", "real", "--config", &config];
        let mut program = up_with(folder.path(), &arguments, &[])?;
        wait_up(&mut program).await?;
        let url = format!("http://127.0.0.1:{port}/processes/files/execution");
        let answer = story.http.post(url).json(&json!({ "inputs": {} })).send().await?;
        assert_eq!(answer.text().await?, "{}");
        program.stop(Duration::from_secs(90)).await?;
        assert_eq!(left_running(folder.path()), Vec::<String>::new());
        Ok(())
    })
    .await;
}
