//! The way from client to endpoint: the head, then the body as it comes. Never waits for the answer.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::{RequestBody, Wait, What};
use crate::engine::buffer::Buffer;
use crate::engine::h1::codec::{self, Framing};
use crate::engine::h1::outgoing::{Outgoing, Taken};
use crate::engine::h1::peer::Peer;
use crate::engine::stream::Stream;
use crate::outcome::Cause;
use crate::pipeline::Exchange;

/// One request on its way to one endpoint.
#[derive(Debug)]
pub(super) struct RequestSide {
    out: Outgoing,
    is_chunked: bool,
    /// Bytes of the kept body that this endpoint was given.
    replayed: usize,
    /// The end of the body was put into `out`.
    is_ended: bool,
    is_received: bool,
    /// Any of the body has come.
    pub(super) is_begun: bool,
    is_replayable: bool,
    /// Received bytes behind the payload in `out`: used up when it is written.
    pending: usize,
    /// The endpoint takes no more; it may have answered all the same.
    is_broken: bool,
    pub(super) wait: Wait,
    /// Until when the client may take to send more; matters while that is waited for.
    pub(super) client_until: Instant,
}

impl RequestSide {
    /// `out` holds the head.
    pub(super) fn new(out: Outgoing, framing: Framing, body: &RequestBody, now: Instant) -> Self {
        let is_chunked = framing == Framing::Chunked;
        Self {
            out,
            is_chunked,
            replayed: 0,
            is_ended: !is_chunked && body.decoder.is_done() && body.kept().is_empty(),
            is_received: body.decoder.is_done(),
            is_begun: false,
            is_replayable: body.is_replayable(),
            pending: 0,
            is_broken: false,
            wait: Wait::new(now),
            client_until: now,
        }
    }

    /// Whether the whole request was taken from the client and handed to the endpoint's socket.
    pub(super) fn is_complete(&self) -> bool {
        self.is_ended && self.out.is_empty() && !self.is_broken
    }

    /// Whether the client's body was received to its end.
    pub(super) fn is_body_received(&self) -> bool {
        self.is_received
    }

    /// Whether the same request can be sent again from its first byte.
    pub(super) fn is_replayable(&self) -> bool {
        self.is_replayable
    }

    /// Uses up what was taken from the client and never written: it must not be taken for the next
    /// request.
    pub(super) fn release<C: Stream>(&mut self, client: &mut Peer<C>) {
        client.consume(std::mem::take(&mut self.pending));
    }

    /// Whether nothing more will be sent, for whichever reason.
    pub(super) fn is_over(&self) -> bool {
        self.is_broken || self.is_complete()
    }

    /// Carries on as far as both sockets allow. Ready when nothing more will be sent; an error is
    /// the client's fault.
    pub(super) fn poll<C: Stream, E: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Peer<C>,
        endpoint: &mut Peer<E>,
        body: &mut RequestBody,
        exchange: &mut Exchange,
        now: Instant,
    ) -> Poll<Result<(), Cause>> {
        while !self.is_over() {
            self.take_in(client, body, exchange, now)?;
            if self.out.is_empty() {
                self.wait.on(What::ClientBytes);
                self.client_until = exchange.on_request_body_wait(now);
                match ready!(client.poll_fill(cx, Buffer::large)) {
                    Ok(0) | Err(_) => return Poll::Ready(Err(Cause::ClientGone)),
                    Ok(_) => self.wait.progress(now),
                }
            } else {
                ready!(self.poll_write(cx, client, endpoint, now));
            }
        }
        self.wait.on(What::Nothing);
        Poll::Ready(Ok(()))
    }

    /// Puts what is kept, then decodes what has been received, into the next thing to write.
    fn take_in<C: Stream>(
        &mut self,
        client: &mut Peer<C>,
        body: &mut RequestBody,
        exchange: &mut Exchange,
        now: Instant,
    ) -> Result<(), Cause> {
        while !self.out.has_payload() && self.out.written() == 0 && !self.is_ended {
            let kept = &body.kept()[self.replayed..];
            if !kept.is_empty() {
                self.is_begun = true;
                self.replayed += kept.len();
                self.put_copy(kept);
                self.end(body);
                continue;
            }
            if body.decoder.is_done() {
                self.end(body);
                continue;
            }
            let decoded = body
                .decoder
                .decode(client.received_mut())
                .map_err(|_| Cause::BodyMalformed)?;
            if decoded.consumed == 0 {
                break;
            }
            self.is_begun = true;
            let payload = &client.received()[..decoded.data];
            body.keep(payload);
            self.replayed = body.kept().len();
            self.is_replayable = body.is_replayable();
            self.is_received = body.decoder.is_done();
            exchange.on_request_body(decoded.data, now)?;
            let taken = if self.is_chunked {
                self.out.chunk(payload)
            } else {
                self.out.payload(payload)
            };
            self.end(body);
            match taken {
                Taken::Copied => client.consume(decoded.consumed),
                Taken::Left => self.pending = decoded.consumed,
            }
        }
        Ok(())
    }

    /// Payload that does not lie in the client's buffer.
    fn put_copy(&mut self, payload: &[u8]) {
        let text = self.out.text();
        if self.is_chunked {
            codec::chunk_start(text, payload.len());
            text.extend_from_slice(payload);
            text.extend_from_slice(codec::CHUNK_END);
        } else {
            text.extend_from_slice(payload);
        }
    }

    /// Puts the end behind the last piece, if that is what was put.
    fn end(&mut self, body: &RequestBody) {
        if !body.decoder.is_done() {
            return;
        }
        if self.is_chunked {
            self.out.last_chunk(body.decoder.trailers());
        }
        self.is_ended = true;
    }

    fn poll_write<C: Stream, E: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Peer<C>,
        endpoint: &mut Peer<E>,
        now: Instant,
    ) -> Poll<()> {
        let before = self.out.written();
        let payload = client.received();
        let out = &mut self.out;
        let polled = out.poll_write(cx, &mut endpoint.stream, payload, false);
        if self.out.written() > before {
            self.wait.progress(now);
        }
        self.wait.on(What::EndpointTakes);
        match ready!(polled) {
            Ok(()) => {
                client.consume(std::mem::take(&mut self.pending));
                self.out.clear();
            }
            Err(_) => self.is_broken = true,
        }
        self.wait.progress(now);
        Poll::Ready(())
    }
}
