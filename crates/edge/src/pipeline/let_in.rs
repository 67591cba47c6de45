//! Whether a client may come in at all: bans, then the lists of its listener, then those of its
//! route. Never does more work for one who may not than to find out.

use std::net::IpAddr;

use super::admit::client_of;
use super::client_address::is_trusted;
use super::head::Head;
use super::{Answer, Exchange};
use crate::connection::Connection;
use crate::gate::{Gate, Verdict};
use crate::outcome::Cause;
use crate::state::{Edge, RouteId, Snapshot};

/// Whether a connection is refused before anything is read from it. Proxies in front of us carry
/// many clients: those are judged request by request.
pub(crate) fn refuses_connection(edge: &Edge, listener: usize, client: IpAddr) -> bool {
    let snapshot = edge.snapshot.load();
    if is_trusted(client, &snapshot.trusted_proxies) {
        return false;
    }
    if is_banned(edge, client) {
        return true;
    }
    let gate = snapshot.listener_gate(listener);
    // A dry run counts requests: their connections would be counted twice.
    gate.is_some_and(|gate| !gate.is_dry_run() && gate.judge(client) == Verdict::Refused)
}

/// The same for a request: its connection may be older than a ban, or carry many clients.
pub(super) fn check(
    edge: &Edge,
    snapshot: &Snapshot,
    head: &impl Head,
    connection: &Connection,
) -> Result<(), Cause> {
    let gate = snapshot.listener_gate(connection.listener.index);
    if gate.is_none() && edge.bans.is_empty() {
        return Ok(());
    }
    let client = client_of(head.fields(), connection, snapshot.trust());
    if is_banned(edge, client) || gate.is_some_and(|gate| gate.judge(client) == Verdict::Refused) {
        return Err(Cause::ClientRefused);
    }
    Ok(())
}

fn is_banned(edge: &Edge, client: IpAddr) -> bool {
    let is_banned = edge.bans.contains(client);
    if is_banned {
        edge.ban_metrics.refused.inc();
    }
    is_banned
}

impl Exchange {
    /// The same for its route.
    pub(super) fn refuses_client(&mut self, route: RouteId) -> Option<Answer> {
        let gate: &Gate = self.snapshot.route(route).gate.as_ref()?;
        let client = self.request.as_ref()?.client;
        let verdict = gate.judge(client);
        (verdict == Verdict::Refused).then(|| self.on_failure(Cause::ClientRefused))
    }
}
