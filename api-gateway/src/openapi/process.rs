//! What one process adds to the definition: schemas of its inputs and outputs, the body of its executions, its answers.

use protocol::{
    ProcessDefinition,
    process::{InputDescription, MaxOccurs},
};
use serde_json::{Map, Value, json};

use super::{Context, answers, configured};
use crate::{
    access,
    links::{HTML, JSON},
};

/// The schemas of a process, by their names among the components.
pub(super) fn schemas(process: &ProcessDefinition) -> Map<String, Value> {
    let description = &process.description;
    let inputs = description.inputs.iter().map(|(id, it)| (name(process, "input", id), &it.schema));
    let outputs = description.outputs.iter().map(|(id, it)| (name(process, "output", id), &it.schema));
    let translated = |(name, schema): (String, &Value)| {
        let schema = configured::schema(schema, &format!("#/components/schemas/{name}"));
        (name, schema)
    };
    inputs.chain(outputs).map(translated).collect()
}

/// The body of an execution of this process.
pub(super) fn body(context: &Context<'_>, process: &ProcessDefinition) -> Value {
    let description = &process.description;
    let mut inputs = Map::new();
    if process.check_auth {
        inputs.insert(access::TOKEN_INPUT.into(), json!({"type": "string", "description": "The token"}));
    }
    let ordinary = || description.inputs.iter().filter(|(id, _)| !(process.check_auth && *id == access::TOKEN_INPUT));
    for (id, it) in ordinary() {
        inputs.insert(id.clone(), input(context, process, id, it));
    }
    let required: Vec<&str> = ordinary().filter(|(_, it)| it.is_required()).map(|(id, _)| id.as_str()).collect();
    let mut schema = json!({"type": "object", "properties": inputs, "additionalProperties": false});
    let mut members = json!({
        "type": "object",
        "properties": {
            "inputs": {},
            "outputs": {
                "type": "object",
                "properties": outputs(process),
                "additionalProperties": false,
            },
            "response": {"type": "string", "enum": ["raw", "document"], "default": "raw"},
        },
    });
    if context.calls_back {
        members["properties"]["subscriber"] = json!({"$ref": "#/components/schemas/subscriber"});
    }
    if !required.is_empty() {
        schema["required"] = json!(required);
        members["required"] = json!(["inputs"]);
    }
    members["properties"]["inputs"] = schema;
    let mut content = json!({"schema": members});
    if let Some(example) = &description.example {
        content["example"] = example.clone();
    }
    json!({"required": true, "content": {JSON: content}})
}

/// The answer to a synchronous execution.
pub(super) fn results(process: &ProcessDefinition) -> Value {
    let description = &process.description;
    let mut content: Map<String, Value> = Map::new();
    let mut documents = vec![json!({"$ref": "#/components/schemas/results"})];
    for id in description.outputs.keys() {
        let schema = json!({"$ref": reference(&name(process, "output", id))});
        for media_type in process.offered_media_types(id).unwrap_or_default() {
            if media_type == JSON {
                documents.push(schema.clone());
            } else {
                content.insert(media_type.to_owned(), json!({"schema": {"type": "string", "format": "binary"}}));
            }
        }
    }
    content.insert(JSON.to_owned(), json!({"schema": {"anyOf": documents}}));
    content.insert(HTML.to_owned(), answers::page());
    if description.outputs.len() > 1 {
        content.insert("multipart/related".into(), json!({"schema": {"type": "string", "format": "binary"}}));
    }
    let answer = json!({"description": "The results, in the form that was asked for", "content": content});
    answers::with_headers(answer, &[("Link", "The job, with relation monitor")])
}

fn outputs(process: &ProcessDefinition) -> Value {
    let output = json!({"$ref": "#/components/schemas/output"});
    Value::Object(process.description.outputs.keys().map(|id| (id.clone(), output.clone())).collect())
}

/// What an input may be: a value, the same with its media type, a link to it; a list of these where several may be given.
fn input(context: &Context<'_>, process: &ProcessDefinition, id: &str, it: &InputDescription) -> Value {
    let value = json!({"$ref": reference(&name(process, "input", id))});
    let link = json!({"$ref": "#/components/schemas/link"});
    let qualified = json!({
        "type": "object",
        "required": ["value"],
        "properties": {
            "value": value, "mediaType": {"type": "string"}, "encoding": {"type": "string"},
            "schema": {"anyOf": [{"type": "string"}, {"type": "object"}]},
            "format": {"$ref": "#/components/schemas/format"},
        },
    });
    let one = vec![value, qualified, link];
    let mut schema = if it.max_occurs.is_list() {
        let mut list = json!({"type": "array", "items": {"anyOf": one}, "minItems": it.min_occurs});
        if let MaxOccurs::Count(most) = it.max_occurs {
            list["maxItems"] = most.into();
        }
        json!({"anyOf": one.into_iter().chain([list]).collect::<Vec<_>>()})
    } else {
        json!({"anyOf": one})
    };
    schema["title"] = it.title.text(context.language).into();
    if let Some(description) = &it.description {
        schema["description"] = description.text(context.language).into();
    }
    schema
}

/// Name of a schema among the components: letters, digits, `.`, `-` and `_` only (OpenAPI 3.0.3, Components Object).
fn name(process: &ProcessDefinition, kind: &str, id: &str) -> String {
    let part = |text: &str| {
        let byte = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            other => format!("_{other:02X}"),
        };
        text.bytes().map(byte).collect::<String>()
    };
    format!("process.{}.{kind}.{}", part(process.id.as_str()), part(id))
}

fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}
