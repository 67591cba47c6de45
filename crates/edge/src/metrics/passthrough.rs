//! Metrics of TLS that is passed through. Never labels by client or server name.

use prometheus::core::Collector;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::{Metrics, Registry, counters, gauges};
use crate::outcome::Outcome;

#[derive(Debug)]
pub(super) struct PassthroughVecs {
    connections: IntCounterVec,
    bytes: IntCounterVec,
    open: IntGaugeVec,
}

/// What passed connections of one listener to one cluster feed; counts one of them as open while it
/// lives.
#[derive(Debug)]
pub struct PassedMetrics<'m> {
    vecs: &'m PassthroughVecs,
    listener: &'m str,
    cluster: String,
    open: IntGauge,
}

impl Metrics {
    /// Counts a connection as open.
    pub fn passing<'m>(&'m self, listener: &'m str, cluster: &str) -> PassedMetrics<'m> {
        let vecs = &self.passthrough;
        let open = vecs.open.with_label_values(&[listener, cluster]);
        open.inc();
        PassedMetrics {
            vecs,
            listener,
            cluster: cluster.to_owned(),
            open,
        }
    }
}

impl Metrics {
    /// Clusters that bytes are passed through to, whether or not the configuration still has them.
    pub(crate) fn passed_clusters(&self) -> Vec<String> {
        let families = self.passthrough.open.collect();
        let series = families.iter().flat_map(|family| family.get_metric());
        let open = series.filter(|one| one.get_gauge().get_value() > 0.0);
        let labels = open.flat_map(|one| one.get_label());
        let clusters = labels.filter(|label| label.name() == "cluster");
        clusters.map(|label| label.value().to_owned()).collect()
    }
}

impl PassedMetrics<'_> {
    /// Counts it as ended.
    pub fn ended(&self, outcome: Outcome, to_endpoint: u64, to_client: u64) {
        let labels = [self.listener, &self.cluster];
        let [listener, cluster] = labels;
        let ended = [listener, cluster, outcome.name()];
        self.vecs.connections.with_label_values(&ended).inc();
        for (direction, bytes) in [("to_endpoint", to_endpoint), ("to_client", to_client)] {
            let labels = [listener, cluster, direction];
            self.vecs.bytes.with_label_values(&labels).inc_by(bytes);
        }
    }
}

impl Drop for PassedMetrics<'_> {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl PassthroughVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            connections: counters(
                registry,
                "portcullis_edge_passthrough_connections_total",
                "TLS connections passed through by how they ended.",
                &["listener", "cluster", "outcome"],
            ),
            bytes: counters(
                registry,
                "portcullis_edge_passthrough_bytes_total",
                "Bytes of TLS connections passed through: to_endpoint or to_client.",
                &["listener", "cluster", "direction"],
            ),
            open: gauges(
                registry,
                "portcullis_edge_passthrough_connections_open",
                "TLS connections that are passed through now.",
                &["listener", "cluster"],
            ),
        }
    }
}
