//! The answer of the native path, from text to pingora. Never takes an answer for whole that is not.

use bytes::{Buf as _, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, Result, Session};

use crate::engine::h1::responses::{BodyDecoder, ResponseHead, ResponseParser};
use crate::engine::text::ANSWER_LIMITS;
use crate::pipeline::Fields as _;

/// How an answer ended.
pub(super) enum Delivered {
    /// The client has all of it.
    Whole,
    /// It broke off.
    Truncated,
}

/// An answer on its way to the client.
pub(super) struct ResponseText {
    received: BytesMut,
    parser: ResponseParser,
    body: Option<BodyDecoder>,
    is_head: bool,
}

impl ResponseText {
    pub(super) fn new(asked: &RequestHeader) -> Self {
        Self {
            received: BytesMut::new(),
            parser: ResponseParser::default(),
            body: None,
            is_head: asked.method == Method::HEAD,
        }
    }

    /// Where more may be read into.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        self.received.reserve(READ_BYTES);
        &mut self.received
    }

    /// Hands on what has been received; `is_over`: there will be no more. `Some` at the end.
    pub(super) async fn deliver(
        &mut self,
        session: &mut Session,
        is_over: bool,
    ) -> Result<Option<Delivered>> {
        while self.body.is_none() {
            let parsed = self.parser.advance(&self.received, &ANSWER_LIMITS);
            let Some(bytes) = parsed.map_err(|_| broken())? else {
                return Ok(is_over.then_some(Delivered::Truncated));
            };
            let status = self.parser.status();
            let head = self.head(&self.parser.head(&self.received))?;
            self.received.advance(bytes);
            if status.is_informational() {
                self.parser.reset();
                // What pingora does with them is its own affair.
                session.write_response_header(head, false).await?;
                continue;
            }
            let body = BodyDecoder::new(self.parser.framing(self.is_head));
            let is_done = body.is_done();
            self.body = Some(body);
            if head.headers.get(CONNECTION).is_some() {
                session.set_keepalive(None);
            }
            session.write_response_header(head, is_done).await?;
            if is_done {
                return Ok(Some(Delivered::Whole));
            }
        }
        self.deliver_body(session, is_over).await
    }

    async fn deliver_body(
        &mut self,
        session: &mut Session,
        is_over: bool,
    ) -> Result<Option<Delivered>> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        loop {
            let decoded = body.decode(&mut self.received).map_err(|_| broken())?;
            let mut piece = self.received.split_to(decoded.consumed);
            piece.truncate(decoded.data);
            let is_done = body.is_done();
            if !piece.is_empty() || is_done {
                // pingora cannot send trailers to HTTP/1.1.
                session
                    .write_response_body(Some(piece.freeze()), is_done)
                    .await?;
            }
            if is_done {
                return Ok(Some(Delivered::Whole));
            }
            if decoded.consumed == 0 {
                return Ok(is_over.then_some(Delivered::Truncated));
            }
        }
    }

    fn head(&self, head: &ResponseHead<'_>) -> Result<Box<ResponseHeader>> {
        let status = head.status();
        let mut made = ResponseHeader::build(status, Some(head.fields().len() + 1))?;
        for (name, value) in head.fields().lines() {
            let name = HeaderName::from_bytes(name).map_err(|_| broken())?;
            let is_hop = [CONNECTION, TRANSFER_ENCODING].contains(&name);
            // HTTP/1.1 is told of the end of its connection by pingora.
            if !is_hop || (name == CONNECTION && !status.is_informational()) {
                let value = HeaderValue::from_bytes(value).map_err(|_| broken())?;
                made.append_header(name, value)?;
            }
        }
        let is_bodiless = self.is_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !is_bodiless && !made.headers.contains_key(CONTENT_LENGTH) {
            made.insert_header(TRANSFER_ENCODING, "chunked")?;
        }
        Ok(Box::new(made))
    }
}

fn broken() -> Box<Error> {
    let malformed = ErrorType::InvalidHTTPHeader;
    Error::explain(malformed, "an answer that is none").into_up()
}

/// Room for one read.
const READ_BYTES: usize = 16 * 1024;
