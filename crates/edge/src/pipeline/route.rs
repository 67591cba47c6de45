//! Phase 3: which route. Never decides what happens to the request there.

use std::cell::Cell;
use std::net::IpAddr;

use http::{HeaderName, Method};
use ipnet::IpNet;
use portcullis_traffic::route::{Details, plain_path};

use super::admit::client_of;
use super::head::{Fields, Head};
use crate::connection::Connection;
use crate::outcome::Cause;
use crate::state::{RouteId, Snapshot};

/// The most specific route that takes this request.
pub(super) fn find(
    snapshot: &Snapshot,
    head: &impl Head,
    connection: &Connection,
    trusted: &[IpNet],
) -> Result<RouteId, Cause> {
    let asked = Asked {
        head,
        connection,
        trusted,
        client: Cell::new(None),
    };
    snapshot
        .find(head.authority(), &plain_path(head.path()), &asked)
        .ok_or(Cause::NoRoute)
}

/// A request as conditions of routes see it.
struct Asked<'a, H> {
    head: &'a H,
    connection: &'a Connection,
    trusted: &'a [IpNet],
    /// Found out for the first condition that asks.
    client: Cell<Option<IpAddr>>,
}

impl<H: Head> Details for Asked<'_, H> {
    fn method(&self) -> Option<&Method> {
        Some(self.head.method())
    }

    fn values(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        self.head.fields().all(name)
    }

    fn query(&self) -> Option<&str> {
        self.head.query()
    }

    fn source(&self) -> Option<IpAddr> {
        let client = self
            .client
            .get()
            .unwrap_or_else(|| client_of(self.head.fields(), self.connection, self.trusted));
        self.client.set(Some(client));
        Some(client)
    }
}
