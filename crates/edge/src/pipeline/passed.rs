//! The end of a TLS connection that was passed through unopened: its line of the access log. Never
//! knows a request: there may have been many, or none.

use std::time::{Duration, Instant, SystemTime};

use super::identify::hex;
use crate::access_log::Line;
use crate::connection::Connection;
use crate::outcome::{Cause, Outcome};
use crate::state::Edge;

/// What is known of one.
#[derive(Debug)]
pub(crate) struct Passed<'a> {
    pub(crate) server_name: Option<&'a str>,
    pub(crate) cluster: &'a str,
    /// The last one tried.
    pub(crate) endpoint: Option<String>,
    pub(crate) attempts: u32,
    /// Time to connect to it.
    pub(crate) endpoint_time: Option<Duration>,
    pub(crate) to_endpoint: u64,
    pub(crate) to_client: u64,
    /// Why it came to nothing.
    pub(crate) failure: Option<Cause>,
}

/// Writes its line, and returns the outcome that is to be counted.
pub(crate) fn report_passed(edge: &Edge, connection: &Connection, passed: &Passed<'_>) -> Outcome {
    let failed = passed
        .failure
        .map(|cause| super::fail::failure(cause).outcome);
    let outcome = failed.unwrap_or(Outcome::PassedThrough);
    if edge.access_log.is_on() {
        edge.access_log
            .write(&line(edge, connection, passed, outcome));
    }
    outcome
}

fn line(edge: &Edge, connection: &Connection, passed: &Passed<'_>, outcome: Outcome) -> Vec<u8> {
    let id = hex::<32>(edge.ids.draw());
    Line {
        time: SystemTime::now(),
        privacy: &edge.snapshot.load().privacy,
        listener: &connection.listener.name,
        client: connection.client.ip().to_canonical(),
        scheme: "tls",
        method: None,
        host: None,
        path: None,
        protocol: None,
        status: None,
        outcome,
        route: None,
        cluster: Some(passed.cluster),
        endpoint: passed.endpoint.as_deref(),
        attempts: passed.attempts,
        request_id: std::str::from_utf8(&id).unwrap_or_default(),
        trace_id: None,
        duration: Instant::now().saturating_duration_since(connection.opened),
        endpoint_time: passed.endpoint_time,
        request_bytes: passed.to_endpoint,
        response_bytes: passed.to_client,
        limited_by: None,
        tls_version: None,
        server_name: passed.server_name,
        user_agent: None,
    }
    .encode()
}
