//! The parts of `processor` that say how often its pod is tried again.

use super::{kubernetes_form::either, node::Node, table::Table};
use crate::process::Retries;

/// The Job controller's pauses grow to 10 minutes: more retries than these would take hours.
const MOST_RETRIES: i64 = 20;

/// Reads `retries` and `fail_on_exit_codes`.
pub(super) fn retries(table: &Table<'_>) -> Retries {
    let count = table.read("retries", |node| node.integer(0, MOST_RETRIES)).unwrap_or_default();
    let codes = either(table, "fail_on_exit_codes", "failOnExitCodes");
    let fail_on_exit_codes = codes.as_ref().and_then(exit_codes).unwrap_or_default();
    if let Some(node) = &codes
        && count == 0
        && !fail_on_exit_codes.is_empty()
    {
        node.warning("is of no use without retries");
    }
    Retries { count: u32::try_from(count).unwrap_or_default(), fail_on_exit_codes }
}

fn exit_codes(node: &Node<'_>) -> Option<Vec<u8>> {
    let mut codes: Vec<u8> = Vec::new();
    for item in node.items()? {
        let Some(code) = item.integer(1, 255).and_then(|code| u8::try_from(code).ok()) else { continue };
        if codes.contains(&code) {
            item.mistake(format!("is {code} again; allowed: each code once"));
        }
        codes.push(code);
    }
    Some(codes)
}
