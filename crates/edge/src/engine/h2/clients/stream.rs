//! One request as the relay sees it: a stream of HTTP/1.1 that ends with its answer. Never runs by
//! itself, and takes no more from the client than the relay reads.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::RecvStream;
use h2::server::SendResponse;
use http::Method;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::answer::AnswerSide;
use crate::engine::stream::{Stream, TakesFields};
use crate::engine::text::{Broken, RequestText};

/// A request's stream.
pub(super) struct ClientStream {
    text: RequestText,
    body: RecvStream,
    answer: AnswerSide,
}

impl ClientStream {
    pub(super) fn new(head: &Parts, body: RecvStream, respond: SendResponse<Bytes>) -> Self {
        let length = head.headers.get(CONTENT_LENGTH);
        let has_none = body.is_end_stream() || length.is_some_and(|length| length == "0");
        Self {
            text: RequestText::new(head, has_none),
            body,
            answer: AnswerSide::new(respond, head.method == Method::HEAD),
        }
    }

    /// Ready when there is text, or none will come: the answer is out, or the client has left.
    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.text.pending().is_empty() && !self.answer.is_over() {
            if self.text.is_done() {
                return self.answer.poll_reset(cx).map(Ok);
            }
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(piece)) => {
                    self.text.take(&piece).map_err(broken)?;
                    // Only what the relay asked for makes room for more.
                    let released = self.body.flow_control().release_capacity(piece.len());
                    released.map_err(io::Error::other)?;
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => {
                    let trailers = ready!(self.body.poll_trailers(cx)).map_err(io::Error::other)?;
                    self.text.end(trailers.as_ref()).map_err(broken)?;
                }
            }
            if self.body.is_end_stream() {
                self.text.end(None).map_err(broken)?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn broken(_: Broken) -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl Stream for ClientStream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_text(cx)
    }

    fn needs_farewell(&self) -> bool {
        false
    }

    fn tcp(&self) -> Option<&TcpStream> {
        None
    }

    fn reset_on_close(&mut self) {
        // An unfinished stream is reset when it is dropped.
    }

    fn fields(&mut self) -> Option<&mut impl TakesFields> {
        Some(&mut self.answer)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_text(cx))?;
        let pending = self.text.pending();
        let taken = pending.len().min(buffer.remaining());
        buffer.put_slice(&pending[..taken]);
        pending.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answer.poll_write(cx, bytes)
    }

    /// The connection's task sends what the codec has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answer.poll_unsent(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").finish_non_exhaustive()
    }
}
