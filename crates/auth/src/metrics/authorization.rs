//! How permission checks end, and where their sets come from. Never who asked, or for what.

use prometheus::IntCounter;

use super::Names;

/// Where a permission set was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The memory of this instance.
    Process,
    /// The shared state.
    Shared,
}

#[derive(Debug)]
pub(crate) struct AuthorizationMetrics {
    allowed: IntCounter,
    denied: IntCounter,
    /// Hits and misses of the process, then of the shared state.
    lookups: [[IntCounter; 2]; 2],
    store_reads: IntCounter,
}

impl AuthorizationMetrics {
    pub(super) fn new(r: &Names<'_>) -> Result<Self, prometheus::Error> {
        let checks = r.counters(
            "permission_checks_total",
            "Permissions that were asked for.",
            &["result"],
        )?;
        let lookups = r.counters(
            "permission_set_lookups_total",
            "Permission sets looked for, by where and whether a fresh one was there.",
            &["layer", "result"],
        )?;
        // Looked up once: a check is asked for more often than anything else.
        let of = |layer| ["hit", "miss"].map(|result| lookups.with_label_values(&[layer, result]));
        Ok(Self {
            allowed: checks.with_label_values(&["allowed"]),
            denied: checks.with_label_values(&["denied"]),
            lookups: ["process", "shared"].map(of),
            store_reads: r.counter(
                "permission_set_reads_total",
                "Permission sets read from the database.",
            )?,
        })
    }

    /// Permissions that were asked for, and how many of them were given.
    pub(crate) fn checked(&self, asked: usize, allowed: usize) {
        self.allowed.inc_by(allowed as u64);
        self.denied.inc_by(asked.saturating_sub(allowed) as u64);
    }

    /// A fresh set was there.
    pub(crate) fn hit(&self, layer: Layer) {
        self.lookups[layer as usize][0].inc();
    }

    /// None was, or an old one.
    pub(crate) fn miss(&self, layer: Layer) {
        self.lookups[layer as usize][1].inc();
    }

    /// The database was asked.
    pub(crate) fn read(&self) {
        self.store_reads.inc();
    }
}
