//! What services were granted and what they asked for, by the API server's own account: each right of a Role is used, and nothing that
//! a service asks for at home, or where it was granted its rights in a further namespace of Jobs, is refused to it.

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

use super::{deployed_rules, deployed_rules_elsewhere};

/// The services that have a Role; their accounts in stories have the same names.
pub const SERVICES: [&str; 2] = ["job-dispatcher", "log-finalizer"];

/// How the names of namespaces begin in which the Roles of `deploy/jobs-namespace` are granted before any service starts.
pub const GRANTED_ELSEWHERE: &str = "granted-elsewhere";

/// Where a Role counts.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The service's own namespace.
    Home,
    /// Further ones, [`GRANTED_ELSEWHERE`]. In any others a story may refuse something on purpose.
    Elsewhere,
}

impl Place {
    /// Whether this is something that this service did there.
    fn has(self, service: &str, user: &str, namespace: &str) -> bool {
        let account = user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
        let Some((home, name)) = account else { return false };
        let is_there = match self {
            Self::Home => namespace == home,
            Self::Elsewhere => namespace != home && namespace.starts_with(GRANTED_ELSEWHERE),
        };
        is_there && name == service
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Home => "at home",
            Self::Elsewhere => "in further namespaces",
        })
    }
}

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
        for (place, rules) in
            [(Place::Home, deployed_rules(service)?), (Place::Elsewhere, deployed_rules_elsewhere(service)?)]
        {
            told.push(judge(service, place, &granted(&rules), &entries)?);
        }
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

fn judge(service: &str, place: Place, granted: &BTreeSet<Right>, entries: &[Entry]) -> Result<String> {
    let (mut used, mut refused, mut count) = (BTreeSet::new(), BTreeSet::new(), 0_usize);
    for entry in entries {
        let Some(object) = &entry.object_ref else { continue };
        if !place.has(service, &entry.user.username, &object.namespace) {
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
    ensure!(refused.is_empty(), "{service} was refused {place}: {}", names(&refused));
    let unused: BTreeSet<Right> = granted.difference(&used).cloned().collect();
    ensure!(unused.is_empty(), "{service} was granted {place} and never asked for: {}", names(&unused));
    Ok(format!("{service} used each of its {} rights {place} in {count} requests, and was refused none", granted.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(account: &str, namespace: &str, verb: &str, resource: &str, decision: &str) -> Entry {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let entry = json!({
            "verb": verb, "user": { "username": format!("system:serviceaccount:{account}") },
            "objectRef": { "namespace": namespace, "resource": resource, "subresource": subresource, "apiGroup": "" },
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

    fn judged(place: Place, entries: &[Entry]) -> Result<String, String> {
        judge("s", place, &rules(), entries).map_err(|error| error.to_string())
    }

    #[test]
    fn each_right_has_to_be_used_and_none_refused_at_home() {
        let judged = |entries: &[Entry]| judged(Place::Home, entries);
        let list = || entry("home:s", "home", "list", "pods", "allow");
        let log = || entry("home:s", "home", "get", "pods/log", "allow");
        assert!(judged(&[list(), log()]).unwrap().contains("2 rights at home in 2 requests"));
        assert_eq!(judged(&[list()]).unwrap_err(), "s was granted at home and never asked for: get pods/log");
        let refused = entry("home:s", "home", "delete", "pods", "forbid");
        assert_eq!(judged(&[list(), log(), refused]).unwrap_err(), "s was refused at home: delete pods");
        let elsewhere = entry("home:s", "other", "delete", "pods", "forbid");
        assert!(judged(&[list(), log(), elsewhere]).is_ok());
        assert!(judged(&[entry("home:t", "home", "list", "pods", "allow"), log()]).is_err(), "another account's");
    }

    #[test]
    fn each_right_has_to_be_used_and_none_refused_where_they_were_granted_elsewhere() {
        let there = format!("{GRANTED_ELSEWHERE}-abcde");
        let judged = |entries: &[Entry]| judged(Place::Elsewhere, entries);
        let list = || entry("home:s", &there, "list", "pods", "allow");
        let log = || entry("home:s", &there, "get", "pods/log", "allow");
        assert!(judged(&[list(), log()]).unwrap().contains("2 rights in further namespaces in 2 requests"));
        let at_home = entry("home:s", "home", "get", "pods/log", "allow");
        let unused = "s was granted in further namespaces and never asked for: get pods/log";
        assert_eq!(judged(&[list(), at_home]).unwrap_err(), unused);
        let refused = entry("home:s", &there, "watch", "pods", "forbid");
        assert_eq!(judged(&[list(), log(), refused]).unwrap_err(), "s was refused in further namespaces: watch pods");
        let on_purpose = entry("home:s", "two-abcde", "list", "pods", "forbid");
        assert!(judged(&[list(), log(), on_purpose]).is_ok());
    }
}
