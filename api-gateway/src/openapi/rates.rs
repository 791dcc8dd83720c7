//! What an operation answers when somebody asks too often, where that is limited.

use serde_json::Value;

use super::{Context, answers};
use crate::rates::Cost;

/// Describes it for an operation whose requests are counted as `cost`.
pub(super) fn describe(context: &Context<'_>, cost: Cost, mut operation: Value) -> Value {
    let limits = context.limits;
    let of_its_own = match cost {
        Cost::Execution => limits.executions,
        Cost::Read => limits.reads,
        Cost::Nothing => 0,
    };
    // A wrong token is one wherever it is sent.
    if of_its_own == 0 && limits.failures == 0 {
        return operation;
    }
    operation["responses"]["429"] = answers::exception(429);
    if let Some(responses) = operation["responses"].as_object_mut() {
        responses.sort_keys();
    }
    operation
}
