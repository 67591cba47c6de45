//! Phase 6, once per attempt: which endpoint. Never remembers anything between attempts.

use std::net::SocketAddr;
use std::time::Instant;

use crate::affinity::Bond;
use crate::cluster::{Cluster, Slot};
use crate::outcome::Cause;

/// Takes a place at an endpoint: the one the client belongs to if it may be had, else the
/// balancer's choice; none of `tried` while another is eligible.
pub(super) fn select(
    cluster: &Cluster,
    bond: Bond,
    tried: &[SocketAddr],
    now: Instant,
) -> Result<Slot, Cause> {
    let preferred = cluster.preferred(bond, tried, now);
    cluster
        .pick_preferring(preferred, tried, now)
        .ok_or(Cause::NoEndpoint)
}
