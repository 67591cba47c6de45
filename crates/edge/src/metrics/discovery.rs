//! Metrics of the sources of endpoints. Never labels by what a source said.

use std::time::Instant;

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts};

use super::{Metrics, Registry, counters, gauges, register};
use crate::discovery::SourceStatus;

#[derive(Debug)]
pub(super) struct DiscoveryVecs {
    endpoints: IntGaugeVec,
    age: GaugeVec,
    failures: IntCounterVec,
}

impl Metrics {
    /// Times that a source of endpoints failed.
    pub(crate) fn discovery_failures(&self, cluster: &str, source: &str) -> IntCounter {
        let labels = [cluster, source];
        self.discovery.failures.with_label_values(&labels)
    }
}

impl DiscoveryVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        const LABELS: [&str; 2] = ["cluster", "source"];
        let age = Opts::new(
            "portcullis_edge_discovery_age_seconds",
            "Time since a source of endpoints said last which there are.",
        );
        Self {
            endpoints: gauges(
                registry,
                "portcullis_edge_discovery_endpoints",
                "Endpoints that a source said there are, the last time that it did.",
                &LABELS,
            ),
            age: register(registry, GaugeVec::new(age, &LABELS)),
            failures: counters(
                registry,
                "portcullis_edge_discovery_failures_total",
                "Times a source of endpoints failed or knew of none, and what it said last was kept.",
                &LABELS,
            ),
        }
    }

    /// Of sources that are gone; those that stay are shown anew.
    pub(super) fn forget(&self) {
        self.endpoints.reset();
        self.age.reset();
    }

    pub(super) fn show(&self, cluster: &str, sources: &[SourceStatus], now: Instant) {
        for source in sources {
            let labels = [cluster, source.label.as_str()];
            let endpoints = i64::try_from(source.endpoints).unwrap_or(i64::MAX);
            self.endpoints.with_label_values(&labels).set(endpoints);
            if let Some(answered) = source.answered {
                let age = now.saturating_duration_since(answered).as_secs_f64();
                self.age.with_label_values(&labels).set(age);
            }
        }
    }
}
