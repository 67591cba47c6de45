//! Every metric name and label of the edge, once. Never decides anything and never labels by path or client.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use portcullis_traffic::select::Why;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    TextEncoder,
};

use crate::cluster::ClusterStatus;
use crate::outcome::{Outcome, RetryReason};
use crate::state::Snapshot;

mod control;
mod discovery;
mod endpoints;
mod feeds;
mod flags;
mod gates;
mod listeners;
mod passthrough;
mod rate_limits;
mod reloads;
mod series;
mod tls;
mod tokens;

pub use control::ControlMetrics;
use discovery::DiscoveryVecs;
pub use endpoints::EndpointMetrics;
use endpoints::EndpointVecs;
pub use feeds::FeedMetrics;
use feeds::FeedVecs;
pub(crate) use flags::FlagMetrics;
use flags::FlagVecs;
pub use gates::{GateMetrics, GateVecs};
pub use listeners::ListenerMetrics;
use listeners::ListenerVecs;
pub use passthrough::PassedMetrics;
use passthrough::PassthroughVecs;
pub(crate) use rate_limits::LimitMetrics;
use rate_limits::LimitVecs;
use reloads::ReloadVecs;
use series::{Labelled, Registry};
pub use tls::TlsMetrics;
use tls::TlsVecs;
pub use tokens::IssuerMetrics;
use tokens::TokenVecs;

/// All metrics of one edge. Handles are resolved once per snapshot, not per request.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    retries: IntCounterVec,
    retry_budget_spent: IntCounterVec,
    connections: IntCounterVec,
    stale: IntCounterVec,
    clusters: ClusterVecs,
    endpoints: EndpointVecs,
    listeners: ListenerVecs,
    passthrough: PassthroughVecs,
    reloads: ReloadVecs,
    tls: TlsVecs,
    tokens: TokenVecs,
    feeds: FeedVecs,
    discovery: DiscoveryVecs,
    gates: GateVecs,
    flags: FlagVecs,
    limits: LimitVecs,
    generation: IntGauge,
    log_dropped: IntCounter,
    control: ControlMetrics,
    /// Requests by outcome whose series are gone.
    departed: Mutex<BTreeMap<String, f64>>,
    /// The generation that the gauges were read from last.
    shown: Mutex<u64>,
}

#[derive(Debug)]
struct ClusterVecs {
    panic: IntGaugeVec,
    shared_cause: IntGaugeVec,
    fallback_picks: IntCounterVec,
    queue_length: IntGaugeVec,
    queued: IntCounterVec,
}

/// What requests of one cluster feed.
#[derive(Clone, Debug)]
pub struct ClusterMetrics {
    /// Time from the head's arrival to the end of the exchange.
    pub duration: Histogram,
    /// Attempts after the first.
    pub retries: RetryCounters,
    /// Retries that were not made because too many ran.
    pub retry_budget_spent: IntCounter,
    /// Connections that attempts went out on.
    pub connections: ConnectionCounters,
    /// Requests that waited and got a place.
    pub queue_served: IntCounter,
    /// Requests that waited in vain.
    pub queue_timeouts: IntCounter,
    /// Requests that could not even wait.
    pub queue_refused: IntCounter,
    /// Requests whose client left while they waited.
    pub queue_left: IntCounter,
    spilled: IntCounter,
    panicked: IntCounter,
}

impl ClusterMetrics {
    /// Counts how an endpoint came to be picked, if it is worth counting.
    pub fn count_pick(&self, why: Why) {
        match why {
            Why::Spilled => self.spilled.inc(),
            Why::Panic => self.panicked.inc(),
            Why::Bound | Why::Balanced => {}
        }
    }
}

/// Attempts after the first, by what made them necessary.
#[derive(Clone, Debug)]
pub struct RetryCounters([IntCounter; RetryReason::ALL.len()]);

impl RetryCounters {
    /// The counter of one reason.
    pub fn of(&self, reason: RetryReason) -> &IntCounter {
        &self.0[reason as usize]
    }
}

/// Where attempts of one cluster get their connections from.
#[derive(Clone, Debug)]
pub struct ConnectionCounters {
    reused: IntCounter,
    new: IntCounter,
    /// Pooled connections that ended under a request without a byte of an answer.
    pub stale: IntCounter,
}

impl ConnectionCounters {
    /// The counter of pooled connections, or of new ones.
    pub fn of(&self, is_reused: bool) -> &IntCounter {
        if is_reused { &self.reused } else { &self.new }
    }
}

/// Request counters of one listener and route: one per outcome, made at first use so that
/// combinations that never happen leave no empty series.
#[derive(Debug)]
pub struct RequestCounters {
    requests: IntCounterVec,
    labels: [String; 3],
    by_outcome: [OnceLock<IntCounter>; Outcome::ALL.len()],
}

impl RequestCounters {
    /// Counts one ended request.
    pub fn count(&self, outcome: Outcome) {
        self.by_outcome[outcome.index()]
            .get_or_init(|| {
                let [listener, route, cluster] = &self.labels;
                self.requests
                    .with_label_values(&[listener, route, cluster, outcome.name()])
            })
            .inc();
    }
}

impl Metrics {
    /// Registers everything with a registry of its own.
    pub fn new() -> Self {
        let registry = Registry::default();
        Self {
            requests: counters(
                &registry,
                "portcullis_edge_requests_total",
                "Requests by how they ended.",
                &["listener", "route", "cluster", "outcome"],
            ),
            duration: histograms(
                &registry,
                "portcullis_edge_request_duration_seconds",
                "Time from a request's head to the end of its exchange.",
                &["cluster"],
            ),
            retries: counters(
                &registry,
                "portcullis_edge_retries_total",
                "Attempts after the first by reason: connect, reset, timeout, malformed, status or endpoint_out.",
                &["cluster", "reason"],
            ),
            retry_budget_spent: counters(
                &registry,
                "portcullis_edge_retry_budget_spent_total",
                "Retries that were not made because too many ran in the cluster all the while.",
                &["cluster"],
            ),
            connections: counters(
                &registry,
                "portcullis_edge_endpoint_connections_total",
                "Connections that attempts went out on: kind is reused (pooled) or new.",
                &["cluster", "kind"],
            ),
            stale: counters(
                &registry,
                "portcullis_edge_stale_connections_total",
                "Pooled connections that their endpoint ended under a request, without a byte of an answer.",
                &["cluster"],
            ),
            clusters: ClusterVecs::new(&registry),
            endpoints: EndpointVecs::new(&registry),
            listeners: ListenerVecs::new(&registry),
            passthrough: PassthroughVecs::new(&registry),
            reloads: ReloadVecs::new(&registry),
            tls: TlsVecs::new(&registry),
            tokens: TokenVecs::new(&registry),
            feeds: FeedVecs::new(&registry),
            discovery: DiscoveryVecs::new(&registry),
            gates: GateVecs::new(&registry),
            flags: FlagVecs::new(&registry),
            limits: LimitVecs::new(&registry),
            generation: register(
                &registry,
                IntGauge::new(
                    "portcullis_edge_snapshot_generation",
                    "Generation of the running configuration.",
                ),
            ),
            control: ControlMetrics::new(&registry),
            departed: Mutex::default(),
            log_dropped: register(
                &registry,
                IntCounter::new(
                    "portcullis_edge_access_log_dropped_total",
                    "Access log lines lost because the writer could not keep up.",
                ),
            ),
            registry,
            shown: Mutex::default(),
        }
    }

    /// Handles of one cluster.
    pub fn cluster(&self, name: &str) -> ClusterMetrics {
        let queued = |result| self.clusters.queued.with_label_values(&[name, result]);
        let picks = |why| self.clusters.fallback_picks.with_label_values(&[name, why]);
        ClusterMetrics {
            duration: self.duration.with_label_values(&[name]),
            retries: RetryCounters(
                RetryReason::ALL
                    .map(|reason| self.retries.with_label_values(&[name, reason.name()])),
            ),
            retry_budget_spent: self.retry_budget_spent.with_label_values(&[name]),
            connections: ConnectionCounters {
                reused: self.connections.with_label_values(&[name, "reused"]),
                new: self.connections.with_label_values(&[name, "new"]),
                stale: self.stale.with_label_values(&[name]),
            },
            queue_served: queued("served"),
            queue_timeouts: queued("timeout"),
            queue_refused: queued("full"),
            queue_left: queued("left"),
            spilled: picks("spilled"),
            panicked: picks("panic"),
        }
    }

    /// Counters of one listener and route.
    pub fn requests(&self, listener: &str, route: &str, cluster: &str) -> RequestCounters {
        RequestCounters {
            requests: self.requests.clone(),
            labels: [listener, route, cluster].map(str::to_owned),
            by_outcome: [const { OnceLock::new() }; Outcome::ALL.len()],
        }
    }

    /// What is changed while the edge runs.
    pub fn control(&self) -> &ControlMetrics {
        &self.control
    }

    /// Lines the access log had to drop.
    pub fn log_dropped(&self) -> IntCounter {
        self.log_dropped.clone()
    }

    /// The Prometheus text of everything. Gauges that follow from the snapshot are read from it
    /// here, so that no request pays for them.
    pub fn render(&self, snapshot: &Snapshot, now: Instant) -> String {
        TextEncoder::new()
            .encode_to_string(&self.gather(snapshot, now))
            .unwrap_or_default()
    }

    fn gather(&self, snapshot: &Snapshot, now: Instant) -> Vec<MetricFamily> {
        self.generation
            .set(i64::try_from(snapshot.generation).unwrap_or(i64::MAX));
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown != snapshot.generation {
            // What is gone has no present.
            *shown = snapshot.generation;
            self.clusters.forget();
            self.endpoints.forget();
            self.tokens.forget();
            self.feeds.forget();
            self.discovery.forget();
            self.flags.forget();
        }
        self.flags.show(&snapshot.flags);
        for issuer in &snapshot.issuers {
            self.tokens.show(issuer, now);
            if let Some(follower) = issuer.revocations() {
                self.feeds.show(issuer.name(), follower, now);
            }
        }
        for cluster in &snapshot.clusters {
            let status = cluster.status(now);
            self.clusters.show(cluster.name(), &status);
            self.discovery.show(cluster.name(), &cluster.sources(), now);
            for endpoint in &status.endpoints {
                self.endpoints.show(cluster.name(), endpoint);
            }
        }
        self.registry.gather()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl ClusterVecs {
    fn new(registry: &Registry) -> Self {
        let labels = ["cluster"];
        Self {
            panic: gauges(
                registry,
                "portcullis_edge_cluster_panic",
                "1 while nobody is eligible and endpoints of last resort are used.",
                &labels,
            ),
            shared_cause: gauges(
                registry,
                "portcullis_edge_cluster_shared_cause",
                "1 while all endpoints fail for the same cause and nobody is put aside for it.",
                &labels,
            ),
            fallback_picks: counters(
                registry,
                "portcullis_edge_fallback_picks_total",
                "Attempts at endpoints of another tier or zone (spilled) or of last resort (panic).",
                &["cluster", "why"],
            ),
            queue_length: gauges(
                registry,
                "portcullis_edge_queue_length",
                "Requests that wait for a place at an endpoint.",
                &labels,
            ),
            queued: counters(
                registry,
                "portcullis_edge_queue_total",
                "Requests that found every endpoint full: served, timeout, full or left.",
                &["cluster", "result"],
            ),
        }
    }

    fn forget(&self) {
        for gauges in [&self.panic, &self.shared_cause, &self.queue_length] {
            gauges.reset();
        }
    }

    fn show(&self, cluster: &str, status: &ClusterStatus) {
        let set = |vec: &IntGaugeVec, value: i64| vec.with_label_values(&[cluster]).set(value);
        set(&self.panic, status.is_panicking.into());
        set(&self.shared_cause, status.shared_cause.is_some().into());
        set(
            &self.queue_length,
            status.queued.try_into().unwrap_or(i64::MAX),
        );
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    labelled(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn histograms(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS_SECONDS.to_vec());
    labelled(registry, HistogramVec::new(options, labels))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    labelled(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

/// One whose series come and go.
fn labelled<C: Collector + Clone + Into<Labelled> + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let family = register(registry, made);
    registry.keep(family.clone().into());
    family
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let metric = made.expect("names and labels are constants of this file");
    registry
        .register(Box::new(metric.clone()))
        .expect("each name is registered once");
    metric
}

/// Contains the limits that operators alert on: 10, 100, 200 ms, 1 s and 2 s.
const DURATION_BUCKETS_SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];
