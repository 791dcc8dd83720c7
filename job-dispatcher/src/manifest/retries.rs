//! How often a Job's pod is tried again.

use protocol::process::Retries;
use serde_json::{Value, json};

/// Puts what `retries` says into a Job's spec. Every failure counts, one by an eviction too: a rule that ignores those would have
/// a pod that fills its node's disk evicted for ever.
pub(super) fn put(spec: &mut Value, retries: &Retries, main_container: &str) {
    spec["backoffLimit"] = retries.count.into();
    if retries.count == 0 {
        return;
    }
    // Two pods of a job never run at the same time.
    spec["podReplacementPolicy"] = "Failed".into();
    if !retries.fail_on_exit_codes.is_empty() {
        let mut values = retries.fail_on_exit_codes.clone();
        // Kubernetes wants them in order.
        values.sort_unstable();
        let codes = json!({ "containerName": main_container, "operator": "In", "values": values });
        spec["podFailurePolicy"] = json!({ "rules": [{ "action": "FailJob", "onExitCodes": codes }] });
    }
}
