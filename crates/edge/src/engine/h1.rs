//! The native HTTP/1.1 path: from a client's connection, plain or TLS, to endpoints that speak
//! HTTP/1.1. Never decides anything about a request: the [`Exchange`] is asked at every step.
//!
//! | room | holds |
//! |---|---|
//! | `h1` | the life of a client's connection: idle, requests one after another, the end |
//! | `h1/exchange`, `h1/answer` | the life of one request: attempts, tunnels, our own answers |
//! | `h1/relay` | one attempt: request and answer pass each other between two sockets |
//! | `h1/codec` | what bytes mean and how they are written; pure |
//! | `h1/pool` | idle connections to endpoints |
//! | `h1/peer`, `h1/outgoing` | what was received and not used, what waits to be written |
//!
//! An idle connection holds no buffer: it waits for its socket to become readable, and what serves
//! requests is one future in a box that exists only meanwhile.

mod answer;
mod codec;
mod exchange;
mod outgoing;
mod peer;
mod pool;
mod relay;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::codec::fuzzing;
use self::codec::{HeadError, HeadLimits, RequestParser};
/// Reads responses for whoever else asks endpoints: health checks.
pub(crate) mod responses {
    pub(crate) use super::codec::{
        BodyDecoder, Framing, HeadError, HeadLimits, ResponseHead, ResponseParser,
    };
}

/// Reads requests that the relay has written, for whoever carries them on.
pub(crate) mod requests {
    pub(crate) use super::codec::{BodyDecoder, HeadLimits, RequestHead, RequestParser};
}
pub(crate) use self::codec::trailers;
use self::outgoing::Outgoing;
use self::peer::Peer;
pub(crate) use self::pool::{Pool, PoolKey};
use super::buffer::Buffer;
use super::deadline::Deadline;
use super::linger::{farewell, linger};
use super::refusal::{refusal, to_http1};
use super::signal::Signal;
use super::stream::Stream;
use crate::connection::{Connection, FIRST_REQUEST};
use crate::outcome::Cause;
use crate::pipeline::{self, End, Exchange, Told};
use crate::state::Edge;

/// A connection that is busy keeps its memory for this long after each request: the next one is likely
/// to come within it, and finds everything in place.
const WARM: Duration = Duration::from_secs(1);

/// A connection is busy whose client asks again so soon after an answer. Memory that nobody else uses
/// meanwhile is cold by then, and the end of [`WARM`] is one more thing to do: with three requests a second
/// on each of 10,000 connections, a request costs a tenth less without.
const BUSY: Duration = Duration::from_millis(50);

/// Of text from another engine, which has limits of its own.
const TEXT_LIMITS: HeadLimits = HeadLimits {
    bytes: 2 << 20,
    fields: 512,
    target_bytes: 1 << 20,
};

/// Serves HTTP/1.1 connections of all listeners.
pub(crate) struct Engine {
    edge: Arc<Edge>,
    pool: Arc<Pool>,
}

impl Engine {
    /// An engine that asks the pipeline of `edge` and keeps connections to endpoints in `pool`.
    pub(crate) fn new(edge: Arc<Edge>, pool: Arc<Pool>) -> Self {
        Self { edge, pool }
    }

    /// Serves one connection to its end. When `drain` is given, an idle connection ends at once
    /// and a busy one with its next answer, which says so.
    pub(crate) async fn serve<S: Stream>(&self, stream: S, connection: Connection, drain: Signal) {
        let idle_until = connection.opened + connection.listener.timeouts.header;
        let mut session = Session {
            edge: &self.edge,
            pool: &self.pool,
            connection: Arc::new(connection),
            client: Peer::new(stream),
            deadline: Deadline::default(),
            drain,
            idle_until,
        };
        session.run().await;
    }

    /// Serves one request that another engine has admitted, and whose text alone comes over `stream`.
    /// Its answer is the last thing that is written there.
    pub(crate) async fn serve_admitted<S: Stream>(
        &self,
        exchange: &mut Exchange,
        connection: Arc<Connection>,
        stream: S,
    ) {
        let mut session = Session {
            edge: &self.edge,
            pool: &self.pool,
            idle_until: connection.opened,
            connection,
            client: Peer::new(stream),
            deadline: Deadline::default(),
            // It ends with its request.
            drain: Signal::thrown(),
        };
        session.serve_text(exchange).await;
    }
}

/// One client's connection.
struct Session<'a, S> {
    edge: &'a Arc<Edge>,
    pool: &'a Pool,
    connection: Arc<Connection>,
    client: Peer<S>,
    deadline: Deadline,
    drain: Signal,
    /// Until when it may stay without a request.
    idle_until: Instant,
}

/// What becomes of the connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It was nothing: readiness is only a hint.
    Unchanged,
    /// Another request may come.
    KeepAlive,
    /// Nobody waits for anything.
    Close,
    /// The client may still be sending: closing at once could destroy the answer on its way.
    Linger,
    /// The client must notice that its answer is incomplete, though the end of the stream is all
    /// the framing it has.
    Reset,
}

/// How waiting for a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// Something has come.
    Readable,
    /// Nothing has come in time.
    Late,
    /// The connection has broken, or the edge drains.
    Over,
}

/// Why there is no request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoHead {
    /// Not a byte has come.
    Nothing,
    /// The client closed between requests.
    Closed,
    /// What has come is no request, or not in time.
    Refused(Cause),
}

impl<S: Stream> Session<'_, S> {
    async fn run(&mut self) {
        loop {
            match self.becomes_readable(self.idle_until).await {
                Idle::Readable => {}
                Idle::Late => {
                    self.report_silence();
                    break;
                }
                Idle::Over => break,
            }
            // In a box, so that an idle connection does not hold the memory of a busy one.
            match Box::pin(self.serve_requests()).await {
                Next::Unchanged | Next::KeepAlive => {}
                Next::Close => break,
                Next::Linger => return Box::pin(linger(&mut self.client.stream)).await,
                Next::Reset => return self.client.stream.reset_on_close(),
            }
        }
        Box::pin(farewell(&mut self.client.stream)).await;
    }

    /// A connection on which nothing was ever asked has come to nothing: nobody is owed an answer, and
    /// the operator a line.
    fn report_silence(&self) {
        if self.connection.requests.load(Ordering::Relaxed) == 0 {
            let cause = Cause::HeadTimeout;
            pipeline::report_unparsed(
                self.edge,
                &self.connection,
                cause,
                Told::default(),
                Instant::now(),
            );
        }
    }

    /// Waits between requests.
    async fn becomes_readable(&mut self, until: Instant) -> Idle {
        self.deadline.set(Some(until));
        poll_fn(|cx| {
            // A request that has already arrived is still served, even when the edge drains.
            if let Poll::Ready(readable) = self.client.stream.poll_readable(cx) {
                return Poll::Ready(match readable {
                    Ok(()) => Idle::Readable,
                    Err(_) => Idle::Over,
                });
            }
            // What the handshake left to be said with an answer has to go without one. Whether it
            // arrives, the next read tells.
            let _ = Pin::new(&mut self.client.stream).poll_flush(cx);
            if self.drain.poll(cx).is_pending() {
                return self.deadline.poll(cx).map(|()| Idle::Late);
            }
            if self.connection.requests.load(Ordering::Relaxed) > 0 {
                return Poll::Ready(Idle::Over);
            }
            let patience = self.connection.opened + FIRST_REQUEST;
            self.deadline.set(Some(until.min(patience)));
            self.deadline.poll(cx).map(|()| Idle::Over)
        })
        .await
    }

    /// When the last answer ended, if there was one.
    fn answered_at(&self) -> Option<Instant> {
        let keep_alive = self.connection.listener.timeouts.keep_alive;
        let is_first = self.connection.requests.load(Ordering::Relaxed) == 0;
        (!is_first).then(|| self.idle_until.checked_sub(keep_alive))?
    }

    /// Serves requests until none has come for a moment.
    async fn serve_requests(&mut self) -> Next {
        let mut parser = RequestParser::default();
        loop {
            parser.reset();
            let (next, is_busy) = match self.read_head(&mut parser).await {
                Ok((bytes, now)) => {
                    let is_busy = is_busy(self.answered_at(), now);
                    (self.serve_request(&parser, bytes, now).await, is_busy)
                }
                Err(NoHead::Nothing) => return Next::Unchanged,
                Err(NoHead::Closed) => return Next::Close,
                Err(NoHead::Refused(cause)) => return self.refuse(cause).await,
            };
            if next != Next::KeepAlive {
                return next;
            }
            let now = Instant::now();
            self.idle_until = now + self.connection.listener.timeouts.keep_alive;
            if !self.client.received().is_empty() {
                continue;
            }
            if !is_busy {
                return next;
            }
            match self.becomes_readable(self.idle_until.min(now + WARM)).await {
                Idle::Readable => {}
                Idle::Late => return next,
                Idle::Over => return Next::Close,
            }
        }
    }

    /// Serves the request that the text is of, which was admitted already.
    async fn serve_text(&mut self, exchange: &mut Exchange) {
        let mut parser = RequestParser::default();
        match self.read_text(&mut parser).await {
            Ok(bytes) => {
                self.serve_admitted(exchange, &parser, bytes).await;
            }
            Err(cause) => {
                let answer = exchange.on_failure(cause).dated();
                let status = Some(answer.status);
                let mut out = Outgoing::default();
                codec::answer(out.text(), &answer, false, true);
                let is_written = self.write(&mut out, true).await.is_ok();
                let end = End {
                    status: status.filter(|_| is_written),
                    failure: Some(cause),
                    ..End::default()
                };
                exchange.on_end(end, Instant::now());
            }
        }
    }

    async fn read_text(&mut self, parser: &mut RequestParser) -> Result<usize, Cause> {
        poll_fn(|cx| {
            loop {
                match parser.advance(self.client.received(), &TEXT_LIMITS) {
                    Ok(Some(bytes)) => return Poll::Ready(Ok(bytes)),
                    Ok(None) if self.client.make_room(TEXT_LIMITS.bytes + 1) => {}
                    Ok(None) => return Poll::Ready(Err(Cause::HeadTooLarge)),
                    Err(error) => return Poll::Ready(Err(self.blame(error))),
                }
                match ready!(self.client.poll_fill(cx, Buffer::small)) {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Poll::Ready(Err(Cause::ClientGone)),
                }
            }
        })
        .await
    }

    /// Reads a request head; returns its size in bytes, and the moment when it was whole.
    async fn read_head(&mut self, parser: &mut RequestParser) -> Result<(usize, Instant), NoHead> {
        let limits = &self.connection.listener.limits;
        let limits = HeadLimits {
            bytes: limits.header_bytes,
            fields: limits.header_count,
            target_bytes: limits.target_bytes,
        };
        let mut by = None;
        poll_fn(|cx| {
            let now = Instant::now();
            let header = self.connection.listener.timeouts.header;
            self.deadline.set(Some(*by.get_or_insert(now + header)));
            let polled = self.poll_head(cx, parser, &limits);
            polled.map_ok(|bytes| (bytes, now))
        })
        .await
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        parser: &mut RequestParser,
        limits: &HeadLimits,
    ) -> Poll<Result<usize, NoHead>> {
        loop {
            // What some clients send behind a body begins nothing (RFC 9112, 2.2).
            if self.client.received() == b"\r\n" {
                self.client.consume(2);
            }
            let is_begun = !self.client.received().is_empty();
            if is_begun {
                match parser.advance(self.client.received(), limits) {
                    Ok(Some(bytes)) => return Poll::Ready(Ok(bytes)),
                    Ok(None) if self.client.make_room(limits.bytes + 1) => {}
                    Ok(None) => return refused(Cause::HeadTooLarge),
                    Err(error) => return refused(self.blame(error)),
                }
            }
            match (self.client.poll_fill(cx, Buffer::small), is_begun) {
                (Poll::Ready(Ok(1..)), _) => {}
                (Poll::Ready(_), true) => return refused(Cause::ClientGone),
                (Poll::Ready(_), false) => return Poll::Ready(Err(NoHead::Closed)),
                (Poll::Pending, false) => return Poll::Ready(Err(NoHead::Nothing)),
                (Poll::Pending, true) => {
                    ready!(self.deadline.poll(cx));
                    return refused(Cause::HeadTimeout);
                }
            }
        }
    }

    fn blame(&self, error: HeadError) -> Cause {
        if let HeadError::Malformed(what) = error {
            let client = self.connection.client;
            let client = || self.edge.shown(client);
            tracing::debug!(client = client(), what, "malformed request head");
        }
        error.cause()
    }

    /// Answers what never became a request, and reports it.
    async fn refuse(&mut self, cause: Cause) -> Next {
        let answer = (cause != Cause::ClientGone).then(|| refusal(self.edge, cause));
        let told = answer.as_ref().map(Told::from).unwrap_or_default();
        pipeline::report_unparsed(self.edge, &self.connection, cause, told, Instant::now());
        let Some(answer) = answer else {
            return Next::Close;
        };
        let mut out = Outgoing::default();
        out.text().extend_from_slice(&to_http1(&answer));
        match self.write(&mut out, true).await {
            Ok(()) => Next::Linger,
            Err(_) => Next::Close,
        }
    }

    /// Writes text of our own within the write deadline. With `is_last` the connection must end at once
    /// behind it.
    async fn write(&mut self, out: &mut Outgoing, is_last: bool) -> Result<(), Cause> {
        let patience = self.connection.listener.timeouts.write;
        self.deadline.set(Some(Instant::now() + patience));
        poll_fn(|cx| {
            if let Poll::Ready(written) = out.poll_write(cx, &mut self.client.stream, &[], is_last)
            {
                return Poll::Ready(written.map_err(|_| Cause::ClientGone));
            }
            self.deadline.poll(cx).map(|()| Err(Cause::ClientGone))
        })
        .await
    }
}

fn refused<T>(cause: Cause) -> Poll<Result<T, NoHead>> {
    Poll::Ready(Err(NoHead::Refused(cause)))
}

/// Whether a request that has come now followed an answer at once.
fn is_busy(answered_at: Option<Instant>, now: Instant) -> bool {
    answered_at.is_some_and(|answered| now.saturating_duration_since(answered) < BUSY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_is_busy_that_asks_again_within_a_moment() {
        let answered = Instant::now();
        for (waited, expected) in [
            (Duration::ZERO, true),
            (BUSY - Duration::from_nanos(1), true),
            (BUSY, false),
            (WARM, false),
        ] {
            let found = is_busy(Some(answered), answered + waited);
            assert_eq!(found, expected, "{waited:?}");
        }
        assert!(!is_busy(None, answered), "its first request");
        let early = answered - Duration::from_millis(1);
        assert!(
            is_busy(Some(answered), early),
            "a clock that was read before"
        );
    }
}
