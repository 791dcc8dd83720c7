//! Schemas of inputs and outputs: JSON Schema as OpenAPI 3.0 writes it, checked when the configuration is read, compiled
//! once, and held against values with messages that show nothing of the value.
//!
//! configured → `translate` (to draft 2020-12) → compiled → `explain` (why a value does not fit)

pub mod binary;
pub mod bounding_box;
mod explain;
mod references;
mod translate;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

pub use self::explain::Misfit;

/// The steps that a pattern with look-around or back-references may take on one value; others take linear time. A value
/// that needs more does not fit.
const BACKTRACKING_LIMIT: usize = 50_000;
/// The largest compiled pattern, in bytes.
const PATTERN_SIZE_LIMIT: usize = 1024 * 1024;
/// Values of more parts than this are told their first misfit only: finding every one takes memory for each.
const EXPLAINED_PARTS: usize = 2_000;

/// A schema that values can be held against.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    configured: Value,
}

/// A schema can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaMistake {
    /// JSON pointer to the place inside the schema.
    pub pointer: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl Schema {
    /// Compiles a configured schema.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(configured: &Value) -> Result<Self, Vec<SchemaMistake>> {
        let translated = translate::translate(configured)?;
        let mut options = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(
                PatternOptions::fancy_regex().backtrack_limit(BACKTRACKING_LIMIT).size_limit(PATTERN_SIZE_LIMIT),
            );
        options = binary::add_to(bounding_box::add_to(options));
        match options.build(&translated) {
            Ok(validator) => Ok(Self { validator, configured: configured.clone() }),
            Err(error) => Err(vec![explain::mistake(&error)]),
        }
    }

    /// Whether a value fits.
    pub fn fits(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// Why a value does not fit; empty if it does. Of a large value only the first reason is found.
    pub fn misfits(&self, value: &Value) -> Vec<Misfit> {
        if self.fits(value) {
            return Vec::new();
        }
        let mut misfits: Vec<Misfit> = if has_at_most(value, EXPLAINED_PARTS) {
            self.validator.iter_errors(value).map(|error| explain::misfit(&error)).collect()
        } else {
            self.validator.validate(value).err().iter().map(explain::misfit).collect()
        };
        if misfits.is_empty() {
            // The two ways to ask agree, but a value that was told not to fit must not pass without a word.
            misfits.push(Misfit { pointer: String::new(), message: "does not fit its schema".to_owned() });
        }
        misfits
    }

    /// Whether the schema itself names a member of this name that objects may have, be it in an alternative.
    pub fn declares(&self, member: &str) -> bool {
        references::declares(&self.configured, member)
    }

    /// The schema as configured.
    pub fn configured(&self) -> &Value {
        &self.configured
    }
}

/// Whether a value has at most so many parts: members, items and itself.
fn has_at_most(value: &Value, limit: usize) -> bool {
    let mut left = vec![value];
    let mut found = 0_usize;
    while let Some(value) = left.pop() {
        found += 1;
        if found.saturating_add(left.len()) > limit {
            return false;
        }
        match value {
            Value::Array(items) if items.len() > limit => return false,
            Value::Array(items) => left.extend(items),
            Value::Object(members) if members.len() > limit => return false,
            Value::Object(members) => left.extend(members.values()),
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests;
