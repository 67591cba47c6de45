//! What a generation takes over from the one before, by name. Never looks through it from the beginning:
//! thousands of routes would be compared with thousands.

use std::collections::HashMap;
use std::sync::Arc;

use super::{RouteState, Snapshot};
use crate::cluster::Cluster;

/// The generation before; of the first there is none.
pub(super) struct Before<'s> {
    clusters: HashMap<&'s str, &'s Cluster>,
    routes: HashMap<&'s str, &'s RouteState>,
}

impl<'s> Before<'s> {
    pub(super) fn new(previous: Option<&'s Snapshot>) -> Self {
        let clusters = previous.map_or(&[][..], |snapshot| &snapshot.clusters);
        let routes = previous.map_or(&[][..], |snapshot| &snapshot.routes);
        let clusters = clusters.iter().map(Arc::as_ref);
        Self {
            clusters: clusters.map(|cluster| (cluster.name(), cluster)).collect(),
            routes: routes.iter().map(|one| (one.name.as_str(), one)).collect(),
        }
    }

    pub(super) fn cluster(&self, name: &str) -> Option<&'s Cluster> {
        self.clusters.get(name).copied()
    }

    pub(super) fn route(&self, name: &str) -> Option<&'s RouteState> {
        self.routes.get(name).copied()
    }
}
