//! One request over HTTP/2, as the relay sees it: a stream of HTTP/1.1. Never runs by itself: it moves
//! when the relay reads or writes, and ends with it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, DuplexStream, ReadBuf, duplex, split};

use super::connections::{Place, State};
use super::end::{End, Fault};
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
    /// Of the connection it is on, if others share it.
    connection: Option<Arc<State>>,
}

impl Bridge {
    pub(super) fn new(sender: SendRequest<Bytes>, place: Place, is_secure: bool) -> Self {
        let connection = Arc::clone(place.connection());
        let bridge = Self::over(|far, end| async move {
            let _place = place;
            carry(sender, far, is_secure, &end).await;
        });
        Self {
            connection: Some(connection),
            ..bridge
        }
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
            connection: None,
        }
    }

    /// Whether the endpoint was about to leave and has not begun with the request, as it says.
    pub(crate) fn is_left(&self) -> bool {
        self.end.is_left()
    }

    /// Whether the connection broke under the request.
    pub(crate) fn is_broken(&self) -> bool {
        self.end.is_broken()
    }

    /// What is behind an end that looks like a reset or a silence from this side; takes the connection
    /// out of use where that tells something about it.
    pub(crate) fn explain(&self, cause: Cause) -> Cause {
        if let Some(connection) = &self.connection {
            match cause {
                Cause::EndpointTimeout => connection.doubt(),
                Cause::EndpointReset if self.is_left() || self.is_broken() => connection.leave(),
                _ => {}
            }
        }
        match cause {
            Cause::EndpointReset => self.end.cause(),
            cause => cause,
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
    if let Err(fault) = exchange(sender, far, is_secure).await {
        end.note(&fault);
    }
}

async fn exchange(
    sender: SendRequest<Bytes>,
    far: DuplexStream,
    is_secure: bool,
) -> Result<(), Fault> {
    let (asks, answers) = split(far);
    let Some(request) = Request::read(asks, is_secure).await? else {
        return Ok(());
    };
    let is_head = request.is_head();
    let sent = request.begin(sender)?;
    let mut answered = pin!(response::carry(sent.answer, answers, is_head));
    let mut asked = pin!(sent.body.carry());
    let mut is_asked = false;
    loop {
        tokio::select! {
            biased;
            answered = &mut answered => return answered,
            () = &mut asked, if !is_asked => is_asked = true,
        }
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
