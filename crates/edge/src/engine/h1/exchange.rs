//! The life of one request: attempts until one is answered, and our own answer when none is. Never
//! reads a head and never chooses an endpoint.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::Method;
use tokio::io::AsyncWriteExt;

use super::answer::DISCARDED_BODY_BYTES;
use super::codec::{self, Framing, RequestHead, RequestParser};
use super::outgoing::Outgoing;
use super::peer::Peer;
use super::pool::{Care, PoolKey};
use super::relay::{Answered, Asked, Ends, Relay, RequestBody, Timeouts, poll_gone};
use super::{Next, Session};
use crate::engine::buffer::Buffer;
use crate::engine::dial::{EndpointStream, dial};
use crate::engine::h2::{Bridge, Wish};
use crate::engine::stream::Stream;
use crate::engine::tunnel::tunnel;
use crate::outcome::Cause;
use crate::pipeline::{Answer, Attempt, End, Exchange, Head, HeaderEdit, lease_over};

/// A request as the attempts need it.
pub(super) struct Request<'a> {
    head: RequestHead<'a>,
    pub(super) framing: Framing,
    pub(super) asked: Asked,
}

impl<'a> Request<'a> {
    fn new(parser: &'a RequestParser, bytes: &'a [u8]) -> Self {
        let head = parser.head(bytes);
        let framing = parser.framing();
        let asked = Asked {
            is_head: *head.method() == Method::HEAD,
            is_http10: head.version() == http::Version::HTTP_10,
            keeps_alive: parser.keeps_alive(),
            expects_continue: parser.expects_continue(),
            asks_for_upgrade: parser.wants_another_protocol(),
        };
        Self {
            head,
            framing,
            asked,
        }
    }

    /// Whether an unwanted body is worth reading for the sake of the connection. A client that
    /// waits for `100 Continue` may never send it.
    pub(super) fn is_discardable(&self) -> bool {
        match self.framing {
            Framing::None => true,
            Framing::Length(bytes) => bytes <= DISCARDED_BODY_BYTES && !self.asked.expects_continue,
            _ => !self.asked.expects_continue,
        }
    }
}

/// How an attempt ended.
enum Attempted {
    /// The request is over.
    Over(Next),
    /// Try another endpoint.
    Again,
    /// The client must get this instead of what the endpoint said.
    Instead(Box<Answer>),
    /// The client must get our own answer.
    Failed(Cause),
}

/// What all attempts of a request come to.
enum Attempts {
    Over(Next),
    /// An answer of our own is due. The rest says how far the request's body was received.
    Answer(Box<Answer>, Option<bool>),
}

impl<S: Stream> Session<'_, S> {
    /// Serves the request whose head was whole at `now`.
    pub(super) async fn serve_request(
        &mut self,
        parser: &RequestParser,
        bytes: usize,
        now: Instant,
    ) -> Next {
        let buffer = self.take_head(parser, bytes);
        let request = Request::new(parser, buffer.filled());
        let connection = std::sync::Arc::clone(&self.connection);
        let mut exchange = Exchange::new(std::sync::Arc::clone(self.edge), connection, now);
        if let Err(answer) = exchange.on_request(&request.head) {
            return self.answer(&mut exchange, &request, answer, None).await;
        }
        if exchange.waits_for_keys() {
            // Rare, so not a part of every request's future.
            let keys = Box::pin(exchange.on_keys(&request.head));
            match while_client_stays(&mut self.client, keys).await {
                Some(Ok(())) => {}
                Some(Err(answer)) => {
                    return self.answer(&mut exchange, &request, answer, None).await;
                }
                None => return end_unanswered(&mut exchange, Cause::ClientGone),
            }
        }
        if request.asked.asks_for_upgrade && exchange.is_http2_upstream() {
            let answer = exchange.on_failure(Cause::NoUpgrade);
            return self.answer(&mut exchange, &request, answer, None).await;
        }
        match self.make_attempts(&mut exchange, &request, now).await {
            Attempts::Over(next) => next,
            Attempts::Answer(answer, received) => {
                let exchange = &mut exchange;
                self.answer(exchange, &request, *answer, received).await
            }
        }
    }

    /// The same for one that another engine has admitted.
    pub(super) async fn serve_admitted(
        &mut self,
        exchange: &mut Exchange,
        parser: &RequestParser,
        bytes: usize,
    ) -> Next {
        let buffer = self.take_head(parser, bytes);
        let request = Request::new(parser, buffer.filled());
        match self.make_attempts(exchange, &request, Instant::now()).await {
            Attempts::Over(next) => next,
            Attempts::Answer(answer, received) => {
                self.answer(exchange, &request, *answer, received).await
            }
        }
    }

    fn take_head(&mut self, parser: &RequestParser, bytes: usize) -> Buffer {
        let room = match parser.framing() {
            Framing::Length(length) if length <= Buffer::small_bytes() as u64 => Buffer::small,
            Framing::None => Buffer::small,
            _ => Buffer::large,
        };
        self.client.split(bytes, room)
    }

    async fn make_attempts(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        mut now: Instant,
    ) -> Attempts {
        // Over HTTP/2 an endpoint may say that it has not begun with a request: then any goes again.
        let is_kept = exchange.is_body_kept() || exchange.is_http2_upstream();
        let mut body = RequestBody::new(request.framing, is_kept);
        // One look at the clock serves all that happens at once.
        loop {
            let chosen = exchange.on_attempt(now);
            let attempt = match while_client_stays(&mut self.client, chosen).await {
                Some(Ok(attempt)) => attempt,
                Some(Err(answer)) => {
                    return Attempts::Answer(Box::new(answer), body.received());
                }
                None => return Attempts::Over(end_unanswered(exchange, Cause::ClientGone)),
            };
            let attempted = self.attempt(exchange, request, &mut body, &attempt, now);
            match attempted.await {
                Attempted::Again => now = Instant::now(),
                Attempted::Over(next) => return Attempts::Over(next),
                Attempted::Instead(answer) => return Attempts::Answer(answer, body.received()),
                Attempted::Failed(cause) => {
                    let answer = exchange.on_failure(cause);
                    if cause == Cause::ClientGone {
                        return Attempts::Over(end_unanswered(exchange, cause));
                    }
                    return Attempts::Answer(Box::new(answer), body.received());
                }
            }
        }
    }

    /// One attempt at one endpoint. A pooled connection that its endpoint has closed meanwhile is
    /// no fault of anybody: what may be repeated goes out again on a new one.
    async fn attempt(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        body: &mut RequestBody,
        attempt: &Attempt,
        mut now: Instant,
    ) -> Attempted {
        let edits = exchange.on_forward(&request.head);
        let care = if exchange.is_repeatable() {
            Care::Usual
        } else {
            Care::NotRepeatable
        };
        let mut pooled = match attempt.via.is_http2 {
            true => None,
            false => self.pool.take(&key(attempt), care, now),
        };
        let mut wish = Wish::Any;
        loop {
            let (stream, is_reused) = match pooled.take() {
                Some(stream) => (stream, true),
                None => match self.connect(attempt, wish).await {
                    Ok(found) => {
                        now = Instant::now();
                        found
                    }
                    // Nothing was sent, so all can be sent again.
                    Err(cause) => return failed(exchange, cause, true),
                },
            };
            exchange.on_connection(is_reused);
            let mut endpoint = Peer::new(stream);
            let mut relay = relay(request, exchange.forwarded_target(), &edits, body, now);
            let ends = Ends {
                client: &mut self.client,
                endpoint: &mut endpoint,
                body,
                exchange,
                deadline: &mut self.deadline,
            };
            let timeouts = Timeouts {
                client: &self.connection.listener.timeouts,
                endpoint: &attempt.timeouts,
            };
            let answered = relay.run(ends, timeouts).await;
            let bridge = endpoint.stream.bridge();
            let is_reset = answered == Err(Cause::EndpointReset) && relay.is_unanswered();
            let is_stale = is_reused && is_reset && bridge.is_none_or(Bridge::is_broken);
            let is_left = is_reused && is_reset && bridge.is_some_and(Bridge::is_left);
            let answered = match bridge {
                Some(bridge) => answered.map_err(|cause| bridge.explain(cause)),
                None => answered,
            };
            wish = wish.next();
            if is_left && relay.is_replayable() {
                // It had said goodbye before the request came.
                continue;
            }
            if !(is_stale && exchange.on_stale_connection(relay.is_replayable())) {
                return self
                    .settle(exchange, request, attempt, endpoint, &relay, answered)
                    .await;
            }
        }
    }

    /// What an attempt that was relayed means for its connections and for the request.
    async fn settle(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        attempt: &Attempt,
        endpoint: Peer<EndpointStream>,
        relay: &Relay,
        answered: Result<Answered, Cause>,
    ) -> Attempted {
        match answered {
            Ok(Answered::Retry) => Attempted::Again,
            Ok(Answered::Instead(answer)) => Attempted::Instead(answer),
            Ok(Answered::Upgraded) => self.upgrade(exchange, endpoint, relay).await,
            Ok(Answered::Whole) => {
                let now = relay.polled();
                let is_shared = endpoint.stream.bridge().is_some();
                if !is_shared && relay.leaves_endpoint_reusable() && endpoint.received().is_empty()
                {
                    let (key, idle) = (key(attempt), attempt.timeouts.idle);
                    self.pool.put(key, endpoint.stream, idle, now);
                }
                end(exchange, relay, None, now);
                Attempted::Over(self.after(relay, request))
            }
            Err(cause) if relay.status_sent().is_none() && !relay.is_inside_interim_head() => {
                failed(exchange, cause, relay.is_replayable())
            }
            Err(cause) => {
                end(exchange, relay, Some(cause), Instant::now());
                Attempted::Over(match cause {
                    // Of framing such a client may know none but the end of the stream.
                    _ if request.asked.is_http10 => Next::Reset,
                    Cause::ClientGone => Next::Close,
                    _ => Next::Linger,
                })
            }
        }
    }

    /// Connects, unless the client leaves first.
    async fn connect(
        &mut self,
        attempt: &Attempt,
        wish: Wish,
    ) -> Result<(EndpointStream, bool), Cause> {
        let pool = self.pool;
        let connecting = async {
            if attempt.via.is_http2 {
                // Not a part of the future of those that speak HTTP/1.1.
                let opening = Box::pin(pool.shared().open(key(attempt), attempt, wish));
                let (bridge, is_reused) = opening.await?;
                return Ok((EndpointStream::Bridged(Box::new(bridge)), is_reused));
            }
            let timeout = attempt.timeouts.connect;
            let stream = dial(attempt.address, &attempt.via, timeout).await?;
            Ok((stream, false))
        };
        let connected = while_client_stays(&mut self.client, connecting).await;
        connected.unwrap_or(Err(Cause::ClientGone))
    }

    fn after(&self, relay: &Relay, request: &Request<'_>) -> Next {
        if relay.leaves_client_reusable() {
            Next::KeepAlive
        } else if request.asked.keeps_alive
            || !relay.is_request_received()
            || !self.client.received().is_empty()
        {
            // It may not expect the end, and be sending.
            Next::Linger
        } else {
            Next::Close
        }
    }

    /// Carries the other protocol, with what was already received of it, until it ends.
    async fn upgrade(
        &mut self,
        exchange: &mut Exchange,
        mut endpoint: Peer<EndpointStream>,
        relay: &Relay,
    ) -> Attempted {
        let idle = self.connection.listener.timeouts.tunnel;
        let early = endpoint.received().len() as u64;
        let mut response_bytes = early;
        let handed_on = async {
            self.client.stream.write_all(endpoint.received()).await?;
            self.client.stream.flush().await?;
            endpoint.stream.write_all(self.client.received()).await
        };
        if let Ok(Ok(())) = tokio::time::timeout(idle, handed_on).await {
            self.client.consume(self.client.received().len());
            endpoint.consume(endpoint.received().len());
            let copied = tunnel(
                &mut self.client.stream,
                &mut endpoint.stream,
                idle,
                lease_over(exchange.lease()),
            )
            .await;
            response_bytes += copied.to_client;
            tracing::debug!(
                client = self.edge.shown(self.connection.client),
                to_endpoint = copied.to_endpoint,
                to_client = copied.to_client,
                ended = ?copied.ended,
                "tunnel ended"
            );
        }
        let end = End {
            status: relay.status_sent(),
            response_bytes,
            failure: None,
        };
        exchange.on_end(end, Instant::now());
        Attempted::Over(Next::Close)
    }
}

/// What `work` comes to; `None` when the client leaves first. Work that waits for nothing never looks
/// at the client.
async fn while_client_stays<C: Stream, T>(
    client: &mut Peer<C>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx: &mut Context<'_>| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        poll_gone(cx, client).map(|()| None)
    })
    .await
}

fn key(attempt: &Attempt) -> PoolKey {
    PoolKey {
        cluster: attempt.cluster_key,
        address: attempt.address,
    }
}

fn relay(
    request: &Request<'_>,
    target: Option<&str>,
    edits: &[HeaderEdit],
    body: &RequestBody,
    now: Instant,
) -> Relay {
    let mut out = Outgoing::with_room_for_head();
    codec::request_head(
        out.text(),
        &request.head,
        target,
        edits,
        request.framing,
        request.asked.asks_for_upgrade,
    );
    Relay::new(out, request.framing, body, request.asked, now)
}

/// An attempt broke before the client got anything of its answer.
fn failed(exchange: &mut Exchange, cause: Cause, is_replayable: bool) -> Attempted {
    let is_retried = cause.is_endpoint_fault()
        && exchange.on_attempt_failed(cause, is_replayable, Instant::now());
    if is_retried {
        Attempted::Again
    } else {
        Attempted::Failed(cause)
    }
}

fn end(exchange: &mut Exchange, relay: &Relay, failure: Option<Cause>, now: Instant) {
    let end = End {
        status: relay.status_sent(),
        response_bytes: relay.response_bytes(),
        failure,
    };
    exchange.on_end(end, now);
}

fn end_unanswered(exchange: &mut Exchange, cause: Cause) -> Next {
    let end = End {
        failure: Some(cause),
        ..End::default()
    };
    exchange.on_end(end, Instant::now());
    Next::Close
}
