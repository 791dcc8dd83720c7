//! `components`: the schemas of the standard, what the processes add to them, parameters, exceptions, the token.

use serde_json::{Map, Value, json};

use super::{Context, answers, callbacks, parameters, process, security};

pub(super) fn components(context: &Context<'_>) -> Value {
    let mut schemas = of_standard();
    if context.calls_back {
        schemas.insert("subscriber".into(), callbacks::subscriber());
        schemas["execute"]["properties"]["subscriber"] = reference("subscriber");
        schemas.insert("callback".into(), callbacks::info());
        schemas["statusInfo"]["properties"]["callbacks"] = json!({"type": "array", "items": reference("callback")});
    }
    for definition in context.configuration.processes.values() {
        schemas.extend(process::schemas(definition));
    }
    json!({
        "schemas": schemas,
        "parameters": parameters::components(context),
        "responses": answers::components(),
        "securitySchemes": security::schemes(context),
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schemas of OGC 18-062r2, `core/openapi/schemas`, as far as this API uses them.
fn of_standard() -> Map<String, Value> {
    let text = json!({"type": "string"});
    let time = json!({"type": "string", "format": "date-time"});
    let list = |name: &str| json!({"type": "array", "items": reference(name)});
    let schemas = json!({
        "exception": {
            "type": "object",
            "required": ["type", "title", "status", "detail", "instance"],
            "properties": {
                "type": text, "title": text, "status": {"type": "integer"}, "detail": text, "instance": text,
                "reason": {"type": "string", "description": "Why the job failed, in a word"},
                "errors": {
                    "type": "array",
                    "description": "Each mistake in the inputs",
                    "items": {
                        "type": "object",
                        "required": ["message"],
                        "properties": {"input": text, "pointer": text, "message": text},
                    },
                },
            },
        },
        "link": {
            "type": "object",
            "required": ["href"],
            "properties": {"href": text, "rel": text, "type": text, "hreflang": text, "title": text},
        },
        "landingPage": {
            "type": "object",
            "required": ["links"],
            "properties": {"title": text, "description": text, "links": list("link")},
        },
        "confClasses": {
            "type": "object",
            "required": ["conformsTo"],
            "properties": {"conformsTo": {"type": "array", "items": text}},
        },
        "processSummary": {
            "type": "object",
            "required": ["id", "version"],
            "properties": summary(),
        },
        "process": {
            "type": "object",
            "required": ["id", "version", "inputs", "outputs"],
            "properties": {
                "id": text, "version": text, "title": text, "description": text,
                "keywords": {"type": "array", "items": text},
                "jobControlOptions": summary()["jobControlOptions"],
                "outputTransmission": summary()["outputTransmission"],
                "links": list("link"),
                "inputs": {"type": "object", "additionalProperties": reference("description")},
                "outputs": {"type": "object", "additionalProperties": reference("description")},
            },
        },
        "description": {
            "type": "object",
            "required": ["schema"],
            "properties": {
                "title": text, "description": text, "keywords": {"type": "array", "items": text},
                "schema": {"type": "object"},
                "minOccurs": {"type": "integer"},
                "maxOccurs": {"anyOf": [{"type": "integer"}, {"type": "string", "enum": ["unbounded"]}]},
            },
        },
        "processList": {
            "type": "object",
            "required": ["processes", "links"],
            "properties": {"processes": list("processSummary"), "links": list("link")},
        },
        "statusInfo": {
            "type": "object",
            "required": ["jobID", "processID", "type", "status"],
            "properties": {
                "jobID": text, "processID": text,
                "type": {"type": "string", "enum": ["process"]},
                "status": {"type": "string", "enum": ["accepted", "running", "successful", "failed", "dismissed"]},
                "message": text,
                "created": time, "started": time, "finished": time, "updated": time,
                "reason": {"type": "string", "description": "Why the job failed, or what it waits for, in a word"},
                "jobsAhead": {"type": "integer", "minimum": 0, "description": "An estimate: how many jobs are launched before it"},
                "progress": {"type": "integer", "minimum": 0, "maximum": 100},
                "parameters": {"type": "string", "description": "The inputs as a JSON text, secrets masked"},
                "links": list("link"),
            },
        },
        "jobList": {
            "type": "object",
            "required": ["jobs", "links"],
            "properties": {"jobs": list("statusInfo"), "links": list("link")},
        },
        "format": {
            "type": "object",
            "properties": {"mediaType": text, "encoding": text, "schema": {"anyOf": [text, {"type": "object"}]}},
        },
        "output": {
            "type": "object",
            "properties": {
                "format": reference("format"),
                "transmissionMode": {"type": "string", "enum": ["value", "reference"], "default": "value"},
            },
        },
        "bbox": {
            "type": "object",
            "required": ["bbox"],
            "properties": {
                "bbox": {
                    "type": "array",
                    "items": {"type": "number"},
                    "anyOf": [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}],
                },
                "crs": {"type": "string", "format": "uri"},
            },
        },
        "qualifiedValue": {
            "type": "object",
            "required": ["value"],
            "properties": {
                "value": {}, "mediaType": text, "encoding": text, "schema": {"anyOf": [text, {"type": "object"}]},
                "format": reference("format"),
            },
        },
        "inlineOrRefData": {
            "anyOf": [
                {"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "array", "items": {}},
                reference("bbox"), reference("qualifiedValue"), reference("link"),
            ],
        },
        "results": {"type": "object", "additionalProperties": reference("inlineOrRefData")},
        "execute": {
            "type": "object",
            "properties": {
                "inputs": {"type": "object", "additionalProperties": {}},
                "outputs": {"type": "object", "additionalProperties": reference("output")},
                "response": {"type": "string", "enum": ["raw", "document"], "default": "raw"},
            },
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}

/// The members of a process's summary.
fn summary() -> Value {
    let text = json!({"type": "string"});
    json!({
        "id": text, "version": text, "title": text, "description": text,
        "keywords": {"type": "array", "items": text},
        "jobControlOptions": {
            "type": "array", "items": {"type": "string", "enum": ["sync-execute", "async-execute", "dismiss"]},
        },
        "outputTransmission": {"type": "array", "items": {"type": "string", "enum": ["value", "reference"]}},
        "links": {"type": "array", "items": reference("link")},
    })
}
