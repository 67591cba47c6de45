//! Phase 3: which route. Never looks beyond host and path.

use super::head::Head;
use crate::outcome::Cause;
use crate::state::{RouteId, Snapshot};

/// The most specific route for this host and path.
pub(super) fn find(snapshot: &Snapshot, head: &impl Head) -> Result<RouteId, Cause> {
    snapshot
        .find(head.authority(), head.path())
        .ok_or(Cause::NoRoute)
}
