//! Metrics of revocations and of the feeds that tell them. Never labels by token or subject.

use std::time::Instant;

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::{Metrics, Registry, counters, gauges, register};
use crate::revocation::Follower;

#[derive(Debug)]
pub(super) struct FeedVecs {
    entries: IntGaugeVec,
    bytes: IntGaugeVec,
    age: GaugeVec,
    connected: IntGaugeVec,
    records: IntCounterVec,
    failures: IntCounterVec,
}

/// What the follower of one issuer feeds.
#[derive(Clone, Debug)]
pub struct FeedMetrics {
    /// Whether a feed answered last.
    pub(crate) connected: IntGauge,
    /// Records that came.
    pub(crate) records: IntCounter,
    /// Times a feed was given up.
    pub(crate) failures: IntCounter,
}

impl Metrics {
    /// Handles of one issuer.
    pub(crate) fn feed(&self, issuer: &str) -> FeedMetrics {
        FeedMetrics {
            connected: self.feeds.connected.with_label_values(&[issuer]),
            records: self.feeds.records.with_label_values(&[issuer]),
            failures: self.feeds.failures.with_label_values(&[issuer]),
        }
    }
}

impl FeedVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        const ISSUER: [&str; 1] = ["issuer"];
        let age = Opts::new(
            "portcullis_edge_revocation_lag_seconds",
            "Time since the revocations of an issuer were last known to be complete.",
        );
        Self {
            entries: gauges(
                registry,
                "portcullis_edge_revocations",
                "Revocations of an issuer that are held.",
                &ISSUER,
            ),
            bytes: gauges(
                registry,
                "portcullis_edge_revocations_bytes",
                "Memory that they take.",
                &ISSUER,
            ),
            age: register(registry, GaugeVec::new(age, &ISSUER)),
            connected: gauges(
                registry,
                "portcullis_edge_revocation_feed_connected",
                "1 while a feed answers.",
                &ISSUER,
            ),
            records: counters(
                registry,
                "portcullis_edge_revocation_records_total",
                "Records that feeds have told, repeats included.",
                &ISSUER,
            ),
            failures: counters(
                registry,
                "portcullis_edge_revocation_feed_failures_total",
                "Times a feed was given up and the next one was asked.",
                &ISSUER,
            ),
        }
    }

    /// Of issuers that are gone; those that stay are shown anew.
    pub(super) fn forget(&self) {
        self.entries.reset();
        self.bytes.reset();
        self.age.reset();
    }

    pub(super) fn show(&self, issuer: &str, follower: &Follower, now: Instant) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let labels = [issuer];
        self.entries
            .with_label_values(&labels)
            .set(count(follower.set.len()));
        self.bytes
            .with_label_values(&labels)
            .set(count(follower.set.bytes()));
        let age: Gauge = self.age.with_label_values(&labels);
        age.set(follower.set.lag(now).as_secs_f64());
    }
}
