//! `/processes/{id}/execution`: a new job, waited for or not (requirements `/req/core/process-execute…`).

pub(crate) mod body;
mod form;

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use jiff::Timestamp;
use protocol::{
    JobId, JobRecord, ProcessDefinition,
    audit::{Action, Outcome},
    job_record::Status,
};
use tokio::sync::SemaphorePermit;
use tracing::{Instrument, instrument};

use self::body::Body;
use super::answer;
use crate::{
    accept,
    access::{Admission, Door},
    app::Gateway,
    audit::Trail,
    error::GatewayError,
    idempotency::{self, Claim, Key, KeyedRequest},
    index::Wait,
    links::JSON,
    memory::Portion,
    metrics::UnderWay,
    pages::{self, Form},
    prefer::Preferences,
    query::Query,
    results::Asked,
    status::StatusInfo,
    validate::{
        self, Request,
        parts::{MOST_PARTS, memory_of, parts},
    },
};

const PREFER: &str = "prefer";
const PREFERENCE_APPLIED: &str = "preference-applied";

/// How a client gets its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A job to come back for.
    Async,
    /// The results, if they come within this time; else as above.
    Sync(Duration),
}

impl Mode {
    fn limit(self) -> Option<Duration> {
        match self {
            Self::Async => None,
            Self::Sync(limit) => Some(limit),
        }
    }
}

pub(super) async fn post(
    gateway: web::Data<Gateway>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, GatewayError> {
    let checked = check_head(&gateway, &request);
    // Read in any case: a client that is still sending would not see why it was refused.
    let body = body::read(payload, &request, &gateway).await;
    let ((process, key), body) = (checked?, body?);
    // Not before: how long a body takes is up to its client.
    let accepting = accepting(&gateway)?;
    if form::is_one(&request) {
        return form::execute(&gateway, &request, process, body, accepting).await;
    }
    let preferences = Preferences::parse(request.headers().get_all(PREFER).filter_map(|value| value.to_str().ok()));
    let mode = mode(process, preferences, gateway.settings.sync_wait);
    let Taken { record, wait, replayed } = accepted(&gateway, &request, process, key, body, mode, accepting).await?;
    let (mut answer, is_kept) = respond(&gateway, &request, &record, wait.zip(mode.limit())).await?;
    if let Some(applied) = applied(mode, preferences).filter(|_| is_kept) {
        answer.headers_mut().insert(header::HeaderName::from_static(PREFERENCE_APPLIED), applied);
    }
    if replayed {
        let name = header::HeaderName::from_static(idempotency::REPLAYED);
        answer.headers_mut().insert(name, header::HeaderValue::from_static("true"));
    }
    Ok(answer)
}

/// The job that a body asks for.
async fn accepted(
    gateway: &Gateway,
    request: &HttpRequest,
    process: &ProcessDefinition,
    key: Option<Key>,
    body: Body,
    mode: Mode,
    accepting: Accepting<'_>,
) -> Result<Taken, GatewayError> {
    let (mut asked, portion) = parse(body)?;
    let token = if process.check_auth { asked.take_token() } else { None };
    let caller = Admission::of(request)?.to_execute(&Door::of(gateway, request), process, token.as_ref()).await?;
    let keyed = key.map(|key| key.with_request(process, &caller, &asked)).transpose()?;
    let trail = Trail::of(gateway, request, caller);
    let checked = asked.against(process, &gateway.schemas, gateway.callbacks.policy())?;
    match earlier(gateway, &checked, keyed.as_ref()).await? {
        Some(job) => taken_before(gateway, job, &trail, mode).await,
        None => {
            let (execution, accepting, portion) = resolve(gateway, checked, accepting, portion).await?;
            let taken = take(gateway, process, execution, trail, mode, keyed).await;
            drop((accepting, portion));
            taken
        }
    }
}

/// The job of an earlier request, if nothing has to be fetched any more for that reason: what its references led to may be
/// gone by now.
async fn earlier(
    gateway: &Gateway,
    checked: &validate::Checked,
    keyed: Option<&KeyedRequest>,
) -> Result<Option<JobId>, GatewayError> {
    match keyed {
        Some(keyed) if checked.has_references() => idempotency::earlier(gateway, keyed).await,
        _ => Ok(None),
    }
}

/// An execution that is checked and stored.
type Accepting<'g> = (SemaphorePermit<'g>, UnderWay);

fn accepting(gateway: &Gateway) -> Result<Accepting<'_>, GatewayError> {
    let permit = gateway.accepting.try_acquire().map_err(|_| GatewayError::Busy)?;
    Ok((permit, gateway.metrics.accepting()))
}

/// Parses a body, with the memory that it takes then.
fn parse(body: Body) -> Result<(Request, Portion), GatewayError> {
    let Body { bytes, mut portion } = body;
    let parts = parts(&bytes);
    if parts > MOST_PARTS {
        return Err(GatewayError::invalid(format!(
            "the body has {parts} values and names of members; allowed: {MOST_PARTS}"
        )));
    }
    let memory = memory_of(bytes.len(), parts);
    if !portion.grow(memory) {
        return Err(GatewayError::Busy);
    }
    portion.shrink(memory);
    Ok((Request::parse(&bytes)?, portion))
}

/// Fetches what the inputs refer to, where the clients of other servers are used. While that lasts, which other servers decide,
/// the execution keeps nobody from being accepted.
async fn resolve<'g>(
    gateway: &'g Gateway,
    checked: validate::Checked,
    permit: Accepting<'g>,
    mut portion: Portion,
) -> Result<(validate::Execution, Accepting<'g>, Portion), GatewayError> {
    let references = gateway.references.clone();
    if !checked.has_references() {
        let execution = checked.resolve(&references, &mut portion).await?;
        return Ok((execution, permit, portion));
    }
    let _resolving = gateway.resolving.try_acquire().map_err(|_| GatewayError::Busy)?;
    drop(permit);
    let resolving = gateway.runtime.spawn(
        async move { checked.resolve(&references, &mut portion).await.map(|execution| (execution, portion)) }
            .in_current_span(),
    );
    let (execution, portion) = resolving.await.unwrap_or_else(|lost| Err(GatewayError::internal(lost)))?;
    Ok((execution, accepting(gateway)?, portion))
}

/// What can be told without the body.
fn check_head<'a>(
    gateway: &'a Gateway,
    request: &HttpRequest,
) -> Result<(&'a ProcessDefinition, Option<Key>), GatewayError> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_json = match content_type.map(header::HeaderValue::to_str) {
        // What has no type every site may have a browser send, without asking first.
        None => answer::is_of_this_site(gateway, request) != Some(false),
        Some(Ok(text)) => validate::is_json(Some(text)),
        Some(Err(_)) => false,
    };
    if form::is_one(request) {
        answer::own_form(gateway, request)?;
    } else if !is_json {
        return Err(GatewayError::UnsupportedMediaType);
    }
    Query::parse(request.query_string())?;
    let process = answer::process(gateway, request)?;
    Ok((process, Key::parse(request.headers().get_all(idempotency::HEADER).map(header::HeaderValue::as_bytes))?))
}

/// Requirements `/req/core/process-execute-default-execution-mode` and `…-auto-execution-mode`: asynchronous if that is
/// all there is, or is preferred and allowed; else synchronous.
fn mode(process: &ProcessDefinition, preferences: Preferences, limit: Duration) -> Mode {
    let options = process.description.job_control_options;
    if !options.allows_sync() || (preferences.respond_async && options.allows_async()) {
        Mode::Async
    } else {
        Mode::Sync(preferences.wait.map_or(limit, |wait| wait.min(limit)))
    }
}

/// Which of the preferences the mode follows (RFC 7240, 3).
fn applied(mode: Mode, preferences: Preferences) -> Option<header::HeaderValue> {
    match mode {
        Mode::Async => preferences.respond_async.then(|| header::HeaderValue::from_static("respond-async")),
        // A longer wait than is allowed is not what was preferred.
        Mode::Sync(limit) if preferences.wait == Some(limit) => {
            header::HeaderValue::from_str(&format!("wait={}", limit.as_secs())).ok()
        }
        Mode::Sync(_) => None,
    }
}

/// A job that was taken, now or by an earlier request.
struct Taken {
    record: Arc<JobRecord>,
    wait: Option<Wait>,
    replayed: bool,
}

#[instrument(skip_all, fields(job_id))]
async fn take(
    gateway: &Gateway,
    process: &ProcessDefinition,
    execution: validate::Execution,
    trail: Trail,
    mode: Mode,
    keyed: Option<KeyedRequest>,
) -> Result<Taken, GatewayError> {
    let mut id = accept::new_id(Timestamp::now());
    let mut held = None;
    if let Some(keyed) = keyed {
        match idempotency::claim(gateway, keyed, id).await? {
            Claim::Mine(mine) => (id, held) = (mine.job(), Some(mine)),
            Claim::Taken(job) => return taken_before(gateway, job, &trail, mode).await,
        }
    }
    tracing::Span::current().record("job_id", tracing::field::display(&id));
    // Registered before the commit, the wait can't miss the job's end.
    let wait = mode.limit().map(|_| gateway.index.wait_for(id));
    let record = accept::commit(gateway, id, process, execution, trail, wait.is_some(), held).await?;
    Ok(Taken { record, wait, replayed: false })
}

/// The job that an earlier request made.
async fn taken_before(gateway: &Gateway, job: JobId, trail: &Trail, mode: Mode) -> Result<Taken, GatewayError> {
    // Registered before the job is read, the wait can't miss its end.
    let wait = mode.limit().map(|_| gateway.index.wait_for(job));
    let record = gateway.jobs.find(&job).await?.ok_or(GatewayError::KeyJobRemoved)?;
    trail.tell(Action::Executed, &record.process_id, &job, Outcome::Replayed);
    Ok(Taken { record, wait, replayed: true })
}

/// The job's results once it has ended, if they are waited for and come in time; else the job. And whether it was waited for
/// as the mode says.
#[instrument(skip_all, fields(job_id = %record.job_id))]
async fn respond(
    gateway: &Gateway,
    request: &HttpRequest,
    record: &Arc<JobRecord>,
    wait: Option<(Wait, Duration)>,
) -> Result<(HttpResponse, bool), GatewayError> {
    let Some((wait, limit)) = wait else { return Ok((created(gateway, record)?, true)) };
    let (latest, is_kept) = ended(gateway, record, wait, limit).await;
    if !latest.status.is_terminal() {
        return Ok((created(gateway, &latest)?, is_kept));
    }
    let job = gateway.urls.job(&record.job_id);
    let query = Query::parse(request.query_string())?;
    let asked = Asked::of(request, &query);
    let answered = match pages::form_of(request, &query) {
        Form::Json => gateway.values.answer(&latest, &Asked { outputs: None, ..asked }).await,
        Form::Html => {
            let language = answer::language(gateway, request, &query);
            pages::results::page(gateway, request, language, &latest, None).await
        }
    };
    // There is a job, whatever can be said of its results: its client has to learn of it.
    let mut answer = answered.unwrap_or_else(|error| error.answer(request));
    let is_named = latest.status == Status::Failed;
    if gateway.configuration.server.manager.sync_link
        && !is_named
        && let Ok(link) = header::HeaderValue::from_str(&format!("<{job}>; rel=\"monitor\""))
    {
        // Outputs by reference have links of their own.
        answer.headers_mut().append(header::LINK, link);
    }
    Ok((answer, true))
}

/// The job's last record, or the newest that there is when the time is over; false where the time was cut short.
async fn ended(
    gateway: &Gateway,
    accepted: &Arc<JobRecord>,
    mut wait: Wait,
    limit: Duration,
) -> (Arc<JobRecord>, bool) {
    if accepted.status.is_terminal() {
        return (accepted.clone(), true);
    }
    let metrics = &gateway.metrics;
    if metrics.waiting_now() >= gateway.settings.max_sync_waits {
        metrics.sync_wait_ended("full");
        return (accepted.clone(), false);
    }
    let waiting = metrics.waiting();
    let end = tokio::select! {
        record = wait.ended() => {
            metrics.sync_wait_ended("done");
            return (record, true);
        }
        () = tokio::time::sleep(limit) => "timeout",
        () = gateway.shutdown.cancelled() => "shutdown",
    };
    drop(waiting);
    metrics.sync_wait_ended(end);
    // The index may be behind; the leader is not. If it can't tell either, the client asks again later.
    let latest = gateway.jobs.find(&accepted.job_id).await.ok().flatten();
    (latest.unwrap_or_else(|| accepted.clone()), end == "timeout")
}

/// 201: the job, to come back for.
fn created(gateway: &Gateway, record: &JobRecord) -> Result<HttpResponse, GatewayError> {
    let status = StatusInfo::of_record(record, &gateway.urls);
    let mut answer = answer::json(gateway, StatusCode::CREATED, JSON, &status)?;
    let location = header::HeaderValue::from_str(&gateway.urls.job(&record.job_id)).map_err(GatewayError::internal)?;
    answer.headers_mut().insert(header::LOCATION, location);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use protocol::process::JobControlOptions;

    use super::*;
    use crate::testing;

    #[test]
    fn the_mode_follows_what_is_preferred_and_allowed() {
        let limit = Duration::from_secs(150);
        let configuration = testing::configuration();
        let mut process = configuration.processes.values().next().unwrap().clone();
        let plain = Preferences::default();
        let respond_async = Preferences { respond_async: true, wait: None };
        let wait = |seconds| Preferences { respond_async: false, wait: Some(Duration::from_secs(seconds)) };
        let mut modes = |sync, asynchronous, preferences| {
            process.description.job_control_options = JobControlOptions::new(sync, asynchronous, false).unwrap();
            mode(&process, preferences, limit)
        };
        assert_eq!(modes(true, true, plain), Mode::Sync(limit));
        assert_eq!(modes(true, true, respond_async), Mode::Async);
        assert_eq!(modes(true, true, wait(7)), Mode::Sync(Duration::from_secs(7)));
        assert_eq!(modes(true, true, wait(1000)), Mode::Sync(limit));
        assert_eq!(modes(true, false, respond_async), Mode::Sync(limit));
        assert_eq!(modes(false, true, plain), Mode::Async);
        assert_eq!(modes(false, true, wait(7)), Mode::Async);
    }

    #[test]
    fn only_what_is_followed_is_called_applied() {
        let wait = Some(Duration::from_secs(7));
        let told = |mode, preferences| applied(mode, preferences).map(|value| value.to_str().unwrap().to_owned());
        let both = Preferences { respond_async: true, wait };
        let only_wait = Preferences { respond_async: false, wait };
        assert_eq!(told(Mode::Async, both).as_deref(), Some("respond-async"));
        assert_eq!(told(Mode::Async, only_wait), None);
        assert_eq!(told(Mode::Sync(Duration::from_secs(7)), only_wait).as_deref(), Some("wait=7"));
        assert_eq!(told(Mode::Sync(Duration::from_secs(5)), only_wait), None, "the limit is shorter");
        assert_eq!(told(Mode::Sync(Duration::from_secs(7)), Preferences::default()), None);
    }
}
