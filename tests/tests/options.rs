//! Every option of a process on the real node: what the container sees of it.

use std::fs;

use anyhow::{Context, Result, ensure};
use end_to_end::story::{Backend, Setting, Story, tell};
use k8s_openapi::api::{
    core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, ServiceAccount},
    node::v1::RuntimeClass,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use protocol::job_record::Reason;
use serde_json::{Value, json};

const HEAD: &str = "      name: pygeoapi_k8s_manager.process.GenericImageProcessor
      check_auth: false
      default_image: busybox:1
      metadata: &description
        version: 1.0.0
        title: Options
        description: Options
        outputs: {out: {title: Out, schema: {type: string, contentMediaType: text/plain}}}
";

fn process(id: &str, options: &str) -> String {
    format!("  {id}:\n    type: process\n    processor:\n{}{options}", HEAD.replace("&description", ""))
}

const WHOLE: &str = r#"      image_pull_policy: IfNotPresent
      image_pull_secrets: absent-is-only-warned-of
      command: [sh, -c]
      working_dir: /dir
      args:
        - |
          echo PYGEOAPI_K8S_MANAGER_RESULT_MIMETYPE: text/plain
          echo PYGEOAPI_K8S_MANAGER_RESULT_START
          echo "folder $(pwd)"
          echo "environment $TEXT|$NUMBER|$FLOAT|$TRUTH|$PASSWORD|$EXPANDED"
          echo "init $(cat from-init)"
          echo "secret $(ls /secret) $(cat /secret/who)"
          echo "map $(ls /map) $(/map/run)"
          for place in secret map claim; do
            touch /$place/new 2>/dev/null && echo "$place can be written"
          done
          echo "memory $(grep ' /memory ' /proc/mounts | cut -d' ' -f3)"
          echo "claim $(cat /claim/there)"
          echo "account $(ls /var/run/secrets/kubernetes.io/serviceaccount/token)"
          echo "inputs $PYGEOAPI_K8S_MANAGER_INPUTS"
      env:
        - {name: TEXT, value: a text}
        - {name: NUMBER, value: 1024}
        - {name: FLOAT, value: 1.5}
        - {name: TRUTH, value: True}
        - {name: PASSWORD, secret_name: a-secret, secret_key: password}
        - {name: EXPANDED, value: of $(TEXT)}
      resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 10m, memory: 16Mi}}
      storage:
        - {name: dir, mount_path: /dir, empty_dir: {size_limit: 1Mi}}
        - {name: memory, mount_path: /memory, empty_dir: {medium: Memory, size_limit: 1Mi}}
        - {name: secret, mount_path: /secret, secret_name: a-secret, items: [{key: user, path: who}], read_only: true}
        - {name: map, mount_path: /map, config_map_name: a-map, items: [{key: run.sh, path: run, mode: 0555}]}
        - {name: claim, mount_path: /claim, persistent_volume_claim_name: a-claim, read_only: true}
      init_containers:
        - name: fetch
          image: busybox:1
          imagePullPolicy: IfNotPresent
          command: [sh, -c]
          args: ['echo "$WHAT of ${PYGEOAPI_PROCESS_ID}" > /in/from-init']
          env: [{name: WHAT, value: fetched}]
          volumeMounts: [{name: dir, mountPath: /in}]
          resources: {limits: {memory: 32Mi, cpu: 0.5}}
      tolerations: [{key: nobody, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]
      node_selector: {quayside.dev/node: real}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms: [{matchExpressions: [{key: quayside.dev/node, operator: In, values: [real]}]}]
      priority_class_name: system-cluster-critical
      runtime_class_name: ${RUNTIME_CLASS}
      service_account_name: reader
      active_deadline_seconds: 600
      labels: {example.org/team: maps}
      annotations: {example.org/note: "4711"}
"#;

const SEEN: &str = r#"folder /dir
environment a text|1024|1.5|True|it's secret|of a text
init fetched of whole
secret who jane
map run ran
memory tmpfs
claim it is there
account /var/run/secrets/kubernetes.io/serviceaccount/token
inputs {"text":"$(TEXT)"}
"#;

/// What the kernel says of a process.
const WHO_AM_I: &str = r#"      command:
        - sh
        - -c
        - |
          echo PYGEOAPI_K8S_MANAGER_RESULT_START
          grep -E '^(Uid|Gid|Groups|CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\t ' '  '
          ls -d /var/run/secrets/kubernetes.io 2>/dev/null
          true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_option_of_a_process_reaches_its_container_on_the_real_node() {
    let class = format!("story-{}", std::process::id());
    let whole =
        process("whole", WHOLE).replace("outputs:", "inputs: {text: {schema: {type: string}}}\n        outputs:");
    let setting = Setting::new(Backend::Real).with_processes(&whole).with("RUNTIME_CLASS", &class);
    tell("options", setting, async |story| {
        let (namespace, client) = story.cluster()?;
        let claimed = story.stack.folder().join("claimed");
        fs::create_dir(&claimed)?;
        fs::write(claimed.join("there"), "it is there\n")?;
        make(client, namespace.name(), &class, &claimed.display().to_string()).await?;
        let ran = runs(story).await;
        // What is not in the namespace does not go with it.
        let everywhere = DeleteParams::default();
        Api::<RuntimeClass>::all(client.clone()).delete(&class, &everywhere).await?;
        Api::<PersistentVolume>::all(client.clone()).delete(&class, &everywhere).await?;
        ran
    })
    .await;
}

async fn runs(story: &Story) -> Result<()> {
    let job = story.submit("whole", json!({ "text": "$(TEXT)" })).await?;
    let status = story.wait_done(&job).await?;
    ensure!(status["status"] == "successful", "{status}");
    let seen = story.get(&format!("/jobs/{job}/results")).await?.text().await?;
    ensure!(seen == SEEN, "{seen}");
    let there = story.kubernetes_job(&job).await?.context("no Job")?;
    assert_eq!(there.metadata.labels.context("no labels")?["example.org/team"], "maps");
    let pods = story.kubernetes_pods(&job).await?;
    let pod = pods.first().context("no pod")?;
    assert_eq!(pod.metadata.annotations.as_ref().context("no annotations")?["example.org/note"], "4711");
    Ok(())
}

/// What the process names and a cluster has.
async fn make(client: &Client, namespace: &str, class: &str, folder: &str) -> Result<()> {
    fn object<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
        Ok(serde_json::from_value(value)?)
    }
    let create = PostParams::default();
    let class_object: RuntimeClass = object(json!({ "metadata": { "name": class }, "handler": "runc" }))?;
    Api::<RuntimeClass>::all(client.clone()).create(&create, &class_object).await?;
    let secret: Secret = object(json!({
        "metadata": { "name": "a-secret" },
        "stringData": { "user": "jane", "password": "it's secret" },
    }))?;
    Api::<Secret>::namespaced(client.clone(), namespace).create(&create, &secret).await?;
    let map: ConfigMap = object(json!({
        "metadata": { "name": "a-map" },
        "data": { "run.sh": "#!/bin/sh\necho ran\n", "other": "x" },
    }))?;
    Api::<ConfigMap>::namespaced(client.clone(), namespace).create(&create, &map).await?;
    let account: ServiceAccount = object(json!({ "metadata": { "name": "reader" } }))?;
    Api::<ServiceAccount>::namespaced(client.clone(), namespace).create(&create, &account).await?;
    let sized = json!({ "storage": "1Mi" });
    let volume: PersistentVolume = object(json!({
        "metadata": { "name": class },
        "spec": {
            "capacity": sized, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "hostPath": { "path": folder }, "claimRef": { "namespace": namespace, "name": "a-claim" },
        },
    }))?;
    Api::<PersistentVolume>::all(client.clone()).create(&create, &volume).await?;
    let claim: PersistentVolumeClaim = object(json!({
        "metadata": { "name": "a-claim" },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": class,
            "resources": { "requests": sized },
        },
    }))?;
    Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace).create(&create, &claim).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_level_of_pod_security_holds_on_the_real_node() {
    let ids = "      run_as_user: 1000\n      run_as_group: 3000\n      fs_group: 2000\n";
    let processes = [
        process("compatible", WHO_AM_I),
        process("baseline", &format!("      pod_security: baseline\n{WHO_AM_I}")),
        process("restricted", &format!("      pod_security: restricted\n{ids}{WHO_AM_I}")),
        process("root", &format!("      pod_security: restricted\n{WHO_AM_I}")),
        "  hello:\n    type: process\n    processor:\n      name: x.HelloWorldK8sProcessor\n      pod_security: \
         restricted\n      run_as_user: 1000\n"
            .to_owned(),
    ];
    let setting = Setting::new(Backend::Real)
        .with_processes(&processes.concat())
        .with("QUAYSIDE_DISPATCHER__START_DEADLINE", "10");
    tell("pod-security", setting, async |story| {
        let seen = async |process: &str| -> Result<String> {
            Ok(story.execute(process, json!({})).await?.error_for_status()?.text().await?)
        };
        let compatible = seen("compatible").await?;
        ensure!(compatible.contains("Uid: 0 0 0 0\n") && compatible.contains("NoNewPrivs: 1\n"), "{compatible}");
        ensure!(compatible.contains("Seccomp: 2\n"), "{compatible}");
        ensure!(!compatible.contains("/var/run/secrets"), "it has a token: {compatible}");
        ensure!(has_net_raw(&compatible)?, "images ran with it before: {compatible}");
        let baseline = seen("baseline").await?;
        ensure!(baseline.contains("Uid: 0 0 0 0\n") && !has_net_raw(&baseline)?, "{baseline}");
        let restricted = seen("restricted").await?;
        ensure!(restricted.contains("Uid: 1000 1000 1000 1000\n"), "{restricted}");
        ensure!(restricted.contains("Gid: 3000 3000 3000 3000\n") && restricted.contains("2000"), "{restricted}");
        ensure!(restricted.contains("CapEff: 0000000000000000\n"), "{restricted}");
        let hello = story.execute("hello", json!({ "name": "Ada" })).await?;
        assert_eq!(hello.text().await?, r#"{"id": "echo", "value": "Hello 'Ada'!"}"#);
        let root = story.submit("root", json!({})).await?;
        let status = story.wait_done(&root).await?;
        let message = status["message"].as_str().unwrap_or_default();
        ensure!(status["status"] == "failed" && message.contains("runAsNonRoot"), "{status}");
        Ok(())
    })
    .await;
}

/// Bit 13 of the capabilities in effect.
fn has_net_raw(status: &str) -> Result<bool> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff: ")).context("no CapEff")?;
    Ok(u64::from_str_radix(line, 16)? & (1 << 13) != 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_active_for_longer_than_its_process_may_fails_for_that_reason() {
    let late = "      active_deadline_seconds: 4\n      command: [sleep, 300]\n";
    let setting = Setting::new(Backend::Real).with_processes(&process("late", late));
    tell("active-deadline", setting, async |story| {
        let job = story.submit("late", json!({})).await?;
        let status = story.wait_done(&job).await?;
        assert_eq!(status["status"], "failed", "{status}");
        let outcome = story.manifest(&job).await?.record.outcome.context("no outcome")?;
        assert_eq!(outcome.reason, Some(Reason::Deadline), "{status}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_echo_process_of_the_example_configuration_answers_on_the_real_node() {
    tell("options-echo", Setting::new(Backend::Real), async |story| {
        let request = json!({ "inputs": { "echoInput": "Value1", "pause": 1 }, "response": "document" });
        let answer = story.post(0, "echo", &[], request.to_string()).await?.error_for_status()?;
        let document: Value = answer.json().await?;
        ensure!(document["echoInput"] == "Value1", "{document}");
        Ok(())
    })
    .await;
}
