//! What an execution's subscriber is sent (requirement `/req/callback/job-callback`): the member of the request, and the
//! Callback Objects of the operation.

use serde_json::{Value, json};

use crate::links::JSON;

/// The schema of the member `subscriber`.
pub(super) fn subscriber() -> Value {
    let uri =
        |description: &str| json!({"type": "string", "format": "uri", "maxLength": 2048, "description": description});
    json!({
        "type": "object",
        "description": "Who is told about the job. Addresses are called only if they are public, unless configured otherwise.",
        "anyOf": [{"required": ["successUri"]}, {"required": ["successUrl"]}],
        "properties": {
            "successUri": uri("Gets the results"),
            "successUrl": uri("Another spelling of successUri"),
            "inProgressUri": uri("Is told that the job has started"),
            "failedUri": uri("Is told that the job failed or was dismissed"),
        },
        "additionalProperties": false,
    })
}

/// The schema of one callback in a status document.
pub(super) fn info() -> Value {
    let time = json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object",
        "required": ["kind", "state", "attempts"],
        "properties": {
            "kind": {"type": "string", "description": "in-progress, success or failed"},
            "state": {"type": "string", "description": "pending, failing, delivered or given-up"},
            "attempts": {"type": "integer", "minimum": 0},
            "lastAttempt": time,
            "lastStatus": {"type": "integer", "description": "What the receiver answered"},
            "lastReason": {"type": "string", "description": "Why there was no answer"},
            "nextAttempt": time,
        },
    })
}

/// The callbacks of an execution.
pub(super) fn of_execution() -> Value {
    json!({
        "jobSuccessful": one("successUri", "The job was successful: its results", "results"),
        "jobInProgress": one("inProgressUri", "The job has started", "statusInfo"),
        "jobFailed": one("failedUri", "The job failed or was dismissed", "statusInfo"),
    })
}

fn one(member: &str, summary: &str, schema: &str) -> Value {
    let header = |name: &str, description: &str, required: bool| {
        json!({
            "name": name, "in": "header", "required": required, "description": description,
            "schema": {"type": "string"},
        })
    };
    json!({
        (format!("{{$request.body#/subscriber/{member}}}")): {
            "post": {
                "summary": summary,
                "parameters": [
                    header("webhook-id", "The same whenever this is sent again", true),
                    header("webhook-timestamp", "When it was sent, in seconds since 1970", true),
                    header("webhook-signature", "As Standard Webhooks has it, where a secret is configured", false),
                ],
                "requestBody": {
                    "required": true,
                    "content": {JSON: {"schema": {"$ref": format!("#/components/schemas/{schema}")}}},
                },
                "responses": {
                    "2XX": {"description": "It is taken, and not sent again"},
                    "410": {"description": "It is not wanted, and not sent again"},
                    "default": {"description": "It is sent again later"},
                },
            },
        },
    })
}
