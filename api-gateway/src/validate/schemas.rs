//! The schemas of all inputs, compiled once when the gateway starts.

use std::{collections::HashMap, sync::Arc};

use protocol::{
    ProcessDefinition, ProcessId,
    configuration::{Configuration, Warning},
    schema::{Misfit, Schema, SchemaMistake},
};
use serde_json::Value;

use super::{
    inputs,
    media_types::{Media, MediaType},
};

/// Keywords with alternatives.
const ALTERNATIVES: [&str; 2] = ["oneOf", "anyOf"];

/// What values of every process's inputs are held against.
#[derive(Debug, Default)]
pub struct Schemas(HashMap<ProcessId, ProcessSchemas>);

/// What values of one process's inputs are held against, by input id.
#[derive(Debug, Default)]
pub struct ProcessSchemas(HashMap<String, Arc<InputSchema>>);

/// A configured schema can't be compiled. Reading the configuration refuses such a schema.
#[derive(Debug, thiserror::Error)]
#[error("the schema of input {input} of process {process} can't be used, at {:?}: {}", .mistake.pointer, .mistake.message)]
pub struct SchemaError {
    process: ProcessId,
    input: String,
    mistake: SchemaMistake,
}

impl Schemas {
    /// Compiles the schemas of all inputs, and holds each process's example against them.
    ///
    /// # Errors
    /// When one can't be compiled.
    pub fn compile(configuration: &Configuration) -> Result<(Self, Vec<Warning>), SchemaError> {
        let mut schemas = HashMap::new();
        let mut warnings = Vec::new();
        for process in configuration.processes.values() {
            let compiled = ProcessSchemas::compile(process)?;
            warnings.extend(inputs::of_example(process, &compiled));
            schemas.insert(process.id.clone(), compiled);
        }
        Ok((Self(schemas), warnings))
    }

    /// Those of one process.
    pub fn of(&self, process: &ProcessDefinition) -> Option<&ProcessSchemas> {
        self.0.get(&process.id)
    }
}

impl ProcessSchemas {
    fn compile(process: &ProcessDefinition) -> Result<Self, SchemaError> {
        let mut compiled = HashMap::new();
        for (id, input) in &process.description.inputs {
            let schema = InputSchema::compile(&input.schema).map_err(|mistakes| {
                let mistake = mistakes.into_iter().next();
                let mistake = mistake.unwrap_or(SchemaMistake { pointer: String::new(), message: String::new() });
                SchemaError { process: process.id.clone(), input: id.clone(), mistake }
            })?;
            compiled.insert(id.clone(), Arc::new(schema));
        }
        Ok(Self(compiled))
    }

    /// That of one input.
    pub fn input(&self, id: &str) -> Option<&Arc<InputSchema>> {
        self.0.get(id)
    }
}

/// The schema of one input, and what media types it offers.
#[derive(Debug)]
pub struct InputSchema {
    whole: Arc<Schema>,
    offers: Vec<Offer>,
    declares_value: bool,
    declares_href: bool,
}

/// One media type, and the part of the schema that values of it must meet.
#[derive(Debug)]
struct Offer {
    media: Media,
    schema: Arc<Schema>,
    is_text: bool,
}

impl InputSchema {
    fn compile(configured: &Value) -> Result<Self, Vec<SchemaMistake>> {
        let whole = Arc::new(Schema::compile(configured)?);
        Ok(Self {
            offers: offers(configured, &whole),
            declares_value: whole.declares("value"),
            declares_href: whole.declares("href"),
            whole,
        })
    }

    /// Whether a plain value fits.
    pub fn fits(&self, value: &Value) -> bool {
        self.whole.fits(value)
    }

    /// Whether the schema itself speaks of a member `value`, so that an object with one may be what it describes.
    pub fn declares_value(&self) -> bool {
        self.declares_value
    }

    /// The same of `href`.
    pub fn declares_href(&self) -> bool {
        self.declares_href
    }

    /// What a value of this media type, or of none in particular, may be held against.
    ///
    /// # Errors
    /// When the media type is not offered: those that are.
    pub fn choose(&self, media_type: Option<&MediaType>) -> Result<Choice<'_>, String> {
        let has_named = self.offers.iter().any(|offer| matches!(offer.media, Media::Named(_)));
        let is_taken = |offer: &&Offer| media_type.is_none_or(|media_type| offer.media.takes(media_type, has_named));
        let offers: Vec<&Offer> = self.offers.iter().filter(is_taken).collect();
        let schema = match offers.as_slice() {
            [] => {
                let mut offered: Vec<String> = self.offers.iter().map(|offer| offer.media.to_string()).collect();
                offered.dedup();
                return Err(format!("this media type is not offered; allowed: {}", offered.join(", ")));
            }
            // The media type chooses among alternatives that may look alike.
            [only] => only.schema.as_ref(),
            _ => self.whole.as_ref(),
        };
        Ok(Choice { schema, offers })
    }
}

/// The part of a schema that a media type chooses.
pub struct Choice<'a> {
    schema: &'a Schema,
    offers: Vec<&'a Offer>,
}

impl Choice<'_> {
    /// Why a value does not fit; empty if it does.
    pub fn misfits(&self, value: &Value) -> Vec<Misfit> {
        self.schema.misfits(value)
    }

    /// Whether everything that is offered is a value that can be read and held against the schema.
    pub fn is_value(&self) -> bool {
        self.offers.iter().all(|offer| offer.media.is_value())
    }

    /// Whether a value may be text.
    pub fn is_text(&self) -> bool {
        self.offers.iter().any(|offer| offer.media == Media::Text)
    }

    /// Whether a value is text that holds JSON.
    pub fn is_json_in_text(&self) -> bool {
        self.offers.iter().all(|offer| offer.is_text && matches!(offer.media, Media::Named(_)))
    }
}

fn offers(configured: &Value, whole: &Arc<Schema>) -> Vec<Offer> {
    let is_text = |schema: &Value| schema.get("type").is_some_and(|name| name == "string");
    let alternatives = ALTERNATIVES
        .iter()
        .filter_map(|keyword| Some((*keyword, configured.get(keyword)?.as_array()?)))
        .find(|(_, alternatives)| !alternatives.is_empty() && configured.get("contentMediaType").is_none());
    let Some((keyword, alternatives)) = alternatives else {
        let media = Media::of(configured, configured);
        return vec![Offer { media, schema: whole.clone(), is_text: is_text(configured) }];
    };
    let offer = |alternative: &Value| {
        let mut narrowed = configured.clone();
        narrowed[keyword] = Value::Array(vec![alternative.clone()]);
        let media = Media::of(configured, alternative);
        // A reference into the list would lead elsewhere now; such a schema is held against values as a whole.
        let schema = Schema::compile(&narrowed).map_or_else(|_| whole.clone(), Arc::new);
        Offer { media, schema, is_text: is_text(alternative) }
    };
    alternatives.iter().map(offer).collect()
}
