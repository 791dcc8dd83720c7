//! Kubernetes requests for each job, from the API server's audit log.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{Read, Seek, SeekFrom},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{
    bed::{Bed, our_users, plain_user},
    jobs::number,
    report::{Aim, Figure, Report},
};

/// Requests a job.
const LIMIT: f64 = 6.0;

/// One line of the log, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(rename = "auditID")]
    id: String,
    /// What was asked for.
    pub(super) verb: String,
    user: User,
    /// Who asked, as it calls itself.
    #[serde(default)]
    pub(super) user_agent: String,
    /// What it was about.
    pub(super) object_ref: Option<Object>,
    /// When it came.
    pub(super) request_received_timestamp: Timestamp,
}

#[derive(Debug, Deserialize)]
struct User {
    username: String,
}

/// What a request was about.
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    /// Such as `pods`.
    pub(super) resource: String,
    /// Such as `status`.
    #[serde(default)]
    pub(super) subresource: String,
    /// Its name; empty when many were asked for.
    #[serde(default)]
    pub(super) name: String,
}

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u64);

/// The end of the log now; where none is written there is nothing before or after it.
pub(super) fn mark(bed: &Bed) -> Result<Mark> {
    let Some(file) = bed.cluster.audit_log() else { return Ok(Mark(0)) };
    Ok(Mark(fs::metadata(&file).with_context(|| format!("{} can't be read", file.display()))?.len()))
}

/// Requests by user, verb and what they were about.
pub(super) type Tally = BTreeMap<String, BTreeMap<String, u32>>;

/// Counts the requests of our services and of the plain client since then.
pub(super) fn since(bed: &Bed, mark: Mark) -> Result<Tally> {
    let mut users: Vec<String> = our_users(bed).to_vec();
    users.push(plain_user(bed));
    Ok(tally(&entries(bed, mark)?, &users))
}

/// Everything that was logged since then.
pub(super) fn entries(bed: &Bed, Mark(from): Mark) -> Result<Vec<Entry>> {
    let Some(path) = bed.cluster.audit_log() else { return Ok(Vec::new()) };
    let mut file = fs::File::open(&path).with_context(|| format!("{} can't be read", path.display()))?;
    file.seek(SeekFrom::Start(from))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("not an audit entry: {line}")))
        .collect()
}

fn tally(entries: &[Entry], users: &[String]) -> Tally {
    let mut seen = HashSet::new();
    let mut tally = Tally::new();
    for entry in entries {
        // A watch has a line when it begins and one when it ends.
        let is_new = seen.insert(entry.id.as_str());
        let Some(user) = users.iter().find(|user| **user == entry.user.username).filter(|_| is_new) else { continue };
        let name = user.rsplit(':').next().unwrap_or(user);
        let about = match &entry.object_ref {
            Some(Object { resource, subresource, .. }) if subresource.is_empty() => resource.clone(),
            Some(Object { resource, subresource, .. }) => format!("{resource}/{subresource}"),
            None => String::new(),
        };
        *tally.entry(name.to_owned()).or_default().entry(format!("{} {about}", entry.verb)).or_default() += 1;
    }
    tally
}

/// Adds a row for all requests, and one for each verb.
pub(super) fn report(ours: &Tally, bare: &Tally, jobs: usize, report: &mut Report) {
    let jobs = number(jobs);
    let plain = f64::from(bare.values().flat_map(BTreeMap::values).sum::<u32>()) / jobs;
    let total = f64::from(ours.values().flat_map(BTreeMap::values).sum::<u32>()) / jobs;
    let shown = |requests: &BTreeMap<String, u32>| {
        let each = requests.iter().map(|(what, count)| format!("{what} {:.2}", f64::from(*count) / jobs));
        each.collect::<Vec<_>>().join(", ")
    };
    report.add(Figure {
        name: "Kubernetes requests a job".to_owned(),
        ratio: total / plain,
        aim: Some(Aim::raw_at_most("ours", LIMIT, "", total)),
        ours: format!("{total:.2}"),
        peer: format!("{plain:.2} of a plain client"),
        setting: ours.keys().cloned().collect::<Vec<_>>().join(" and "),
        numbers: json!({ "jobs": jobs, "ours": ours, "plain": bare, "aim_per_job": LIMIT }),
    });
    let mut verbs: BTreeMap<&str, (u32, BTreeMap<String, u32>)> = BTreeMap::new();
    for (what, count) in ours.values().flatten() {
        let (verb, about) = what.split_once(' ').unwrap_or((what, ""));
        let (sum, by_object) = verbs.entry(verb).or_default();
        *sum += count;
        *by_object.entry(about.to_owned()).or_default() += count;
    }
    for (verb, (count, by_object)) in verbs {
        let of = |tally: &Tally| -> u32 {
            let all = tally.values().flatten();
            all.filter(|(what, _)| what.split(' ').next() == Some(verb)).map(|(_, count)| *count).sum()
        };
        let (each, plain) = (f64::from(count) / jobs, f64::from(of(bare)) / jobs);
        report.add(Figure {
            name: format!("  of these {verb}"),
            ratio: each / total,
            aim: None,
            ours: format!("{each:.2}"),
            peer: format!("{total:.2} of all verbs; plain client {plain:.2}"),
            setting: shown(&by_object),
            numbers: json!({ "verb": verb, "count": count, "by_object": by_object }),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, user: &str, verb: &str, resource: &str, subresource: &str) -> Entry {
        let value = json!({
            "auditID": id, "verb": verb, "user": { "username": user }, "stage": "ResponseComplete",
            "objectRef": { "resource": resource, "subresource": subresource },
            "requestReceivedTimestamp": "2026-01-01T00:00:00.000001Z",
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn requests_of_others_and_second_lines_are_not_counted() {
        let ours = "system:serviceaccount:n:job-dispatcher";
        let entries = [
            entry("1", ours, "create", "jobs", ""),
            entry("2", ours, "watch", "pods", ""),
            entry("2", ours, "watch", "pods", ""),
            entry("3", ours, "get", "pods", "log"),
            entry("4", "admin", "list", "pods", ""),
        ];
        let expected = [("create jobs", 1), ("get pods/log", 1), ("watch pods", 1)];
        let expected = expected.map(|(what, count)| (what.to_owned(), count)).into_iter().collect();
        assert_eq!(tally(&entries, &[ours.to_owned()]), Tally::from([("job-dispatcher".to_owned(), expected)]));
    }
}
