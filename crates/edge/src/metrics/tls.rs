//! Metrics of TLS towards clients. Never labels by client or server name.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::{Metrics, Registry, counters, gauges};
use crate::connection::TlsFacts;

#[derive(Debug)]
pub(super) struct TlsVecs {
    sessions: IntCounterVec,
    failures: IntCounterVec,
    reloads: IntCounterVec,
    upstream_reloads: IntCounterVec,
    not_after: IntGaugeVec,
}

/// TLS counters of one listener. Series are made at first use: a handshake costs far more.
#[derive(Clone, Debug)]
pub struct TlsMetrics {
    listener: String,
    sessions: IntCounterVec,
    failures: IntCounterVec,
    reloads: IntCounterVec,
    not_after: IntGaugeVec,
}

impl TlsMetrics {
    /// Counts a file that changed and was read again.
    pub fn reloaded(&self, file: &str, is_good: bool) {
        let result = if is_good { "ok" } else { "failed" };
        let labels = [&self.listener, file, result];
        self.reloads.with_label_values(&labels).inc();
    }

    /// Tells the end of the certificate in a file.
    pub fn show_expiry(&self, file: &str, not_after_unix_seconds: i64) {
        let gauge = self.not_after.with_label_values(&[&self.listener, file]);
        gauge.set(not_after_unix_seconds);
    }

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
    /// Files of TLS towards endpoints that were read again, by cluster, file and result.
    pub fn upstream_tls_reloads(&self) -> IntCounterVec {
        self.tls.upstream_reloads.clone()
    }

    /// TLS handles of one listener.
    pub fn tls(&self, listener: &str) -> TlsMetrics {
        TlsMetrics {
            listener: listener.to_owned(),
            sessions: self.tls.sessions.clone(),
            failures: self.tls.failures.clone(),
            reloads: self.tls.reloads.clone(),
            not_after: self.tls.not_after.clone(),
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
            reloads: counters(
                registry,
                "portcullis_edge_tls_reloads_total",
                "Files of certificates, authorities and ticket secrets that changed, by result: ok or failed.",
                &["listener", "file", "result"],
            ),
            upstream_reloads: counters(
                registry,
                "portcullis_edge_upstream_tls_reloads_total",
                "Files of authorities and certificates for TLS to endpoints that changed, by result: ok or failed.",
                &["cluster", "file", "result"],
            ),
            not_after: gauges(
                registry,
                "portcullis_edge_tls_certificate_not_after_seconds",
                "End of validity of the certificate in force, seconds since the Unix epoch.",
                &["listener", "file"],
            ),
        }
    }
}
