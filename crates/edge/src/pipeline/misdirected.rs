//! A request on a connection that was opened under other rules than its host has. Never looks at
//! certificates: the handshake did.

use portcullis_traffic::route::normalize_host;

use super::head::Head;
use crate::connection::Connection;
use crate::outcome::Cause;

/// Whoever was let in under one name could otherwise ask for another that lets in others, as
/// browsers do that join connections (RFC 9113, 9.1.1; RFC 9110, 15.5.20).
pub(super) fn check(head: &impl Head, connection: &Connection) -> Result<(), Cause> {
    let Some(tls) = &connection.tls else {
        return Ok(());
    };
    let host = head.authority().map(normalize_host);
    match connection.listener.client_policies.of(host) == tls.policy {
        true => Ok(()),
        false => Err(Cause::Misdirected),
    }
}
