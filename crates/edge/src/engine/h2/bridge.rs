//! One request over HTTP/2, as the relay sees it: a stream of HTTP/1.1. Never runs by itself: it moves
//! when the relay reads or writes, and ends with it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, DuplexStream, ReadBuf, duplex, split};

use super::connections::Place;
use super::request::Request;
use super::{response, shake};
use crate::engine::stream::Stream;
use crate::outcome::Cause;

/// What may lie in it each way: beyond this, whoever sends waits.
const PIPE_BYTES: usize = 64 * 1024;

/// A request's stream.
pub(crate) struct Bridge {
    near: BufReader<DuplexStream>,
    far: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    end: Arc<End>,
}

/// How it ended, for whoever sees no more than an end.
#[derive(Debug, Default)]
pub(super) struct End(AtomicU8);

impl End {
    const LEFT: u8 = 1;
    const BROKEN: u8 = 2;
    const MALFORMED: u8 = 3;
    const REFUSED: u8 = 4;

    pub(super) fn note(&self, error: &h2::Error) {
        // By both the endpoint says that it has done nothing (RFC 9113, 6.8 and 8.7): h2 fails by
        // GOAWAY only those streams that are beyond the last one processed.
        let kind = if error.is_remote() && error.is_go_away() {
            Self::LEFT
        } else if error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM) {
            Self::REFUSED
        } else if error.is_io() {
            Self::BROKEN
        } else if error.is_library() {
            Self::MALFORMED
        } else {
            0
        };
        self.0.store(kind, Ordering::Release);
    }
}

impl Bridge {
    pub(super) fn new(sender: SendRequest<Bytes>, place: Place, is_secure: bool) -> Self {
        Self::over(|far, end| async move {
            let _place = place;
            carry(sender, far, is_secure, &end).await;
        })
    }

    /// A request on a connection of its own, which ends with it.
    pub(crate) async fn alone<S>(stream: S, is_secure: bool) -> Result<Self, Cause>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
    {
        let (sender, connection, _pings) = shake(stream).await?;
        Ok(Self::over(|far, end| async move {
            tokio::select! {
                () = carry(sender, far, is_secure, &end) => {}
                _ended = connection => {}
            }
        }))
    }

    fn over<F>(carry: impl FnOnce(DuplexStream, Arc<End>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + Sync + 'static,
    {
        let (near, far) = duplex(PIPE_BYTES);
        let end = Arc::new(End::default());
        Self {
            near: BufReader::new(near),
            far: Some(Box::pin(carry(far, Arc::clone(&end)))),
            end,
        }
    }

    /// Whether the endpoint was about to leave and has not begun with the request, as it says.
    pub(crate) fn is_left(&self) -> bool {
        self.end.0.load(Ordering::Acquire) == End::LEFT
    }

    /// Whether the connection broke under the request.
    pub(crate) fn is_broken(&self) -> bool {
        self.end.0.load(Ordering::Acquire) == End::BROKEN
    }

    /// What lies behind an end without an answer.
    pub(crate) fn cause(&self) -> Cause {
        match self.end.0.load(Ordering::Acquire) {
            End::LEFT | End::REFUSED => Cause::EndpointRefused,
            End::MALFORMED => Cause::EndpointMalformed,
            _ => Cause::EndpointReset,
        }
    }

    /// Lets both ways move on.
    fn advance(&mut self, cx: &mut Context<'_>) {
        if let Some(far) = &mut self.far
            && far.as_mut().poll(cx).is_ready()
        {
            self.far = None;
        }
    }
}

async fn carry(sender: SendRequest<Bytes>, far: DuplexStream, is_secure: bool, end: &End) {
    let (asks, answers) = split(far);
    let Some(request) = Request::read(asks, is_secure).await else {
        return;
    };
    let is_head = request.is_head();
    let sent = match request.begin(sender) {
        Ok(sent) => sent,
        Err(error) => return end.note(&error),
    };
    let mut answered = std::pin::pin!(response::carry(sent.answer, answers, is_head));
    let mut asked = std::pin::pin!(sent.body.carry());
    let mut is_asked = false;
    let answered = loop {
        tokio::select! {
            biased;
            answered = &mut answered => break answered,
            () = &mut asked, if !is_asked => is_asked = true,
        }
    };
    if let Err(error) = answered {
        end.note(&error);
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl Stream for Bridge {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.advance(cx);
        self.near.poll_readable(cx)
    }

    fn needs_farewell(&self) -> bool {
        false
    }

    fn tcp(&self) -> Option<&tokio::net::TcpStream> {
        None
    }

    fn reset_on_close(&mut self) {
        // An unfinished stream is reset when it is dropped.
    }
}

impl AsyncRead for Bridge {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.advance(cx);
        Pin::new(&mut self.near).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Bridge {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.near).poll_write(cx, bytes);
        self.advance(cx);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.advance(cx);
        Pin::new(&mut self.near).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.advance(cx);
        Pin::new(&mut self.near).poll_shutdown(cx)
    }
}
