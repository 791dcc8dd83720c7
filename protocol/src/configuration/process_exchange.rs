//! The parts of `processor` that say how inputs and results go between Quayside and the container.

use std::collections::HashMap;

use super::{process_container::quantity, table::Table};
use crate::{
    job_record::ResultsBy,
    names::environment::output_url,
    process::{Exchange, InputsAs, ProcessDescription},
};

/// The longest that storing may take: a day.
const MOST_SECONDS: i64 = 86_400;

/// Reads them. An output needs a name of its own as a variable, too.
pub(super) fn exchange(table: &Table<'_>, description: Option<&ProcessDescription>) -> Exchange {
    let default = Exchange::default();
    let words = [("markers", None), ("files", Some(ResultsBy::Files)), ("upload", Some(ResultsBy::Upload))];
    let results = table.read("results", |node| node.word(&words)).flatten();
    if let (Some(node), Some(description)) = (table.get("results"), description)
        && results.is_some()
    {
        if description.outputs.is_empty() {
            node.mistake("needs outputs, and metadata.outputs has none; allowed: markers, or outputs");
        }
        let mut names = HashMap::new();
        for id in description.outputs.keys() {
            if let Some(other) = names.insert(output_url(id), id) {
                node.mistake(format!(
                    "needs outputs whose ids differ in letters and digits, as variables are named by them; {other} and {id} do not"
                ));
            }
        }
    }
    let has_files = results == Some(ResultsBy::Files);
    for key in ["results_limit", "collect_seconds"] {
        if let Some(node) = table.get(key).filter(|_| !has_files) {
            node.warning("has no effect without results: files");
        }
    }
    let seconds = table.read("collect_seconds", |node| node.integer(1, MOST_SECONDS));
    Exchange {
        inputs: table.read("inputs_as", |node| node.word(&InputsAs::WORDS)).unwrap_or_default(),
        results,
        results_limit: table.read("results_limit", quantity),
        collect_seconds: seconds.and_then(|seconds| seconds.try_into().ok()).unwrap_or(default.collect_seconds),
    }
}
