//! A service account of a namespace, with no more rights than it is given, and the kubeconfig with which it is used.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    authorization::v1::SubjectAccessReview,
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding},
};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use super::Namespace;
use crate::{program::wait_until, tools::workspace_directory};

/// How long the API server may take to know a Role.
const GRANTED_WITHIN: Duration = Duration::from_secs(30);

/// The rules of a service's Role as `deploy/base` has it.
pub fn deployed_rules(service: &str) -> Result<Vec<PolicyRule>> {
    rules_in("deploy/base", service)
}

/// The rules of a service's Role in a further namespace of Jobs.
pub fn deployed_rules_elsewhere(service: &str) -> Result<Vec<PolicyRule>> {
    rules_in("deploy/jobs-namespace", service)
}

fn rules_in(folder: &str, service: &str) -> Result<Vec<PolicyRule>> {
    let file = workspace_directory().join(folder).join(service).with_extension("yaml");
    let text = fs::read_to_string(&file).with_context(|| format!("{} can't be read", file.display()))?;
    let documents = text.split("\n---\n").map(|document| Ok(serde_saphyr::from_str::<Value>(document)?));
    let documents = documents.collect::<Result<Vec<_>>>()?;
    let role = documents.into_iter().find(|document| document["kind"] == "Role");
    let role: Role = serde_json::from_value(role.with_context(|| format!("{} has no Role", file.display()))?)?;
    role.rules.context("the Role has no rules")
}

impl Namespace {
    /// Makes a service account with these rights in the namespace, and writes the kubeconfig that uses it into a folder. `admin` is
    /// the kubeconfig of the cluster's administrator.
    pub async fn account(
        &self,
        client: &Client,
        admin: &Path,
        name: &str,
        rules: Vec<PolicyRule>,
        folder: &Path,
    ) -> Result<PathBuf> {
        let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
        let params = PostParams::default();
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), self.name());
        accounts.create(&params, &account).await?;
        self.grant(client, name, self, rules).await?;
        let request: TokenRequest = serde_json::from_value(json!({ "spec": { "audiences": [] } }))?;
        let token = accounts.create_token_request(name, &params, &request).await?.status.context("no token")?.token;

        let mut config: Value = serde_json::from_slice(&fs::read(admin)?)?;
        config["users"][0]["user"] = json!({ "token": token });
        let file = folder.join(format!("{name}.kubeconfig"));
        fs::write(&file, config.to_string())?;
        Ok(file)
    }

    /// Gives these rights in this namespace to the service account of that name in another one, or in this.
    pub async fn grant(&self, client: &Client, name: &str, home: &Self, rules: Vec<PolicyRule>) -> Result<()> {
        let metadata = json!({ "name": name });
        let role: Role = serde_json::from_value(json!({ "metadata": metadata, "rules": rules }))?;
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": home.name() }],
        }))?;
        let params = PostParams::default();
        let last = role.rules.iter().flatten().next_back().cloned();
        Api::<Role>::namespaced(client.clone(), self.name()).create(&params, &role).await?;
        Api::<RoleBinding>::namespaced(client.clone(), self.name()).create(&params, &binding).await?;
        let user = format!("system:serviceaccount:{}:{name}", home.name());
        match last {
            Some(rule) => self.wait_granted(client, &user, &rule).await,
            None => Ok(()),
        }
    }

    /// The API server learns of Roles by a watch of its own.
    async fn wait_granted(&self, client: &Client, user: &str, rule: &PolicyRule) -> Result<()> {
        let first = |list: &Option<Vec<String>>| list.iter().flatten().next().cloned().unwrap_or_default();
        let (resource, part) = match first(&rule.resources).split_once('/') {
            Some((resource, part)) => (resource.to_owned(), part.to_owned()),
            None => (first(&rule.resources), String::new()),
        };
        let review: SubjectAccessReview =
            serde_json::from_value(json!({ "spec": { "user": user, "resourceAttributes": {
            "namespace": self.name(), "group": first(&rule.api_groups), "resource": resource, "subresource": part,
            "verb": rule.verbs.first(),
        } } }))?;
        let reviews = Api::<SubjectAccessReview>::all(client.clone());
        wait_until("the Role counts", GRANTED_WITHIN, || async {
            let answer = reviews.create(&PostParams::default(), &review).await?;
            ensure!(answer.status.is_some_and(|status| status.allowed), "not yet");
            Ok(())
        })
        .await
    }
}
