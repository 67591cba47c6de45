//! Metrics of listeners and their connections. Never labels by client.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Metrics, Registry, TlsMetrics, counters, gauges};
use crate::engine::Abuse;

#[derive(Debug)]
pub(super) struct ListenerVecs {
    connections: IntCounterVec,
    open: IntGaugeVec,
    refused: IntCounterVec,
    handshakes: IntCounterVec,
    http2_farewells: IntCounterVec,
}

/// Connection counters of one listener.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    /// Connections accepted.
    pub connections: IntCounter,
    /// Connections open now.
    pub open: IntGauge,
    /// Connections turned away because a limit was reached.
    pub refused_full: IntCounter,
    /// Connections of clients that may not come in.
    pub refused_client: IntCounter,
    /// Connections turned away because their client has enough.
    pub refused_address: IntCounter,
    /// Connections closed for want of a PROXY header.
    pub refused_proxy_header: IntCounter,
    /// TLS handshakes that succeeded.
    pub handshakes_ok: IntCounter,
    /// TLS handshakes that failed or timed out.
    pub handshakes_failed: IntCounter,
    /// More of TLS.
    pub tls: TlsMetrics,
    /// HTTP/2 connections that ended for what their client did.
    pub(crate) http2_farewells: FarewellCounters,
}

/// HTTP/2 connections that were given up, by what their client did.
#[derive(Clone, Debug)]
pub(crate) struct FarewellCounters([IntCounter; Abuse::ALL.len()]);

impl FarewellCounters {
    /// The counter of one reason.
    pub(crate) fn of(&self, abuse: Abuse) -> &IntCounter {
        &self.0[abuse as usize]
    }
}

impl Metrics {
    /// Handles of one listener.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        let refused = |reason| self.listeners.refused.with_label_values(&[name, reason]);
        ListenerMetrics {
            connections: self.listeners.connections.with_label_values(&[name]),
            open: self.listeners.open.with_label_values(&[name]),
            refused_full: refused("full"),
            refused_client: refused("client"),
            refused_address: refused("address"),
            refused_proxy_header: refused("proxy_header"),
            handshakes_ok: self.listeners.handshakes.with_label_values(&[name, "ok"]),
            handshakes_failed: self
                .listeners
                .handshakes
                .with_label_values(&[name, "failed"]),
            tls: self.tls(name),
            http2_farewells: FarewellCounters(Abuse::ALL.map(|abuse| {
                let labels = [name, abuse.name()];
                self.listeners.http2_farewells.with_label_values(&labels)
            })),
        }
    }
}

impl ListenerVecs {
    pub(super) fn new(registry: &Registry) -> Self {
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
                "Connections turned away before anything was read: full, client, address or proxy_header.",
                &["listener", "reason"],
            ),
            handshakes: counters(
                registry,
                "portcullis_edge_tls_handshakes_total",
                "TLS handshakes by result: ok or failed.",
                &["listener", "result"],
            ),
            http2_farewells: counters(
                registry,
                "portcullis_edge_http2_goaways_total",
                "HTTP/2 connections given up, by what their client did too often.",
                &["listener", "why"],
            ),
        }
    }
}
