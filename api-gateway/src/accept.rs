//! Makes a job: inputs to where they belong, the one message that commits it, then the first event.

use std::{sync::Arc, time::Instant};

use async_nats::connection::State;
use jiff::Timestamp;
use platform::{
    failpoint,
    job_store::JobStore,
    publish::{self, StreamError, Written},
    telemetry::chain,
};
use protocol::{
    Event, ExecutionRequest, JobId, JobRecord, ProcessDefinition, SCHEMA,
    audit::{Action, Outcome},
    callback::Subscription,
    execution::Inputs,
    job_record::ArchiveState,
    masking,
    names::{objects, subjects},
};
use serde_json::{Map, Value};
use tracing::{Instrument, info, info_span, warn};

use crate::{
    app::Gateway, audit::Trail, error::GatewayError, idempotency::Held, jobs::LookupError, validate::Execution,
};

/// The longest text of masked parameters in a public record, in bytes; above, it is left out.
const PARAMETERS_LIMIT: usize = 32 * 1024;

/// A new job id. Drawn before the commit, so that a wait can be registered first.
pub fn new_id(now: Timestamp) -> JobId {
    JobId::generate(u64::try_from(now.as_millisecond()).unwrap_or(0))
}

/// Commits a job, within the time that the settings allow. It is done in a task of its own: a client that hangs up does not
/// cut it in two, and is told of on the trail of who asked, whose own it is. `held` is the idempotency key that the job was asked for with; it is given back when the job is refused.
///
/// # Errors
/// When the job was not taken, or nobody can tell.
pub async fn commit(
    gateway: &Gateway,
    id: JobId,
    process: &ProcessDefinition,
    execution: Execution,
    trail: Trail,
    sync: bool,
    held: Option<Held>,
) -> Result<Arc<JobRecord>, GatewayError> {
    let record = JobRecord { owner: trail.caller().owner(), ..first_record(gateway, id, process, &execution) };
    let (own, span) = (gateway.clone(), info_span!("accept", job_id = %id));
    let deadline =
        held.as_ref().map_or_else(|| tokio::time::Instant::now() + gateway.settings.accept_limit, |held| held.deadline);
    let process = process.id.clone();
    let accepting = async move {
        let stored = tokio::time::timeout_at(deadline, store(&own, record, execution, sync, held.is_some())).await;
        let outcome = stored.unwrap_or_else(|late| Err(own.commit_unknown(&id, late)));
        // Told here, where a client that hangs up has nothing to say.
        match &outcome {
            Ok(_) => trail.tell(Action::Executed, &process, &id, Outcome::Done),
            Err(GatewayError::CommitUnknown { .. }) => trail.tell(Action::Executed, &process, &id, Outcome::Unknown),
            Err(_) => {}
        }
        match (&outcome, held) {
            // What nobody can tell keeps its key: the next request with it finds the job, or commits it.
            (Ok(_) | Err(GatewayError::CommitUnknown { .. }), _) | (_, None) => {}
            (Err(_), Some(held)) => held.give_back(own.store.nats()).await,
        }
        outcome
    };
    let task = gateway.runtime.spawn(accepting.instrument(span));
    task.await.unwrap_or_else(|lost| Err(GatewayError::internal(lost)))
}

impl Gateway {
    fn commit_unknown(&self, job: &JobId, source: impl std::error::Error + Send + Sync + 'static) -> GatewayError {
        GatewayError::CommitUnknown { job: self.urls.job(job), source: Box::new(source) }
    }
}

fn first_record(gateway: &Gateway, id: JobId, process: &ProcessDefinition, execution: &Execution) -> JobRecord {
    let archives = gateway.configuration.server.manager.finalizer_controller;
    let archive = if archives { ArchiveState::Pending } else { ArchiveState::Off };
    let version = process.description.version.clone();
    // The id's own time: lists find jobs by it, and who commits again under the same id tells the same.
    let millis = i64::try_from(id.unix_millis()).unwrap_or(i64::MAX);
    let created = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
    JobRecord {
        response: execution.response,
        requested_outputs: execution.outputs.clone(),
        declared_outputs: process.declared_outputs(),
        parameters: parameters(&execution.inputs),
        callbacks: execution.subscriber.as_ref().map(Subscription::kinds).unwrap_or_default(),
        ..JobRecord::accepted(id, process.id.clone(), version, created, archive)
    }
}

fn parameters(inputs: &Map<String, Value>) -> Option<String> {
    masking::masked(inputs, PARAMETERS_LIMIT)
}

async fn store(
    gateway: &Gateway,
    record: JobRecord,
    execution: Execution,
    sync: bool,
    keyed: bool,
) -> Result<Arc<JobRecord>, GatewayError> {
    let nats = gateway.store.nats();
    // The library would keep the message and send it after the next connect, long after the client was refused.
    if nats.client.connection_state() != State::Connected {
        return Err(GatewayError::Unavailable(Box::new(LookupError::NotConnected)));
    }
    let began = Instant::now();
    let Execution { inputs, subscriber, outputs: _, response: _ } = execution;
    let inputs = place(&gateway.store, &gateway.settings, &record.job_id, inputs).await?;
    if let Some(subscriber) = &subscriber {
        subscribe(gateway, &record, subscriber, keyed).await?;
    }
    let request = ExecutionRequest { schema: SCHEMA, record, inputs };
    let committed = publish::execution(nats, &request).await;
    let ExecutionRequest { record, inputs, .. } = request;
    match committed {
        Ok(Written::Won { .. }) => {}
        Ok(Written::Conflict) if keyed => {
            // Another request with the same key was committed meanwhile: it asked for the same.
            let found = gateway.jobs.find(&record.job_id).await;
            let found = found.map_err(|error| gateway.commit_unknown(&record.job_id, error))?;
            return found.ok_or_else(|| GatewayError::internal("a job of an idempotency key is taken and not there"));
        }
        Ok(Written::Conflict) => {
            // The id is someone else's: so are the inputs under it.
            return Err(GatewayError::internal("a new job id is taken already"));
        }
        Err(StreamError::TooLarge { .. }) => {
            discard(&gateway.store, &record, &inputs).await;
            return Err(GatewayError::TooLarge { what: "the inputs have", limit: gateway.settings.inline_inputs });
        }
        Err(source @ (StreamError::Publish(_) | StreamError::Read(_))) => {
            return Err(gateway.commit_unknown(&record.job_id, source));
        }
        Err(other) => return Err(GatewayError::internal(other)),
    }
    failpoint::reach("gateway.after-commit");
    gateway.metrics.accepted(record.process_id.as_str(), sync, began.elapsed());
    info!(process_id = record.process_id.as_str(), "job accepted");
    match publish::event(nats, Event::Accepted, record.clone(), 0).await {
        // Intake may have been faster; it tells the same.
        Ok(Written::Won { .. } | Written::Conflict) => {}
        Err(error) => warn!(error = %chain(&error), "the event accepted is left to intake"),
    }
    Ok(Arc::new(record))
}

/// Where the inputs travel: in the request if they are small, else in the bucket.
async fn place(
    store: &JobStore,
    settings: &crate::settings::GatewaySettings,
    job: &JobId,
    inputs: Map<String, Value>,
) -> Result<Inputs, GatewayError> {
    let text = Value::Object(inputs);
    let bytes = serde_json::to_vec(&text).map_err(GatewayError::internal)?;
    let Value::Object(inputs) = text else { return Ok(Inputs::Inline(Map::new())) };
    let Some(bucket) = store.objects() else {
        let limit = settings.inline_inputs_without_bucket;
        return if bytes.len() <= limit {
            Ok(Inputs::Inline(inputs))
        } else {
            Err(GatewayError::TooLarge { what: "no bucket is configured, and the inputs have", limit })
        };
    };
    if bytes.len() <= settings.inline_inputs {
        return Ok(Inputs::Inline(inputs));
    }
    let key = objects::inputs(bucket.prefix(), job);
    let stored = bucket.put(&key, bytes.into(), crate::links::JSON).await;
    let stored = stored.map_err(|error| GatewayError::Unavailable(Box::new(error)))?;
    Ok(Inputs::Stored { key, size: stored.size, sha256: stored.sha256 })
}

/// Writes down who is told about a job, before the job can end.
async fn subscribe(
    gateway: &Gateway,
    record: &JobRecord,
    subscriber: &Subscription,
    keyed: bool,
) -> Result<(), GatewayError> {
    let subject = subjects::subscription(&record.process_id, &record.job_id);
    let written = publish::callback(gateway.store.nats(), &subject, subscriber, 0, None).await;
    match written.map_err(|error| GatewayError::Unavailable(Box::new(error)))? {
        Written::Won { .. } => {}
        // An earlier request with the same key wrote the same.
        Written::Conflict if keyed => {}
        Written::Conflict => return Err(GatewayError::internal("a new job id is subscribed to already")),
    }
    failpoint::reach("gateway.after-subscription");
    Ok(())
}

/// Takes back what was stored for a job that will never be.
async fn discard(store: &JobStore, record: &JobRecord, inputs: &Inputs) {
    if !record.callbacks.is_empty()
        && let Err(error) = store.forget_callbacks(&record.process_id, &record.job_id).await
    {
        warn!(error = %chain(&error), "the subscription of a job that was not taken is left to the sweep");
    }
    if let (Inputs::Stored { key, .. }, Some(bucket)) = (inputs, store.objects())
        && let Err(error) = bucket.delete(key).await
    {
        warn!(%key, error = %chain(&error), "inputs of a job that was not taken are left behind");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_masked_and_left_out_when_they_are_long() {
        let inputs = json!({"a": 1, "apiKey": "hush"});
        assert_eq!(parameters(inputs.as_object().unwrap()).as_deref(), Some(r#"{"a":1,"apiKey":"*"}"#));
        let long = json!({"a": "x".repeat(PARAMETERS_LIMIT)});
        assert_eq!(parameters(long.as_object().unwrap()), None);
    }
}
