//! Metrics of tokens and of the keys they are verified with. Never labels by subject, key or client.

use std::time::Instant;

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use super::{Metrics, Registry, counters, gauges};
use crate::jwks::Issuer;
use crate::outcome::TokenResult;
use crate::pipeline::LeaseEnd;

#[derive(Debug)]
pub(super) struct TokenVecs {
    tokens: IntCounterVec,
    cache: IntCounterVec,
    fetches: IntCounterVec,
    age: IntGaugeVec,
    keys: IntGaugeVec,
    tunnels: IntCounterVec,
}

/// What tokens and keys of one issuer feed.
#[derive(Clone, Debug)]
pub struct IssuerMetrics {
    results: [IntCounter; TokenResult::ALL.len()],
    /// Tokens that had been read before.
    pub(crate) cache_hits: IntCounter,
    /// Tokens that had to be verified.
    pub(crate) cache_misses: IntCounter,
    /// Times the publisher said what its keys are.
    pub(crate) fetches_ok: IntCounter,
    /// Times it did not.
    pub(crate) fetches_failed: IntCounter,
    tunnels_revoked: IntCounter,
    tunnels_expired: IntCounter,
}

impl IssuerMetrics {
    /// The counter of one result.
    pub(crate) fn of(&self, result: TokenResult) -> &IntCounter {
        &self.results[result as usize]
    }

    /// A tunnel was ended since its token was revoked, or is over.
    pub(crate) fn tunnel_ended(&self, why: LeaseEnd) {
        match why {
            LeaseEnd::Revoked => self.tunnels_revoked.inc(),
            LeaseEnd::Expired => self.tunnels_expired.inc(),
        }
    }
}

impl Metrics {
    /// Handles of one issuer.
    pub(crate) fn issuer(&self, name: &str) -> IssuerMetrics {
        let of = |vec: &IntCounterVec, value| vec.with_label_values(&[name, value]);
        IssuerMetrics {
            results: TokenResult::ALL.map(|result| of(&self.tokens.tokens, result.name())),
            cache_hits: of(&self.tokens.cache, "hit"),
            cache_misses: of(&self.tokens.cache, "miss"),
            fetches_ok: of(&self.tokens.fetches, "ok"),
            fetches_failed: of(&self.tokens.fetches, "failed"),
            tunnels_revoked: of(&self.tokens.tunnels, "revoked"),
            tunnels_expired: of(&self.tokens.tunnels, "expired"),
        }
    }
}

impl TokenVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            tokens: counters(
                registry,
                "portcullis_edge_tokens_total",
                "Requests to routes that ask for tokens, by what became of the token.",
                &["issuer", "result"],
            ),
            cache: counters(
                registry,
                "portcullis_edge_token_cache_total",
                "Tokens that passed their signature by whether they had been read before: hit or miss.",
                &["issuer", "result"],
            ),
            fetches: counters(
                registry,
                "portcullis_edge_jwks_fetches_total",
                "Requests for an issuer's keys by result: ok or failed.",
                &["issuer", "result"],
            ),
            age: gauges(
                registry,
                "portcullis_edge_jwks_age_seconds",
                "Time since an issuer last said what its keys are.",
                &["issuer"],
            ),
            keys: gauges(
                registry,
                "portcullis_edge_jwks_keys",
                "Keys of an issuer that tokens are verified with.",
                &["issuer"],
            ),
            tunnels: counters(
                registry,
                "portcullis_edge_tunnels_ended_total",
                "Tunnels that were ended for what became of their tokens: revoked or expired.",
                &["issuer", "why"],
            ),
        }
    }

    pub(super) fn forget(&self) {
        self.age.reset();
        self.keys.reset();
    }

    pub(super) fn show(&self, issuer: &Issuer, now: Instant) {
        let labels = [issuer.name()];
        let seconds = i64::try_from(issuer.age(now).as_secs()).unwrap_or(i64::MAX);
        let keys = i64::try_from(issuer.kids().len()).unwrap_or(i64::MAX);
        self.age.with_label_values(&labels).set(seconds);
        self.keys.with_label_values(&labels).set(keys);
    }
}
