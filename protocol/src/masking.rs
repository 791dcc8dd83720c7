//! Masking of inputs whose name says that they are secret.

use serde_json::{Map, Value};

const SECRET_WORDS: [&str; 4] = ["secret", "key", "password", "token"];
const MASK: &str = "*";

/// The inputs as they may be shown: every value whose key contains `secret`, `key`, `password` or `token`, in any case
/// and at any depth, is `*` (the original's rule).
pub fn masked(inputs: &Map<String, Value>) -> Map<String, Value> {
    inputs
        .iter()
        .map(|(key, value)| {
            let shown = if is_secret(key) { Value::from(MASK) } else { masked_value(value) };
            (key.clone(), shown)
        })
        .collect()
}

fn masked_value(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(masked(members)),
        Value::Array(items) => items.iter().map(masked_value).collect(),
        other => other.clone(),
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_at_any_depth_and_in_any_case() {
        let inputs = serde_json::json!({
            "a": 1, "API_Token": "t", "list": [{"userPassword": {"x": 1}}], "o": {"deep": {"sshKey": [1]}}, "SECRETS": null
        });
        let shown = masked(inputs.as_object().unwrap());
        let expected = serde_json::json!({
            "a": 1, "API_Token": "*", "list": [{"userPassword": "*"}], "o": {"deep": {"sshKey": "*"}}, "SECRETS": "*"
        });
        assert_eq!(Value::Object(shown), expected);
    }
}
