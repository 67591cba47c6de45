//! The way back: an answer as the relay gives it becomes one of HTTP/2. Heads come as fields, or, interim
//! ones and those of answers that are our own, as text of HTTP/1.1; bodies as text. Never takes an answer for
//! whole that is not: a stream that breaks off is reset.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};

use super::super::fields::{is_of_connection, keep_out_of_tables};
use crate::engine::h1::responses::{BodyDecoder, Framing, ResponseParser};
use crate::engine::h1::trailers;
use crate::engine::stream::TakesFields;
use crate::engine::text::ANSWER_LIMITS;
use crate::pipeline::Fields as _;

/// Of a body, so much is taken from the relay although the client's windows are shut.
const HELD_BYTES: usize = 512;
/// And so much at once when they are open.
const PIECE_BYTES: usize = 16 * 1024;

/// An answer on its way to the client.
pub(super) struct AnswerSide {
    respond: SendResponse<Bytes>,
    parser: ResponseParser,
    /// Of a head that is not whole yet.
    head: BytesMut,
    is_head: bool,
    body: Option<Body>,
    is_over: bool,
}

/// What follows the final head.
struct Body {
    stream: SendStream<Bytes>,
    decoder: BodyDecoder,
    /// Taken from the relay, and not by the client's windows.
    unsent: Bytes,
    /// What they are known to let through. The codec is asked under a lock: once for a short answer.
    room: usize,
}

impl AnswerSide {
    /// `is_head`: it answers HEAD.
    pub(super) fn new(respond: SendResponse<Bytes>, is_head: bool) -> Self {
        Self {
            respond,
            parser: ResponseParser::default(),
            head: BytesMut::new(),
            is_head,
            body: None,
            is_over: false,
        }
    }

    /// Whether the codec has all of it.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Ready when the client has left, or does not want an answer any more.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.body {
            Some(body) => body.stream.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        // An error means that the connection is gone.
        reset.map(drop)
    }

    /// Takes text from the relay: a head at once, of a body as much as the client's windows allow.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(cx))?;
        if self.is_over {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(self.take_head(bytes));
        };
        let taken = body.take(bytes)?;
        // What the windows do not let through is waited for by the next write or flush.
        let _ = self.poll_unsent(cx)?;
        Poll::Ready(Ok(taken))
    }

    /// Ready when the codec has everything that was taken from the relay.
    pub(super) fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_over {
            return Poll::Ready(Ok(()));
        }
        if let Some(body) = &mut self.body {
            self.is_over = ready!(body.poll_send(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what belongs to the head; sends it when it is whole.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = self.head.len();
        let parsed = if before == 0 {
            self.parser.advance(bytes, &ANSWER_LIMITS)
        } else {
            self.head.extend_from_slice(bytes);
            self.parser.advance(&self.head, &ANSWER_LIMITS)
        };
        let Some(length) = parsed.map_err(|_| invalid())? else {
            if before == 0 {
                self.head.extend_from_slice(bytes);
            }
            return Ok(bytes.len());
        };
        let head = std::mem::take(&mut self.head);
        self.send_head(if before == 0 { bytes } else { &head })?;
        Ok(length - before)
    }

    fn send_head(&mut self, text: &[u8]) -> io::Result<()> {
        let head = self.parser.head(text);
        let mut fields = HeaderMap::with_capacity(head.fields().len());
        for (name, value) in head.fields().lines() {
            let name = HeaderName::from_bytes(name).map_err(|_| invalid())?;
            if !is_of_connection(&name) {
                let value = HeaderValue::from_bytes(value).map_err(|_| invalid())?;
                fields.append(name, value);
            }
        }
        let status = head.status();
        if status.is_informational() {
            return self.send_interim(response(status, fields));
        }
        self.begin(status, fields, self.parser.framing(self.is_head))
    }

    /// Nobody waits for 100; hints that come early are worth handing on (RFC 8297).
    fn send_interim(&mut self, response: Response<()>) -> io::Result<()> {
        self.parser.reset();
        if response.status() == StatusCode::CONTINUE {
            return Ok(());
        }
        let sent = self.respond.send_informational(response);
        sent.map_err(io::Error::other)
    }
}

impl TakesFields for AnswerSide {
    fn begin(&mut self, status: StatusCode, fields: HeaderMap, framing: Framing) -> io::Result<()> {
        let decoder = BodyDecoder::new(framing);
        let is_end = decoder.is_done();
        let response = response(status, fields);
        let sent = self.respond.send_response(response, is_end);
        let stream = sent.map_err(io::Error::other)?;
        self.is_over = is_end;
        self.body = Some(Body {
            stream,
            decoder,
            unsent: Bytes::new(),
            room: 0,
        });
        Ok(())
    }
}

/// A head for the codec.
pub(super) fn response(status: StatusCode, mut fields: HeaderMap) -> Response<()> {
    keep_out_of_tables(&mut fields);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = fields;
    response
}

impl Drop for AnswerSide {
    fn drop(&mut self) {
        if !self.is_over {
            self.respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

impl Body {
    /// Decodes a piece of text; there is nothing unsent.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ask_for(bytes.len().min(PIECE_BYTES));
        let most = self.room.max(HELD_BYTES);
        let mut piece = BytesMut::from(&bytes[..bytes.len().min(most)]);
        let decoded = self.decoder.decode(&mut piece).map_err(|_| invalid())?;
        piece.truncate(decoded.data);
        self.unsent = piece.freeze();
        Ok(decoded.consumed)
    }

    fn ask_for(&mut self, bytes: usize) {
        if self.room < bytes {
            self.stream.reserve_capacity(bytes);
            self.room = self.stream.capacity();
        }
    }

    /// Ready when nothing is unsent; `true` at the end of the body.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let is_done = self.decoder.is_done();
        let has_trailers = is_done && !self.decoder.trailers().is_empty();
        while !self.unsent.is_empty() {
            self.ask_for(self.unsent.len());
            let bytes = self.room.min(self.unsent.len());
            if bytes == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    _ => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                }
            }
            let piece = self.unsent.split_to(bytes);
            self.room -= bytes;
            let is_end = is_done && !has_trailers && self.unsent.is_empty();
            let sent = self.stream.send_data(piece, is_end);
            sent.map_err(io::Error::other)?;
            if is_end {
                return Poll::Ready(Ok(true));
            }
        }
        if has_trailers {
            let trailers: HeaderMap = trailers(self.decoder.trailers());
            let sent = self.stream.send_trailers(trailers);
            sent.map_err(io::Error::other)?;
        } else if is_done {
            let sent = self.stream.send_data(Bytes::new(), true);
            sent.map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(is_done))
    }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
