//! What an operation wants of who asks, made from the rule that is checked.

use protocol::ProcessDefinition;
use serde_json::{Map, Value, json};

use super::{Context, answers};
use crate::access::{Need, Rule};

/// The scheme of bearer tokens of any source.
const TOKEN: &str = "token";
/// The scheme of the tokens of the configured issuer.
const OIDC: &str = "oidc";

/// The schemes, for `components`.
pub(super) fn schemes(context: &Context<'_>) -> Map<String, Value> {
    let token = json!({
        "type": "http", "scheme": "bearer", "description": "Executions take the token as their input `token`, too",
    });
    let mut schemes = Map::from_iter([(TOKEN.to_owned(), token)]);
    if let Some(issuer) = context.issuer {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        schemes.insert(OIDC.to_owned(), json!({"type": "openIdConnect", "openIdConnectUrl": url}));
    }
    schemes
}

/// Describes it for an operation on `process`, or on any for `None`.
pub(super) fn describe(
    context: &Context<'_>,
    rule: Rule,
    process: Option<&ProcessDefinition>,
    mut operation: Value,
) -> Value {
    let mut wanted = vec![json!({TOKEN: []})];
    if context.issuer.is_some() {
        wanted.push(json!({OIDC: []}));
    }
    let is_asked_for = match rule.need(&context.configuration.server.manager) {
        Need::Nothing => return operation,
        Need::Token => true,
        Need::AsTheProcessSays => process.is_none_or(|process| process.check_auth),
    };
    if !is_asked_for {
        operation["security"] = json!([]);
        return operation;
    }
    if rule == Rule::Execute {
        // With the token as an input there is none in the header.
        wanted.push(json!({}));
    }
    operation["security"] = wanted.into();
    for status in [401, 403] {
        operation["responses"][status.to_string()] = answers::exception(status);
    }
    if let Some(responses) = operation["responses"].as_object_mut() {
        responses.sort_keys();
    }
    operation
}
