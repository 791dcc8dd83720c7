//! The gateway's metrics: every name once, and no job id as a label.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use protocol::callback::DeliveryState;

use crate::{
    access::Access,
    index::Index,
    memory::Memory,
    rates::{Rates, TooMany},
};

/// What names of metrics begin with.
const PREFIX: &str = "quayside_gateway";

/// Everything that is counted; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    accepted: Family<AcceptedLabels, Counter>,
    commits: Histogram,
    sync_waits: Family<SyncLabels, Counter>,
    waiting: Gauge,
    accepting: Gauge,
    leader_reads: Counter,
    callbacks: Family<CallbackLabels, Counter>,
    callbacks_waiting: Gauge,
    limited: Family<LimitedLabels, Counter>,
    audited: Family<AuditLabels, Counter>,
    audit_waiting: Gauge,
    log_readers: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AcceptedLabels {
    process: String,
    mode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SyncLabels {
    end: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallbackLabels {
    kind: String,
    end: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitedLabels {
    budget: &'static str,
    whose: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuditLabels {
    end: &'static str,
}

fn request_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 10))
}

impl Metrics {
    /// Registers everything, the sizes of `index` and of the memory for executions, results and logs included.
    pub fn new(registry: &mut Registry, index: Index, [accepting, documents, logs]: [Memory; 3]) -> Self {
        let registry = registry.sub_registry_with_prefix(PREFIX);
        let inner = Inner {
            requests: Family::default(),
            durations: Family::new_with_constructor(request_buckets as fn() -> Histogram),
            accepted: Family::default(),
            commits: Histogram::new(exponential_buckets(0.0005, 2.0, 14)),
            sync_waits: Family::default(),
            waiting: Gauge::default(),
            accepting: Gauge::default(),
            leader_reads: Counter::default(),
            callbacks: Family::default(),
            callbacks_waiting: Gauge::default(),
            limited: Family::default(),
            audited: Family::default(),
            audit_waiting: Gauge::default(),
            log_readers: Gauge::default(),
        };
        registry.register("requests", "HTTP requests answered", inner.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time until the head of an answer",
            Unit::Seconds,
            inner.durations.clone(),
        );
        registry.register("accepted_jobs", "Jobs committed", inner.accepted.clone());
        registry.register_with_unit(
            "commit_duration",
            "Time until the stream acknowledged an execution request",
            Unit::Seconds,
            inner.commits.clone(),
        );
        registry.register("sync_waits", "Synchronous waits by how they ended", inner.sync_waits.clone());
        registry.register("sync_waiting", "Synchronous answers waited for", inner.waiting.clone());
        registry.register("accepting", "Executions being checked and stored", inner.accepting.clone());
        registry.register("leader_reads", "Jobs read from the stream's leader", inner.leader_reads.clone());
        registry.register("callback_attempts", "Attempts to call back by how they ended", inner.callbacks.clone());
        registry.register(
            "callbacks_waiting",
            "Callbacks that are not delivered yet, over all replicas",
            inner.callbacks_waiting.clone(),
        );
        registry.register("limited_requests", "Requests refused as a budget was used up", inner.limited.clone());
        registry.register("audit_entries", "Entries of the audit by where they ended", inner.audited.clone());
        registry.register("audit_waiting", "Entries of the audit that wait to be written", inner.audit_waiting.clone());
        registry.register("log_readers", "Logs of running jobs being read", inner.log_readers.clone());
        registry.register_collector(Box::new(IndexSizes(index)));
        registry.register_collector(Box::new(MemoryUsed { accepting, documents, logs }));
        Self(Arc::new(inner))
    }

    /// A request was answered.
    pub fn request(&self, route: &str, method: &str, status: u16, duration: Duration) {
        let labels = RequestLabels { route: route.to_owned(), method: method.to_owned(), status };
        self.0.requests.get_or_create(&labels).inc();
        self.0.durations.get_or_create(&RouteLabels { route: route.to_owned() }).observe(duration.as_secs_f64());
    }

    /// A job was committed.
    pub fn accepted(&self, process: &str, sync: bool, commit: Duration) {
        let mode = if sync { "sync" } else { "async" };
        self.0.accepted.get_or_create(&AcceptedLabels { process: process.to_owned(), mode }).inc();
        self.0.commits.observe(commit.as_secs_f64());
    }

    /// A synchronous wait begins; dropping what is returned ends it.
    pub fn waiting(&self) -> UnderWay {
        UnderWay::begin(&self.0.waiting)
    }

    /// An execution begins to be accepted; dropping what is returned ends that.
    pub fn accepting(&self) -> UnderWay {
        UnderWay::begin(&self.0.accepting)
    }

    /// The log of a running job begins to be read; dropping what is returned ends that.
    pub fn reading_log(&self) -> UnderWay {
        UnderWay::begin(&self.0.log_readers)
    }

    /// How many synchronous answers are waited for.
    pub fn waiting_now(&self) -> usize {
        usize::try_from(self.0.waiting.get()).unwrap_or(0)
    }

    /// How a synchronous wait ended: `done`, `timeout`, `shutdown` or `full`.
    pub fn sync_wait_ended(&self, end: &'static str) {
        self.0.sync_waits.get_or_create(&SyncLabels { end }).inc();
    }

    /// An attempt to call back ended, which left the delivery in this state.
    pub fn called_back(&self, kind: &str, state: DeliveryState) {
        let end = match state {
            DeliveryState::Delivered => "delivered",
            DeliveryState::GivenUp => "given-up",
            DeliveryState::Pending | DeliveryState::Failing | DeliveryState::Other(_) => "failed",
        };
        self.0.callbacks.get_or_create(&CallbackLabels { kind: kind.to_owned(), end }).inc();
    }

    /// How many callbacks wait, over all replicas.
    pub fn callbacks_waiting(&self, count: u64) {
        self.0.callbacks_waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A request was refused, as a budget is used up.
    pub fn limited(&self, TooMany { budget, whose, .. }: &TooMany) {
        let labels = LimitedLabels { budget: budget.as_str(), whose: whose.as_str() };
        self.0.limited.get_or_create(&labels).inc();
    }

    /// Where an entry of the audit ended: `written` to its stream, or only `logged`.
    pub fn audited(&self, end: &'static str) {
        self.0.audited.get_or_create(&AuditLabels { end }).inc();
    }

    /// How many entries of the audit wait to be written.
    pub fn audit_waiting(&self, count: usize) {
        self.0.audit_waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A job is read from the leader.
    pub fn leader_read(&self) {
        self.0.leader_reads.inc();
    }
}

/// Something that is counted as long as it lasts.
pub struct UnderWay(Gauge);

impl UnderWay {
    fn begin(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Registers how the sources of tokens are.
pub fn watch_access(registry: &mut Registry, access: Access) {
    registry.sub_registry_with_prefix(PREFIX).register_collector(Box::new(Sources(access)));
}

/// Registers how many budgets are kept.
pub fn watch_rates(registry: &mut Registry, rates: Rates) {
    registry.sub_registry_with_prefix(PREFIX).register_collector(Box::new(KeptBudgets(rates)));
}

/// Budgets that are kept, looked at when somebody asks.
struct KeptBudgets(Rates);

impl std::fmt::Debug for KeptBudgets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("KeptBudgets")
    }
}

impl Collector for KeptBudgets {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let kept = self.0.kept();
        if kept.is_empty() {
            return Ok(());
        }
        let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let kind = gauge(0).metric_type();
        let mut budgets =
            encoder.encode_descriptor("limit_keys", "Callers and addresses whose budgets are kept", None, kind)?;
        for (budget, whose, count) in kept {
            let labels = [("budget", budget.as_str()), ("whose", whose.as_str())];
            gauge(count).encode(budgets.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The sources of tokens, looked at when somebody asks.
struct Sources(Access);

impl std::fmt::Debug for Sources {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Sources")
    }
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, help, number) in self.0.condition() {
            let gauge = ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// Sizes of the index, looked at when somebody asks.
#[derive(Debug)]
struct IndexSizes(Index);

impl Collector for IndexSizes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let sizes = self.0.sizes();
        let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let mut jobs = {
            let kind = gauge(0).metric_type();
            encoder.encode_descriptor("index_jobs", "Jobs in the index by status", None, kind)?
        };
        for (status, count) in &sizes.jobs {
            gauge(*count).encode(jobs.encode_family(&[("status", status.as_str())])?)?;
        }
        for (name, help, count) in [
            ("record_cache_records", "Records of finished jobs at hand", sizes.cached_records),
            ("record_cache_bytes", "Bytes of the records at hand", sizes.cached_bytes),
        ] {
            let kind = gauge(0).metric_type();
            gauge(count).encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        let sequence = ConstGauge::new(i64::try_from(self.0.sequence()).unwrap_or(i64::MAX));
        let kind = sequence.metric_type();
        sequence.encode(encoder.encode_descriptor("index_sequence", "Last stream sequence in the index", None, kind)?)
    }
}

/// What is taken of the budgets, looked at when somebody asks.
#[derive(Debug)]
struct MemoryUsed {
    accepting: Memory,
    documents: Memory,
    logs: Memory,
}

impl Collector for MemoryUsed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauge = |used: usize| ConstGauge::new(i64::try_from(used).unwrap_or(i64::MAX));
        let kind = gauge(0).metric_type();
        let help = "Memory set aside for executions being accepted, and for results and logs being sent";
        let mut used = encoder.encode_descriptor("memory_used", help, Some(&Unit::Bytes), kind)?;
        for (what, memory) in [("executions", &self.accepting), ("results", &self.documents), ("logs", &self.logs)] {
            gauge(memory.used()).encode(used.encode_family(&[("for", what)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_counted_as_long_as_it_lasts() {
        let mut registry = Registry::default();
        let memory = Memory::new(1 << 20);
        let metrics = Metrics::new(&mut registry, Index::new(0), [memory.clone(), Memory::new(0), Memory::new(0)]);
        let shown = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        let (accepting, waiting) = (metrics.accepting(), metrics.waiting());
        assert!(shown().contains("quayside_gateway_accepting 1") && metrics.waiting_now() == 1);
        let portion = memory.take(2048).unwrap();
        assert!(shown().contains("quayside_gateway_memory_used_bytes{for=\"executions\"} 2048"), "{}", shown());
        drop((accepting, waiting, portion));
        assert!(shown().contains("quayside_gateway_accepting 0") && metrics.waiting_now() == 0);
    }
}
