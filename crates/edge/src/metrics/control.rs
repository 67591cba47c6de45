//! Metrics of what is changed while the edge runs. Never labels by who changed it.

use std::collections::{BTreeMap, HashSet};
use std::sync::PoisonError;

use prometheus::{IntCounter, IntGauge};

use super::series::Labels;
use super::{Metrics, Registry, register};
use crate::state::Names;

/// The state in force, and how well changes are written down.
#[derive(Debug)]
pub struct ControlMetrics {
    /// Lines the audit log could not take.
    pub audit_dropped: IntCounter,
    /// Upgrades after which this process went on.
    pub upgrades_failed: IntCounter,
    revision: IntGauge,
    predecessor: IntGauge,
}

impl ControlMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            audit_dropped: register(
                registry,
                IntCounter::new(
                    "portcullis_edge_audit_lines_dropped_total",
                    "Lines that the audit log could not take.",
                ),
            ),
            upgrades_failed: register(
                registry,
                IntCounter::new(
                    "portcullis_edge_upgrades_failed_total",
                    "Processes that were to take over and did not get ready.",
                ),
            ),
            predecessor: register(
                registry,
                IntGauge::new(
                    "portcullis_edge_predecessor_draining",
                    "1 while the process that this one took over from has connections left.",
                ),
            ),
            revision: register(
                registry,
                IntGauge::new(
                    "portcullis_edge_revision",
                    "Number of the state that reloads and operators led to.",
                ),
            ),
        }
    }

    /// Shows whether the process before is still there.
    pub fn show_predecessor(&self, is_there: bool) {
        self.predecessor.set(i64::from(is_there));
    }

    /// Shows the number of the state in force.
    pub fn show_revision(&self, revision: u64) {
        self.revision
            .set(i64::try_from(revision).unwrap_or(i64::MAX));
    }
}

/// Figures that operators ask for first.
impl Metrics {
    /// Requests by how they ended.
    pub fn requests_by_outcome(&self) -> BTreeMap<String, f64> {
        let mut sums = self.sums(REQUESTS, "outcome");
        let departed = self.departed.lock().unwrap_or_else(PoisonError::into_inner);
        for (outcome, count) in departed.iter() {
            *sums.entry(outcome.clone()).or_insert(0.0) += count;
        }
        sums
    }

    /// Connections open now, by listener.
    pub fn connections_by_listener(&self) -> BTreeMap<String, f64> {
        self.sums("portcullis_edge_connections_open", "listener")
    }

    /// Further attempts, by cluster.
    pub fn retries_by_cluster(&self) -> BTreeMap<String, f64> {
        self.sums("portcullis_edge_retries_total", "cluster")
    }

    /// Takes out the series of everything that has none of these names.
    pub(crate) fn forget_all_but(&self, names: &Names) {
        let is_gone = |labels: &Labels<'_>| {
            let lacks = |label: &str, known: &HashSet<String>| {
                let name = labels.get(label).copied().unwrap_or_default();
                !name.is_empty() && !known.contains(name)
            };
            // Lists of clients tell whose they are in two labels.
            let owner = match labels.get("by").copied() {
                Some("listener") => lacks("name", &names.listeners),
                Some("route") => lacks("name", &names.routes),
                _ => false,
            };
            let endpoint = labels.get("cluster").zip(labels.get("endpoint"));
            let is_endpoint_gone = endpoint.is_some_and(|(cluster, endpoint)| {
                let endpoint = ((*cluster).to_owned(), (*endpoint).to_owned());
                !names.endpoints.contains(&endpoint)
            });
            owner
                || is_endpoint_gone
                || lacks("listener", &names.listeners)
                || lacks("route", &names.routes)
                || lacks("cluster", &names.clusters)
                || lacks("limit", &names.limits)
                || lacks("issuer", &names.issuers)
                || lacks("flag", &names.flags)
        };
        let mut departed = self.departed.lock().unwrap_or_else(PoisonError::into_inner);
        self.registry.forget(is_gone, |family, labels, count| {
            if family == REQUESTS {
                let outcome = labels.get("outcome").copied().unwrap_or_default();
                *departed.entry(outcome.to_owned()).or_insert(0.0) += count;
            }
        });
    }

    /// The sum of a counter or gauge by one of its labels.
    fn sums(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        for metric in family.map_or(&[][..], |family| family.get_metric()) {
            let mut labels = metric.get_label().iter();
            let value = labels.find(|one| one.name() == label);
            let value = value.map_or("", |one| one.value()).to_owned();
            let number = metric.get_counter().get_value() + metric.get_gauge().get_value();
            *sums.entry(value).or_insert(0.0) += number;
        }
        sums
    }
}

const REQUESTS: &str = "portcullis_edge_requests_total";
