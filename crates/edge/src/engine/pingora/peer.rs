//! Where and how pingora connects for one attempt. Never chooses the endpoint.

use std::sync::Arc;
use std::time::Duration;

use pingora::prelude::HttpPeer;

use super::UPGRADE_IDLE_TIMEOUT;
use super::patient::PatientConnector;
use crate::pipeline::Attempt;

/// The connect target of one attempt, with every default of pingora made explicit.
pub(super) fn peer(attempt: &Attempt, is_upgrade: bool) -> HttpPeer {
    let mut peer = HttpPeer::new(attempt.address, false, String::new());
    peer.group_key = attempt.cluster_key;
    let timeouts = &attempt.timeouts;
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    let mut read = timeouts.read;
    let mut idle = timeouts.idle;
    if is_upgrade {
        read = UPGRADE_IDLE_TIMEOUT;
        // Such a stream has no descriptor, by which the pool tells connections apart: it stays
        // out of the pool when the endpoint refuses the upgrade.
        idle = Duration::ZERO;
        peer.group_key = !attempt.cluster_key;
        peer.options.custom_l4 = Some(Arc::new(PatientConnector));
    }
    peer.options.read_timeout = Some(read);
    peer.options.write_timeout = Some(timeouts.write);
    peer.options.idle_timeout = Some(idle);
    peer
}
