//! Callbacks: whoever executes a process may name addresses that are told how its job goes (requirement
//! `/req/callback/job-callback`).
//!
//! `validate` → the subscription, before the job's commit → … the job's events → `queue` → one message a delivery →
//! `deliver`: `places` → `body` → `signature`, `send` → `schedule` → how far it is, which `shown` tells.
//!
//! Nothing of this is only in memory: a delivery is a message, its lease is the attempt, and what was tried is written beside
//! it. Any gateway may go on with it.

mod body;
mod deliver;
mod places;
mod queue;
mod schedule;
mod send;
mod settings;
mod shown;
mod signature;
mod sweep;

use std::{error::Error, sync::Arc, time::Duration};

use platform::consume::{self, WorkQueue};
use protocol::{
    Event,
    names::subjects::{self, ALL_DELIVERIES, CALLING_CONSUMER, DELIVERING_CONSUMER},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::{places::Places, signature::Signer};
pub use self::{
    settings::CallbackSettings,
    shown::{CallbackInfo, of},
};
use crate::{
    app::Gateway,
    guard::{self, Policy},
};

/// Deliveries that wait over all replicas: those that are tried later count, too, so that dead receivers must never fill it.
const MAX_WAITING: usize = 1_000_000;
/// Events that are looked at at one time, over all replicas and at this one.
const EVENTS: (usize, usize) = (1024, 64);
/// Deliveries of results above [`LARGE_RESULT`] that one gateway holds in memory: first attempts, beside which there are two others.
/// Of each kind one host has one.
const LARGE_AT_ONCE: usize = 3;
/// Bytes of results from which on their delivery counts as large.
const LARGE_RESULT: u64 = 256 * 1024;

/// What calling back needs; cheap to clone.
#[derive(Clone)]
pub struct Callbacks(Arc<Inner>);

struct Inner {
    settings: CallbackSettings,
    policy: Policy,
    client: reqwest::Client,
    signer: Signer,
    places: Arc<Places>,
    large: Arc<Places>,
}

impl Callbacks {
    /// As configured.
    ///
    /// # Errors
    /// When the settings are not allowed, or there is no TLS.
    pub fn new(settings: &CallbackSettings) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let policy = settings.policy()?;
        let client = guard::client(&policy).build()?;
        Ok(Self(Arc::new(Inner {
            client,
            policy,
            signer: settings.signer()?,
            places: Places::new(settings.at_once, settings.per_host),
            large: Places::new(LARGE_AT_ONCE, 1),
            settings: settings.clone(),
        })))
    }

    /// Which addresses may be called; `None` where nobody is.
    pub fn policy(&self) -> Option<&Policy> {
        self.0.settings.enabled.then_some(&self.0.policy)
    }
}

/// Calls back until `shutdown`, then lets what is under way finish.
pub async fn serve(gateway: Gateway, shutdown: CancellationToken) {
    let settings = &gateway.callbacks.0.settings;
    if !settings.enabled {
        return;
    }
    if !gateway.callbacks.0.signer.signs() {
        warn!(setting = "gateway.callbacks.secret", "callbacks are not signed: receivers can't tell who sent them");
    }
    let nats = gateway.store.nats().clone();
    let told = [Event::Running, Event::Successful, Event::Failed, Event::Dismissed];
    let (max_in_hand, max_here) = EVENTS;
    let filters = told.map(subjects::events_of_kind).to_vec();
    let events = WorkQueue { consumer: CALLING_CONSUMER.to_owned(), filters, max_in_hand, max_here, room: None };
    let deliveries = WorkQueue {
        consumer: DELIVERING_CONSUMER.to_owned(),
        filters: vec![ALL_DELIVERIES.to_owned()],
        max_in_hand: MAX_WAITING,
        // More than there are places: those that find none make room at once.
        max_here: 2 * settings.at_once + 32,
        room: None,
    };
    let (queueing, delivering) = (gateway.clone(), gateway.clone());
    let stream = nats.callbacks.clone();
    tokio::join!(
        consume::run(nats.clone(), events, move |event| queue::handle(queueing.clone(), event), shutdown.clone()),
        consume::run_on(
            nats,
            stream,
            deliveries,
            move |delivery| deliver::handle(delivering.clone(), delivery),
            shutdown.clone()
        ),
        sweep::run(gateway.clone(), shutdown),
    );
}

/// A duration, spread by a quarter to both sides: what failed together does not come back together.
fn spread(duration: Duration) -> Duration {
    duration.mul_f64(0.75 + rand::random::<f64>() / 2.0)
}
