//! Policies of a cluster that must fit together: balance, tiers, zones, containment. Never looks at
//! one value alone.

use super::super::file::{FileCluster, FileEndpoint};
use super::super::{Balance, BreakerMode, HashKey};
use super::Parser;

impl Parser<'_> {
    pub(super) fn balance(&self, file: &FileCluster) -> Balance {
        let word = &file.balance;
        if let (Some(hash), true) = (&file.hash, word.value != "hash") {
            let message = format!("`hash` has no effect with `balance: {}`", word.value);
            let hint = "write `balance: hash`, or remove `hash`";
            self.report.error_with_hint(hash.span, message, hint);
        }
        match word.value {
            "round_robin" => Balance::RoundRobin,
            "p2c" => Balance::P2c,
            "peak_ewma" => Balance::PeakEwma,
            "ip_hash" => {
                let message = "clients behind one address share one endpoint";
                let hint = "`least_conn` spreads them; `affinity` keeps each at its endpoint";
                self.report.warning(word.span, message, hint);
                hashed(HashKey::Source, None)
            }
            "hash" => match &file.hash {
                Some(hash) => hashed(
                    hash.key.clone().unwrap_or(HashKey::Source),
                    hash.bounded_load_percent,
                ),
                None => {
                    let hint = "add `hash: { key: source }`, or another key";
                    let message = "`balance: hash` needs to know what to hash";
                    self.report.error_with_hint(word.span, message, hint);
                    hashed(HashKey::Source, None)
                }
            },
            _ => Balance::LeastConn,
        }
    }

    pub(super) fn check_weights(&self, file: &FileCluster) {
        let weights = file.endpoints.iter().map(|endpoint| &endpoint.weight);
        if let Some(last) = weights.clone().next_back()
            && file.discover.is_empty()
            && weights.clone().all(|weight| weight.value == 0)
        {
            let message = "every endpoint of this cluster has weight 0: nothing gets traffic";
            let hint = "give one of them a weight of 1 or more";
            self.report.error_with_hint(last.span, message, hint);
        }
    }

    /// Gaps between tiers are fine.
    pub(super) fn check_priorities(&self, file: &FileCluster) {
        let mut priorities = file.endpoints.iter().map(|endpoint| &endpoint.priority);
        let Some(first) = priorities.next().filter(|first| first.value > 0) else {
            return;
        };
        if priorities.all(|other| other.value == first.value) {
            let message = "all endpoints are in one tier, so `priority` has no effect";
            let hint = "leave it out where the traffic should go first";
            self.report.warning(first.span, message, hint);
        }
    }

    pub(super) fn check_containment(&self, file: &FileCluster) {
        let Some(written) = &file.ejection else {
            return;
        };
        let ejection = &written.ejection;
        if ejection.max_duration < ejection.duration {
            let message = "the longest ejection is shorter than the first";
            let hint = "make `max_duration` at least `duration`";
            self.report
                .error_with_hint(written.max_duration_span, message, hint);
        }
        let Some(breaker) = &file.breaker else { return };
        let acts = breaker.breaker.mode == BreakerMode::Enforce;
        if acts && breaker.breaker.failures <= ejection.failures {
            let message = format!(
                "the breaker opens after {} failures, so ejection after {} never acts on them",
                breaker.breaker.failures, ejection.failures
            );
            let hint = "let the breaker take more failures than `ejection.failures`, or write `ejection: off`";
            self.report.warning(breaker.failures_span, message, hint);
        }
    }

    pub(super) fn check_zones(&self) {
        let endpoints = || {
            let clusters = self.file.clusters.iter();
            clusters.flat_map(|cluster| &cluster.endpoints)
        };
        let zone_of = |endpoint: &FileEndpoint| endpoint.zone.clone();
        match &self.file.zone {
            None => {
                if let Some(zone) = endpoints().find_map(zone_of) {
                    let message = "`zone` has no effect: the edge does not know its own";
                    let hint = "add `zone` at the top of the file, or remove it here";
                    self.report.warning(zone.span, message, hint);
                }
            }
            // Where endpoints are found, so are their zones.
            Some(_)
                if self
                    .file
                    .clusters
                    .iter()
                    .any(|one| !one.discover.is_empty()) => {}
            Some(own) => {
                let mut zones = endpoints().filter_map(zone_of);
                if !zones.any(|zone| zone.value == own.value) {
                    let message = format!("no endpoint is in the zone `{}`", own.value);
                    let hint = "give endpoints a `zone`, or remove this one";
                    self.report.warning(own.span, message, hint);
                }
            }
        }
    }
}

fn hashed(key: HashKey, bounded_load_percent: Option<u16>) -> Balance {
    Balance::Hash {
        key,
        bounded_load_percent,
    }
}
