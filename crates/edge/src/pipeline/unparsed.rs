//! Requests that never became an exchange: the same line, metric and words as for all others. Never
//! knows more of them than their connection.

use std::time::Instant;

use http::StatusCode;

use super::{Answer, fail, finish};
use crate::connection::Connection;
use crate::outcome::Cause;
use crate::state::Edge;

/// A request that never became an [`Exchange`](super::Exchange) (malformed, header too slow or too large, refused
/// connection): the same log line and metric.
pub fn report_unparsed(
    edge: &Edge,
    connection: &Connection,
    cause: Cause,
    status: Option<StatusCode>,
    now: Instant,
) {
    finish::finish_unparsed(edge, connection, fail::failure(cause).outcome, status, now);
}

/// A connection that came to nothing before its TLS stood, as one line and one count of requests.
pub fn report_handshake(
    edge: &Edge,
    connection: &Connection,
    cause: Cause,
    status: Option<StatusCode>,
    server_name: Option<&str>,
) {
    let outcome = fail::failure(cause).outcome;
    let now = Instant::now();
    finish::finish_connection(edge, connection, outcome, status, server_name, now);
}

/// The answer to a request that never became an [`Exchange`](super::Exchange).
pub fn answer_unparsed(cause: Cause) -> Answer {
    let mut answer = fail::failure(cause).answer(None);
    answer.close = true;
    answer
}
