//! Bounding boxes: `format: ogc-bbox` (requirement `/req/core/process-execute-input-inline-bbox`, schema `bbox`).

use jsonschema::{Keyword, ValidationError, ValidationOptions, paths::Location};
use serde_json::{Map, Value, json};

/// The format that marks one.
pub const FORMAT: &str = "ogc-bbox";
/// Where the standard keeps the schema of one. It is known here, so that configured schemas may refer to it.
pub const URLS: [&str; 3] = [
    "https://schemas.opengis.net/ogcapi/processes/part1/1.0/openapi/schemas/bbox.yaml",
    "http://schemas.opengis.net/ogcapi/processes/part1/1.0/openapi/schemas/bbox.yaml",
    "https://raw.githubusercontent.com/opengeospatial/ogcapi-processes/master/core/openapi/schemas/bbox.yaml",
];

/// Ours: the number of coordinates.
const COORDINATES: &str = "x-quayside-coordinates";
/// The reference systems of the standard, for a schema that names none.
pub const REFERENCE_SYSTEMS: [&str; 2] =
    ["http://www.opengis.net/def/crs/OGC/1.3/CRS84", "http://www.opengis.net/def/crs/OGC/0/CRS84h"];

/// The schema of a bounding box. Where the configured schema lists reference systems itself, those are allowed instead.
pub(super) fn schema(lists_reference_systems: bool) -> Value {
    let crs = if lists_reference_systems { json!({"type": "string"}) } else { json!({"enum": REFERENCE_SYSTEMS}) };
    json!({
        "type": "object",
        "required": ["bbox"],
        "properties": {
            "bbox": {"type": "array", "items": {"type": "number"}, COORDINATES: true},
            "crs": crs,
        },
    })
}

/// Whether a schema lists the reference systems that its bounding box may have.
pub(super) fn lists_reference_systems(members: &Map<String, Value>) -> bool {
    let own = members.get("properties").and_then(|properties| properties.get("crs"));
    let is_list = own.is_some_and(|crs| crs.get("enum").is_some() || crs.get("const").is_some());
    let parts = members.get("allOf").and_then(Value::as_array);
    is_list || parts.is_some_and(|parts| parts.iter().filter_map(Value::as_object).any(lists_reference_systems))
}

pub(super) fn add_to(options: ValidationOptions<'_>) -> ValidationOptions<'_> {
    options.with_keyword(COORDINATES, coordinates)
}

fn coordinates<'a>(
    _: &'a Map<String, Value>,
    _: &'a Value,
    _: Location,
) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
    Ok(Box::new(Coordinates))
}

struct Coordinates;

impl<'i> Keyword<'i> for Coordinates {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(value) { Ok(()) } else { Err(ValidationError::custom("expected 4 or 6 numbers")) }
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        value.as_array().is_none_or(|numbers| matches!(numbers.len(), 4 | 6))
    }
}
