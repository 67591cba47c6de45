//! Every metric name and label of the edge, once. Never decides anything and never labels by path or client.

use std::sync::OnceLock;
use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::outcome::{Outcome, RetryReason};
use crate::state::Snapshot;

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
    endpoints: EndpointVecs,
    listeners: ListenerVecs,
    generation: IntGauge,
    log_dropped: IntCounter,
}

#[derive(Debug)]
struct EndpointVecs {
    requests: IntCounterVec,
    failures: IntCounterVec,
    in_flight: IntGaugeVec,
    healthy: IntGaugeVec,
    ejected: IntGaugeVec,
    changes: IntCounterVec,
    probes: IntCounterVec,
}

#[derive(Debug)]
struct ListenerVecs {
    connections: IntCounterVec,
    open: IntGaugeVec,
    refused: IntCounterVec,
    handshakes: IntCounterVec,
}

/// Connection counters of one listener.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    /// Connections accepted.
    pub connections: IntCounter,
    /// Connections open now.
    pub open: IntGauge,
    /// Connections closed at accept because a limit was reached.
    pub refused: IntCounter,
    /// TLS handshakes that succeeded.
    pub handshakes_ok: IntCounter,
    /// TLS handshakes that failed or timed out.
    pub handshakes_failed: IntCounter,
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

/// What attempts and probes at one endpoint feed.
#[derive(Clone, Debug)]
pub struct EndpointMetrics {
    /// Attempts.
    pub requests: IntCounter,
    /// Attempts that failed by the endpoint's fault.
    pub failures: IntCounter,
    /// Probes that passed.
    pub probes_passed: IntCounter,
    /// Probes that failed.
    pub probes_failed: IntCounter,
    /// Times it was taken out or came back: health and ejection.
    pub changes: IntCounter,
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
        let registry = Registry::new();
        let duration = HistogramOpts::new(
            "portcullis_edge_request_duration_seconds",
            "Time from a request's head to the end of its exchange.",
        )
        .buckets(DURATION_BUCKETS_SECONDS.to_vec());
        Self {
            requests: counters(
                &registry,
                "portcullis_edge_requests_total",
                "Requests by how they ended.",
                &["listener", "route", "cluster", "outcome"],
            ),
            duration: register(&registry, HistogramVec::new(duration, &["cluster"])),
            retries: counters(
                &registry,
                "portcullis_edge_retries_total",
                "Attempts after the first by reason: connect, reset, timeout, malformed, status or endpoint_out.",
                &["cluster", "reason"],
            ),
            retry_budget_spent: counters(
                &registry,
                "portcullis_edge_retry_budget_spent_total",
                "Retries that were not made because too many ran in the cluster.",
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
            endpoints: EndpointVecs::new(&registry),
            listeners: ListenerVecs::new(&registry),
            generation: register(
                &registry,
                IntGauge::new(
                    "portcullis_edge_snapshot_generation",
                    "Generation of the running configuration.",
                ),
            ),
            log_dropped: register(
                &registry,
                IntCounter::new(
                    "portcullis_edge_access_log_dropped_total",
                    "Access log lines lost because the writer could not keep up.",
                ),
            ),
            registry,
        }
    }

    /// Handles of one listener.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        ListenerMetrics {
            connections: self.listeners.connections.with_label_values(&[name]),
            open: self.listeners.open.with_label_values(&[name]),
            refused: self.listeners.refused.with_label_values(&[name]),
            handshakes_ok: self.listeners.handshakes.with_label_values(&[name, "ok"]),
            handshakes_failed: self
                .listeners
                .handshakes
                .with_label_values(&[name, "failed"]),
        }
    }

    /// Handles of one cluster.
    pub fn cluster(&self, name: &str) -> ClusterMetrics {
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
        }
    }

    /// Handles of one endpoint.
    pub fn endpoint(&self, cluster: &str, endpoint: &str) -> EndpointMetrics {
        let labels = [cluster, endpoint];
        EndpointMetrics {
            requests: self.endpoints.requests.with_label_values(&labels),
            failures: self.endpoints.failures.with_label_values(&labels),
            probes_passed: self
                .endpoints
                .probes
                .with_label_values(&[cluster, endpoint, "pass"]),
            probes_failed: self
                .endpoints
                .probes
                .with_label_values(&[cluster, endpoint, "fail"]),
            changes: self.endpoints.changes.with_label_values(&labels),
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

    /// Lines the access log had to drop.
    pub fn log_dropped(&self) -> IntCounter {
        self.log_dropped.clone()
    }

    /// The Prometheus text of everything. Gauges that follow from the snapshot are read from it
    /// here, so that no request pays for them.
    pub fn render(&self, snapshot: &Snapshot, now: Instant) -> String {
        self.generation
            .set(i64::try_from(snapshot.generation).unwrap_or(i64::MAX));
        for cluster in &snapshot.clusters {
            for endpoint in cluster.endpoints() {
                let labels = [cluster.name(), endpoint.label()];
                let flag = |vec: &IntGaugeVec, value: bool| {
                    vec.with_label_values(&labels).set(i64::from(value));
                };
                self.endpoints
                    .in_flight
                    .with_label_values(&labels)
                    .set(i64::from(endpoint.in_flight()));
                flag(&self.endpoints.healthy, endpoint.is_healthy());
                flag(&self.endpoints.ejected, endpoint.is_ejected(now));
            }
        }
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl EndpointVecs {
    fn new(registry: &Registry) -> Self {
        let labels = ["cluster", "endpoint"];
        Self {
            requests: counters(
                registry,
                "portcullis_edge_endpoint_requests_total",
                "Attempts at an endpoint.",
                &labels,
            ),
            failures: counters(
                registry,
                "portcullis_edge_endpoint_failures_total",
                "Attempts that failed by the endpoint's fault.",
                &labels,
            ),
            in_flight: gauges(
                registry,
                "portcullis_edge_endpoint_in_flight",
                "Attempts running now.",
                &labels,
            ),
            healthy: gauges(
                registry,
                "portcullis_edge_endpoint_healthy",
                "1 while active checks hold the endpoint healthy.",
                &labels,
            ),
            ejected: gauges(
                registry,
                "portcullis_edge_endpoint_ejected",
                "1 while the endpoint is put aside for failures seen on traffic.",
                &labels,
            ),
            changes: counters(
                registry,
                "portcullis_edge_endpoint_state_changes_total",
                "Times an endpoint was taken out or came back.",
                &labels,
            ),
            probes: counters(
                registry,
                "portcullis_edge_probes_total",
                "Health check probes by result: pass or fail.",
                &["cluster", "endpoint", "result"],
            ),
        }
    }
}

impl ListenerVecs {
    fn new(registry: &Registry) -> Self {
        let labels = ["listener"];
        Self {
            connections: counters(
                registry,
                "portcullis_edge_connections_total",
                "Connections accepted.",
                &labels,
            ),
            open: gauges(
                registry,
                "portcullis_edge_connections_open",
                "Connections open now.",
                &labels,
            ),
            refused: counters(
                registry,
                "portcullis_edge_connections_refused_total",
                "Connections closed at accept because a limit was reached.",
                &labels,
            ),
            handshakes: counters(
                registry,
                "portcullis_edge_tls_handshakes_total",
                "TLS handshakes by result: ok or failed.",
                &["listener", "result"],
            ),
        }
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
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
