//! The table of the standard's requirements, held against the tests that it names and the classes that are claimed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    story::{Backend, Setting, tell},
    tools::workspace_directory,
};
use serde::Deserialize;

use crate::ogc::get;

const TABLE: &str = include_str!("../conformance/requirements.yaml");
/// What a class is called on `/conformance`, without its name.
const CLASSES: &str = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/";
/// How many requirements each class has: 83 in all.
const COUNTS: [(&str, usize); 8] = [
    ("core", 47),
    ("ogc-process-description", 8),
    ("json", 1),
    ("html", 2),
    ("oas30", 6),
    ("job-list", 16),
    ("callback", 1),
    ("dismiss", 2),
];
/// The standard's one label that two requirements have.
const TWICE: &str = "/req/job-list/status-response";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    label: Option<String>,
    says: String,
    #[serde(default)]
    tests: Vec<String>,
    later: Option<String>,
}

type Table = BTreeMap<String, BTreeMap<String, Requirement>>;

#[test]
fn the_table_has_every_requirement_once() {
    let table = table().unwrap();
    let counts: BTreeMap<&str, usize> = table.iter().map(|(class, all)| (class.as_str(), all.len())).collect();
    assert_eq!(counts, BTreeMap::from(COUNTS));
    assert_eq!(counts.values().sum::<usize>(), 83);
    let mut labels = BTreeSet::new();
    for (class, name, requirement) in rows(&table) {
        assert!(!requirement.says.is_empty(), "{class}/{name} says nothing");
        let Some(label) = &requirement.label else {
            assert_eq!(name, "input-binary", "{name} has no label");
            continue;
        };
        assert!(label.starts_with(&format!("/req/{class}/")), "{class}/{name}: {label}");
        assert!(labels.insert(label) || label == TWICE, "{label} comes twice");
    }
}

#[test]
fn every_requirement_has_tests_that_exist_or_a_class_that_comes_later() {
    let table = table().unwrap();
    let tests = tests().unwrap();
    for (class, name, requirement) in rows(&table) {
        let is_later = requirement.later.is_some();
        assert!(is_later == requirement.tests.is_empty(), "{class}/{name} needs tests, or a reason to have none");
        for test in &requirement.tests {
            assert!(tests.contains(test), "{class}/{name} names the test {test}, which there is not");
        }
    }
}

#[test]
fn every_story_is_among_the_stories() {
    let folder = workspace_directory().join("tests/tests");
    let listed = fs::read_to_string(folder.join("stories.rs")).unwrap();
    // Files of folders below it are parts of a story.
    for file in sources(&folder).unwrap().iter().filter(|file| file.parent() == Some(&folder)) {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let is_listed = listed.lines().any(|line| line == format!("mod {name};"));
        assert!(is_listed || name == "stories", "{name} is not in stories.rs: it would never be told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_classes_that_are_claimed_are_complete() {
    tell("conformance", Setting::new(Backend::Local), async |story| {
        let table = table()?;
        let is_met = |all: &BTreeMap<String, Requirement>| all.values().all(|it| it.later.is_none());
        let met = table.iter().filter(|(_, all)| is_met(all)).map(|(class, _)| format!("{CLASSES}{class}"));
        let met: BTreeSet<String> = met.collect();
        let document = get(story, "/conformance").await?.document("confClasses")?;
        let claimed = document["conformsTo"].as_array().context("no list")?.iter();
        let claimed: BTreeSet<String> = claimed.filter_map(|class| class.as_str().map(str::to_owned)).collect();
        let without_tests: Vec<&String> = claimed.difference(&met).collect();
        ensure!(without_tests.is_empty(), "claimed, and not met whole: {without_tests:?}");
        let silent: Vec<&String> = met.difference(&claimed).collect();
        ensure!(silent.is_empty(), "met whole, and not claimed: {silent:?}");
        Ok(())
    })
    .await;
}

fn table() -> Result<Table> {
    Ok(serde_saphyr::from_str(TABLE)?)
}

fn rows(table: &Table) -> impl Iterator<Item = (&str, &str, &Requirement)> {
    table.iter().flat_map(|(class, all)| all.iter().map(move |(name, it)| (class.as_str(), name.as_str(), it)))
}

/// The names of all test functions of the stories and of the gateway.
fn tests() -> Result<BTreeSet<String>> {
    let root = workspace_directory();
    let mut names = BTreeSet::new();
    for file in sources(&root.join("tests/tests"))?.into_iter().chain(sources(&root.join("api-gateway/src"))?) {
        let text = fs::read_to_string(&file)?;
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[") {
                is_test |= line.contains("test]") || line.contains("test(");
            } else {
                let declared = line.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
                names.extend(declared.filter(|_| is_test).map(|(name, _)| name.to_owned()));
                is_test = false;
            }
        }
    }
    Ok(names)
}

/// The files in Rust below a folder.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}
