//! What services were granted and what they asked for, by the API server's own account: each right of a Role is used,
//! and nothing else is asked for, at home and where a service was granted its rights in a further namespace of Jobs.
//! Outside of namespaces no service asks for anything.

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
    /// No namespace: objects of the cluster, objects of all namespaces at once, and paths that are no objects. No Role
    /// counts there.
    Cluster,
}

impl Place {
    /// Whether this is something that this service asked for there.
    fn has(self, service: &str, entry: &Entry) -> bool {
        let account =
            entry.user.username.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
        let Some((home, name)) = account else { return false };
        let is_there = match (self, entry.namespace()) {
            (Self::Cluster, namespace) => namespace.is_none(),
            (Self::Home, namespace) => namespace == Some(home),
            (Self::Elsewhere, Some(namespace)) => namespace != home && namespace.starts_with(GRANTED_ELSEWHERE),
            (Self::Elsewhere, None) => false,
        };
        is_there && name == service
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Home => "at home",
            Self::Elsewhere => "in further namespaces",
            Self::Cluster => "outside of namespaces",
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
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    /// Absent where a path is no object's, such as `/version`.
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

impl Entry {
    /// Where the object is that it asks for. A namespace itself is in none, though the API server says that it is in
    /// itself.
    fn namespace(&self) -> Option<&str> {
        let object = self.object_ref.as_ref().filter(|object| object.resource != "namespaces")?;
        Some(object.namespace.as_str()).filter(|namespace| !namespace.is_empty())
    }

    fn right(&self) -> Right {
        let verb = self.verb.clone();
        let Some(object) = &self.object_ref else {
            let path = self.uri.split('?').next().unwrap_or_default().to_owned();
            return Right { group: String::new(), resource: path, verb };
        };
        let resource = match object.subresource.as_str() {
            "" => object.resource.clone(),
            part => format!("{}/{part}", object.resource),
        };
        Right { group: object.api_group.clone(), resource, verb }
    }
}

/// Reads the audit log of a whole run and says what each service asked for.
///
/// # Errors
/// When a right was not used, something was refused, or something was allowed that no Role grants.
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
        for (place, rules) in [
            (Place::Home, deployed_rules(service)?),
            (Place::Elsewhere, deployed_rules_elsewhere(service)?),
            (Place::Cluster, Vec::new()),
        ] {
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
    for entry in entries.iter().filter(|entry| place.has(service, entry)) {
        count += 1;
        let rights = if entry.annotations.decision == "forbid" { &mut refused } else { &mut used };
        rights.insert(entry.right());
    }
    let names = |rights: &BTreeSet<Right>| rights.iter().map(Right::to_string).collect::<Vec<_>>().join(", ");
    ensure!(refused.is_empty(), "{service} was refused {place}: {}", names(&refused));
    let ungranted: BTreeSet<Right> = used.difference(granted).cloned().collect();
    ensure!(ungranted.is_empty(), "{service} was allowed {place} what no Role grants: {}", names(&ungranted));
    let unused: BTreeSet<Right> = granted.difference(&used).cloned().collect();
    ensure!(unused.is_empty(), "{service} was granted {place} and never asked for: {}", names(&unused));
    Ok(match granted.len() {
        0 => format!("{service} asked for nothing {place}"),
        rights => {
            format!("{service} used each of its {rights} rights {place} in {count} requests, and was refused none")
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(account: &str, namespace: &str, verb: &str, resource: &str, decision: &str) -> Entry {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let entry = json!({
            "verb": verb, "requestURI": "/", "user": { "username": format!("system:serviceaccount:{account}") },
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
        let granted = if matches!(place, Place::Cluster) { BTreeSet::new() } else { rules() };
        judge("s", place, &granted, entries).map_err(|error| error.to_string())
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
        let more = entry("home:s", "home", "watch", "pods", "allow");
        let allowed = "s was allowed at home what no Role grants: watch pods";
        assert_eq!(judged(&[list(), log(), more]).unwrap_err(), allowed);
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

    #[test]
    fn nothing_is_asked_for_outside_of_namespaces() {
        let judged = |entries: &[Entry]| judged(Place::Cluster, entries);
        let at_home = entry("home:s", "home", "list", "pods", "forbid");
        let on_purpose = entry("home:s", "two-abcde", "list", "pods", "forbid");
        let anothers = entry("home:t", "", "list", "nodes", "allow");
        let nothing = "s asked for nothing outside of namespaces";
        assert_eq!(judged(&[at_home, on_purpose, anothers]).as_deref(), Ok(nothing));
        for (decision, told) in [
            ("forbid", "s was refused outside of namespaces: "),
            ("allow", "s was allowed outside of namespaces what no Role grants: "),
        ] {
            // Objects of the cluster, those of all namespaces at once, and a namespace, of which the API server says
            // that it is in itself.
            for (namespace, verb, resource) in [
                ("", "get", "nodes"),
                ("", "create", "selfsubjectaccessreviews"),
                ("", "list", "pods"),
                ("", "get", "nodes/proxy"),
                ("two-abcde", "get", "namespaces"),
                ("home", "delete", "namespaces"),
            ] {
                let entry = entry("home:s", namespace, verb, resource, decision);
                assert_eq!(judged(&[entry]).unwrap_err(), format!("{told}{verb} {resource}"));
            }
            let path = json!({
                "verb": "get", "requestURI": "/version?timeout=32s",
                "user": { "username": "system:serviceaccount:home:s" },
                "annotations": { "authorization.k8s.io/decision": decision },
            });
            let path = serde_json::from_value(path).expect("an entry as the API server writes it");
            assert_eq!(judged(&[path]), Err(format!("{told}get /version")));
        }
    }
}
