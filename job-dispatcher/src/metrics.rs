//! Every metric of the dispatcher.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use protocol::Event;

/// The metrics; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    /// Jobs that are there and have not ended.
    pub live_jobs: Gauge,
    /// Namespaces that can't be watched.
    pub unwatched_namespaces: Gauge,
    /// The cap on them.
    pub max_live: Gauge,
    /// Jobs created here.
    pub launched: Counter,
    /// How many Jobs may be created at one time now.
    pub create_limit: Gauge,
    /// Answers to creates that slow them down.
    pub creates_slowed: Counter,
    /// Time from winning an attempt to the created Job, seconds.
    pub create_seconds: Histogram,
    events: Family<EventLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    event: &'static str,
}

impl Metrics {
    /// Makes and registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            live_jobs: Gauge::default(),
            max_live: Gauge::default(),
            unwatched_namespaces: Gauge::default(),
            launched: Counter::default(),
            create_limit: Gauge::default(),
            creates_slowed: Counter::default(),
            create_seconds: Histogram::new(exponential_buckets(0.005, 2.0, 12)),
            events: Family::default(),
        };
        registry.register("quayside_dispatcher_live_jobs", "Jobs that have not ended", metrics.live_jobs.clone());
        registry.register(
            "quayside_dispatcher_unwatched_namespaces",
            "Namespaces of Jobs that can't be watched",
            metrics.unwatched_namespaces.clone(),
        );
        registry.register("quayside_dispatcher_max_live", "Cap on jobs that have not ended", metrics.max_live.clone());
        registry.register("quayside_dispatcher_launched", "Jobs created by this replica", metrics.launched.clone());
        registry.register(
            "quayside_dispatcher_create_limit",
            "Jobs that may be created at one time by this replica, as the server's answers have it",
            metrics.create_limit.clone(),
        );
        registry.register(
            "quayside_dispatcher_creates_slowed",
            "Creates that the server refused for now, failed at or did not answer",
            metrics.creates_slowed.clone(),
        );
        registry.register(
            "quayside_dispatcher_create_seconds",
            "Time from winning a launch to the created Job",
            metrics.create_seconds.clone(),
        );
        registry.register("quayside_dispatcher_events", "Events told by this replica", metrics.events.clone());
        metrics
    }

    /// Counts an event that was told here.
    pub fn told(&self, event: Event) {
        self.events.get_or_create(&EventLabel { event: event.as_str() }).inc();
    }
}
