//! The driver of one exchange: owns guards and order, engines only call it. Never reads or writes a socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::cluster::Slot;
use crate::config::{ClientTimeouts, Limits, UpstreamTimeouts};
use crate::connection::Connection;
pub use crate::outcome::{Cause, Outcome};
use crate::state::{Edge, Snapshot};

pub mod head;

pub use head::{Head, HeaderEdit};

/// One request on its way. Dropped without [`Exchange::on_end`] it is still counted and logged.
pub struct Exchange {
    edge: Arc<Edge>,
    connection: Arc<Connection>,
    snapshot: Arc<Snapshot>,
    started: Instant,
    request_id: String,
    route: Option<usize>,
    slot: Option<Slot>,
    attempts: u32,
    request_bytes: u64,
    outcome: Option<Outcome>,
    has_ended: bool,
}

/// Where and how to try now.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Where to connect.
    pub address: std::net::SocketAddr,
    /// Deadlines towards the endpoint.
    pub timeouts: Arc<UpstreamTimeouts>,
    /// Pooled connections of different keys must not be shared.
    pub cluster_key: u64,
    /// 1 for the first attempt.
    pub number: u32,
}

/// What to do with a response head from the endpoint.
#[derive(Debug)]
pub enum ResponseStep {
    /// Send it to the client with these edits.
    Deliver(Vec<HeaderEdit>),
    /// Throw it away and make another attempt.
    Retry,
}

/// A response of our own. To a HEAD request send the head alone.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status line.
    pub status: StatusCode,
    /// Everything but framing: `content-length` and `connection` are the engine's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A problem document (RFC 9457).
    pub body: Bytes,
    /// Whether the connection must be closed after it (HTTP/1) because its state is in doubt.
    pub close: bool,
}

/// What was really written to the client.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// Status sent; `None` when nothing was.
    pub status: Option<StatusCode>,
    /// Body bytes sent.
    pub response_bytes: u64,
    /// What cut the exchange short, if anything did.
    pub failure: Option<Cause>,
}

impl Exchange {
    /// A request whose head has just arrived (or, on a slow connection, begun to).
    pub fn new(edge: Arc<Edge>, connection: Arc<Connection>, now: Instant) -> Self {
        connection.requests.fetch_add(1, Ordering::Relaxed);
        let snapshot = edge.snapshot.load_full();
        Self {
            edge,
            connection,
            snapshot,
            started: now,
            request_id: String::new(),
            route: None,
            slot: None,
            attempts: 0,
            request_bytes: 0,
            outcome: None,
            has_ended: false,
        }
    }

    /// Admits and routes. `Err` is the answer to send now.
    pub fn on_request(&mut self, head: &dyn Head) -> Result<(), Answer> {
        self.route = self.snapshot.route(head.authority(), head.path());
        if self.route.is_none() {
            Err(self.on_failure(Cause::NoRoute))
        } else {
            Ok(())
        }
    }

    /// Once per attempt: picks an endpoint, never one already tried while another is eligible, and
    /// takes a place in its in-flight count. `Err` is the answer to send now.
    pub fn on_attempt(&mut self, _head: &dyn Head, now: Instant) -> Result<Attempt, Answer> {
        let cluster = self.route.map(|route| self.snapshot.routes[route].cluster);
        let cluster = cluster.map(|id| Arc::clone(self.snapshot.cluster(id)));
        let picked = cluster
            .as_ref()
            .and_then(|cluster| Some((cluster, cluster.pick(&[], now)?)));
        let Some((cluster, slot)) = picked else {
            return Err(self.on_failure(Cause::NoEndpoint));
        };
        self.attempts += 1;
        let attempt = Attempt {
            address: slot.endpoint().address(),
            timeouts: Arc::clone(cluster.timeouts()),
            cluster_key: cluster.key(),
            number: self.attempts,
        };
        self.slot = Some(slot);
        Ok(attempt)
    }

    /// Edits of the request head for this attempt. The engine removes hop-by-hop fields from the
    /// client's head first and applies these after, so that `Connection` cannot name ours.
    pub fn on_forward(&mut self, _head: &dyn Head) -> Vec<HeaderEdit> {
        Vec::new()
    }

    /// The attempt failed before a response head reached the client. `body_replayable`: all request
    /// body bytes that were sent can be sent again. `true` means: go to [`Exchange::on_attempt`].
    pub fn on_attempt_failed(
        &mut self,
        _cause: Cause,
        _body_replayable: bool,
        _now: Instant,
    ) -> bool {
        self.slot = None;
        false
    }

    /// A response head from the endpoint.
    pub fn on_response_head(
        &mut self,
        _status: StatusCode,
        _headers: &HeaderMap,
        _body_replayable: bool,
        _now: Instant,
    ) -> ResponseStep {
        ResponseStep::Deliver(Vec::new())
    }

    /// Counts request body bytes. `Err` beyond the limit: stop reading, call
    /// [`Exchange::on_failure`] with it.
    pub fn on_request_body(&mut self, bytes: usize) -> Result<(), Cause> {
        self.request_bytes += bytes as u64;
        let is_too_large = self.request_bytes > self.limits().body_bytes;
        if is_too_large {
            Err(Cause::BodyTooLarge)
        } else {
            Ok(())
        }
    }

    /// The exchange failed for good. The answer is to be sent if nothing has been sent yet.
    pub fn on_failure(&mut self, _cause: Cause) -> Answer {
        self.slot = None;
        self.outcome = Some(Outcome::Internal);
        Answer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            headers: vec![(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/problem+json"),
            )],
            body: Bytes::from_static(b"{}"),
            close: false,
        }
    }

    /// Always the last call: releases guards, feeds metrics and access log.
    pub fn on_end(&mut self, end: End, now: Instant) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.slot = None;
        let outcome = self.outcome.unwrap_or(match end.failure {
            Some(_) => Outcome::Internal,
            None => Outcome::Served,
        });
        self.snapshot
            .counters(self.connection.listener.index, self.route)
            .count(outcome);
        let _ = now.duration_since(self.started);
        let _ = &self.edge;
    }

    /// Sizes and counts that bound this request.
    pub fn limits(&self) -> &Limits {
        &self.connection.listener.limits
    }

    /// Deadlines towards the client.
    pub fn timeouts(&self) -> &ClientTimeouts {
        &self.connection.listener.timeouts
    }

    /// Empty until [`Exchange::on_request`].
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Whether the connection must be closed politely after this exchange.
    pub fn must_close(&self, now: Instant) -> bool {
        let limits = self.limits();
        self.edge.is_draining()
            || self.connection.requests.load(Ordering::Relaxed)
                >= u64::from(limits.requests_per_connection.get())
            || now.duration_since(self.connection.opened) >= limits.connection_age
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let failure = if std::thread::panicking() {
            Cause::Internal
        } else {
            Cause::ClientGone
        };
        self.on_end(
            End {
                failure: Some(failure),
                ..End::default()
            },
            Instant::now(),
        );
    }
}

/// A request that never became an [`Exchange`] (malformed, header too slow or too large, refused
/// connection): the same log line and metric.
pub fn report_unparsed(
    edge: &Edge,
    connection: &Connection,
    _cause: Cause,
    _status: Option<StatusCode>,
    _now: Instant,
) {
    edge.snapshot
        .load()
        .counters(connection.listener.index, None)
        .count(Outcome::ClientMalformed);
}

/// The answer to a request that never became an [`Exchange`].
pub fn answer_unparsed(_cause: Cause) -> Answer {
    Answer {
        status: StatusCode::BAD_REQUEST,
        headers: Vec::new(),
        body: Bytes::from_static(b"{}"),
        close: true,
    }
}
