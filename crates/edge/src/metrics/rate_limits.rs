//! Metrics of limits of how often and how many at once. Never labels by a key.

use prometheus::{IntCounter, IntCounterVec};

use super::{Metrics, Registry, counters};

#[derive(Debug)]
pub(super) struct LimitVecs {
    requests: IntCounterVec,
    evictions: IntCounterVec,
}

/// What requests of one limit feed.
#[derive(Clone, Debug)]
pub(crate) struct LimitMetrics {
    pub(crate) admitted: IntCounter,
    pub(crate) exempt: IntCounter,
    /// Refused for coming too often, or only counted as such.
    pub(crate) rate: IntCounter,
    pub(crate) would_rate: IntCounter,
    /// Refused since too many run, or only counted as such.
    pub(crate) concurrency: IntCounter,
    pub(crate) would_concurrency: IntCounter,
    /// Keys that were forgotten for want of room.
    pub(crate) evicted: IntCounter,
}

impl Metrics {
    /// Handles of one limit.
    pub(crate) fn rate_limit(&self, name: &str) -> LimitMetrics {
        let of = |result| self.limits.requests.with_label_values(&[name, result]);
        LimitMetrics {
            admitted: of("admitted"),
            exempt: of("exempt"),
            rate: of("refused_rate"),
            would_rate: of("would_refuse_rate"),
            concurrency: of("refused_concurrency"),
            would_concurrency: of("would_refuse_concurrency"),
            evicted: self.limits.evictions.with_label_values(&[name]),
        }
    }
}

impl LimitVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            requests: counters(
                registry,
                "portcullis_edge_rate_limited_total",
                "Requests by what a limit said: admitted, exempt, refused_rate, refused_concurrency, would_refuse_rate or would_refuse_concurrency (dry run).",
                &["limit", "result"],
            ),
            evictions: counters(
                registry,
                "portcullis_edge_rate_limit_evictions_total",
                "Keys of a limit that were forgotten for want of room before they had refilled.",
                &["limit"],
            ),
        }
    }
}
