//! Metrics of lists of clients. Never labels by client.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use super::{Metrics, Registry, counters, register};

/// What the lists of the process feed.
#[derive(Debug)]
pub struct GateVecs {
    refused: IntCounterVec,
    /// Files that changed and were read.
    pub renewed: IntCounter,
    /// Files that changed and could not be used.
    pub failed: IntCounter,
    bans: IntGauge,
}

/// Counters of one list, or of the bans.
#[derive(Clone, Debug)]
pub struct GateMetrics {
    /// Connections and requests that were refused.
    pub refused: IntCounter,
    /// Requests that would have been, if it did more than watch.
    pub would_refuse: IntCounter,
}

impl Metrics {
    /// Counters of the lists of a listener or a route; `by` is `listener`, `route` or `ban`.
    pub fn gate(&self, by: &str, name: &str) -> GateMetrics {
        let counter = |how| self.gates.refused.with_label_values(&[by, name, how]);
        GateMetrics {
            refused: counter("refused"),
            would_refuse: counter("would_refuse"),
        }
    }

    /// Counters that all lists share.
    pub fn gates(&self) -> &GateVecs {
        &self.gates
    }
}

impl GateVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        let reloads = counters(
            registry,
            "portcullis_edge_client_list_reloads_total",
            "Files of clients that changed, by result: ok or failed.",
            &["result"],
        );
        Self {
            refused: counters(
                registry,
                "portcullis_edge_clients_refused_total",
                "Connections and requests of clients that may not come in, by listener, route or ban; how is refused or would_refuse.",
                &["by", "name", "how"],
            ),
            renewed: reloads.with_label_values(&["ok"]),
            failed: reloads.with_label_values(&["failed"]),
            bans: register(
                registry,
                IntGauge::with_opts(Opts::new(
                    "portcullis_edge_bans",
                    "Networks that the operator keeps out.",
                )),
            ),
        }
    }

    /// How many bans there are.
    pub(crate) fn show(&self, bans: usize) {
        self.bans.set(bans.try_into().unwrap_or(i64::MAX));
    }
}
