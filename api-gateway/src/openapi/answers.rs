//! Answers, each described once.

use serde_json::{Map, Value, json};

use crate::links::{HTML, JSON};

/// Exceptions that any request may meet: what can't be read, what is too large, what does not work.
pub(super) const OF_ANY: &[u16] = &[400, 406, 408, 414, 431, 500, 503];

/// Every exception: status, name among the components, meaning.
const EXCEPTIONS: [(u16, &str, &str); 19] = [
    (400, "BadRequest", "Something in the request is not allowed; detail and errors say what"),
    (401, "Unauthorized", "A token is needed"),
    (403, "Forbidden", "The token is wrong, or nobody may do this"),
    (404, "NotFound", "There is nothing of this name, or nothing yet"),
    (405, "MethodNotAllowed", "This can not be done here; detail says why, Allow what can"),
    (406, "NotAcceptable", "This is not offered in a form that the client takes"),
    (408, "RequestTimeout", "The request did not arrive in time"),
    (409, "Conflict", "Something else is going on with the same name"),
    (410, "Gone", "The job that the key of the request made was removed"),
    (413, "ContentTooLarge", "The body is larger than allowed"),
    (414, "URITooLong", "The URI is longer than allowed"),
    (415, "UnsupportedMediaType", "The body is not JSON"),
    (416, "RangeNotSatisfiable", "The value does not have these bytes"),
    (422, "UnprocessableContent", "The key of the request was used for another one"),
    (429, "TooManyRequests", "Too many requests; Retry-After says when to try again"),
    (431, "RequestHeaderFieldsTooLarge", "The headers are larger than allowed"),
    (500, "ServerError", "A defect of the server; or, where results are asked for, the job failed"),
    (501, "NotImplemented", "The server does not know this method"),
    (503, "ServiceUnavailable", "Not for the moment; Retry-After says when to try again"),
];

/// A reference to the exception with this status.
pub(super) fn exception(status: u16) -> Value {
    let known = EXCEPTIONS.iter().find(|(known, ..)| *known == status);
    let name = known.map_or("ServerError", |(_, name, _)| name);
    json!({"$ref": format!("#/components/responses/{name}")})
}

/// The exceptions, for `components`.
pub(super) fn components() -> Map<String, Value> {
    let schema = json!({"schema": {"$ref": "#/components/schemas/exception"}});
    let described = EXCEPTIONS.iter().map(|(status, name, meaning)| {
        let mut answer = json!({
            "description": meaning, "content": {JSON: schema, "application/problem+json": schema, HTML: page()},
        });
        match status {
            401 => answer["headers"] = json!({"WWW-Authenticate": {"schema": {"type": "string"}}}),
            429 => {
                let names = ["Retry-After", "RateLimit", "RateLimit-Policy"];
                answer["headers"] =
                    names.map(|name| (name.to_owned(), json!({"schema": {"type": "string"}}))).into_iter().collect();
            }
            503 => answer["headers"] = json!({"Retry-After": {"schema": {"type": "string"}}}),
            _ => {}
        }
        ((*name).to_owned(), answer)
    });
    described.collect()
}

/// An answer in JSON of a schema among the components.
pub(super) fn json(description: &str, schema: &str) -> Value {
    of_type(description, JSON, json!({"$ref": format!("#/components/schemas/{schema}")}))
}

/// The same that also comes as a page.
pub(super) fn document(description: &str, schema: &str) -> Value {
    let mut answer = json(description, schema);
    answer["content"][HTML] = page();
    answer
}

/// A page, as an entry of `content`.
pub(super) fn page() -> Value {
    json!({"schema": {"type": "string"}})
}

/// An answer of another media type.
pub(super) fn of_type(description: &str, media_type: &str, schema: Value) -> Value {
    json!({"description": description, "content": {media_type: {"schema": schema}}})
}

/// The same answer with these headers, each a text.
pub(super) fn with_headers(mut answer: Value, headers: &[(&str, &str)]) -> Value {
    for (name, description) in headers {
        answer["headers"][*name] = json!({"description": description, "schema": {"type": "string"}});
    }
    answer
}

/// An answer without a body.
pub(super) fn empty(description: &str) -> Value {
    json!({"description": description})
}
