//! What the claims of a token say of its bearer. Pure.

use std::{collections::HashSet, sync::Arc};

use protocol::Owner;
use serde_json::{Map, Value};

use super::{Invalid, OidcSettings};
use crate::access::{Caller, Rights};

/// All processes.
const ALL: &str = "*";

pub(super) fn caller(issuer: &str, claims: &Map<String, Value>, settings: &OidcSettings) -> Result<Caller, Invalid> {
    let text = |path: &str| at(claims, path).and_then(Value::as_str).filter(|text| !text.is_empty());
    let subject = text("sub").ok_or(Invalid::Claim)?;
    let owner = text(&settings.owner_claim).ok_or(Invalid::Claim)?;
    let sees_all_jobs = settings.jobs_claim.as_deref().is_some_and(|path| {
        words(at(claims, path)).iter().any(|word| settings.jobs_values.iter().any(|value| value == word))
    });
    let processes = settings.processes_claim.as_deref().map_or_else(
        || Some(HashSet::from([ALL.to_owned()])),
        |path| Some(processes(&words(at(claims, path)), settings)),
    );
    let processes = processes.filter(|processes| !processes.contains(ALL));
    let rights = Rights { processes, sees_all_jobs, may_dismiss: true };
    Ok(Caller::subject(issuer.into(), subject.into(), Owner::subject(issuer, owner), Arc::new(rights)))
}

fn processes(words: &[&str], settings: &OidcSettings) -> HashSet<String> {
    if settings.processes.is_empty() {
        return words.iter().map(|word| (*word).to_owned()).collect();
    }
    let rules = settings.processes.iter().filter(|rule| words.contains(&rule.value.as_str()));
    rules.map(|rule| rule.process.clone()).collect()
}

/// The claim of this name, or, where there is none, at this path of names with dots between.
fn at<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut names = path.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

/// The members of a list, or the words of a text, as `scope` has them.
fn words(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => text.split_whitespace().collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: Value, settings: Value) -> Result<Caller, Invalid> {
        caller("https://i", claims.as_object().unwrap(), &serde_json::from_value(settings).unwrap())
    }

    fn may(claims: Value, settings: Value, process: &str) -> bool {
        read(claims, settings).unwrap().may_execute(&process.parse().unwrap())
    }

    #[test]
    fn without_a_claim_for_it_every_process_may_be_executed() {
        assert!(may(json!({"sub": "s"}), json!({}), "lakes"));
    }

    #[test]
    fn a_claim_names_processes_or_groups_that_stand_for_them() {
        let direct = json!({"processes_claim": "quayside.processes"});
        let nested = |processes: Value| json!({"sub": "s", "quayside": {"processes": processes}});
        for (claims, lakes) in [
            (nested(json!(["lakes"])), true),
            (nested(json!("rivers lakes")), true),
            (nested(json!("*")), true),
            (json!({"sub": "s", "quayside.processes": "lakes"}), true),
            (nested(json!(["rivers", 1])), false),
            (nested(json!({"lakes": true})), false),
            (json!({"sub": "s"}), false),
        ] {
            assert_eq!(may(claims.clone(), direct.clone(), "lakes"), lakes, "{claims}");
        }
        let mapped = json!({"processes_claim": "groups", "processes": "water=lakes,water=rivers,admins=*"});
        let of = |groups: Value, process| may(json!({"sub": "s", "groups": groups}), mapped.clone(), process);
        assert!(of(json!(["water"]), "lakes") && of(json!(["water"]), "rivers") && !of(json!(["water"]), "roads"));
        assert!(of(json!(["admins"]), "roads"));
        assert!(!of(json!(["lakes", "*"]), "lakes"), "only what is mapped counts");
    }

    #[test]
    fn a_job_is_the_subjects_or_the_groups() {
        let of = |claims, settings| read(claims, settings).map(|caller| caller.owner());
        let someone = json!({"sub": "s", "tenant": "t"});
        assert_eq!(of(someone.clone(), json!({})), Ok(Some(Owner::subject("https://i", "s"))));
        assert_eq!(of(someone, json!({"owner_claim": "tenant"})), Ok(Some(Owner::subject("https://i", "t"))));
        assert_eq!(of(json!({"sub": "s"}), json!({"owner_claim": "tenant"})), Err(Invalid::Claim));
        assert_eq!(of(json!({"sub": "s", "tenant": ""}), json!({"owner_claim": "tenant"})), Err(Invalid::Claim));
    }

    #[test]
    fn everybodys_jobs_are_for_those_who_have_one_of_the_values() {
        let settings = json!({"jobs_claim": "groups", "jobs_values": "ops,admins"});
        let sees_all = |claims| read(claims, settings.clone()).unwrap().sees_all_jobs();
        assert!(sees_all(json!({"sub": "s", "groups": ["a", "admins"]})));
        assert!(!sees_all(json!({"sub": "s", "groups": ["a"]})) && !sees_all(json!({"sub": "s"})));
        assert!(!read(json!({"sub": "s", "groups": ["ops"]}), json!({})).unwrap().sees_all_jobs());
    }
}
