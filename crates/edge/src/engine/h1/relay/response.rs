//! The way from endpoint to client: interim heads, the head with our edits, then the body as it
//! comes. Never lets a byte through that was not parsed.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::StatusCode;

use super::{Wait, What};
use crate::engine::buffer::Buffer;
use crate::engine::h1::codec::{
    self, BodyDecoder, Framing, HeadLimits, ResponseNote, ResponseParser,
};
use crate::engine::h1::outgoing::{Outgoing, Taken};
use crate::engine::h1::peer::Peer;
use crate::engine::stream::{Stream, TakesFields as _};
use crate::outcome::Cause;
use crate::pipeline::{Answer, Exchange, ResponseStep};

/// What the answer depends on besides the endpoint.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::h1) struct Asked {
    pub(in crate::engine::h1) is_head: bool,
    pub(in crate::engine::h1) is_http10: bool,
    pub(in crate::engine::h1) keeps_alive: bool,
    pub(in crate::engine::h1) expects_continue: bool,
    pub(in crate::engine::h1) asks_for_upgrade: bool,
}

/// What is known of the way out when a response head arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestState {
    pub(super) is_body_received: bool,
    pub(super) is_replayable: bool,
}

/// How an answer ended without a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine::h1) enum Answered {
    /// The client has all of it.
    Whole,
    /// It is thrown away for another attempt; the client has nothing of it.
    Retry,
    /// It is thrown away for this one; the client has nothing of it.
    Instead(Box<Answer>),
    /// The connection is a tunnel now.
    Upgraded,
}

/// One answer on its way to the client.
#[derive(Debug)]
pub(super) struct ResponseSide {
    asked: Asked,
    parser: ResponseParser,
    interim_heads: u32,
    body: Option<BodyDecoder>,
    is_chunked: bool,
    /// The end of the body was put into `out`.
    is_ended: bool,
    closes_client: bool,
    status: Option<StatusCode>,
    out: Outgoing,
    /// Received bytes behind the payload in `out`: used up when it is written.
    pending: usize,
    body_bytes: u64,
    /// Body bytes in `out`.
    unwritten_bytes: u64,
    is_begun: bool,
    has_bytes: bool,
    pub(super) wait: Wait,
}

impl ResponseSide {
    pub(super) fn new(asked: Asked, now: Instant) -> Self {
        Self {
            asked,
            parser: ResponseParser::default(),
            interim_heads: 0,
            body: None,
            is_chunked: false,
            is_ended: false,
            closes_client: true,
            status: None,
            out: Outgoing::with_room_for_head(),
            pending: 0,
            body_bytes: 0,
            unwritten_bytes: 0,
            is_begun: false,
            has_bytes: false,
            wait: Wait::new(now),
        }
    }

    /// Status of the final head, once any of it was written.
    pub(super) fn status_sent(&self) -> Option<StatusCode> {
        self.status.filter(|_| self.is_begun)
    }

    /// Body bytes written to the client.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Whether the endpoint sent anything at all.
    pub(super) fn has_bytes(&self) -> bool {
        self.has_bytes
    }

    /// Whether a client that waits for `100 Continue` has heard nothing yet.
    pub(super) fn owes_continue(&self) -> bool {
        self.asked.expects_continue && self.interim_heads == 0 && self.status_sent().is_none()
    }

    /// Whether an interim head reached the client in part.
    pub(super) fn is_inside_interim_head(&self) -> bool {
        self.out.written() > 0 && !self.is_begun
    }

    /// Whether the client was told, or must find out, that its connection ends.
    pub(super) fn closes_client(&self) -> bool {
        self.closes_client
    }

    /// Whether the endpoint's connection can carry another request.
    pub(super) fn leaves_endpoint_reusable(&self) -> bool {
        self.is_ended && self.parser.keeps_alive()
    }

    /// Carries on as far as both sockets allow. An error says what broke the answer off.
    pub(super) fn poll<C: Stream, E: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Peer<C>,
        endpoint: &mut Peer<E>,
        exchange: &mut Exchange,
        request: RequestState,
        now: Instant,
    ) -> Poll<Result<Answered, Cause>> {
        loop {
            if let Some(refused) = self.take_in(client, endpoint, exchange, request, now)? {
                return Poll::Ready(Ok(refused));
            }
            if !self.out.is_empty() {
                ready!(self.poll_write(cx, client, endpoint, now))?;
                continue;
            }
            if self.status == Some(StatusCode::SWITCHING_PROTOCOLS) {
                return Poll::Ready(Ok(Answered::Upgraded));
            }
            if self.is_ended {
                return Poll::Ready(Ok(Answered::Whole));
            }
            ready!(self.poll_fill(cx, endpoint, now))?;
        }
    }

    /// Parses and decodes what has been received into the next thing to write; `Some` if nothing of
    /// it is to be written.
    fn take_in<C: Stream, E: Stream>(
        &mut self,
        client: &mut Peer<C>,
        endpoint: &mut Peer<E>,
        exchange: &mut Exchange,
        request: RequestState,
        now: Instant,
    ) -> Result<Option<Answered>, Cause> {
        while self.body.is_none() && self.out.written() == 0 && !endpoint.received().is_empty() {
            let parsed = self.parser.advance(endpoint.received(), &HEAD_LIMITS);
            let Some(bytes) = parsed.map_err(|_| Cause::EndpointMalformed)? else {
                break;
            };
            if let Some(refused) = self.take_head(client, endpoint, exchange, request, now)? {
                return Ok(Some(refused));
            }
            endpoint.consume(bytes);
        }
        if self.status != Some(StatusCode::SWITCHING_PROTOCOLS) {
            self.take_body(endpoint)?;
        }
        Ok(None)
    }

    /// A whole head, interim or final; `Some` if it is not for the client.
    fn take_head<C: Stream, E: Stream>(
        &mut self,
        client: &mut Peer<C>,
        endpoint: &Peer<E>,
        exchange: &mut Exchange,
        request: RequestState,
        now: Instant,
    ) -> Result<Option<Answered>, Cause> {
        let status = self.parser.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            if !self.asked.asks_for_upgrade || !self.parser.is_upgrade() {
                return Err(Cause::EndpointMalformed);
            }
        } else if status.is_informational() {
            self.take_interim(endpoint)?;
            return Ok(None);
        }
        let head = self.parser.head(endpoint.received());
        let is_replayable = request.is_replayable;
        let edits = match exchange.on_response_head(status, head.fields(), is_replayable, now) {
            ResponseStep::Retry => return Ok(Some(Answered::Retry)),
            ResponseStep::Instead(answer) => return Ok(Some(Answered::Instead(answer))),
            ResponseStep::Deliver(edits) => edits,
        };
        let received = self.parser.framing(self.asked.is_head);
        let framing = match received {
            Framing::Chunked | Framing::UntilClose if self.asked.is_http10 => Framing::UntilClose,
            Framing::UntilClose => Framing::Chunked,
            framing => framing,
        };
        self.closes_client = !self.asked.keeps_alive
            || !request.is_body_received
            || framing == Framing::UntilClose
            || exchange.must_close(now);
        let connection = if status == StatusCode::SWITCHING_PROTOCOLS {
            codec::Connection::Upgrade
        } else if self.closes_client {
            codec::Connection::Close
        } else {
            codec::Connection::KeepAlive
        };
        let note = ResponseNote {
            framing,
            connection,
            is_http10_client: self.asked.is_http10,
        };
        // Behind an interim head that is still to be written as text, so is this one.
        let sink = client.stream.fields().filter(|_| self.out.is_empty());
        let fields =
            sink.and_then(|sink| Some((sink, codec::response_fields(&head, &edits, note)?)));
        if let Some((sink, fields)) = fields {
            let taken = sink.begin(status, fields, framing);
            taken.map_err(|_| Cause::ClientGone)?;
            self.is_begun = true;
            self.wait.progress(now);
        } else {
            codec::response_head(self.out.text(), &head, &edits, note);
        }
        self.is_chunked = framing == Framing::Chunked;
        self.body = Some(BodyDecoder::new(received));
        self.status = Some(status);
        Ok(None)
    }

    /// `100 Continue` is for those who asked; HTTP/1.0 knows no interim heads (RFC 9110, 15.2).
    fn take_interim<E: Stream>(&mut self, endpoint: &Peer<E>) -> Result<(), Cause> {
        self.interim_heads += 1;
        if self.interim_heads > INTERIM_HEADS_MAX {
            return Err(Cause::EndpointMalformed);
        }
        let is_wanted = self.parser.status() != StatusCode::CONTINUE || self.asked.expects_continue;
        if is_wanted && !self.asked.is_http10 {
            let head = self.parser.head(endpoint.received());
            codec::interim_head(self.out.text(), &head);
        }
        self.parser.reset();
        Ok(())
    }

    fn take_body<E: Stream>(&mut self, endpoint: &mut Peer<E>) -> Result<(), Cause> {
        let Some(body) = &mut self.body else {
            return Ok(());
        };
        while !self.is_ended && self.pending == 0 {
            if !body.is_done() {
                let decoded = body
                    .decode(endpoint.received_mut())
                    .map_err(|_| Cause::EndpointMalformed)?;
                if decoded.consumed == 0 {
                    break;
                }
                let payload = &endpoint.received()[..decoded.data];
                let taken = if self.is_chunked {
                    self.out.chunk(payload)
                } else {
                    self.out.payload(payload)
                };
                self.unwritten_bytes += decoded.data as u64;
                match taken {
                    Taken::Copied => endpoint.consume(decoded.consumed),
                    Taken::Left => self.pending = decoded.consumed,
                }
            }
            if body.is_done() {
                if self.is_chunked {
                    self.out.last_chunk(body.trailers());
                }
                self.is_ended = true;
            }
        }
        Ok(())
    }

    fn poll_write<C: Stream, E: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Peer<C>,
        endpoint: &mut Peer<E>,
        now: Instant,
    ) -> Poll<Result<(), Cause>> {
        let before = self.out.written();
        let is_last = self.is_ended && self.closes_client;
        let (client, payload) = (&mut client.stream, endpoint.received());
        let polled = self.out.poll_write(cx, client, payload, is_last);
        if self.out.written() > before {
            self.is_begun |= self.status.is_some();
            self.wait.progress(now);
        }
        self.wait.on(What::ClientTakes);
        ready!(polled).map_err(|_| Cause::ClientGone)?;
        self.body_bytes += std::mem::take(&mut self.unwritten_bytes);
        endpoint.consume(std::mem::take(&mut self.pending));
        self.out.clear();
        self.wait.progress(now);
        Poll::Ready(Ok(()))
    }

    fn poll_fill<E: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        endpoint: &mut Peer<E>,
        now: Instant,
    ) -> Poll<Result<(), Cause>> {
        self.wait.on(What::EndpointBytes);
        if !endpoint.make_room(HEAD_LIMITS.bytes) {
            return Poll::Ready(Err(Cause::EndpointMalformed));
        }
        let filled = ready!(endpoint.poll_fill(cx, Buffer::large));
        if matches!(filled, Ok(1..)) {
            self.has_bytes = true;
            self.wait.progress(now);
            return Poll::Ready(Ok(()));
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(Err(Cause::EndpointReset));
        };
        if filled.is_err() || body.finish().is_err() {
            return Poll::Ready(Err(Cause::EndpointTruncated));
        }
        Poll::Ready(Ok(()))
    }
}

/// Heads of endpoints beyond this are taken for garbage.
const HEAD_LIMITS: HeadLimits = HeadLimits {
    bytes: 64 * 1024,
    fields: 256,
    target_bytes: 0,
};
/// Interim heads in front of one answer.
const INTERIM_HEADS_MAX: u32 = 16;
