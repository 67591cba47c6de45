//! Phase 3: which route. Never decides what happens to the request there.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::IpAddr;

use http::{HeaderName, Method};
use portcullis_ops::tells_of_secret;
use portcullis_traffic::flag::FlagId;
use portcullis_traffic::route::{
    Condition, Conditions, Details, Pattern, Unmet, normalize_host, plain_path,
};

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
            method: Cow::Borrowed(method),
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

/// What about a route does not fit a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// It is for other hosts.
    Host,
    /// It is for other paths.
    Path,
    /// It asks for more than host and path. The values of fields that may be secrets are not told.
    Conditions(Vec<String>),
}

/// A request beside the patterns of routes, one by one.
pub(super) struct Compared<'a, H> {
    asked: Asked<'a, H>,
    path: Cow<'a, str>,
}

impl<'a, H: Head> Compared<'a, H> {
    /// As [`find`] looked for the route that it `found`.
    pub(super) fn new(
        snapshot: &'a Snapshot,
        head: &'a H,
        connection: &'a Connection,
        flags: &'a Decided,
        found: Option<RouteId>,
    ) -> Self {
        let is_for_pages = found.is_some_and(|route| snapshot.route(route).cors.is_some());
        let asked_method = cors::asked_method(head).filter(|_| is_for_pages);
        Self {
            asked: Asked {
                snapshot,
                flags,
                head,
                method: asked_method.map_or(Cow::Borrowed(head.method()), Cow::Owned),
                connection,
                trust: snapshot.trust(),
                client: Cell::new(None),
            },
            path: plain_path(head.path()),
        }
    }

    /// What keeps a route of this pattern from the request; `None` if nothing does.
    pub(super) fn missed(&self, pattern: &Pattern) -> Option<Missed> {
        let host = self.asked.head.authority().map(normalize_host);
        if !pattern.host.matches(host) {
            return Some(Missed::Host);
        }
        if !pattern.path.matches(&self.path) {
            return Some(Missed::Path);
        }
        let unmet = unmet(self.asked.snapshot, &pattern.conditions, &self.asked);
        (!unmet.is_empty()).then_some(Missed::Conditions(unmet))
    }
}

/// All that is asked for beyond host and path, in words.
pub(crate) fn asked_for(snapshot: &Snapshot, conditions: &Conditions) -> Vec<String> {
    unmet(snapshot, conditions, &())
}

fn unmet(snapshot: &Snapshot, conditions: &Conditions, details: &impl Details) -> Vec<String> {
    let flags = snapshot.flags.all();
    let told = |unmet: Unmet<'_>| match unmet {
        Unmet::Flag(FlagId(position)) => {
            let name = flags.get(position).map_or("", |flag| flag.name());
            format!("flag: {name}")
        }
        Unmet::Value(Condition { part, .. }) if tells_of_secret(part.name()) => {
            format!("{} {}: (hidden)", part.kind(), part.name())
        }
        unmet => unmet.to_string(),
    };
    conditions.unmet(details).into_iter().map(told).collect()
}

/// A request as conditions of routes see it.
struct Asked<'a, H> {
    snapshot: &'a Snapshot,
    flags: &'a Decided,
    head: &'a H,
    method: Cow<'a, Method>,
    connection: &'a Connection,
    trust: Trust<'a>,
    /// Found out for the first condition that asks.
    client: Cell<Option<IpAddr>>,
}

impl<H: Head> Details for Asked<'_, H> {
    fn method(&self) -> Option<&Method> {
        Some(&self.method)
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
