//! What `deploy/` holds is applied by kubectl, as its README says, to a control plane without nodes: it is taken
//! without a warning, and the services' accounts have the rights of their Roles and no others.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    cluster::{OwnCluster, deployed_rules, deployed_rules_elsewhere, permissions::SERVICES},
    program::wait_until,
    story::{Backend, LIMIT, skips},
    tools::{self, Tool, workspace_directory},
};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    core::v1::{Namespace, Pod},
    rbac::v1::PolicyRule,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::reasons::object;

const NAME: &str = "deploy";
const GATEWAY: &str = "api-gateway";

/// What a deployer applies: folders of `deploy/`. `base` is applied by an overlay of the story's own.
const APPLIED: [&str; 3] = ["overlays/example", "overlays/namespaces", "kind"];
/// Files that are no objects of a cluster: configuration of the gateway, and what only kind reads.
const NO_OBJECTS: [&str; 2] = ["examples/echo.yaml", "kind/kind-cluster.yaml"];

/// Where the overlays have Quayside, and the Jobs of some processes.
const QUAYSIDE: &str = "quayside";
const MAPS: &str = "quayside-maps";
/// Where the story's own overlay has it.
const HARBOUR: &str = "harbour";

/// How long kubectl may take for one folder.
const KUBECTL_LIMIT: Duration = Duration::from_secs(120);
/// How many reviews are asked for at the same time.
const AT_ONCE: usize = 16;

/// What every account may ask about itself, in any namespace
/// (`system:basic-user`, <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#discovery-roles>).
const EVERYBODYS: [(&str, &str); 3] = [
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deployed_is_taken_and_gives_each_account_the_rights_of_its_role_and_no_others() -> Result<()> {
    if skips(NAME, Backend::Simulated) {
        return Ok(());
    }
    let tools = tools::require(&[Tool::Kubectl], &|_| ()).await?;
    let own = OwnCluster::start(NAME, Vec::new()).await?;
    let client = own.cluster.client().await?;
    let kubectl = Kubectl { program: tools.path(Tool::Kubectl)?, folder: own.cluster.dir() };
    let [enforce, warn] = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}"));
    for name in [QUAYSIDE, MAPS, HARBOUR] {
        let labels = json!({ &enforce: "restricted", &warn: "restricted" });
        let namespace = object(json!({ "metadata": { "name": name, "labels": labels } }))?;
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    }
    let harbour = overlay(own.cluster.dir(), &format!("namespace: {HARBOUR}"))?;
    for folder in APPLIED.map(|folder| workspace_directory().join("deploy").join(folder)).iter().chain([&harbour]) {
        kubectl.dry_run(folder).await?;
    }
    a_mistake_is_seen(&kubectl).await?;

    kubectl.apply(&workspace_directory().join("deploy/overlays/namespaces")).await?;
    kubectl.apply(&harbour).await?;
    for home in [QUAYSIDE, HARBOUR] {
        for service in [GATEWAY].into_iter().chain(SERVICES) {
            pods_are_taken(&client, home, service).await?;
        }
    }
    rights_are_those_of_the_roles(&client).await?;
    own.stop().await
}

#[test]
fn every_manifest_is_applied() -> Result<()> {
    let deploy = workspace_directory().join("deploy").canonicalize()?;
    let mut found = BTreeSet::new();
    files(&deploy, &mut found)?;
    let mut applied = BTreeSet::new();
    for folder in APPLIED {
        reached(&deploy.join(folder), &mut applied)?;
    }
    let left: BTreeSet<PathBuf> = found.difference(&applied).cloned().collect();
    assert_eq!(left, NO_OBJECTS.map(|file| deploy.join(file)).into());
    Ok(())
}

/// All YAML files below a folder.
fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.insert(path);
        }
    }
    Ok(())
}

/// A kustomization and all files that it takes in.
fn reached(folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let file = folder.join("kustomization.yaml");
    let text = fs::read_to_string(&file).with_context(|| format!("{} can't be read", file.display()))?;
    let kustomization: Value = serde_saphyr::from_str(&text)?;
    files.insert(file);
    for name in ["resources", "components"].iter().filter_map(|key| kustomization[key].as_array()).flatten() {
        let path = folder.join(name.as_str().context("a path is text")?).canonicalize()?;
        if path.is_dir() {
            reached(&path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// Makes an overlay of `base` below a folder, with these lines.
fn overlay(below: &Path, lines: &str) -> Result<PathBuf> {
    let folder = below.join("overlay");
    fs::create_dir_all(&folder)?;
    let base = workspace_directory().join("deploy/base").canonicalize()?;
    // Kustomize takes no absolute path.
    let up = "../".repeat(folder.canonicalize()?.components().count() - 1);
    let base = format!("{up}{}", base.strip_prefix("/")?.display());
    fs::write(folder.join("kustomization.yaml"), format!("{lines}\nresources: [\"{base}\"]\n"))?;
    Ok(folder)
}

/// The command line of the cluster's administrator.
struct Kubectl<'a> {
    program: &'a Path,
    /// The cluster's.
    folder: &'a Path,
}

impl Kubectl<'_> {
    /// What a strict API server would say to it; nothing is stored.
    async fn dry_run(&self, folder: &Path) -> Result<()> {
        self.run(&["apply", "--server-side", "--dry-run=server", "--validate=strict", "--kustomize"], folder).await
    }

    /// As the README has it.
    async fn apply(&self, folder: &Path) -> Result<()> {
        self.run(&["apply", "--kustomize"], folder).await
    }

    /// Fails when it fails, and when it warns.
    async fn run(&self, arguments: &[&str], folder: &Path) -> Result<()> {
        let mut command = Command::new(self.program);
        command.arg("--kubeconfig").arg(self.folder.join("admin.kubeconfig"));
        command.arg("--cache-dir").arg(self.folder.join("kubectl")).args(arguments).arg(folder);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(KUBECTL_LIMIT, output).await.context("kubectl does not end")??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && said.is_empty(), "{}: {}: {said}", folder.display(), output.status);
        Ok(())
    }
}

/// Otherwise an unknown member, and what a namespace's pod security warns of, would go unseen.
async fn a_mistake_is_seen(kubectl: &Kubectl<'_>) -> Result<()> {
    for (path, value, told) in [
        ("/spec/template/spec/containers/0/workingDirectory", json!("/"), "workingDirectory"),
        ("/spec/template/spec/hostNetwork", json!(true), "would violate PodSecurity"),
    ] {
        let patch = json!([{ "op": "add", "path": path, "value": value }]);
        let lines = format!("namespace: {HARBOUR}\npatches: [{{target: {{kind: Deployment}}, patch: '{patch}'}}]");
        let wrong = overlay(&kubectl.folder.join("wrong"), &lines)?;
        let answer = kubectl.dry_run(&wrong).await.err().with_context(|| format!("{path} was taken"))?;
        ensure!(answer.to_string().contains(told), "{answer:#}");
    }
    Ok(())
}

/// The service's pods are made, as its own account. Only the gateway's have no token.
async fn pods_are_taken(client: &Client, namespace: &str, service: &str) -> Result<()> {
    let own = ListParams::default().labels(&format!("app.kubernetes.io/name={service}"));
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let pods = wait_until("both pods of a service are made", LIMIT, || async {
        let pods = pods.list(&own).await?.items;
        ensure!(pods.len() == 2, "{} of {service} in {namespace}", pods.len());
        Ok(pods)
    })
    .await?;
    for pod in pods {
        let spec = pod.spec.context("a pod has a spec")?;
        ensure!(spec.service_account_name.as_deref() == Some(service), "{service} runs as another");
        let sources = spec.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref()?.sources.as_ref());
        let has_token = sources.flatten().any(|source| source.service_account_token.is_some());
        ensure!(has_token == (service != GATEWAY), "{service}: a token is {has_token}");
    }
    Ok(())
}

/// Every right that there is, for every account and everywhere.
async fn rights_are_those_of_the_roles(client: &Client) -> Result<()> {
    let all = Right::all(client).await?;
    let is_there = |group: &str, resource: &str, verb: &str| all.contains(&Right::new(group, resource, verb));
    ensure!(is_there("", "secrets", "get") && is_there("", "pods/exec", "create"), "few rights are known: {all:?}");
    for home in [QUAYSIDE, HARBOUR] {
        for service in [GATEWAY].into_iter().chain(SERVICES) {
            for place in [Some(QUAYSIDE), Some(MAPS), Some(HARBOUR), Some("kube-system"), None] {
                let rules = match place {
                    _ if service == GATEWAY => Vec::new(),
                    Some(place) if place == home => deployed_rules(service)?,
                    Some(MAPS) if home == QUAYSIDE => deployed_rules_elsewhere(service)?,
                    _ => Vec::new(),
                };
                let mut expected = Right::of(&rules);
                expected.extend(EVERYBODYS.map(|(group, resource)| Right::new(group, resource, "create")));
                // The API server learns of Roles by a watch of its own.
                wait_until("an account has the rights of its Role", LIMIT, || async {
                    let allowed = allowed(client, home, service, place, &all).await?;
                    let more: Vec<_> = allowed.difference(&expected).collect();
                    let less: Vec<_> = expected.difference(&allowed).collect();
                    let place = place.unwrap_or("all namespaces");
                    ensure!(less.is_empty(), "{service} of {home} may not do this in {place}: {less:?}");
                    ensure!(more.is_empty(), "{service} of {home} may do this in {place}: {more:?}");
                    Ok(())
                })
                .await?;
            }
        }
    }
    Ok(())
}

/// To do something with a kind of object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    resource: String,
    verb: String,
}

impl fmt::Debug for Right {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}.{}", self.verb, self.resource, self.group)
    }
}

impl Right {
    fn new(group: &str, resource: &str, verb: &str) -> Self {
        Self { group: group.to_owned(), resource: resource.to_owned(), verb: verb.to_owned() }
    }

    fn of(rules: &[PolicyRule]) -> BTreeSet<Self> {
        let mut rights = BTreeSet::new();
        for rule in rules {
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    rights.extend(rule.verbs.iter().map(|verb| Self::new(group, resource, verb)));
                }
            }
        }
        rights
    }

    /// All that the API server can do.
    async fn all(client: &Client) -> Result<BTreeSet<Self>> {
        let mut lists = vec![client.list_core_api_resources("v1").await?];
        for group in client.list_api_groups().await?.groups {
            for version in group.versions {
                lists.push(client.list_api_group_resources(&version.group_version).await?);
            }
        }
        let mut rights = BTreeSet::new();
        for list in lists {
            let group = list.group_version.split_once('/').map_or("", |(group, _)| group);
            for resource in list.resources {
                rights.extend(resource.verbs.iter().map(|verb| Self::new(group, &resource.name, verb)));
            }
        }
        Ok(rights)
    }
}

/// Which of these rights a service's account has in a namespace, or in all of them.
async fn allowed(
    client: &Client,
    home: &str,
    service: &str,
    namespace: Option<&str>,
    rights: &BTreeSet<Right>,
) -> Result<BTreeSet<Right>> {
    let reviews = &Api::<SubjectAccessReview>::all(client.clone());
    let answers = stream::iter(rights).map(|right| async move {
        let (resource, part) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
        let review = object(json!({ "spec": {
            "user": format!("system:serviceaccount:{home}:{service}"),
            // Those that the API server finds in the token.
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{home}"), "system:authenticated"],
            "resourceAttributes": {
                "namespace": namespace, "verb": right.verb,
                "group": right.group, "resource": resource, "subresource": part,
            },
        } }))?;
        let status = reviews.create(&PostParams::default(), &review).await?.status.context("no answer")?;
        anyhow::Ok(status.allowed.then(|| right.clone()))
    });
    let answers: Vec<Option<Right>> = answers.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}
