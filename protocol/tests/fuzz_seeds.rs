//! What the fuzz targets of `tests/fuzz` start from, and what they once found, is replayed here.

// Helpers outside of `#[test]` functions fail a test by panicking, too.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

#[path = "../../tests/fuzz/checks/framing.rs"]
mod framing;
#[path = "../../tests/fuzz/checks/kubelet_log.rs"]
mod kubelet_log;
#[path = "../../tests/fuzz/checks/ledger.rs"]
mod ledger;
#[path = "../../tests/fuzz/checks/markers.rs"]
mod markers;
#[path = "../../tests/fuzz/checks/yaml.rs"]
mod yaml;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds").join(target);
    let seeds: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!seeds.is_empty(), "{}", folder.display());
    for seed in seeds {
        println!("{}", seed.display());
        check(&fs::read(seed).unwrap());
    }
}

#[test]
fn markers_hold_on_every_seed() {
    replay("markers", markers::check);
}

#[test]
fn framing_holds_on_every_seed() {
    replay("framing", framing::check);
}

#[test]
fn the_configuration_reader_holds_on_every_seed() {
    replay("yaml", yaml::check);
}

#[test]
fn parts_keys_and_progress_hold_on_every_seed() {
    replay("ledger", ledger::check);
}

#[test]
fn what_the_kubelet_frames_holds_on_every_seed() {
    replay("kubelet_log", kubelet_log::check);
}
