//! What a change of the endpoints that were found was, for who asks later. Never looks for endpoints.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::audit::{Outcome, Record, Who};
use crate::state::{Edge, Snapshot};

/// So many addresses are told for each cluster and way.
const TOLD_MAX: usize = 20;

/// Addresses by cluster.
pub(super) struct Endpoints(BTreeMap<String, BTreeSet<String>>);

impl Endpoints {
    /// All that are in force.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let clusters = snapshot.clusters.iter();
        let found = clusters.filter(|cluster| !cluster.discover().sources.is_empty());
        let labels = found.map(|cluster| {
            let endpoints = cluster.endpoints().iter();
            let labels = endpoints.map(|endpoint| endpoint.label().to_owned());
            (cluster.name().to_owned(), labels.collect())
        });
        Self(labels.collect())
    }

    /// Writes down what came and what went since. Nothing if nothing did.
    pub(super) fn record_change(&self, edge: &Edge) {
        let now = Self::of(&edge.snapshot.load());
        let changes: Vec<_> = now.0.iter().filter_map(|one| self.change(one)).collect();
        if changes.is_empty() {
            return;
        }
        let revision = edge.revise();
        for (cluster, before, after) in changes {
            edge.audit.record(Record {
                who: Who::itself("discovery"),
                what: format!("clusters/{cluster}/endpoints"),
                before,
                after,
                outcome: Outcome::Done(revision),
            });
        }
    }

    fn change<'n>(
        &self,
        (cluster, now): (&'n String, &BTreeSet<String>),
    ) -> Option<(&'n str, Value, Value)> {
        // Another configuration, which is written down elsewhere, brought this cluster.
        let before = self.0.get(cluster)?;
        if before == now {
            return None;
        }
        let told = |these: &BTreeSet<String>, those: &BTreeSet<String>| {
            let only = these.difference(those).take(TOLD_MAX).cloned();
            only.collect::<Vec<_>>()
        };
        let after = json!({
            "endpoints": now.len(),
            "added": told(now, before),
            "removed": told(before, now),
        });
        Some((cluster, json!({ "endpoints": before.len() }), after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(addresses: &[&str]) -> BTreeSet<String> {
        addresses.iter().map(|one| (*one).to_owned()).collect()
    }

    #[test]
    fn what_came_and_went_is_told() {
        let app = "app".to_owned();
        let before = Endpoints(BTreeMap::from([(app.clone(), set(&["a", "b"]))]));
        assert_eq!(before.change((&app, &set(&["b", "a"]))), None);
        let (_, was, is) = before.change((&app, &set(&["b", "c", "d"]))).unwrap();
        assert_eq!(was, json!({ "endpoints": 2 }));
        let expected = json!({ "endpoints": 3, "added": ["c", "d"], "removed": ["a"] });
        assert_eq!(is, expected);
        let new = "new".to_owned();
        assert_eq!(before.change((&new, &set(&["a"]))), None);
    }
}
