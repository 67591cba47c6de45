//! Where and how pingora connects for one attempt. Never chooses the endpoint.

use std::sync::Arc;
use std::time::Duration;

use pingora::prelude::HttpPeer;

use super::patient::PatientConnector;
use crate::engine::FRESH;
use crate::pipeline::Attempt;

/// What kind of connection an attempt needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any: a pooled one if there is one.
    Pooled,
    /// A pooled one only if it was used a moment ago: what is not repeatable must not meet an
    /// endpoint that closes.
    Fresh,
    /// One made for this attempt, and used for no other.
    New,
    /// The same, for a request that asks for an upgrade.
    Upgrade,
}

/// The connect target of one attempt, with every default of pingora made explicit. A tunnel may be
/// silent for `tunnel`.
pub(super) fn peer(attempt: &Attempt, kind: Kind, tunnel: Duration) -> HttpPeer {
    let mut peer = HttpPeer::new(attempt.address, false, String::new());
    peer.group_key = attempt.cluster_key;
    let timeouts = &attempt.timeouts;
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    let mut read = timeouts.read;
    let mut idle = timeouts.idle;
    match kind {
        Kind::Pooled => {}
        Kind::Fresh => {
            idle = idle.min(FRESH);
            peer.group_key = attempt.cluster_key.rotate_left(1);
        }
        // A group that the pool never holds a connection of.
        Kind::New | Kind::Upgrade => {
            idle = Duration::ZERO;
            peer.group_key = !attempt.cluster_key;
        }
    }
    if kind == Kind::Upgrade {
        // Such a stream has no descriptor, by which the pool tells connections apart: it stays
        // out of the pool also when the endpoint refuses the upgrade.
        read = tunnel;
        peer.options.custom_l4 = Some(Arc::new(PatientConnector::new(attempt)));
    }
    peer.options.read_timeout = Some(read);
    peer.options.write_timeout = Some(timeouts.write);
    peer.options.idle_timeout = Some(idle);
    peer
}
