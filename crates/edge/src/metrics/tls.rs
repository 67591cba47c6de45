//! Metrics of TLS towards clients. Never labels by client or server name.

use prometheus::{IntCounterVec, Registry};

use super::{Metrics, counters};
use crate::connection::TlsFacts;

#[derive(Debug)]
pub(super) struct TlsVecs {
    sessions: IntCounterVec,
    failures: IntCounterVec,
}

/// TLS counters of one listener. Series are made at first use: a handshake costs far more.
#[derive(Clone, Debug)]
pub struct TlsMetrics {
    listener: String,
    sessions: IntCounterVec,
    failures: IntCounterVec,
}

impl TlsMetrics {
    /// Counts a session that began.
    pub fn began(&self, facts: &TlsFacts) {
        let kind = if facts.is_resumed { "resumed" } else { "full" };
        let labels = [&self.listener, facts.version, facts.key_exchange, kind];
        self.sessions.with_label_values(&labels).inc();
    }

    /// Counts a handshake that came to nothing; `reason` is one of a closed set.
    pub fn failed(&self, reason: &'static str) {
        let labels = [self.listener.as_str(), reason];
        self.failures.with_label_values(&labels).inc();
    }
}

impl Metrics {
    /// TLS handles of one listener.
    pub fn tls(&self, listener: &str) -> TlsMetrics {
        TlsMetrics {
            listener: listener.to_owned(),
            sessions: self.tls.sessions.clone(),
            failures: self.tls.failures.clone(),
        }
    }
}

impl TlsVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            sessions: counters(
                registry,
                "portcullis_edge_tls_sessions_total",
                "TLS sessions by version, key exchange and kind: full or resumed.",
                &["listener", "version", "key_exchange", "kind"],
            ),
            failures: counters(
                registry,
                "portcullis_edge_tls_handshake_failures_total",
                "TLS handshakes that came to nothing, by reason.",
                &["listener", "reason"],
            ),
        }
    }
}
