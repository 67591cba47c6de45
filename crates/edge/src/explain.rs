//! What would become of a request, and why: the same code decides as for real ones, on the snapshot in force.
//! Never changes anything that a request could notice.
//!
//! `explain/asked` reads the question, `explain/play` plays the engine with an [`Exchange`] that only
//! rehearses, and `explain/told` makes a document of what was found.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

mod asked;
mod offline;
mod play;
mod steps;
#[cfg(test)]
mod tests;
mod told;

pub(crate) use asked::Asked;
pub use offline::offline;
use play::{Decided, Ended};

use crate::connection::{Connection, ListenerContext};
use crate::engine::requests::{RequestHead, RequestParser};
use crate::pipeline::{Exchange, IdSource, Missed, would_refuse_connection};
use crate::state::{Edge, RouteState};
use crate::unknown::no_such;

/// A request that was played through.
struct Explained<'a> {
    edge: &'a Edge,
    asked: &'a Asked,
    seed: u64,
    connection: Arc<Connection>,
    bytes: Vec<u8>,
    parser: Option<RequestParser>,
    exchange: Option<Exchange>,
    decided: Option<Decided>,
    /// What becomes of it where it is no request yet.
    early: Ended,
}

/// Nothing can be explained.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There is no listener of this name.
    UnknownListener(String),
    /// The system's random source fails.
    Random,
}

/// Explains what would become of a request at one of these listeners.
pub(crate) fn explain(
    edge: &Arc<Edge>,
    listeners: &[Arc<ListenerContext>],
    asked: &Asked,
    now: Instant,
) -> Result<Value, Trouble> {
    let seed = match asked.seed {
        Some(seed) => seed,
        // The edge's own numbers are for its requests.
        None => {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).map_err(|_| Trouble::Random)?;
            u64::from_ne_bytes(bytes)
        }
    };
    let listener = listener(listeners, asked.listener.as_deref())?;
    let connection = play::connection(listener, asked, now);
    let ids = IdSource::new(seed.into());
    let explained = Explained::play(edge, asked, connection, (seed, ids), now);
    Ok(told::document(&explained, now))
}

/// That of this name; else the first that speaks plain HTTP, else the first.
fn listener<'l>(
    listeners: &'l [Arc<ListenerContext>],
    name: Option<&str>,
) -> Result<&'l Arc<ListenerContext>, Trouble> {
    let Some(name) = name else {
        let plain = listeners.iter().find(|one| !one.is_tls);
        let first = plain.or_else(|| listeners.first());
        return first.ok_or_else(|| Trouble::UnknownListener("There is no listener.".to_owned()));
    };
    let named = listeners.iter().find(|one| one.name == name);
    named.ok_or_else(|| {
        let names = listeners.iter().map(|one| one.name.as_str());
        Trouble::UnknownListener(no_such("listener", name, names))
    })
}

impl<'a> Explained<'a> {
    fn play(
        edge: &'a Arc<Edge>,
        asked: &'a Asked,
        connection: Arc<Connection>,
        (seed, ids): (u64, IdSource),
        now: Instant,
    ) -> Self {
        let mut explained = Self {
            edge,
            asked,
            seed,
            bytes: asked.bytes(),
            parser: None,
            exchange: None,
            decided: None,
            early: Ended::Refused,
            connection,
        };
        if would_refuse_connection(edge, &explained.connection) {
            return explained;
        }
        match play::read(&explained.bytes, &explained.connection.listener) {
            Err(cause) => explained.early = Ended::Unreadable(cause),
            Ok(parser) => {
                let mut exchange = Exchange::rehearse(edge, &explained.connection, ids, now);
                let bytes = &explained.bytes;
                let decided = play::decide(&mut exchange, &parser, bytes, asked, now);
                explained.decided = Some(decided);
                explained.exchange = Some(exchange);
                explained.parser = Some(parser);
            }
        }
        explained
    }

    fn ended(&self) -> &Ended {
        self.decided.as_ref().map_or(&self.early, |one| &one.ended)
    }

    fn head(&self) -> Option<RequestHead<'_>> {
        Some(self.parser.as_ref()?.head(&self.bytes))
    }

    /// All routes beside the request.
    fn compared(&self) -> Vec<(&RouteState, Option<Missed>)> {
        let (Some(exchange), Some(head)) = (&self.exchange, self.head()) else {
            return Vec::new();
        };
        exchange.compare_routes(&head)
    }
}
