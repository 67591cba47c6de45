//! Metrics of the configuration. Never labels by what is in it.

use prometheus::{IntCounterVec, IntGauge};

use super::{Metrics, Registry, counters};

#[derive(Debug)]
pub(super) struct ReloadVecs {
    reloads: IntCounterVec,
    failed: IntGauge,
}

/// How reloads ended.
#[derive(Debug)]
pub(crate) struct ReloadMetrics<'a>(&'a ReloadVecs);

impl Metrics {
    /// Handles of reloads.
    pub(crate) fn reloads(&self) -> ReloadMetrics<'_> {
        ReloadMetrics(&self.reloads)
    }
}

impl ReloadMetrics<'_> {
    /// One ended.
    pub(crate) fn count(&self, origin: &str, is_done: bool) {
        let result = if is_done { "ok" } else { "failed" };
        let labels = [origin, result];
        self.0.reloads.with_label_values(&labels).inc();
        self.0.failed.set(i64::from(!is_done));
    }
}

impl ReloadVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            reloads: counters(
                registry,
                "portcullis_edge_config_reloads_total",
                "Times the configuration was read again, by who wanted it and result: ok or failed.",
                &["origin", "result"],
            ),
            failed: super::gauge(
                registry,
                "portcullis_edge_config_reload_failed",
                "1 while the last reload was refused and an older configuration goes on.",
            ),
        }
    }
}
