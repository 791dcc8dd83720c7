//! Inputs by reference (requirements `/req/core/process-execute-inputs` B and `…-input-validation` B): what can be held
//! against a schema is fetched and held against it; of everything else the server is asked for type and size. The job
//! gets the link itself.

use std::sync::Arc;

use futures::{StreamExt, stream};
use serde_json::Value;

use super::{
    Execution,
    media_types::MediaType,
    parts::{MOST_PARTS, memory_of, parts},
    value::Reference,
    violation::{Violation, Violations},
};
use crate::{
    error::GatewayError,
    memory::Portion,
    references::{Fetched, ReferenceError, References},
};

/// References of one request that are looked at at the same time.
const AT_ONCE: usize = 4;
const NOT_SAID: &str = "leads to something whose media type is not said; name it as its type";

/// An execution that fits its process, but for what its references lead to.
#[derive(Debug)]
pub struct Checked {
    execution: Execution,
    references: Vec<Reference>,
}

impl Checked {
    pub(super) fn new(execution: Execution, references: Vec<Reference>) -> Self {
        Self { execution, references }
    }

    /// Whether anything has to be fetched.
    pub fn has_references(&self) -> bool {
        !self.references.is_empty()
    }

    /// Looks at all that is referred to. `portion` is what the execution has of the memory; while others are waited for,
    /// which may take long, it has no more than its text takes.
    ///
    /// # Errors
    /// What does not fit, or can't be had.
    pub async fn resolve(self, fetcher: &References, portion: &mut Portion) -> Result<Execution, GatewayError> {
        let Self { mut execution, references } = self;
        if references.is_empty() {
            return Ok(execution);
        }
        let text = serde_json::to_vec(&std::mem::take(&mut execution.inputs)).map_err(GatewayError::internal)?;
        let needed = portion.size();
        portion.shrink(text.len());
        let mut violations = Violations::default();
        let most = fetcher.settings().max_per_request;
        if let Some(reference) = references.get(most) {
            let message = format!("there are {} references in this execution; allowed: {most}", references.len());
            let violation = Violation::of_input(&reference.input, &reference.place, message);
            return Err(GatewayError::InvalidParameters(vec![violation]));
        }
        let looks = references.into_iter().map(|reference| look(reference, fetcher.clone()));
        // In the order of the request, whichever is answered first.
        let mut looked = stream::iter(looks).buffered(AT_ONCE);
        while let Some(found) = looked.next().await {
            for violation in found? {
                violations.push(violation);
            }
        }
        violations.into_result()?;
        if !portion.grow(needed) {
            return Err(GatewayError::Busy);
        }
        execution.inputs = serde_json::from_slice(&text).map_err(GatewayError::internal)?;
        Ok(execution)
    }
}

/// What is wrong with where a reference leads.
async fn look(reference: Reference, fetcher: References) -> Result<Vec<Violation>, GatewayError> {
    let limit = fetcher.settings().timeout;
    let reference = Arc::new(reference);
    let looking = async {
        // What is refused by its look waits for nobody.
        fetcher.check(&reference.href).map_err(Problem::Fetch)?;
        let _turn = fetcher.turn().await.map_err(Problem::Fetch)?;
        let looked = tokio::time::timeout(limit, value_or_kind(&reference, &fetcher)).await;
        looked.unwrap_or(Err(Problem::Fetch(ReferenceError::Slow(limit.as_secs_f64()))))
    };
    let violation = |place: &str, message: String| Violation::of_input(&reference.input, place, message);
    let href = format!("{}/href", reference.place);
    Ok(match looking.await {
        Ok(()) => Vec::new(),
        Err(Problem::Fetch(busy @ (ReferenceError::Busy(_) | ReferenceError::NoMemory))) => {
            return Err(GatewayError::Unavailable(Box::new(busy)));
        }
        Err(Problem::Fetch(error)) => {
            tracing::info!(input = reference.input, error = %platform::telemetry::chain(&error), "a reference can't be used");
            vec![violation(&href, error.to_string())]
        }
        Err(Problem::Kind(message)) => vec![violation(&href, message)],
        Err(Problem::Value(misfits)) => misfits
            .into_iter()
            .map(|(pointer, message)| {
                let place = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
                violation(&href, format!("leads to a value that does not fit{place}: {message}"))
            })
            .collect(),
    })
}

enum Problem {
    /// It can't be had.
    Fetch(ReferenceError),
    /// It is something else.
    Kind(String),
    /// It is a value that does not fit: pointers into it, and what is allowed there.
    Value(Vec<(String, String)>),
}

async fn value_or_kind(reference: &Arc<Reference>, fetcher: &References) -> Result<(), Problem> {
    let said = reference.media_type.as_ref();
    let choice = reference.schema.choose(said).map_err(Problem::Kind)?;
    if choice.is_value() {
        return value(reference, said, fetcher).await;
    }
    let head = fetcher.head(&reference.href).await.map_err(Problem::Fetch)?;
    let answered = head.media_type.as_deref().and_then(MediaType::parse).filter(|answered| !answered.is_unspecific());
    // What the server says counts, unless it says nothing.
    let Some(actual) = answered.as_ref().or(said) else { return Err(Problem::Kind(NOT_SAID.to_owned())) };
    let choice = reference
        .schema
        .choose(Some(actual))
        .map_err(|offered| Problem::Kind(format!("leads to something else than is said of it: {offered}")))?;
    if choice.is_value() {
        return value(reference, Some(actual), fetcher).await;
    }
    let most = fetcher.settings().max_linked_bytes;
    match head.length {
        Some(length) if length > most => Err(Problem::Fetch(ReferenceError::TooLarge(most))),
        Some(_) => Ok(()),
        // A server that does not say how much it is has to show it.
        None => fetcher.get(&reference.href).await.map(|_| ()).map_err(Problem::Fetch),
    }
}

/// Fetches a value and holds it against its schema as if it had been sent.
async fn value(
    reference: &Arc<Reference>,
    media_type: Option<&MediaType>,
    fetcher: &References,
) -> Result<(), Problem> {
    let mut fetched = fetcher.get(&reference.href).await.map_err(Problem::Fetch)?;
    let _turn = fetcher.judging().await.map_err(Problem::Fetch)?;
    let parts = parts(&fetched.bytes);
    if !fetched.portion.grow(memory_of(fetched.bytes.len(), parts.min(MOST_PARTS))) {
        return Err(Problem::Fetch(ReferenceError::NoMemory));
    }
    let (reference, media_type) = (reference.clone(), media_type.cloned());
    // A large value takes its time: nobody else waits for it.
    let judging = tokio::task::spawn_blocking(move || judge(&reference, media_type.as_ref(), &fetched, parts));
    judging.await.unwrap_or_else(|_| Err(Problem::Kind("leads to a value that could not be looked at".to_owned())))
}

fn judge(
    reference: &Reference,
    media_type: Option<&MediaType>,
    fetched: &Fetched,
    parts: usize,
) -> Result<(), Problem> {
    let choice = reference.schema.choose(media_type).map_err(Problem::Kind)?;
    let text = || std::str::from_utf8(&fetched.bytes).ok().map(Value::from);
    let is_called_json =
        fetched.media_type.as_deref().and_then(MediaType::parse).is_some_and(|answered| answered.is_json());
    let value = if choice.is_text() && !is_called_json {
        text()
    } else if parts > MOST_PARTS {
        return Err(Problem::Kind(format!("leads to a value of more than {MOST_PARTS} parts")));
    } else {
        match serde_json::from_slice::<Value>(&fetched.bytes) {
            Ok(_) if choice.is_json_in_text() => text(),
            Ok(parsed) => Some(parsed),
            Err(_) => return Err(Problem::Kind("leads to something that is not JSON".to_owned())),
        }
    };
    let Some(value) = value else { return Err(Problem::Kind("leads to text that is not UTF-8".to_owned())) };
    let misfits = choice.misfits(&value);
    if misfits.is_empty() {
        return Ok(());
    }
    Err(Problem::Value(misfits.into_iter().map(|misfit| (misfit.pointer, misfit.message)).collect()))
}

#[cfg(test)]
mod tests;
