//! Requests that never became an exchange: the same line, metric and words as for all others. Never
//! knows more of them than their connection.

use std::time::Instant;

use http::{HeaderValue, StatusCode};

use super::identify::hex;
use super::{Answer, fail, finish};
use crate::connection::Connection;
use crate::outcome::Cause;
use crate::state::Edge;

/// What the client was told of a request that nobody could read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Status line; `None` is nothing at all.
    pub status: Option<StatusCode>,
    /// The id that the answer names, for the log to name the same.
    pub id: Option<HeaderValue>,
}

impl From<&Answer> for Told {
    fn from(answer: &Answer) -> Self {
        Self {
            status: Some(answer.status),
            id: answer.request_id().cloned(),
        }
    }
}

/// A request that never became an [`Exchange`](super::Exchange) (malformed, header too slow or too large, refused
/// connection): the same log line and metric.
pub fn report_unparsed(
    edge: &Edge,
    connection: &Connection,
    cause: Cause,
    told: Told,
    now: Instant,
) {
    finish::finish_unparsed(edge, connection, fail::failure(cause).outcome, told, now);
}

/// A connection that came to nothing before its TLS stood, as one line and one count of requests.
pub fn report_handshake(
    edge: &Edge,
    connection: &Connection,
    cause: Cause,
    told: Told,
    server_name: Option<&str>,
) {
    let outcome = fail::failure(cause).outcome;
    let now = Instant::now();
    finish::finish_connection(edge, connection, outcome, told, server_name, now);
}

/// The answer to a request that never became an [`Exchange`](super::Exchange).
pub fn answer_unparsed(edge: &Edge, cause: Cause) -> Answer {
    let id = HeaderValue::from_bytes(&hex::<32>(edge.ids.draw()));
    let mut answer = fail::failure(cause).answer(id.ok().as_ref());
    answer.close = true;
    answer
}
