//! Phase 6, once per attempt: which endpoint. Never remembers anything between attempts.

use std::net::SocketAddr;
use std::time::Instant;

use crate::affinity::Binding;
use crate::cluster::{Cluster, Slot};
use crate::outcome::Cause;

/// Takes a place at an endpoint: the one the client is bound to if it may be had, else the
/// balancer's choice; none of `tried` while another is eligible.
pub(super) fn select(
    cluster: &Cluster,
    binding: Option<Binding>,
    tried: &[SocketAddr],
    now: Instant,
) -> Result<Slot, Cause> {
    let bound = binding.map(|binding| binding.endpoint);
    cluster
        .pick_preferring(bound, tried, now)
        .ok_or(Cause::NoEndpoint)
}
