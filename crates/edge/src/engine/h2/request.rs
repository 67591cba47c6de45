//! The way out: a request of HTTP/1.1 as text becomes one of HTTP/2. Never sends what belongs to one
//! connection only.

use std::future::poll_fn;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::header::{HOST, TE};
use http::{HeaderName, HeaderValue, Method, Version};
use tokio::io::{AsyncReadExt as _, DuplexStream, ReadHalf};

use super::end::Fault;
use super::fields::{is_of_connection, keep_out_of_tables};
use crate::engine::h1::requests::{BodyDecoder, HeadLimits, RequestParser};
use crate::engine::h1::trailers;
use crate::pipeline::Head as _;

/// A request whose head was read.
pub(super) struct Request {
    head: http::Request<()>,
    body: Body,
}

/// A request on its way.
pub(super) struct Sent {
    pub(super) answer: ResponseFuture,
    pub(super) body: Outgoing,
}

struct Body {
    asks: ReadHalf<DuplexStream>,
    received: BytesMut,
    decoder: BodyDecoder,
}

/// A body and where it goes.
pub(super) struct Outgoing {
    body: Body,
    stream: SendStream<Bytes>,
}

impl Request {
    /// `None` when the relay has given up.
    pub(super) async fn read(
        mut asks: ReadHalf<DuplexStream>,
        is_secure: bool,
    ) -> Result<Option<Self>, Fault> {
        let mut received = BytesMut::with_capacity(READ_BYTES);
        let mut parser = RequestParser::default();
        let bytes = loop {
            match parser.advance(&received, &LIMITS) {
                Ok(Some(bytes)) => break bytes,
                Ok(None) => {}
                Err(_) => return Err(Fault::Unsayable),
            }
            if !matches!(asks.read_buf(&mut received).await, Ok(1..)) {
                return Ok(None);
            }
        };
        let head = head(&parser, &received, is_secure).ok_or(Fault::Unsayable)?;
        let decoder = BodyDecoder::new(parser.framing());
        received.advance(bytes);
        let body = Body {
            asks,
            received,
            decoder,
        };
        Ok(Some(Self { head, body }))
    }

    pub(super) fn is_head(&self) -> bool {
        self.head.method() == Method::HEAD
    }

    /// Sends the head, on a connection that has room.
    pub(super) fn begin(self, mut sender: SendRequest<Bytes>) -> Result<Sent, Fault> {
        let is_whole = self.body.decoder.is_done();
        let (answer, stream) = sender.send_request(self.head, is_whole)?;
        let body = Outgoing {
            body: self.body,
            stream,
        };
        Ok(Sent { answer, body })
    }
}

fn head(parser: &RequestParser, received: &[u8], is_secure: bool) -> Option<http::Request<()>> {
    let head = parser.head(received);
    let scheme = if is_secure { "https" } else { "http" };
    let mut request = http::Request::new(());
    *request.method_mut() = head.method().clone();
    let uri = http::Uri::builder().path_and_query(target(head.path(), head.query()));
    match head.authority().filter(|authority| !authority.is_empty()) {
        Some(authority) => {
            *request.uri_mut() = uri.scheme(scheme).authority(authority).build().ok()?;
            *request.version_mut() = Version::HTTP_2;
        }
        // What has no host in HTTP/1.1 has none here: h2 lets that pass for what was forwarded.
        None => *request.uri_mut() = uri.build().ok()?,
    }
    let fields = request.headers_mut();
    for (name, value) in head.fields().lines() {
        let name = HeaderName::from_bytes(name).ok()?;
        if !is_of_connection(&name) && name != HOST {
            fields.append(name, HeaderValue::from_bytes(value).ok()?);
        }
    }
    // Trailers go through here, whoever asked; gRPC insists on being told so.
    fields.insert(TE, HeaderValue::from_static("trailers"));
    keep_out_of_tables(fields);
    Some(request)
}

/// What clients send in targets although it is to be encoded, and `http` does not let through, is
/// encoded: it means the same.
fn target(path: &str, query: Option<&str>) -> String {
    let mut target = String::with_capacity(path.len() + query.map_or(0, str::len) + 1);
    let parts = [Some(path), query.map(|_| "?"), query];
    for character in parts.into_iter().flatten().flat_map(str::chars) {
        match character {
            '"' => target.push_str("%22"),
            '<' => target.push_str("%3C"),
            '>' => target.push_str("%3E"),
            '`' => target.push_str("%60"),
            character => target.push(character),
        }
    }
    target
}

impl Outgoing {
    /// Sends the body as the relay gives it and the endpoint takes it. Whoever wants no more of it
    /// says why in the answer.
    pub(super) async fn carry(mut self) {
        if !self.body.decoder.is_done() {
            // The answer tells.
            let _ = self.send().await;
        }
    }

    async fn send(&mut self) -> Option<()> {
        let body = &mut self.body;
        while !body.decoder.is_done() {
            let decoded = body.decoder.decode(&mut body.received).ok()?;
            let mut piece = body.received.split_to(decoded.consumed);
            piece.truncate(decoded.data);
            let is_end = body.decoder.is_done() && body.decoder.trailers().is_empty();
            if !piece.is_empty() || is_end {
                send_piece(&mut self.stream, piece.freeze(), is_end).await?;
            }
            if decoded.consumed == 0 && !body.decoder.is_done() {
                body.received.reserve(READ_BYTES);
                if body.asks.read_buf(&mut body.received).await.ok()? == 0 {
                    // The relay has given up in the middle.
                    self.stream.send_reset(h2::Reason::CANCEL);
                    return None;
                }
            }
        }
        let trailers = trailers(body.decoder.trailers());
        if !body.decoder.trailers().is_empty() {
            self.stream.send_trailers(trailers).ok()?;
        }
        Some(())
    }
}

/// As much at once as the endpoint's windows allow.
async fn send_piece(stream: &mut SendStream<Bytes>, mut piece: Bytes, is_end: bool) -> Option<()> {
    if piece.is_empty() {
        return stream.send_data(piece, is_end).ok();
    }
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
        let now = piece.split_to(room.min(piece.len()));
        stream.send_data(now, is_end && piece.is_empty()).ok()?;
    }
    Some(())
}

/// Heads come from our own codec, which keeps bounds of its own.
const LIMITS: HeadLimits = HeadLimits {
    bytes: 2 << 20,
    fields: 1024,
    target_bytes: 1 << 20,
};
/// Room for one read.
const READ_BYTES: usize = 16 * 1024;
