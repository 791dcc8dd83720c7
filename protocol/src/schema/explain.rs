//! What is said of a value that does not fit, and of a schema that is none. Messages are made of what the schema says:
//! nothing of the value is in them, but for names of members that the schema does not know.

use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

use super::SchemaMistake;

/// Words of an enumeration that are listed, and the bytes that they may take.
const LISTED: usize = 20;
const LISTED_BYTES: usize = 400;
/// Alternatives that are explained.
const ALTERNATIVES: usize = 4;
/// Reasons that are given for one alternative.
const REASONS: usize = 2;
/// Characters of a member's name, or of a pattern, that are repeated.
const NAME: usize = 64;

/// One reason why a value does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// JSON pointer to the part of the value.
    pub pointer: String,
    /// What is allowed there.
    pub message: String,
}

/// The reason behind an error.
pub(super) fn misfit(error: &ValidationError<'_>) -> Misfit {
    Misfit { pointer: error.instance_path().as_str().to_owned(), message: message(error) }
}

/// A schema that does not compile.
pub(super) fn mistake(error: &ValidationError<'_>) -> SchemaMistake {
    // Errors of the draft's own rules point into the schema as a value, those of compilation by the schema's path.
    let instance = error.instance_path().as_str();
    let pointer = if instance.is_empty() { error.schema_path().as_str() } else { instance };
    let message = match error.kind() {
        Kind::Format { format } if format == "regex" => "is no regular expression that can be used".to_owned(),
        // What is quoted here is configuration, not what a client sent.
        _ => error.to_string(),
    };
    SchemaMistake { pointer: pointer.to_owned(), message }
}

/// A schema that breaks a rule of its draft.
pub(super) fn schema_mistake(error: &ValidationError<'_>) -> SchemaMistake {
    let message = match error.kind() {
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } if error.instance_path().as_str().ends_with("/type") => {
            "is no type; allowed: array, boolean, integer, null, number, object, string, or a list of these".to_owned()
        }
        _ => format!("does not belong here: {}", message(error)),
    };
    SchemaMistake { pointer: error.instance_path().as_str().to_owned(), message }
}

fn message(error: &ValidationError<'_>) -> String {
    match error.kind() {
        Kind::Type { kind } => format!("expected {}", types(kind)),
        Kind::Enum { options } => format!("expected one of {}", listed(options)),
        Kind::Constant { expected_value } => format!("expected {expected_value}"),
        Kind::Minimum { limit } => format!("expected at least {limit}"),
        Kind::Maximum { limit } => format!("expected at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("expected more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("expected less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("expected a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("expected at least {limit} characters"),
        Kind::MaxLength { limit } => format!("expected at most {limit} characters"),
        Kind::MinItems { limit } => format!("expected at least {limit} items"),
        Kind::MaxItems { limit } => format!("expected at most {limit} items"),
        Kind::AdditionalItems { limit } => format!("expected at most {limit} items"),
        Kind::MinProperties { limit } => format!("expected at least {limit} members"),
        Kind::MaxProperties { limit } => format!("expected at most {limit} members"),
        Kind::Pattern { pattern } => format!("expected text of the pattern {}", shortened(pattern)),
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => {
            "could not be held against the pattern within its limits; expected shorter text".to_owned()
        }
        Kind::Format { format } if format == "byte" => super::binary::EXPECTED.to_owned(),
        Kind::Format { format } => format!("expected text of the format {}", shortened(format)),
        Kind::Required { property } => format!("the member {} is missing", property.as_str().unwrap_or_default()),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let names: Vec<&str> = unexpected.iter().take(ALTERNATIVES).map(|name| shortened(name)).collect();
            let more = if unexpected.len() > names.len() { " and others" } else { "" };
            format!("there must be no member {}{more}", names.join(", "))
        }
        Kind::UnevaluatedItems { .. } => "there are items that must not be there".to_owned(),
        Kind::PropertyNames { error } => format!("the name of a member: {}", message(error)),
        Kind::UniqueItems => "no item may be there twice".to_owned(),
        Kind::Contains => "no item is what one of them must be".to_owned(),
        Kind::Not { .. } => "this is what it must not be".to_owned(),
        Kind::FalseSchema => "there must be nothing here".to_owned(),
        Kind::OneOfMultipleValid { .. } => "expected exactly one of the alternatives to fit, and several do".to_owned(),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => alternatives(context),
        // Ours: the keywords of this module.
        Kind::Custom { message, .. } => message.clone(),
        Kind::ContentEncoding { .. } | Kind::FromUtf8 { .. } => super::binary::EXPECTED.to_owned(),
        Kind::ContentMediaType { content_media_type } => format!("expected {}", shortened(content_media_type)),
        Kind::Referencing(_) => "could not be held against its schema".to_owned(),
    }
}

/// What each alternative misses.
fn alternatives(context: &[Vec<ValidationError<'static>>]) -> String {
    let explained: Vec<String> = context
        .iter()
        .filter(|errors| !errors.is_empty())
        .take(ALTERNATIVES)
        .map(|errors| errors.iter().take(REASONS).map(message).collect::<Vec<_>>().join(" and "))
        .collect();
    match explained.as_slice() {
        [] => "fits none of the alternatives".to_owned(),
        [only] if context.len() == 1 => only.clone(),
        several => format!("fits none of the {} alternatives: {}", context.len(), several.join("; or ")),
    }
}

fn types(kind: &TypeKind) -> String {
    let word = |kind: JsonType| match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "text",
    };
    match kind {
        TypeKind::Single(kind) => word(*kind).to_owned(),
        TypeKind::Multiple(kinds) => kinds.iter().map(word).collect::<Vec<_>>().join(" or "),
    }
}

fn listed(options: &Value) -> String {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let (mut text, mut count) = (String::new(), 0);
    for option in options.iter().take(LISTED) {
        let option = option.to_string();
        if text.len() + option.len() > LISTED_BYTES {
            break;
        }
        if count > 0 {
            text.push_str(", ");
        }
        text.push_str(&option);
        count += 1;
    }
    match (count, options.len() - count) {
        (0, all) => format!("the {all} values of its schema"),
        (_, 0) => text,
        (_, more) => format!("{text} and {more} more"),
    }
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(NAME).map_or(text, |(end, _)| &text[..end])
}
