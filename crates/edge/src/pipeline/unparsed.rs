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

/// The answer to a request that never became an [`Exchange`](super::Exchange).
pub fn answer_unparsed(cause: Cause) -> Answer {
    let mut answer = fail::failure(cause).answer(None);
    answer.close = true;
    answer
}
