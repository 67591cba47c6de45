//! Phase 3: which route. Never decides what happens to the request there.

use std::cell::Cell;
use std::net::IpAddr;

use http::{HeaderName, Method};
use portcullis_traffic::flag::FlagId;
use portcullis_traffic::route::{Details, plain_path};

use super::admit::client_of;
use super::client_address::Trust;
use super::head::{Fields, Head};
use super::{cors, flag, path};
use crate::connection::Connection;
use crate::outcome::Cause;
use crate::state::{Decided, RouteId, Snapshot};

/// The most specific route that takes this request; `flags` is what it has been decided to have.
pub(super) fn find(
    snapshot: &Snapshot,
    head: &impl Head,
    connection: &Connection,
    trust: Trust<'_>,
    flags: &Decided,
) -> Result<RouteId, Cause> {
    let find_by = |method: &Method| {
        let asked = Asked {
            snapshot,
            flags,
            head,
            method,
            connection,
            trust,
            client: Cell::new(None),
        };
        find_by(&asked)
    };
    // A page asks what it may do with the method that it names, where the edge knows the answer.
    if let Some(method) = cors::asked_method(head) {
        let asked = find_by(&method);
        if let Ok(route) = asked
            && snapshot.route(route).cors.is_some()
        {
            return Ok(route);
        }
    }
    find_by(head.method())
}

fn find_by(asked: &Asked<'_, impl Head>) -> Result<RouteId, Cause> {
    let head = asked.head;
    let find = |path: &str| {
        let found = asked.snapshot.find(head.authority(), path, asked);
        found.ok_or(Cause::NoRoute)
    };
    let found = find(&plain_path(head.path()));
    path::check_readings(head.path(), &asked.connection.listener.paths, found, find)
}

/// A request as conditions of routes see it.
struct Asked<'a, H> {
    snapshot: &'a Snapshot,
    flags: &'a Decided,
    head: &'a H,
    method: &'a Method,
    connection: &'a Connection,
    trust: Trust<'a>,
    /// Found out for the first condition that asks.
    client: Cell<Option<IpAddr>>,
}

impl<H: Head> Details for Asked<'_, H> {
    fn method(&self) -> Option<&Method> {
        Some(self.method)
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
            .unwrap_or_else(|| client_of(self.head.fields(), self.connection, self.trust));
        self.client.set(Some(client));
        Some(client)
    }

    fn has_flag(&self, flag: FlagId) -> bool {
        let flags = &self.snapshot.flags;
        flags.is_on(flag, self.flags, |key| {
            flag::key(key, self.head.fields(), || self.source())
        })
    }
}
