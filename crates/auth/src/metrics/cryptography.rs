//! What costs processor time: passwords and signatures, counted where they are computed and taken over
//! when somebody looks. Never computes anything itself.

use prometheus::{Counter, IntCounter, IntCounterVec, IntGauge};

use super::{Names, raise};
use crate::keys::Signatures;
use crate::password::HasherMetrics;

#[derive(Debug)]
pub(super) struct CryptographyMetrics {
    signatures: IntCounterVec,
    hashes: IntCounter,
    hashing_seconds: Counter,
    hashes_shed: IntCounter,
    hashes_queued: IntGauge,
    unusable_hashes: IntCounter,
    breached: IntCounter,
    unfiltered: IntCounter,
}

impl CryptographyMetrics {
    pub(super) fn new(r: &Names<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            signatures: r.counters(
                "token_signatures_total",
                "Signatures of tokens that were checked, or remembered as good.",
                &["result"],
            )?,
            hashes: r.counter("password_hashes_total", "argon2 runs.")?,
            hashing_seconds: r.float("password_hashing_seconds_total", "Time spent in them.")?,
            hashes_shed: r.counter(
                "password_hashes_shed_total",
                "Passwords refused because the queue was full or too slow.",
            )?,
            hashes_queued: r.gauge("password_hashes_queued", "Passwords that wait.")?,
            unusable_hashes: r.counter(
                "password_hashes_unusable_total",
                "Stored hashes that could not be read, or lack their pepper.",
            )?,
            breached: r.counter(
                "breached_passwords_total",
                "New passwords refused because they were stolen elsewhere.",
            )?,
            unfiltered: r.counter(
                "unfiltered_passwords_total",
                "New passwords that could not be looked up in the filter, and were taken.",
            )?,
        })
    }

    pub(super) fn take_over(&self, signatures: Signatures, hasher: HasherMetrics) {
        let Signatures {
            checked,
            remembered,
        } = signatures;
        for (result, count) in [("checked", checked), ("remembered", remembered)] {
            raise(&self.signatures.with_label_values(&[result]), count);
        }
        raise(&self.hashes, hasher.hashes_total);
        raise(&self.hashes_shed, hasher.overloaded_total);
        raise(&self.unusable_hashes, hasher.unusable_total);
        raise(&self.breached, hasher.breached_total);
        raise(&self.unfiltered, hasher.unfiltered_total);
        self.hashes_queued
            .set(i64::try_from(hasher.queued).unwrap_or(i64::MAX));
        let seconds = hasher.hashing_micros_total as f64 / 1e6;
        self.hashing_seconds
            .inc_by((seconds - self.hashing_seconds.get()).max(0.0));
    }
}
