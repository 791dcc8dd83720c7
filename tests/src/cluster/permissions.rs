//! What services were granted and what they asked for, by the API server's own account: each right of a Role is used, and nothing that
//! a service asks for at home is refused to it.

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde::Deserialize;

use super::deployed_rules;

/// The services that have a Role; their accounts in stories have the same names.
pub const SERVICES: [&str; 2] = ["job-dispatcher", "log-finalizer"];

/// One right: to do something with a kind of object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    resource: String,
    verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, resource, verb } = self;
        write!(out, "{verb} {resource}")?;
        if group.is_empty() { Ok(()) } else { write!(out, ".{group}") }
    }
}

/// A line of the audit log, as far as it matters
/// (<https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    verb: String,
    user: User,
    object_ref: Option<Object>,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(default)]
    namespace: String,
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    api_group: String,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(default, rename = "authorization.k8s.io/decision")]
    decision: String,
}

/// Reads the audit log of a whole run and says what each service asked for.
///
/// # Errors
/// When a right was not used, or something was refused.
pub fn check(audit_log: &Path) -> Result<Vec<String>> {
    let mut told = Vec::new();
    let mut entries = Vec::new();
    let file = File::open(audit_log).with_context(|| format!("{} can't be read", audit_log.display()))?;
    for line in BufReader::new(file).lines() {
        let line = line?;
        // Most lines are of others: only these are taken apart.
        if line.contains("system:serviceaccount:") {
            entries.push(serde_json::from_str(&line).context("a line of the audit log can't be understood")?);
        }
    }
    for service in SERVICES {
        told.push(judge(service, &granted(&deployed_rules(service)?), &entries)?);
    }
    Ok(told)
}

fn granted(rules: &[PolicyRule]) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let right =
                    |verb: &String| Right { group: group.clone(), resource: resource.clone(), verb: verb.clone() };
                rights.extend(rule.verbs.iter().map(right));
            }
        }
    }
    rights
}

fn judge(service: &str, granted: &BTreeSet<Right>, entries: &[Entry]) -> Result<String> {
    let (mut used, mut refused, mut count) = (BTreeSet::new(), BTreeSet::new(), 0_usize);
    for entry in entries {
        let Some(object) = &entry.object_ref else { continue };
        // Elsewhere a story may refuse it something on purpose.
        let at_home = format!("system:serviceaccount:{}:{service}", object.namespace);
        if entry.user.username != at_home {
            continue;
        }
        count += 1;
        let resource = match object.subresource.as_str() {
            "" => object.resource.clone(),
            part => format!("{}/{part}", object.resource),
        };
        let right = Right { group: object.api_group.clone(), resource, verb: entry.verb.clone() };
        if entry.annotations.decision == "forbid" {
            refused.insert(right)
        } else {
            used.insert(right)
        };
    }
    let names = |rights: &BTreeSet<Right>| rights.iter().map(Right::to_string).collect::<Vec<_>>().join(", ");
    ensure!(refused.is_empty(), "{service} was refused: {}", names(&refused));
    let unused: BTreeSet<Right> = granted.difference(&used).cloned().collect();
    ensure!(unused.is_empty(), "{service} was granted and never asked for: {}", names(&unused));
    Ok(format!("{service} used each of its {} rights in {count} requests, and was refused none", granted.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(account: &str, verb: &str, resource: &str, subresource: &str, decision: &str) -> Entry {
        let entry = json!({
            "verb": verb, "user": { "username": format!("system:serviceaccount:{account}") },
            "objectRef": { "namespace": "home", "resource": resource, "subresource": subresource, "apiGroup": "" },
            "annotations": { "authorization.k8s.io/decision": decision },
        });
        serde_json::from_value(entry).unwrap()
    }

    fn rules() -> BTreeSet<Right> {
        let rules = json!([
            { "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] },
            { "apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"] },
        ]);
        granted(&serde_json::from_value::<Vec<PolicyRule>>(rules).unwrap())
    }

    #[test]
    fn each_right_has_to_be_used_and_none_refused_at_home() {
        let judged = |entries: &[Entry]| judge("s", &rules(), entries).map_err(|error| error.to_string());
        let (list, log) =
            (|| entry("home:s", "list", "pods", "", "allow"), || entry("home:s", "get", "pods", "log", "allow"));
        assert!(judged(&[list(), log()]).unwrap().contains("2 rights in 2 requests"));
        assert_eq!(judged(&[list()]).unwrap_err(), "s was granted and never asked for: get pods/log");
        let refused = entry("home:s", "delete", "pods", "", "forbid");
        assert_eq!(judged(&[list(), log(), refused]).unwrap_err(), "s was refused: delete pods");
        let elsewhere = entry("other:s", "delete", "pods", "", "forbid");
        assert!(judged(&[list(), log(), elsewhere]).is_ok());
        assert!(judged(&[entry("home:t", "list", "pods", "", "allow"), log()]).is_err(), "another account's");
    }
}
