//! Inputs that are too large for the environment, and outputs that are not printed.

use anyhow::{Context, Result, bail, ensure};
use end_to_end::{
    program::wait_until,
    services::Service,
    stack::Store,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use protocol::{
    JobId, Manifest,
    job_record::{ArchiveState, Place, Reason},
    names::objects,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::reasons::failed;

/// Sends standard input to a URL, with no more than a shell. The network of a pod may come late.
const PUT: &str = r#"put() { # url, media type, size
  local url=${1#http://} host
  host=${url%%/*}
  until { exec 3<>"/dev/tcp/${host%:*}/${host#*:}"; } 2>/dev/null; do sleep 0.1; done
  printf 'PUT /%s HTTP/1.1\r\nhost: %s\r\ncontent-type: %s\r\ncontent-length: %s\r\nconnection: close\r\n\r\n' "${url#*/}" "$host" "$2" "$3" >&3
  cat >&3
  head -n 1 <&3
  exec 3>&-
}
"#;

const TWO_OUTPUTS: &str = "        outputs:
          a:
            title: A
            description: A
            schema: {type: string, contentMediaType: text/plain}
          b:
            title: B
            description: B
            schema: {type: string, contentEncoding: binary, contentMediaType: application/octet-stream}
";

/// A process with two outputs and some options.
fn two_outputs(id: &str, options: &str, script: &str) -> String {
    let yaml =
        process_yaml(id, script).replace("      check_auth: false\n", &format!("      check_auth: false\n{options}"));
    let (begin, rest) = yaml.split_once("        outputs:\n").expect("there are outputs");
    let (_, end) = rest.split_once("        example:").expect("there is an example");
    format!("{begin}{TWO_OUTPUTS}        example:{end}")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn output(story: &Story, job: &JobId, id: &str) -> Result<(String, Vec<u8>)> {
    let answer = story.get(&format!("/jobs/{job}/results/{id}")).await?;
    ensure!(answer.status() == StatusCode::OK, "{}: {}", answer.status(), answer.text().await?);
    ensure!(answer.headers().contains_key("etag"), "{:?}", answer.headers());
    let media_type = answer.headers()["content-type"].to_str()?.to_owned();
    Ok((media_type, answer.bytes().await?.to_vec()))
}

on_each!(large_inputs: Local as inputs_too_large_for_the_environment_come_in_a_file_locally,
    Real as inputs_too_large_for_the_environment_come_in_a_file_on_the_real_node);

async fn large_inputs(backend: Backend) {
    let script = r#"set -eu
[ -z "${PYGEOAPI_K8S_MANAGER_INPUTS:-}" ] || { echo in the environment; exit 9; }
echo "PYGEOAPI_K8S_MANAGER_RESULT_START"
cat "$PYGEOAPI_K8S_MANAGER_INPUTS_FILE""#;
    let small = script
        .replace("[ -z", "[ -n")
        .replace("cat \"$PYGEOAPI_K8S_MANAGER_INPUTS_FILE\"", "printf %s \"$PYGEOAPI_K8S_MANAGER_INPUTS\"");
    let always = process_yaml("always", script)
        .replace("      check_auth: false\n", "      check_auth: false\n      inputs_as: file\n");
    let yaml = process_yaml("large", script) + &process_yaml("small", &small) + &always;
    tell(&format!("large-inputs-{backend:?}"), Setting::new(backend).with_processes(&yaml), async |story| {
        for (process, size) in [("small", 120_000), ("large", 140_000), ("large", 5_000_000), ("always", 100)] {
            let inputs = json!({ "text": "ü€$(HOME) ".repeat(size / 12) });
            let job = story.submit(process, inputs.clone()).await?;
            let status = story.wait_done(&job).await?;
            ensure!(status["status"] == "successful", "{process} {size}: {status}");
            let result: Value = story.get(&format!("/jobs/{job}/results")).await?.json().await?;
            ensure!(result == inputs, "{process} {size}: other inputs came out than went in");
        }
        let refused = story.execute("large", json!({ "text": "x".repeat(9 << 20) })).await?;
        ensure!(refused.status() == StatusCode::PAYLOAD_TOO_LARGE, "{}", refused.status());
        let text = refused.text().await?;
        ensure!(text.contains("8388608"), "{text}");
        Ok(())
    })
    .await;
}

on_each!(results_as_files: Local as outputs_are_taken_from_files_locally,
    Real as outputs_are_taken_from_files_on_the_real_node);

async fn results_as_files(backend: Backend) {
    let files = "      results: files\n";
    let script = "set -eu
printf 'some text' > \"$QUAYSIDE_RESULTS/a\"
head -c 3000000 /dev/zero > \"$QUAYSIDE_RESULTS/b\"
echo image/tiff > \"$QUAYSIDE_RESULTS/b.media-type\"
echo 'not an output' > \"$QUAYSIDE_RESULTS/other\"
echo PYGEOAPI_K8S_MANAGER_RESULT_START
echo '{\"a\": \"printed\"}'";
    let one = "printf x > \"$QUAYSIDE_RESULTS/b\"; ln -s /etc/passwd \"$QUAYSIDE_RESULTS/a\"";
    let yaml = two_outputs("files", files, script) + &two_outputs("one", files, one);
    tell(&format!("result-files-{backend:?}"), Setting::new(backend).with_processes(&yaml), async |story| {
        let job = story.submit("files", json!({})).await?;
        let status = story.wait_done(&job).await?;
        ensure!(status["status"] == "successful", "{status}");
        ensure!(output(story, &job, "a").await? == ("text/plain".to_owned(), b"some text".to_vec()), "the file counts");
        let (media_type, bytes) = output(story, &job, "b").await?;
        ensure!(media_type == "image/tiff" && bytes == vec![0; 3_000_000], "{media_type} {}", bytes.len());
        let manifest = story.manifest(&job).await?;
        let hashes: Vec<&str> = manifest.record.results.iter().map(|result| result.sha256.as_str()).collect();
        ensure!(hashes == [sha256(b"some text"), sha256(&bytes)], "{hashes:?}");
        ensure!(manifest.record.archive.state == ArchiveState::Stored, "{:?}", manifest.record.archive);
        let archive = story.archive(&job).await?;
        ensure!(archive.matches("Container '").count() == 1, "the companion's log is none of the job's: {archive}");
        no_uploads(story, &job).await?;

        let job = story.submit("one", json!({})).await?;
        failed(story, &job, "ResultsNotCollected", "gave no output 'a'").await?;
        let outcome = story.manifest(&job).await?.record.outcome.context("no outcome")?;
        ensure!(outcome.reason == Some(Reason::ResultsNotCollected), "{outcome:?}");
        ensure!(!outcome.message.contains("'b'"), "{outcome:?}");
        Ok(())
    })
    .await;
}

on_each!(results_uploaded: Local as outputs_are_put_to_presigned_urls_locally,
    Real as outputs_are_put_to_presigned_urls_on_the_real_node);

async fn results_uploaded(backend: Backend) {
    let upload = "      results: upload\n";
    let script = format!(
        "{PUT}set -eu
printf 'some text' | put \"$QUAYSIDE_OUTPUT_A_URL\" text/csv 9
head -c 3000000 /dev/zero | put \"$QUAYSIDE_OUTPUT_B_URL\" application/octet-stream 3000000
echo \"$QUAYSIDE_OUTPUT_A_URL\""
    );
    let yaml = two_outputs("upload", upload, &script) + &two_outputs("nothing", upload, "true");
    tell(&format!("uploads-{backend:?}"), Setting::new(backend).with_processes(&yaml), async |story| {
        let job = story.submit("upload", json!({})).await?;
        let status = story.wait_done(&job).await?;
        ensure!(status["status"] == "successful", "{status}");
        let expected = ("text/csv".to_owned(), b"some text".to_vec());
        ensure!(output(story, &job, "a").await? == expected);
        let (media_type, bytes) = output(story, &job, "b").await?;
        ensure!(
            media_type == "application/octet-stream" && bytes == vec![0; 3_000_000],
            "{media_type} {}",
            bytes.len()
        );
        let record = story.manifest(&job).await?.record;
        ensure!(record.results.iter().all(|result| result.sha256.is_empty()), "nobody vouches: {:?}", record.results);
        no_uploads(story, &job).await?;

        // Who kept the URL, and comes late, changes nothing.
        let archive = story.archive(&job).await?;
        let url = archive.lines().last().context("no line")?;
        let late = story.http.put(url).body("other text").send().await?;
        ensure!(late.status().is_success(), "{}", late.status());
        ensure!(output(story, &job, "a").await? == expected);
        ensure!(story.manifest(&job).await?.record.results == record.results);

        let job = story.submit("nothing", json!({})).await?;
        let status = story.wait_done(&job).await?;
        ensure!(status["message"].as_str().context("no message")?.contains("gave no output 'a', 'b'"), "{status}");
        Ok(())
    })
    .await;
}

/// What was copied is deleted where the job put it.
async fn no_uploads(story: &Story, job: &JobId) -> Result<()> {
    let store = story.stack.objects()?;
    wait_until("no upload is left", LIMIT, || async {
        let left = store.list(&objects::uploads_prefix(store.prefix(), job), None, 10).await?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await?;
    let Manifest { record, .. } = story.manifest(job).await?;
    let is_result = |place: &Place| matches!(place, Place::Object(key) if key.contains("/results/"));
    ensure!(record.results.iter().all(|result| is_result(&result.place)), "{:?}", record.results);
    Ok(())
}

const GIB: u64 = 1 << 30;

#[tokio::test(flavor = "multi_thread")]
async fn an_output_of_1_gib_on_the_real_node_passes_by_the_services() {
    let script = format!(
        "{PUT}head -c {GIB} /dev/zero | put \"$QUAYSIDE_OUTPUT_A_URL\" application/zip {GIB}
printf x | put \"$QUAYSIDE_OUTPUT_B_URL\" text/plain 1"
    );
    let yaml = two_outputs("huge", "      results: upload\n", &script);
    tell("huge-upload", Setting::new(Backend::Real).with_processes(&yaml), async |story| {
        let job = story.submit("huge", json!({})).await?;
        let status = story.wait_done(&job).await?;
        ensure!(status["status"] == "successful", "{status}");
        let url = format!("{}/jobs/{job}/results/a", story.stack.url(0));
        let last = story.http.get(&url).header("range", "bytes=-3").send().await?;
        ensure!(last.status() == StatusCode::PARTIAL_CONTENT, "{}", last.status());
        ensure!(
            last.headers()["content-range"] == format!("bytes {}-{}/{GIB}", GIB - 3, GIB - 1),
            "{:?}",
            last.headers()
        );
        ensure!(last.bytes().await? == [0; 3][..]);
        for (service, running) in story.stack.services() {
            let status = std::fs::read_to_string(format!("/proc/{}/status", running.program.pid()))?;
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
            let peak: u64 = peak.trim().trim_end_matches(" kB").trim().parse()?;
            ensure!(peak < 128 << 10, "{} used {peak} kB at its peak", service.name());
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_the_bucket_refuses_fail_the_job_with_that_reason_on_the_real_node() {
    let yaml = process_yaml("large", "cat \"$PYGEOAPI_K8S_MANAGER_INPUTS_FILE\"");
    let mut setting = Setting::new(Backend::Real).with_processes(&yaml);
    setting.start_services = false;
    tell("inputs-refused", setting, async |story| {
        story.stack.start_service(Service::Gateway, 0, &[])?;
        story.stack.start_service(Service::Finalizer, 0, &[])?;
        story.stack.wait_ready().await?;
        let Store::Embedded(s3) = &story.stack.store else { bail!("another store than was asked for") };
        // Other bytes than were accepted, as if somebody had changed them.
        let job = story.submit("large", json!({ "text": "x".repeat(300_000) })).await?;
        let store = s3.store()?;
        store.put(&objects::inputs(store.prefix(), &job), "{}".into(), "application/json").await?;
        story.stack.start_service(Service::Dispatcher, 0, &[])?;
        failed(story, &job, "StoreUnavailable", "the inputs could not be fetched").await?;
        let status = story.status(&job).await?;
        let message = status["message"].as_str().context("no message")?;
        ensure!(message.contains("is not what was accepted"), "{message}");
        ensure!(!message.contains("X-Amz") && !message.contains("127.0.0.1"), "no URL is shown: {message}");
        let outcome = story.manifest(&job).await?.record.outcome.context("no outcome")?;
        ensure!(outcome.reason == Some(Reason::StoreUnavailable), "{outcome:?}");
        Ok(())
    })
    .await;
}
