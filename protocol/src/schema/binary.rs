//! Binary values: text in base64 (requirement `/req/core/process-execute-input-inline-binary`).

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use jsonschema::{Keyword, ValidationError, ValidationOptions, paths::Location};
use serde_json::{Map, Value};

/// As OpenAPI 3.0 writes binary.
const FORMAT: &str = "byte";
/// As JSON Schema does, with the standard's `binary` beside `base64`.
const KEYWORD: &str = "contentEncoding";

pub(super) const EXPECTED: &str = "expected text in base64";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether a text is base64. Line breaks and spaces are skipped, as encoders of mail and PEM write them; padding may be
/// left out.
pub fn is_base64(text: &str) -> bool {
    if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let plain: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        BASE64.decode(plain).is_ok()
    } else {
        BASE64.decode(text).is_ok()
    }
}

/// Whether a `contentEncoding`, or the `encoding` of a qualified value, says base64.
pub fn names_base64(encoding: &str) -> bool {
    encoding.eq_ignore_ascii_case("base64") || encoding.eq_ignore_ascii_case("binary")
}

pub(super) fn add_to(options: ValidationOptions<'_>) -> ValidationOptions<'_> {
    options.with_format(FORMAT, is_base64).with_keyword(KEYWORD, content_encoding)
}

fn content_encoding<'a>(
    _: &'a Map<String, Value>,
    value: &'a Value,
    _: Location,
) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
    Ok(Box::new(ContentEncoding { is_base64: value.as_str().is_some_and(names_base64) }))
}

struct ContentEncoding {
    is_base64: bool,
}

impl<'i> Keyword<'i> for ContentEncoding {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(value) { Ok(()) } else { Err(ValidationError::custom(EXPECTED)) }
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        !self.is_base64 || value.as_str().is_none_or(is_base64)
    }
}
