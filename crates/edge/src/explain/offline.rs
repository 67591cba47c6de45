//! Explains what a configuration would do with a request, without an edge that runs. Never binds an address
//! or asks anybody: endpoints are taken for healthy and idle, limits for unused.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use super::{Asked, Trouble, explain};
use crate::config::{AccessLog, AuditLog, Config};
use crate::connection::ListenerContext;
use crate::state::Edge;

/// Explains a request to whoever has a file. `question` has the members of `POST /v1/explain`.
///
/// # Errors
/// In a sentence: what is wrong with the question, or why the configuration cannot be used.
pub fn offline(mut config: Config, question: &Map<String, Value>) -> Result<Value, String> {
    let asked = Asked::read(question)?;
    config.access_log = AccessLog::Off;
    config.audit_log = AuditLog::Log;
    // Nobody asks endpoints how they are, and so they are well.
    for cluster in &mut config.clusters {
        cluster.health.clear();
    }
    let edge = Arc::new(Edge::build(&config).map_err(|error| error.to_string())?);
    let snapshot = edge.snapshot.load_full();
    let contexts = config.listeners.iter().zip(&snapshot.seats);
    let contexts = contexts.map(|(listener, seat)| {
        let port = listener.address.port();
        Arc::new(ListenerContext::new(
            listener,
            seat.number,
            port,
            &edge.metrics,
        ))
    });
    let contexts: Vec<_> = contexts.collect();
    let explained = explain(&edge, &contexts, &asked, Instant::now());
    explained.map_err(|trouble| match trouble {
        Trouble::UnknownListener(says) => says,
        Trouble::Random => "the system's random source fails".to_owned(),
    })
}
