//! Metrics of endpoints. Never labels by client.

use portcullis_traffic::breaker;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::{Metrics, Registry, counters, gauges, histograms};
use crate::cluster::EndpointStatus;

#[derive(Debug)]
pub(super) struct EndpointVecs {
    requests: IntCounterVec,
    duration: HistogramVec,
    failures: IntCounterVec,
    in_flight: IntGaugeVec,
    healthy: IntGaugeVec,
    ejected: IntGaugeVec,
    changes: IntCounterVec,
    probes: IntCounterVec,
    state: IntGaugeVec,
    ejections: IntCounterVec,
    breaker: IntGaugeVec,
    breaker_openings: IntCounterVec,
}

/// What attempts and probes at one endpoint feed.
#[derive(Clone, Debug)]
pub struct EndpointMetrics {
    /// Attempts.
    pub requests: IntCounter,
    /// Time from taking a place to the response head.
    pub duration: Histogram,
    /// Attempts that failed by the endpoint's fault.
    pub failures: IntCounter,
    /// Probes that passed.
    pub probes_passed: IntCounter,
    /// Probes that failed.
    pub probes_failed: IntCounter,
    /// Times its standing changed.
    pub changes: IntCounter,
    /// Ejections and breaker openings are rare: their series are made when they happen.
    ejections: IntCounterVec,
    breaker_openings: IntCounterVec,
    labels: [String; 2],
}

impl EndpointMetrics {
    /// Counts an ejection; `reason` is one of a closed set.
    pub fn count_ejection(&self, reason: &'static str) {
        let [cluster, endpoint] = &self.labels;
        self.ejections
            .with_label_values(&[cluster, endpoint, reason])
            .inc();
    }

    /// Counts a breaker that opened, or would have: `open` or `would_open`.
    pub fn count_breaker(&self, how: &'static str) {
        let [cluster, endpoint] = &self.labels;
        self.breaker_openings
            .with_label_values(&[cluster, endpoint, how])
            .inc();
    }
}

impl Metrics {
    /// Handles of one endpoint.
    pub fn endpoint(&self, cluster: &str, endpoint: &str) -> EndpointMetrics {
        let labels = [cluster, endpoint];
        EndpointMetrics {
            requests: self.endpoints.requests.with_label_values(&labels),
            duration: self.endpoints.duration.with_label_values(&labels),
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
            ejections: self.endpoints.ejections.clone(),
            breaker_openings: self.endpoints.breaker_openings.clone(),
            labels: labels.map(str::to_owned),
        }
    }
}

impl EndpointVecs {
    pub(super) fn forget(&self) {
        let vecs = [
            &self.in_flight,
            &self.healthy,
            &self.ejected,
            &self.state,
            &self.breaker,
        ];
        vecs.into_iter().for_each(IntGaugeVec::reset);
    }

    pub(super) fn show(&self, cluster: &str, status: &EndpointStatus) {
        let endpoint = status.endpoint.label();
        let set = |vec: &IntGaugeVec, value: i64| {
            vec.with_label_values(&[cluster, endpoint]).set(value);
        };
        set(&self.in_flight, status.in_flight.into());
        set(&self.healthy, status.is_healthy().into());
        set(&self.ejected, status.is_ejected().into());
        let state = status.state();
        for name in EndpointStatus::STATES {
            let is_it = i64::from(name == state);
            self.state
                .with_label_values(&[cluster, endpoint, name])
                .set(is_it);
        }
        if let Some(breaker) = status.report.breaker {
            let number = match breaker.state {
                breaker::State::Closed => 0,
                breaker::State::HalfOpen => 1,
                breaker::State::Open => 2,
            };
            set(&self.breaker, number);
        }
    }

    pub(super) fn new(registry: &Registry) -> Self {
        let labels = ["cluster", "endpoint"];
        let counter = |name, help| counters(registry, name, help, &labels);
        let gauge = |name, help| gauges(registry, name, help, &labels);
        Self {
            requests: counter(
                "portcullis_edge_endpoint_requests_total",
                "Attempts at an endpoint.",
            ),
            duration: histograms(
                registry,
                "portcullis_edge_endpoint_duration_seconds",
                "Time from an attempt's begin to the head of its response.",
                &labels,
            ),
            failures: counter(
                "portcullis_edge_endpoint_failures_total",
                "Attempts that failed by the endpoint's fault.",
            ),
            in_flight: gauge(
                "portcullis_edge_endpoint_in_flight",
                "Attempts running now.",
            ),
            healthy: gauge(
                "portcullis_edge_endpoint_healthy",
                "1 while active checks hold the endpoint healthy.",
            ),
            ejected: gauge(
                "portcullis_edge_endpoint_ejected",
                "1 while the endpoint is put aside for failures seen on traffic.",
            ),
            changes: counter(
                "portcullis_edge_endpoint_state_changes_total",
                "Times an endpoint was taken out or came back.",
            ),
            state: gauges(
                registry,
                "portcullis_edge_endpoint_state",
                "1 for the state it is in: in, degraded, draining, last_resort or out.",
                &["cluster", "endpoint", "state"],
            ),
            ejections: counters(
                registry,
                "portcullis_edge_endpoint_ejections_total",
                "Ejections by what went wrong last.",
                &["cluster", "endpoint", "reason"],
            ),
            breaker: gauge(
                "portcullis_edge_endpoint_breaker",
                "State of its breaker: 0 closed, 1 half open, 2 open.",
            ),
            breaker_openings: counters(
                registry,
                "portcullis_edge_endpoint_breaker_openings_total",
                "Times its breaker opened (open), or would have if it did more than watch (would_open).",
                &["cluster", "endpoint", "how"],
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
