use std::{cell::RefCell, collections::BTreeSet, path::Path};

use config::{File, Source};
use serde_json::Value as Json;

use super::{Default, page, sections};
use crate::configuration::{Configuration, Findings, read_tree, variables::Overrides, yaml::Yaml11};

const EVERY_SECTION: &str = include_str!("every_section.yaml");

/// Section and key of everything that is asked for.
fn asked() -> BTreeSet<(String, String)> {
    let root = File::from_str(EVERY_SECTION, Yaml11::new("test", EVERY_SECTION, &|_| None)).collect().unwrap();
    let findings = RefCell::new(Findings::default());
    assert!(read_tree(&root, &Overrides::default(), &findings).is_some());
    let asked = findings.into_inner().asked;
    asked.into_iter().map(|(path, key)| (general(&path), key.to_owned())).collect()
}

/// A path with its ids and indices taken out.
fn general(path: &str) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    let is_id = |index: usize| match index {
        1 => parts[0] == "resources",
        5 => parts[3] == "metadata" && matches!(parts[4], "inputs" | "outputs"),
        _ => false,
    };
    let part = |(index, part): (usize, &&str)| if is_id(index) { "<id>".to_owned() } else { part.replace("[0]", "[]") };
    parts.iter().enumerate().map(part).collect::<Vec<_>>().join(".")
}

#[test]
fn every_key_that_the_reader_asks_for_is_in_the_table_and_the_other_way_round() {
    let listed: BTreeSet<(String, String)> = sections()
        .flat_map(|section| {
            let names = section.keys.iter().flat_map(|key| [Some(key.name), key.also]).flatten();
            names.map(|name| (section.path.to_owned(), name.to_owned()))
        })
        .collect();
    let asked = asked();
    let missing: Vec<_> = asked.difference(&listed).collect();
    assert!(missing.is_empty(), "the table lacks {missing:?}");
    let stray: Vec<_> = listed.difference(&asked).collect();
    assert!(stray.is_empty(), "nobody asks for {stray:?}");
}

#[test]
fn an_absent_key_and_its_default_are_one_and_a_required_one_is_missed() {
    let whole: Json = serde_saphyr::from_str(EVERY_SECTION).unwrap();
    for section in sections() {
        let pointer: String = match section.path {
            "" => String::new(),
            path => path.replace("<id>", "p").replace("[]", ".0").split('.').map(|part| format!("/{part}")).collect(),
        };
        for key in section.keys {
            let name = format!("{}.{}", section.path, key.name);
            let mut without = whole.clone();
            without.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().remove(key.name);
            match key.default {
                Default::Required => {
                    let errors = read(&without).unwrap_err();
                    assert!(errors.contains("is missing"), "{name}: {errors}");
                }
                Default::Value(value) => {
                    let mut with = without.clone();
                    with.pointer_mut(&pointer).unwrap()[key.name] = serde_saphyr::from_str(value).unwrap();
                    assert_eq!(read(&with), read(&without), "{name}");
                    assert!(read(&with).is_ok(), "{name}");
                }
                Default::Nothing | Default::Said(_) => {}
            }
        }
    }
}

fn read(json: &Json) -> Result<Configuration, String> {
    // JSON is YAML.
    Configuration::read(&json.to_string(), "test", &|_| None).map(|(read, _)| read).map_err(|error| error.to_string())
}

#[test]
fn the_page_is_what_the_table_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page(), "docs/configuration.md is not what the code makes: run `cargo xtask docs`");
}
