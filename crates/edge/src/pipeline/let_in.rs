//! Whether a client may come in at all: bans, then the lists of its listener, then those of its
//! route. Never does more work for one who may not than to find out.

use std::net::IpAddr;

use super::admit::client_of;
use super::client_address::is_trusted;
use super::head::Head;
use super::{Answer, Exchange};
use crate::gate::{Gate, Opinion, Verdict};
use crate::outcome::Cause;
use crate::state::{Edge, RouteId};

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

/// What [`refuses_connection`] would say. Counts nothing.
pub(super) fn would_refuse_connection(edge: &Edge, listener: usize, client: IpAddr) -> bool {
    let snapshot = edge.snapshot.load();
    let gate = snapshot.listener_gate(listener);
    !is_trusted(client, &snapshot.trusted_proxies)
        && (edge.bans.contains(client)
            || gate.is_some_and(|gate| gate.opinion(client) == Opinion::Refused))
}

fn is_banned(edge: &Edge, client: IpAddr) -> bool {
    let is_banned = edge.bans.contains(client);
    if is_banned {
        edge.ban_metrics.refused.inc();
    }
    is_banned
}

impl Exchange {
    /// The same for a request: its connection may be older than a ban, or carry many clients.
    pub(super) fn lets_in(&self, head: &impl Head) -> Result<(), Cause> {
        let gate = self.snapshot.listener_gate(self.connection.listener.index);
        if gate.is_none() && self.edge.bans.is_empty() {
            return Ok(());
        }
        let client = client_of(head.fields(), &self.connection, self.snapshot.trust());
        let is_banned = match self.is_rehearsed() {
            true => self.edge.bans.contains(client),
            false => is_banned(&self.edge, client),
        };
        if is_banned || gate.is_some_and(|gate| self.is_refused_by(gate, client)) {
            return Err(Cause::ClientRefused);
        }
        Ok(())
    }

    /// The same for its route.
    pub(super) fn refuses_client(&mut self, route: RouteId) -> Option<Answer> {
        let gate: &Gate = self.snapshot.route(route).gate.as_ref()?;
        let client = self.request.as_ref()?.client;
        let is_refused = self.is_refused_by(gate, client);
        is_refused.then(|| self.on_failure(Cause::ClientRefused))
    }

    fn is_refused_by(&self, gate: &Gate, client: IpAddr) -> bool {
        match self.is_rehearsed() {
            true => gate.opinion(client) == Opinion::Refused,
            false => gate.judge(client) == Verdict::Refused,
        }
    }
}
