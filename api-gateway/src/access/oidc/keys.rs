//! The issuer's keys: kept, asked for again on a timer and when a token names one that is not known, and held on to while the
//! issuer is away.

mod fetch;
mod set;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use platform::telemetry::chain;
use tokio::{runtime::Handle, sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::fetch::Issuer;
pub use self::fetch::IssuerError;
pub(super) use self::set::KeySet;
use super::OidcSettings;

/// The least time between two requests for keys: tokens that name unknown keys are anybody's to make.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Keys {
    issuer: Arc<Issuer>,
    runtime: Handle,
    refresh: Duration,
    current: Arc<RwLock<Option<Arc<KeySet>>>>,
    /// When the issuer was asked last; held while it is asked.
    asked: Mutex<Option<Instant>>,
    failing: AtomicBool,
}

impl Keys {
    pub(super) fn new(issuer: &str, settings: &OidcSettings, runtime: Handle) -> Result<Self, IssuerError> {
        Ok(Self {
            issuer: Arc::new(Issuer::new(issuer, settings)?),
            runtime,
            refresh: settings.refresh,
            current: Arc::default(),
            asked: Mutex::default(),
            failing: AtomicBool::default(),
        })
    }

    /// The keys that are known.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether keys could not be had when the issuer was asked last.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// The keys that are known once the issuer was asked, unless that was a moment ago.
    pub(super) async fn asked_again(&self) -> Option<Arc<KeySet>> {
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|last| last.elapsed() >= PAUSE) {
            self.ask().await;
            *asked = Some(Instant::now());
        }
        self.current()
    }

    pub(super) async fn keep_up(&self, shutdown: CancellationToken) {
        loop {
            {
                let mut asked = self.asked.lock().await;
                self.ask().await;
                *asked = Some(Instant::now());
            }
            let pause = if self.current().is_some() { self.refresh } else { PAUSE };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn ask(&self) {
        let issuer = self.issuer.clone();
        // A task of its own, where the client belongs, and which a request that is given up does not end.
        let fetched = self.runtime.spawn(async move { issuer.keys().await }).await;
        self.failing.store(!matches!(fetched, Ok(Ok(_))), Ordering::Relaxed);
        match fetched {
            Ok(Ok(set)) => {
                let ids = set.ids();
                let set = Arc::new(set);
                let before = self.current.write().unwrap_or_else(PoisonError::into_inner).replace(set);
                if before.is_none_or(|before| before.ids() != ids) {
                    info!(issuer = self.issuer.name(), keys = ?ids, "keys of the issuer are in force");
                }
            }
            Ok(Err(error)) => {
                let known = self.current().map_or(0, |set| set.len());
                warn!(issuer = self.issuer.name(), known, error = %chain(&error), "keys can't be had of the issuer");
            }
            Err(lost) => warn!(error = %lost, "the task that asks for keys was lost"),
        }
    }
}
